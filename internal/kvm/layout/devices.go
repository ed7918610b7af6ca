package layout

import (
	"fmt"

	"github.com/libcapsa/libcapsa/internal/vm"
)

// Device is where one virtio-mmio device sits.
type Device struct {
	Name   string // for people: "console", "share 0", "disk 1"
	Offset uint64 // of its registers in the MMIO window, MMIODeviceSize bytes
	IRQ    uint32 // its interrupt line; edge-triggered, active high
}

// Addr is the guest-physical address of the device's registers.
func (d Device) Addr() uint64 { return MMIOBase + d.Offset }

// The devices that exist once.
var (
	Console = Device{"console", 0x0010_0000, 5}
	Net     = Device{"network", 0x0140_0000, 4}
	Vsock   = Device{"vsock", 0x0150_0000, 6}
	Entropy = Device{"entropy", 0x01A0_0000, 7}
	Balloon = Device{"balloon", 0x01B0_0000, 3}
)

// Shares and disks: share i has line firstShareIRQ+i, disk i has line lastDiskIRQ-i, so they grow towards each other.
const (
	shareOffset   = 0x0160_0000 // of share 0; one MMIODeviceSize each
	diskOffset    = 0x0180_0000 // of disk 0; one MMIODeviceSize each
	firstShareIRQ = 10
	lastDiskIRQ   = IOAPICPins - 1

	// MaxSharesAndDisks is how many of both together fit between the two lines.
	MaxSharesAndDisks = lastDiskIRQ - firstShareIRQ + 1
	// MaxShares is how many shares a machine without disks can have.
	MaxShares = MaxSharesAndDisks
	// MaxDisks is how many disks a machine without shares can have.
	MaxDisks = MaxSharesAndDisks
)

// Share is the place of shared directory i, 0 <= i < MaxShares.
func Share(i int) Device {
	return Device{fmt.Sprintf("share %d", i), shareOffset + uint64(i)*MMIODeviceSize, uint32(firstShareIRQ + i)}
}

// Disk is the place of disk i, 0 <= i < MaxDisks.
func Disk(i int) Device {
	return Device{fmt.Sprintf("disk %d", i), diskOffset + uint64(i)*MMIODeviceSize, uint32(lastDiskIRQ - i)}
}

// CheckShares is the error of a machine with too many shares and disks: kind LIMIT, naming the two devices that would need
// the same interrupt line. It is nil when they fit.
func CheckShares(shares, disks int) error {
	if shares < 0 || disks < 0 {
		return vm.Errorf(vm.KindInvalidArg, "layout", "%d shares and %d disks: a count cannot be negative", shares, disks)
	}
	if shares <= MaxSharesAndDisks && disks <= MaxSharesAndDisks-shares {
		return nil
	}
	hint := fmt.Sprintf("at most %d shares and disks together; use fewer", MaxSharesAndDisks)
	switch {
	case shares > MaxShares:
		return vm.Errorf(vm.KindLimit, "layout", "share %d has no interrupt line left (%d shares and %d disks)",
			MaxShares, shares, disks).WithHint(hint)
	case disks > MaxDisks:
		return vm.Errorf(vm.KindLimit, "layout", "disk %d has no interrupt line left (%d shares and %d disks)",
			MaxDisks, shares, disks).WithHint(hint)
	}
	disk := MaxSharesAndDisks - shares // the first disk that meets the last share
	return vm.Errorf(vm.KindLimit, "layout", "share %d and disk %d would both need interrupt line %d (%d shares and %d disks)",
		shares-1, disk, Share(shares-1).IRQ, shares, disks).WithHint(hint)
}
