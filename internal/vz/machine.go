package vz

import (
	"sync"
	"time"

	"github.com/libcapsa/libcapsa/internal/safe"
	"github.com/libcapsa/libcapsa/internal/vm"
	"github.com/libcapsa/libcapsa/internal/vz/plan"
)

// machine is one virtual machine. Fields without a note are written while it is
// assembled and constant afterwards.
type machine struct {
	cfg  vm.Config
	host vm.Host
	caps vm.Capabilities
	plan *plan.Plan
	born time.Time

	guest   Guest
	console *console
	nic     *nic     // nil: no network of ours
	sockets *sockets // nil: there are none
	undo    []func() // of assembling, in order

	panicWait time.Duration // the constant, but in tests

	timer *time.Timer // of cfg.Timeout; nil without one; guarded by mu

	opMu sync.Mutex // serialises what changes the guest's state; taken before mu

	mu       sync.Mutex
	state    vm.State    // guarded by mu
	closed   bool        // guarded by mu
	started  time.Time   // guarded by mu
	ranOnce  bool        // the framework has said that it runs; guarded by mu
	over     *ending     // of a guest that ended while Start was at work; guarded by mu
	ending   *ending     // why it ends; the first reason stays; guarded by mu
	exit     vm.Exit     // guarded by mu; valid once done is closed
	timeline vm.Timeline // guarded by mu
	target   uint64      // of the memory, in bytes; guarded by mu
	closeErr error       // written before done is closed
	watching sync.WaitGroup

	done chan struct{} // closed when exit is valid and nothing else is left
}

var (
	_ vm.Machine   = (*machine)(nil)
	_ vm.Sockets   = (*machine)(nil)
	_ vm.Networked = (*machine)(nil)
	_ vm.Saver     = (*machine)(nil)
)

// ending is why a machine ends.
type ending struct {
	cause  vm.Cause
	err    error // for causes that are failures
	detail string
	panic  string // the kernel's words, when they are the cause
}

// newMachine assembles a machine. When it fails nothing is left.
func newMachine(f Framework, p *plan.Plan, caps vm.Capabilities, cfg vm.Config, host vm.Host) (_ *machine, err error) {
	m := &machine{
		cfg: cfg, host: host, caps: caps, plan: p, born: time.Now(), panicWait: panicWait,
		state: vm.StateCreated, target: cfg.Memory, done: make(chan struct{}),
	}
	defer func() {
		if err != nil {
			m.release()
		}
	}()
	ends := Ends{Log: m.logf}
	for _, step := range []func(*Ends) error{m.keepInitrd, m.makeConsole, m.makeNetwork, m.makeSockets} {
		if err := step(&ends); err != nil {
			ends.Close()
			return nil, wrap(opNew, err)
		}
	}
	if m.guest, err = f.New(p, ends); err != nil {
		return nil, wrap(opNew, err)
	}
	m.undo = append(m.undo, m.closeGuest)
	m.watching.Add(1)
	safe.Go("vz states", m.crashed, func() {
		defer m.watching.Done()
		m.watch(m.guest.States())
	})
	m.console.start()
	m.timeline.Created = time.Since(m.born)
	return m, nil
}

// closeGuest also joins watch.
func (m *machine) closeGuest() {
	m.closeErr = wrap("close", m.guest.Close())
	m.watching.Wait()
}

// release undoes the assembling in reverse order.
func (m *machine) release() {
	for i := len(m.undo) - 1; i >= 0; i-- {
		m.undo[i]()
	}
	m.undo = nil
}

// logf tells the host of something that a person may want to know.
func (m *machine) logf(format string, a ...any) { m.log(component, format, a...) }

// Stats implements vm.Machine.
func (m *machine) Stats() vm.Stats {
	m.mu.Lock()
	s := vm.Stats{Timeline: m.timeline, Memory: m.cfg.Memory, CPUs: m.cfg.CPUs}
	target := m.target
	m.mu.Unlock()
	s.Timeline.ConsoleOpen = m.console.opened()
	s.Devices = append(s.Devices, m.console.stats())
	if m.nic != nil {
		s.Devices = append(s.Devices, m.nic.stats())
	}
	if !m.cfg.Balloon.Off {
		s.Balloon = &vm.BalloonStats{Target: target}
	}
	return s
}

// Done implements vm.Machine.
func (m *machine) Done() <-chan struct{} { return m.done }

// Exit implements vm.Machine.
func (m *machine) Exit() vm.Exit {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.exit
}
