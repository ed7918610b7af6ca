package mmio

import (
	"sync"

	"github.com/libcapsa/libcapsa/internal/virtio"
)

// line is the device's side of the transport: the interrupt, and the registers
// that a device changes while its driver runs. Its lock is a leaf, so that a
// device may signal from everywhere, even while the transport is calling it.
type line struct {
	raise    func() // Backing.Interrupt; called with mu held, so that shut is a border
	counters *virtio.Counters
	log      limiter

	mu         sync.Mutex
	session    *session // guarded by mu; nil when the device is not active
	pending    uint32   // guarded by mu; InterruptStatus
	needsReset bool     // guarded by mu
	generation uint32   // guarded by mu; of the configuration space; never reset
}

// session is the [virtio.Signal] of one activation. One that is over is told
// from the current one by its address, so a completion that outlives a reset
// cannot reach the next driver.
type session struct{ line *line }

// open begins an activation.
func (l *line) open() *session {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.session = &session{line: l}
	return l.session
}

// current returns the session of the activation in progress, nil without one.
func (l *line) current() *session {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.session
}

// shut ends an activation and clears its registers. Postconditions: nothing
// of an earlier session has an effect any more; raise is not called.
func (l *line) shut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.session = nil
	l.pending = 0
	l.needsReset = false
}

func (l *line) interruptStatus() uint32 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.pending
}

func (l *line) acknowledge(bits uint32) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.pending &^= bits
}

func (l *line) configGeneration() uint32 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.generation
}

func (l *line) needsResetBit() virtio.Status {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.needsReset {
		return virtio.StatusNeedsReset
	}
	return 0
}

// send sets bits of InterruptStatus and raises the interrupt, also when the
// bits are set already: an edge that the guest's interrupt controller lost
// while it was masked is then made good by the next one.
func (l *line) send(from *session, bits uint32, needsReset bool) (sent bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.session != from {
		return false
	}
	l.pending |= bits
	if bits&interruptConfig != 0 {
		l.generation++
	}
	if needsReset {
		l.needsReset = true
		l.counters.AddFault()
	}
	l.counters.AddInterrupt()
	l.raise()
	return true
}

// Queue implements [virtio.Signal].
func (s *session) Queue(int) { s.line.send(s, interruptUsed, false) }

// Config implements [virtio.Signal].
func (s *session) Config() { s.line.send(s, interruptConfig, false) }

// Fail implements [virtio.Signal].
func (s *session) Fail(err error) {
	if s.line.send(s, interruptConfig, true) {
		s.line.log.printf("needs a reset: %v", err)
	}
}

var _ virtio.Signal = (*session)(nil)
