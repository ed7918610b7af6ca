package vm

import "time"

// Stats is a snapshot of a machine's counters. Counters only grow; a snapshot is
// not atomic across counters. Durations are encoded in JSON as nanoseconds.
type Stats struct {
	Exits    map[string]uint64 `json:"exits,omitempty"`   // exits to user space by reason: "io", "mmio"
	Devices  []DeviceStats     `json:"devices,omitempty"` // in the order of their addresses
	Timeline Timeline          `json:"timeline"`
	Memory   uint64            `json:"memory"` // bytes of guest memory
	CPUs     int               `json:"cpus"`
}

// DeviceStats are the counters of one device.
type DeviceStats struct {
	Name       string `json:"name"`
	Kicks      uint64 `json:"kicks"`      // notifications by the driver
	Interrupts uint64 `json:"interrupts"` // raised by the device
	Requests   uint64 `json:"requests"`   // descriptor chains finished
	BytesIn    uint64 `json:"bytes_in"`   // guest to host
	BytesOut   uint64 `json:"bytes_out"`  // host to guest
	Faults     uint64 `json:"faults"`     // times the driver broke the rules
}

// Timeline says when things happened, as durations since the machine's creation;
// 0 means not yet.
type Timeline struct {
	Created     time.Duration `json:"created_ns"`      // New returned
	Started     time.Duration `json:"started_ns"`      // Start returned
	FirstExit   time.Duration `json:"first_exit_ns"`   // the first exit to user space: the guest has executed instructions
	ConsoleOpen time.Duration `json:"console_open_ns"` // the guest's console driver came up
	Ended       time.Duration `json:"ended_ns"`        // Done was closed
}
