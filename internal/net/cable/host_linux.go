package cable

import (
	"errors"
	"sync"
	"sync/atomic"

	"github.com/libcapsa/libcapsa/internal/net/frame"
	"github.com/libcapsa/libcapsa/internal/net/link"
)

// Stats are the counters of a Host, over all its descriptors.
type Stats struct {
	DroppedOut uint64 // of the guest: the descriptor had no room, or no other end
	DroppedIn  uint64 // for the guest: there was none, or it takes no frames like that
	Malformed  uint64 // of the other end
}

// Host is the network behind a device, at the other end of a descriptor.
type Host struct {
	// change is told that the other end has come, or gone and why: in turns, beginning
	// with its going. It must not call the Host.
	change func(up bool, why error)

	setting sync.Mutex // serialises SetFile and Close

	conn      atomic.Pointer[conn] // nil: none
	room      chan struct{}        // one pending: the guest has room, or has gone
	droppedIn atomic.Uint64
	past      Stats // of descriptors that are closed; guarded by setting

	mu       sync.Mutex
	guest    link.Guest // guarded by mu, which is held while it is called
	offloads link.Offloads
	up       bool // guarded by mu
	closed   bool // guarded by mu
	frames   []link.Frame
}

var _ link.Host = (*Host)(nil)

// New makes the network of a descriptor, which it takes over, also when it fails.
// change may be nil.
func New(cfg Config, change func(up bool, why error)) (*Host, error) {
	if change == nil {
		change = func(bool, error) {}
	}
	h := &Host{change: change, room: make(chan struct{}, 1)}
	c, err := newConn(cfg)
	if err != nil {
		return nil, err
	}
	h.up = true
	h.begin(c)
	return h, nil
}

func (h *Host) begin(c *conn) {
	h.conn.Store(c)
	c.start(func(frames []link.Frame) { h.deliver(c, frames) }, func() {}, func(err error) { h.ended(c, err) })
}

// errClosed: the Host is closed.
var errClosed = errors.New("the network is closed")

// SetFile puts another descriptor, which it takes over, in place of the one there was.
func (h *Host) SetFile(cfg Config) error {
	c, err := newConn(cfg)
	if err != nil {
		return err
	}
	h.setting.Lock()
	defer h.setting.Unlock()
	h.drop()
	h.mu.Lock()
	closed, was := h.closed, h.up
	h.up = !closed
	h.mu.Unlock()
	if closed {
		c.close()
		return errClosed
	}
	if !was {
		h.change(true, nil)
	}
	h.begin(c)
	return nil
}

// drop closes the descriptor there is. Preconditions: setting is held.
func (h *Host) drop() {
	if c := h.conn.Swap(nil); c != nil {
		h.poke()
		c.close()
		h.past.DroppedOut += c.out.dropped.Load()
		h.past.Malformed += c.out.malformed.Load()
	}
}

// ended is told that a descriptor has ended. One that was replaced is no news.
func (h *Host) ended(c *conn, why error) {
	h.mu.Lock()
	news := h.conn.Load() == c && h.up && !h.closed
	if news {
		h.up = false
	}
	h.mu.Unlock()
	if news {
		h.change(false, why)
	}
}

// Attach implements link.Host.
func (h *Host) Attach(guest link.Guest, offloads link.Offloads) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.guest, h.offloads = guest, offloads
}

// Detach implements link.Host.
func (h *Host) Detach() {
	h.mu.Lock()
	h.guest = nil
	h.mu.Unlock()
	h.poke()
}

// Send implements link.Host.
func (h *Host) Send(frames []link.Frame) {
	if c := h.conn.Load(); c != nil {
		c.out.send(frames)
	}
}

// Room implements link.Host.
func (h *Host) Room() { h.poke() }

func (h *Host) poke() {
	select {
	case h.room <- struct{}{}:
	default:
	}
}

// deliver gives the guest what has come, and waits while it has no room.
func (h *Host) deliver(c *conn, frames []link.Frame) {
	for len(frames) > 0 && h.conn.Load() == c {
		n, ok := h.offer(frames)
		if !ok {
			h.droppedIn.Add(uint64(len(frames)))
			return
		}
		if frames = frames[n:]; len(frames) > 0 {
			<-h.room
		}
	}
}

// offer returns how many frames the guest took; it is false without a guest.
func (h *Host) offer(frames []link.Frame) (int, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.guest == nil {
		return 0, false
	}
	for i := range frames {
		if f := &frames[i]; !frame.Fits(&f.Header, etherType(f.Data[0]), h.offloads) {
			if i > 0 { // those before it first
				return max(h.guest.Receive(frames[:i]), 0), true
			}
			return h.fit(f)
		}
	}
	return max(h.guest.Receive(frames), 0), true
}

func etherType(b []byte) uint16 { return uint16(b[12])<<8 | uint16(b[13]) }

// fit gives the guest a frame in pieces that it takes. Those that have no room are
// lost, as at the end of a switch's queue. Preconditions: mu is held.
func (h *Host) fit(f *link.Frame) (int, bool) {
	h.frames = h.frames[:0]
	ok := frame.Fit(f.Data[0], f.Header, h.offloads, func(hdr link.Header, b []byte) {
		h.frames = append(h.frames, link.Frame{Header: hdr, Data: [][]byte{append([]byte(nil), b...)}})
	})
	if !ok {
		h.droppedIn.Add(1)
	}
	if n := len(h.frames); n > 0 {
		h.droppedIn.Add(uint64(n - max(h.guest.Receive(h.frames), 0)))
	}
	clear(h.frames)
	return 1, true
}

// Stats are the counters of this moment.
func (h *Host) Stats() Stats {
	h.setting.Lock()
	s := h.past
	h.setting.Unlock()
	if c := h.conn.Load(); c != nil {
		s.DroppedOut += c.out.dropped.Load()
		s.Malformed += c.out.malformed.Load()
	}
	s.DroppedIn = h.droppedIn.Load()
	return s
}

// Close ends the descriptor and joins what served it. Idempotent.
func (h *Host) Close() error {
	h.mu.Lock()
	h.closed = true
	h.mu.Unlock()
	h.setting.Lock()
	defer h.setting.Unlock()
	h.drop()
	return nil
}
