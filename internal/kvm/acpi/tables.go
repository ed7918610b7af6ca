package acpi

import (
	"encoding/binary"
	"math"

	"github.com/libcapsa/libcapsa/internal/kvm/layout"
	"github.com/libcapsa/libcapsa/internal/vm"
)

// VirtioDevice is a virtio-mmio device to be announced.
type VirtioDevice struct {
	Base uint64 // guest-physical address of its registers, below 4 GiB
	Size uint64 // of its registers, bytes
	GSI  uint32 // its interrupt, edge-triggered and active high
}

// Config is what the tables depend on.
type Config struct {
	CPUs    int // processors with APIC identifiers from 0 on
	Devices []VirtioDevice
}

// Tables are the bytes of all tables and where they go.
type Tables struct {
	Addr  uint64 // of Bytes in guest memory
	Bytes []byte
	RSDP  uint64 // of the root pointer, for the boot parameters
}

// Devices are a machine's devices in the form of Config.
func Devices(devices []layout.Device) []VirtioDevice {
	list := make([]VirtioDevice, len(devices))
	for i, d := range devices {
		list[i] = VirtioDevice{Base: d.Addr(), Size: layout.MMIODeviceSize, GSI: d.IRQ}
	}
	return list
}

const (
	headerSize     = 36 // of every table but the RSDP (5.2.6)
	lengthOffset   = 4
	checksumOffset = 9
	tableAlign     = 16

	oemID      = "CAPSA "
	oemTable   = "LIBCAPSA"
	creatorID  = "CAPS"
	tableRev   = 1 // OEM revision and creator revision
	rsdpSize   = 36
	rsdpV1Size = 20 // what the first checksum covers
	fadtSize   = 276
)

// Build makes the tables. Errors: INVALID_ARG for a configuration that no machine can have, LIMIT when the tables outgrow
// their place.
func Build(c Config) (Tables, error) {
	if c.CPUs < 1 {
		return Tables{}, vm.Errorf(vm.KindInvalidArg, "acpi", "%d processors", c.CPUs)
	}
	for _, d := range c.Devices {
		if d.Base > math.MaxUint32 || d.Size > math.MaxUint32 || d.Base+d.Size > math.MaxUint32+1 {
			return Tables{}, vm.Errorf(vm.KindInvalidArg, "acpi", "device at %#x with %d bytes does not end below 4 GiB", d.Base, d.Size)
		}
	}
	if len(c.Devices) > maxDevices {
		return Tables{}, vm.Errorf(vm.KindLimit, "acpi", "%d devices, at most %d can be named", len(c.Devices), maxDevices)
	}
	b := builder{}
	b.reserve(rsdpSize)
	dsdtAddr := b.add("DSDT", 2, dsdt(c.Devices))
	fadtAddr := b.add("FACP", fadtRevision, fadt(dsdtAddr))
	madtAddr := b.add("APIC", madtRevision, madt(c.CPUs))
	xsdt := binary.LittleEndian.AppendUint64(nil, fadtAddr)
	xsdt = binary.LittleEndian.AppendUint64(xsdt, madtAddr)
	copy(b.bytes, rsdp(b.add("XSDT", 1, xsdt)))
	if len(b.bytes) > layout.ACPISize {
		return Tables{}, vm.Errorf(vm.KindLimit, "acpi", "tables for %d processors and %d devices have %d bytes, there is room for %d",
			c.CPUs, len(c.Devices), len(b.bytes), layout.ACPISize).WithHint("use fewer processors")
	}
	return Tables{Addr: layout.ACPIAddr, Bytes: b.bytes, RSDP: layout.ACPIAddr}, nil
}

// builder lays tables out one after the other.
type builder struct{ bytes []byte }

// reserve adds n zero bytes and aligns what follows.
func (b *builder) reserve(n int) {
	size := len(b.bytes) + n
	b.bytes = append(b.bytes, make([]byte, (size+tableAlign-1)/tableAlign*tableAlign-len(b.bytes))...)
}

// add appends a table with its header (5.2.6) and tells its address.
func (b *builder) add(signature string, revision byte, body []byte) uint64 {
	start := len(b.bytes)
	b.reserve(headerSize + len(body))
	t := b.bytes[start:][:headerSize+len(body)]
	copy(t, signature)
	binary.LittleEndian.PutUint32(t[lengthOffset:], uint32(len(t)))
	t[8] = revision
	copy(t[10:16], oemID)
	copy(t[16:24], oemTable)
	binary.LittleEndian.PutUint32(t[24:], tableRev)
	copy(t[28:32], creatorID)
	binary.LittleEndian.PutUint32(t[32:], tableRev)
	copy(t[headerSize:], body)
	t[checksumOffset] = checksum(t)
	return layout.ACPIAddr + uint64(start)
}

// rsdp is the root system description pointer (5.2.5.3).
func rsdp(xsdt uint64) []byte {
	b := make([]byte, rsdpSize)
	copy(b, "RSD PTR ")
	copy(b[9:15], oemID)
	b[15] = 2 // revision
	binary.LittleEndian.PutUint32(b[20:], rsdpSize)
	binary.LittleEndian.PutUint64(b[24:], xsdt)
	b[8] = checksum(b[:rsdpV1Size])
	b[32] = checksum(b)
	return b
}

// checksum is the byte that makes all bytes of b sum up to 0. Its own place in b must be 0.
func checksum(b []byte) byte {
	var sum byte
	for _, v := range b {
		sum += v
	}
	return -sum
}
