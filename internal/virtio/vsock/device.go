// Package vsock is the virtio socket device (virtio 1.2 section 5.10): it moves
// packets between the guest's queues and the host's side of the connections, a
// [Host].
//
// It knows no connections and no sockets. It copies each header out of guest
// memory once and hands the copy on; payload goes on as slices of guest memory,
// for the host's side to give to system calls.
//
// The transmit queue belongs to a [virtio.Worker], and so do the packets of it
// that the host's side keeps. The receive queue belongs to whoever holds its
// lane: the goroutine that learns that there is something for the guest takes it
// there itself, without waking another one. See receive.go.
package vsock

import (
	"encoding/binary"

	"github.com/libcapsa/libcapsa/internal/virtio"
	"github.com/libcapsa/libcapsa/internal/vsock/packet"
)

// Features of the device type, virtio 1.2 section 5.10.3.
const (
	FeatureStream    uint64 = 1 << 0 // VIRTIO_VSOCK_F_STREAM
	FeatureSeqPacket uint64 = 1 << 1 // VIRTIO_VSOCK_F_SEQPACKET
)

// The queues, section 5.10.2.
const (
	queueReceive  = 0 // packets to the guest
	queueTransmit = 1 // packets of the guest
	queueEvent    = 2 // events for the driver
)

const (
	// queueSize is the number of descriptors of the queues for packets. Linux
	// fills the receive queue with buffers of a page and more: 256 of them are
	// four windows of its sockets (VIRTIO_VSOCK_DEFAULT_BUF_SIZE), and it fills
	// up when half are left.
	queueSize = 256
	// eventQueueSize is the number of descriptors of the event queue. Linux
	// has 8 buffers there (struct virtio_vsock, event_list).
	eventQueueSize = 16
)

// configSize is the length of struct virtio_vsock_config in bytes: le64
// guest_cid (section 5.10.4).
const configSize = 8

// Host is the host's side of the guest's connections.
type Host interface {
	// GuestCID is the guest's address. It never changes.
	GuestCID() uint64
	// Attach begins to serve a driver, until Detach.
	Attach(link packet.Link)
	// Detach ends the connections of the driver. Send and Fill are not running
	// and are not called any more. When it returns, no packet is kept.
	Detach()
	// Send takes a packet of the guest. It is true when the packet is kept and
	// must not be given back before Finished has returned it. One goroutine
	// calls both.
	Send(p *packet.Packet) (kept bool)
	// Finished returns the next packet that is not kept any more, nil if there
	// is none. link.Guest.Reclaim announces them.
	Finished() *packet.Packet
	// Pending says whether there are packets for the guest.
	Pending() bool
	// Fill writes packets for the guest to the slots and returns how many
	// slots it used, from the first one on. 0: there is nothing. One goroutine
	// at a time calls it.
	Fill(slots []packet.Slot) int
}

// Device is a socket device.
type Device struct {
	host   Host
	active *session // nil when not active; the transport serialises its changes
}

// New makes a socket device. The host's side stays the caller's.
func New(host Host) *Device { return &Device{host: host} }

// ID implements [virtio.Device].
func (d *Device) ID() virtio.DeviceID { return virtio.IDVsock }

// Name implements [virtio.Device].
func (d *Device) Name() string { return "vsock" }

// Features implements [virtio.Device].
func (d *Device) Features() uint64 { return FeatureStream | FeatureSeqPacket }

// QueueSizes implements [virtio.Device].
func (d *Device) QueueSizes() []uint16 {
	return []uint16{queueReceive: queueSize, queueTransmit: queueSize, queueEvent: eventQueueSize}
}

// ReadConfig implements [virtio.Device].
func (d *Device) ReadConfig(offset uint32, p []byte) {
	clear(p)
	if offset >= configSize {
		return
	}
	var fields [configSize]byte
	binary.LittleEndian.PutUint64(fields[:], d.host.GuestCID())
	copy(p, fields[offset:])
}

// WriteConfig implements [virtio.Device]: there is nothing to write.
func (d *Device) WriteConfig(uint32, []byte) {}

// Activate implements [virtio.Device].
func (d *Device) Activate(a virtio.Activation) error {
	s := &session{host: d.host, counters: a.Counters}
	s.lane.init(d.host, a)
	s.transmitter.init(s, a)
	d.active = s
	d.host.Attach(packet.Link{
		Guest:     s,
		SeqPacket: a.Features&FeatureSeqPacket != 0,
		Keep:      s.transmitter.keep(),
	})
	s.start(a)
	return nil
}

// Reset implements [virtio.Device].
func (d *Device) Reset() {
	s := d.active
	if s == nil {
		return
	}
	d.active = nil
	s.stop()
	d.host.Detach()
}

// Close implements [virtio.Device].
func (d *Device) Close() { d.Reset() }

var _ virtio.Device = (*Device)(nil)
