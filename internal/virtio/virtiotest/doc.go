// Package virtiotest drives virtio devices in tests: a correct driver (Driver), a writer of arbitrary rings (Raw), and a suite
// of attacks on one queue (HostileQueue). It talks to a device as a guest does, through registers, guest memory and an
// interrupt, and shares no code with the devices' side, so that a mistake on one side is not repeated on the other.
//
// Only tests import it. Failures end the test. Nothing sleeps or polls: a Driver waits for the device's interrupt, with a
// deadline that only a hang reaches.
//
// Everything here belongs to one goroutine, the test's, except IRQ.Raise. Rings are written with atomic accesses, which also
// order the payload: over guestmem.Heap the race detector sees a correct exchange as correct.
//
// Sections in comments are those of the virtio 1.2 specification.
package virtiotest

// Registers of the MMIO transport, version 2: offsets in bytes from the start of the device's window, 4 bytes wide (4.2.2).
const (
	RegMagic           = 0x000
	RegVersion         = 0x004
	RegDeviceID        = 0x008
	RegVendorID        = 0x00C
	RegDeviceFeatures  = 0x010
	RegDeviceFeatSel   = 0x014
	RegDriverFeatures  = 0x020
	RegDriverFeatSel   = 0x024
	RegQueueSel        = 0x030
	RegQueueNumMax     = 0x034
	RegQueueNum        = 0x038
	RegQueueReady      = 0x044
	RegQueueNotify     = 0x050
	RegInterruptStatus = 0x060
	RegInterruptACK    = 0x064
	RegStatus          = 0x070
	RegQueueDesc       = 0x080 // low half; high half follows
	RegQueueDriver     = 0x090 // low half; high half follows
	RegQueueDevice     = 0x0A0 // low half; high half follows
	RegConfigGen       = 0x0FC
	RegConfig          = 0x100 // the device's own
)

// Device status bits (2.1).
const (
	StatusAcknowledge = 1
	StatusDriver      = 2
	StatusDriverOK    = 4
	StatusFeaturesOK  = 8
	StatusNeedsReset  = 64
	StatusFailed      = 128
)

// Bits of the interrupt status (4.2.2).
const (
	InterruptUsed   = 1
	InterruptConfig = 2
)

// Feature bits of rings and transports (6).
const (
	FeatureIndirect = 1 << 28 // VIRTIO_F_INDIRECT_DESC
	FeatureEventIdx = 1 << 29 // VIRTIO_F_EVENT_IDX
	FeatureVersion1 = 1 << 32 // VIRTIO_F_VERSION_1
)

// Descriptor flags (2.7.5).
const (
	DescNext     = 1
	DescWrite    = 2
	DescIndirect = 4
)

// Ring flags (2.7.6, 2.7.8).
const (
	AvailNoInterrupt = 1
	UsedNoNotify     = 1
)

const descSize = 16 // bytes of a descriptor (2.7.5)
