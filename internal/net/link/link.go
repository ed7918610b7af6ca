// Package link is the seam between a network device and the network behind it:
// Ethernet frames with what virtio says about them, handed over as slices,
// without a queue and without a goroutine in between.
//
// A device implements [Guest] and calls a [Host]; a network implements Host and
// calls a Guest. Neither knows the other's package.
package link

// Segmentation of a frame that is longer than the MTU, as in the field gso_type
// of struct virtio_net_hdr (virtio 1.2 section 5.1.6).
const (
	GSONone  uint8 = 0 // VIRTIO_NET_HDR_GSO_NONE
	GSOTCPv4 uint8 = 1 // VIRTIO_NET_HDR_GSO_TCPV4
	GSOTCPv6 uint8 = 4 // VIRTIO_NET_HDR_GSO_TCPV6
	GSOUDPL4 uint8 = 5 // VIRTIO_NET_HDR_GSO_UDP_L4: one datagram per segment (USO)
	GSOECN   uint8 = 0x80
)

// What is known about the frame's transport checksum, as in the field flags of
// struct virtio_net_hdr.
const (
	NeedsChecksum uint8 = 1 // VIRTIO_NET_HDR_F_NEEDS_CSUM: partial, to be completed from CSumStart on
	DataValid     uint8 = 2 // VIRTIO_NET_HDR_F_DATA_VALID: checked
)

// Header is struct virtio_net_hdr without its number of buffers, which is the
// device's business. From a guest it is a copy, and hostile: offsets may lie
// anywhere.
type Header struct {
	Flags      uint8  // NeedsChecksum, DataValid
	GSOType    uint8  // GSONone and so on; GSOECN is added
	HdrLen     uint16 // bytes of Ethernet, IP and TCP or UDP header; a hint
	GSOSize    uint16 // bytes of payload of one segment
	CSumStart  uint16 // where the checksum begins
	CSumOffset uint16 // where it is stored, from CSumStart on
}

// MaxFrame is the longest frame in bytes, with its Ethernet header: 64 KiB of IP
// packet and what the link adds.
const MaxFrame = 65535 + 14

// Frame is one Ethernet frame, without its check sequence.
type Frame struct {
	Header Header
	// Data are the bytes, in order. They are borrowed for the call: from a
	// guest they are guest memory, which may change while they are read, so
	// what is parsed is copied first. A guest chooses how many pieces there
	// are, up to some thousands.
	Data [][]byte
}

// Len is the number of bytes of the frame.
func (f *Frame) Len() (n int) {
	for _, d := range f.Data {
		n += len(d)
	}
	return n
}

// Offloads are what a guest's driver takes: frames with partial checksums, and
// frames longer than the MTU. What it does not take is done in software by the
// host's side, before Receive.
type Offloads struct {
	Checksum   bool // VIRTIO_NET_F_GUEST_CSUM
	TSO4, TSO6 bool // VIRTIO_NET_F_GUEST_TSO4, _TSO6; with Checksum only
	ECN        bool // VIRTIO_NET_F_GUEST_ECN
	USO4, USO6 bool // VIRTIO_NET_F_GUEST_USO4, _USO6
}

// Guest is a device that is in use by a driver.
type Guest interface {
	// Receive copies frames to the guest in order and returns how many it took.
	// Fewer than all: there was no room, the rest is the caller's, and
	// Host.Room is called once there is. A frame that cannot be taken at all
	// (too long for the driver's buffers) is dropped, counted and counts as
	// taken; so does one while the link is down. Any goroutine may call it,
	// several at once; it never blocks for longer than it copies, and calls no
	// Host. The frames of one call are worth one interrupt, or few if they are
	// many.
	//
	// A guest that has given up takes nothing, and there is no Room then, but a
	// Detach when its driver resets the device.
	Receive(frames []Frame) int
}

// Host is the network behind a device.
type Host interface {
	// Attach begins to serve a driver, until Detach.
	Attach(guest Guest, offloads Offloads)
	// Detach ends that. Send and Room are not running and not called any more;
	// when it returns, the Guest is not called any more either.
	Detach()
	// Send takes frames of the guest, in order. One goroutine calls it. Their
	// headers were checked against what was negotiated: checksums lie in the
	// frame, and GSOSize of a long frame is not 0. It may call Receive. It does
	// not block: what it cannot hold it drops and counts, as a wire does.
	Send(frames []Frame)
	// Room says that there is room again for what Receive did not take. It may
	// call Receive. It has a goroutine of its own: Send may be running, and the
	// Receive that found no room may not have returned yet to whoever called
	// it. There may still be less room than is needed.
	Room()
}
