package virtio

import "strconv"

// DeviceID is the device type number of virtio 1.2 chapter 5.
type DeviceID uint32

// Device types this project has devices for, or may have.
const (
	IDNet     DeviceID = 1  // section 5.1, network card
	IDBlock   DeviceID = 2  // section 5.2, block device
	IDConsole DeviceID = 3  // section 5.3, console
	IDEntropy DeviceID = 4  // section 5.4, entropy source
	IDBalloon DeviceID = 5  // section 5.5, traditional memory balloon
	IDVsock   DeviceID = 19 // section 5.10, socket device
	IDFS      DeviceID = 26 // section 5.11, file system device
)

// String returns the name of the device type, or its number.
func (id DeviceID) String() string {
	switch id {
	case IDNet:
		return "net"
	case IDBlock:
		return "block"
	case IDConsole:
		return "console"
	case IDEntropy:
		return "entropy"
	case IDBalloon:
		return "balloon"
	case IDVsock:
		return "vsock"
	case IDFS:
		return "fs"
	default:
		return "device type " + strconv.FormatUint(uint64(id), 10)
	}
}

// Feature bits that are not of a device type, virtio 1.2 chapter 6.
const (
	// FeatureRingIndirectDesc: descriptors may point to tables of descriptors.
	FeatureRingIndirectDesc uint64 = 1 << 28
	// FeatureRingEventIdx: used_event and avail_event replace the ring flags.
	FeatureRingEventIdx uint64 = 1 << 29
	// FeatureVersion1: not a legacy device. A version 2 MMIO transport cannot
	// be driven without it.
	FeatureVersion1 uint64 = 1 << 32
)

// TransportFeatures are the bits a transport offers for every device.
const TransportFeatures = FeatureVersion1 | FeatureRingIndirectDesc | FeatureRingEventIdx

// Status is the device status field, virtio 1.2 section 2.1.
type Status uint32

// Bits of the device status field.
const (
	StatusAcknowledge Status = 1   // the guest has noticed the device
	StatusDriver      Status = 2   // the guest has a driver for it
	StatusDriverOK    Status = 4   // the driver is set up
	StatusFeaturesOK  Status = 8   // feature negotiation is complete
	StatusNeedsReset  Status = 64  // the device has met an error it cannot recover from
	StatusFailed      Status = 128 // the guest has given up on the device
)
