// Package net is the virtio network device (virtio 1.2 section 5.1): it moves
// Ethernet frames between the guest's queues and a [link.Host], the network
// behind it.
//
// It knows no protocol above Ethernet. Of a frame it looks at struct
// virtio_net_hdr, which it copies out of guest memory once and checks, and, on
// the way to the guest, at the address and the VLAN, if the driver asked for
// filters.
//
// # Queues
//
// The transmit queue belongs to a [virtio.Worker]: a batch of frames goes to
// the host's side in one call, as slices of guest memory, without a copy. The
// receive queue belongs to whoever holds its lock: the goroutine of the host's
// side that has frames copies them to guest memory itself, without waking
// another one; a goroutine of the device waits for the driver's kicks, which
// are on only while frames wait for buffers. See receive.go. The control queue
// has a worker, which publishes a new filter for each command.
//
// Locks: receiver.mu guards the receive queue and is held while frames are
// copied, and the driver is interrupted for them; Device.mu guards what the
// configuration space shows. Neither is held during a call of the host's side,
// and they do not nest.
package net

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/libcapsa/libcapsa/internal/net/link"
	"github.com/libcapsa/libcapsa/internal/net/shaper"
	"github.com/libcapsa/libcapsa/internal/virtio"
)

// The queues without MQ, section 5.1.2.
const (
	queueReceive  = 0 // receiveq1
	queueTransmit = 1 // transmitq1
	queueControl  = 2 // controlq
	queueCount    = 3
)

const (
	// queueSize is the number of descriptors of the queues for frames: the
	// most that QEMU gives (VIRTQUEUE_MAX_SIZE). Linux's receive buffers hold
	// between one MTU and a page, so that 1024 are some 20 long frames and
	// more; a long frame to be sent is one descriptor with INDIRECT_DESC, and
	// up to 19 without (MAX_SKB_FRAGS + 2).
	queueSize = 1024
	// controlSize is the same for the control queue, as QEMU has it. Linux has
	// one command under way.
	controlSize = 64
)

// Bounds of the MTU, section 5.1.4.1, and what a link has that nobody asked.
const (
	MinMTU     = 68    // RFC 791: what every link of IPv4 carries
	MaxMTU     = 65535 // what the field holds
	DefaultMTU = 1500
)

// Config is what a device is made from.
type Config struct {
	// Host is the network behind the device. It stays the caller's.
	Host link.Host
	// MAC is the address of the guest's interface. See [DeriveMAC].
	MAC MAC
	// MTU is how many bytes follow the Ethernet header of a frame at most, long
	// frames to be segmented aside. 0 is DefaultMTU.
	MTU int
	// Down: the link is down until SetLink.
	Down bool
	// Limits bound the rates; the zero value bounds nothing.
	Limits Limits
}

// Device is a network device.
type Device struct {
	host     link.Host
	original MAC
	mtu      int
	counters counters
	down     atomic.Bool

	fromGuest, toGuest *shaper.Shaper

	active *session // nil when not active; the transport serialises its changes

	mu         sync.Mutex
	mac        MAC           // that the driver wants to have; guarded by mu
	generation uint32        // changes with mac and down; guarded by mu
	signal     virtio.Signal // of a driver that asked for STATUS, or nil; guarded by mu
	limited    *session      // is active, for SetLimits; guarded by mu
}

// New makes a network device. The error says what is wrong with cfg.
func New(cfg Config) (*Device, error) {
	if cfg.MTU == 0 {
		cfg.MTU = DefaultMTU
	}
	switch {
	case cfg.Host == nil:
		return nil, errors.New("no network behind the device")
	case !cfg.MAC.Valid():
		return nil, fmt.Errorf("MAC %v: the address of one station is needed", cfg.MAC)
	case cfg.MTU < MinMTU || cfg.MTU > MaxMTU:
		return nil, fmt.Errorf("MTU %d: between %d and %d is possible", cfg.MTU, MinMTU, MaxMTU)
	}
	d := &Device{host: cfg.Host, original: cfg.MAC, mac: cfg.MAC, mtu: cfg.MTU}
	d.fromGuest, d.toGuest = shaper.New(cfg.Limits.FromGuest, nil), shaper.New(cfg.Limits.ToGuest, nil)
	d.down.Store(cfg.Down)
	return d, nil
}

// ID implements [virtio.Device].
func (d *Device) ID() virtio.DeviceID { return virtio.IDNet }

// Name implements [virtio.Device].
func (d *Device) Name() string { return "net" }

// Features implements [virtio.Device].
func (d *Device) Features() uint64 { return features }

// QueueSizes implements [virtio.Device].
func (d *Device) QueueSizes() []uint16 {
	return []uint16{queueReceive: queueSize, queueTransmit: queueSize, queueControl: controlSize}
}

// MAC is the address of the guest's interface, the driver's choice if it has
// made one.
func (d *Device) MAC() MAC {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.mac
}

// setMAC changes the address on behalf of the driver, which knows.
func (d *Device) setMAC(mac MAC) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.mac = mac
	d.generation++
}

// SetLink connects the link or takes it away, as if a cable were pulled: frames
// of both ways are dropped while it is down. A driver that can learn of it does.
// It may be called at any time from anywhere, and returns at once.
func (d *Device) SetLink(up bool) {
	d.mu.Lock()
	if d.down.Load() == !up {
		d.mu.Unlock()
		return
	}
	d.down.Store(!up)
	d.generation++
	signal := d.signal
	d.mu.Unlock()
	if signal != nil {
		signal.Config() // dropped if the driver went away meanwhile
	}
}

// Link says whether the link is up.
func (d *Device) Link() bool { return !d.down.Load() }

// Stats returns the values of this moment. They are read one by one.
func (d *Device) Stats() Stats { return d.counters.stats() }

// Activate implements [virtio.Device].
func (d *Device) Activate(a virtio.Activation) error {
	s := newSession(d, a)
	d.active = s
	d.mu.Lock()
	if a.Features&FeatureStatus != 0 {
		d.signal = a.Signal
	}
	d.limited = s
	d.mu.Unlock()
	d.host.Attach(s, offloads(a.Features))
	s.start(a)
	return nil
}

// Reset implements [virtio.Device]. The link stays as it is.
func (d *Device) Reset() {
	s := d.active
	if s == nil {
		return
	}
	d.active = nil
	d.mu.Lock()
	d.signal, d.limited = nil, nil
	d.mu.Unlock()
	s.stop()
	d.host.Detach()
	d.setMAC(d.original)
}

// Close implements [virtio.Device].
func (d *Device) Close() { d.Reset() }

var (
	_ virtio.Device       = (*Device)(nil)
	_ virtio.Generational = (*Device)(nil)
	_ virtio.Negotiating  = (*Device)(nil)
)
