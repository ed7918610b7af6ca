package net

import (
	"sync"
	"time"

	"github.com/libcapsa/libcapsa/internal/net/link"
	"github.com/libcapsa/libcapsa/internal/net/shaper"
	"github.com/libcapsa/libcapsa/internal/safe"
)

// Limits bound both ways, in bytes of Ethernet and in packets as the wire has them:
// a long frame is as many as it will be cut into. What is over a bound waits: in the
// transmit queue, from which nothing is taken, and with the host's side, which finds
// no room. Connections are none of a device's business.
type Limits struct {
	FromGuest, ToGuest shaper.Limits
}

// SetLimits changes the bounds, at once. It may be called from anywhere.
func (d *Device) SetLimits(l Limits) {
	d.fromGuest.Set(l.FromGuest)
	d.toGuest.Set(l.ToGuest)
	d.mu.Lock()
	s := d.limited
	d.mu.Unlock()
	if s != nil { // what waits for the old bounds asks again
		s.transmitter.pacer.after(0)
		s.receiver.pacer.after(0)
	}
}

// packets is how many packets a frame of n bytes is on a wire.
func packets(h *link.Header, n int) uint64 {
	if h.GSOType&^link.GSOECN == link.GSONone || h.GSOSize == 0 {
		return 1
	}
	size := int(h.GSOSize)
	return uint64((max(n-shortestHeaders, 1) + size - 1) / size)
}

// shortestHeaders are those of Ethernet, IPv4 and TCP. What the driver says of their
// length is its own business.
const shortestHeaders = ethHeader + 20 + 20

// longestWait bounds a timer, so that one that a clock has led astray ends.
const longestWait = time.Hour

// pacer wakes a queue when the time has come. It has a timer while something waits,
// and none otherwise.
type pacer struct {
	wake func() // does not block

	mu      sync.Mutex
	timer   *time.Timer // guarded by mu
	stopped bool        // guarded by mu
}

// after calls wake in a while.
func (p *pacer) after(d time.Duration) {
	d = min(d, longestWait)
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.stopped || p.wake == nil:
	case p.timer == nil:
		p.timer = time.AfterFunc(d, func() { _ = safe.Run("virtio net pacer", p.fire) })
	default:
		p.timer.Reset(d)
	}
}

func (p *pacer) fire() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.stopped {
		p.wake()
	}
}

// stop ends it. Postconditions: wake is not running, and is not called any more.
func (p *pacer) stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stopped = true
	if p.timer != nil {
		p.timer.Stop()
	}
}
