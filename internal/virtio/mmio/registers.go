package mmio

// WindowSize is how much guest-physical address space a device takes, in
// bytes: one page, so that no two devices share one. The registers need 0x100
// of it, the rest is the device's configuration space.
const WindowSize = 0x1000

// Values of the identification registers, virtio 1.2 section 4.2.2.
const (
	magicValue = 0x74726976 // "virt", little endian
	version    = 2          // not a legacy device
	vendorID   = 0x53504143 // "CAPS", little endian; free to choose
)

// NotifyOffset is the offset of QueueNotify in the window, for machines that
// let an ioeventfd catch the write: 4 bytes wide, its value the queue's index.
const NotifyOffset = regQueueNotify

// Offsets of the registers in the window, virtio 1.2 section 4.2.2, table 4.1.
// Each is 32 bits wide and little endian.
const (
	regMagicValue        = 0x000 // R
	regVersion           = 0x004 // R
	regDeviceID          = 0x008 // R
	regVendorID          = 0x00c // R
	regDeviceFeatures    = 0x010 // R
	regDeviceFeaturesSel = 0x014 // W
	regDriverFeatures    = 0x020 // W
	regDriverFeaturesSel = 0x024 // W
	regQueueSel          = 0x030 // W
	regQueueNumMax       = 0x034 // R
	regQueueNum          = 0x038 // W
	regQueueReady        = 0x044 // RW
	regQueueNotify       = 0x050 // W
	regInterruptStatus   = 0x060 // R
	regInterruptACK      = 0x064 // W
	regStatus            = 0x070 // RW
	regQueueDescLow      = 0x080 // W
	regQueueDescHigh     = 0x084 // W
	regQueueDriverLow    = 0x090 // W
	regQueueDriverHigh   = 0x094 // W
	regQueueDeviceLow    = 0x0a0 // W
	regQueueDeviceHigh   = 0x0a4 // W
	regSHMSel            = 0x0ac // W
	regSHMLenLow         = 0x0b0 // R
	regSHMLenHigh        = 0x0b4 // R
	regSHMBaseLow        = 0x0b8 // R
	regSHMBaseHigh       = 0x0bc // R
	regConfigGeneration  = 0x0fc // R
	regConfig            = 0x100 // RW, any width, to the end of the window
)

// registerSize is the only width a register may be accessed with, in bytes
// (virtio 1.2 section 4.2.2.2).
const registerSize = 4

// Bits of InterruptStatus and InterruptACK, virtio 1.2 section 4.2.2.
const (
	interruptUsed   uint32 = 1 << 0 // a used buffer notification
	interruptConfig uint32 = 1 << 1 // a configuration change notification
)

// noRegion is what SHMLen and SHMBase read as when SHMSel names no region: all
// ones (virtio 1.2 section 4.2.2).
const noRegion = ^uint64(0)
