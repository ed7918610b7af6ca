package vm

import "time"

// Stats is a snapshot of a machine's counters. Counters only grow, but for sizes of
// memory; a snapshot is not atomic across counters. Durations are encoded in JSON as
// nanoseconds.
type Stats struct {
	Exits    map[string]uint64 `json:"exits,omitempty"`   // exits to user space by reason: "io", "mmio"
	Devices  []DeviceStats     `json:"devices,omitempty"` // in the order of their addresses
	Timeline Timeline          `json:"timeline"`
	Memory   uint64            `json:"memory"`   // bytes of guest memory
	Resident uint64            `json:"resident"` // bytes of the host's memory that the guest's takes now; 0 after the end
	CPUs     int               `json:"cpus"`
	OOMKills uint64            `json:"oom_kills"`         // programs that the guest's kernel killed for want of memory
	Balloon  *BalloonStats     `json:"balloon,omitempty"` // nil: there is none
}

// DeviceStats are the counters of one device, kept over its resets by the driver.
type DeviceStats struct {
	Name       string `json:"name"`       // "console", "disk 0"
	VirtioID   uint32 `json:"virtio_id"`  // type of a virtio device (virtio 1.2 chapter 5); 0: another device
	Kicks      uint64 `json:"kicks"`      // notifications by the driver
	Interrupts uint64 `json:"interrupts"` // raised by the device
	Requests   uint64 `json:"requests"`   // descriptor chains finished
	BytesIn    uint64 `json:"bytes_in"`   // guest to host: written
	BytesOut   uint64 `json:"bytes_out"`  // host to guest: read
	Errors     uint64 `json:"errors"`     // requests that the host could not serve
	Faults     uint64 `json:"faults"`     // times the driver broke the rules
	Resets     uint64 `json:"resets"`     // resets by the driver

	Disk  *DiskStats  `json:"disk,omitempty"`  // of disks only
	Vsock *VsockStats `json:"vsock,omitempty"` // of the socket device only
	Share *ShareStats `json:"share,omitempty"` // of shares only
	Net   *NetStats   `json:"net,omitempty"`   // of the network device only
}

// DiskStats are the counters that only disks have.
type DiskStats struct {
	Reads       uint64 `json:"reads"` // requests that succeeded, and so on
	Writes      uint64 `json:"writes"`
	Flushes     uint64 `json:"flushes"`
	Discards    uint64 `json:"discards"`
	WriteZeroes uint64 `json:"write_zeroes"`
	Refused     uint64 `json:"refused"`   // requests that made no sense
	Stalls      uint64 `json:"stalls"`    // times the queue waited because all its workers were busy
	Throttled   uint64 `json:"throttled"` // requests that waited for the rate limit
}

// ShareStats are the counters that only shares have.
type ShareStats struct {
	Calls     map[string]uint64 `json:"calls,omitempty"`   // requests by FUSE operation
	Replies   map[string]uint64 `json:"replies,omitempty"` // replies with an error, by its name, such as ENOENT
	Malformed uint64            `json:"malformed"`         // requests that contradict themselves
	Files     int64             `json:"files"`             // descriptors of the host that are open
	MaxFiles  int64             `json:"max_files"`
	Refusals  uint64            `json:"refusals"` // requests that got EMFILE
	Inodes    int64             `json:"inodes"`   // files that are remembered
	MaxInodes int64             `json:"max_inodes"`
}

// Timeline says when things happened, as durations since the machine's creation
// began; 0 means not yet, or that the backend cannot tell.
type Timeline struct {
	Created          time.Duration `json:"created_ns"`           // New returned
	Started          time.Duration `json:"started_ns"`           // Start returned
	FirstInstruction time.Duration `json:"first_instruction_ns"` // a vCPU entered the guest
	FirstExit        time.Duration `json:"first_exit_ns"`        // the guest first used a device: its kernel, unpacked, has begun
	DriversUp        time.Duration `json:"drivers_up_ns"`        // its first virtio driver came up
	ConsoleOpen      time.Duration `json:"console_open_ns"`      // it first wrote to its console
	Ended            time.Duration `json:"ended_ns"`             // Done was closed
}
