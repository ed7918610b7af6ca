package shaper

import (
	"sync"
	"sync/atomic"
	"time"
)

// Limits are the bounds of one way. The zero value bounds nothing.
type Limits struct {
	Bytes       Rate // of Ethernet, IP or payload: whatever the caller counts
	Packets     Rate
	Connections Rate // new ones
}

func (l *Limits) bound() bool {
	return l.Bytes.PerSecond != 0 || l.Packets.PerSecond != 0 || l.Connections.PerSecond != 0
}

// Stats are the counters of one way, of what was asked while there was a bound.
type Stats struct {
	Bytes, Packets, Connections uint64 // that passed
	Held                        uint64 // times that something had to wait
}

// Clock is the time since some moment; it does not go back, or is taken to
// stand while it does.
type Clock func() time.Duration

// Since is the clock of the machine, from now on.
func Since() Clock {
	start := time.Now()
	return func() time.Duration { return time.Since(start) }
}

// Shaper bounds one way. Every method may be called from every goroutine.
type Shaper struct {
	now   Clock
	bound atomic.Bool // there is a limit: spares the lock where there is none

	mu          sync.Mutex
	bytes       bucket // guarded by mu, like the rest
	packets     bucket
	connections bucket
	stats       Stats
}

// New makes a Shaper whose buckets are full. now is nil for the machine's clock.
func New(l Limits, now Clock) *Shaper {
	if now == nil {
		now = Since()
	}
	at := now()
	s := &Shaper{
		now:         now,
		bytes:       newBucket(l.Bytes, at),
		packets:     newBucket(l.Packets, at),
		connections: newBucket(l.Connections, at),
	}
	s.bound.Store(l.bound())
	return s
}

// Set changes the limits. What was used before counts on, so that a change does
// not give a burst away; whoever waits asks again.
func (s *Shaper) Set(l Limits) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	s.bytes.change(l.Bytes, now)
	s.packets.change(l.Packets, now)
	s.connections.change(l.Connections, now)
	s.bound.Store(l.bound())
}

// Bound says whether there is any limit.
func (s *Shaper) Bound() bool { return s.bound.Load() }

// Pass lets a number of packets with bytes together pass, or says how long it is
// until they may. Both buckets are charged, or none. A long frame to be
// segmented is as many packets as it becomes. What is larger than a burst passes
// when its bucket is full, and the next one waits longer.
//
// 0: they have passed. Forever: not in this life.
func (s *Shaper) Pass(packets, bytes uint64) (wait time.Duration) {
	if !s.bound.Load() {
		return 0
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if wait = s.until(packets, bytes); wait > 0 {
		s.stats.Held++
		return wait
	}
	s.packets.take(packets)
	s.bytes.take(bytes)
	s.stats.Packets += packets
	s.stats.Bytes += bytes
	return 0
}

// Until says how long it is until Pass would let them pass, and charges nothing.
func (s *Shaper) Until(packets, bytes uint64) time.Duration {
	if !s.bound.Load() {
		return 0
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.until(packets, bytes)
}

// until is Until. Preconditions: mu is held.
func (s *Shaper) until(packets, bytes uint64) time.Duration {
	now := s.now()
	s.packets.fill(now)
	s.bytes.fill(now)
	return max(s.packets.wait(packets), s.bytes.wait(bytes))
}

// Connect lets a new connection pass, or says how long it is until it may.
func (s *Shaper) Connect() (wait time.Duration) {
	if !s.bound.Load() {
		return 0
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.connections.fill(s.now())
	if wait = s.connections.wait(1); wait > 0 {
		s.stats.Held++
		return wait
	}
	s.connections.take(1)
	s.stats.Connections++
	return 0
}

// Budget is how many packets and bytes may pass now without a debt: as much is
// worth reading from a socket. Without a bound it is math.MaxUint64.
func (s *Shaper) Budget() (packets, bytes uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	s.packets.fill(now)
	s.bytes.fill(now)
	return s.packets.left(), s.bytes.left()
}

// Stats returns the counters.
func (s *Shaper) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stats
}
