//go:build linux

package kvm

import (
	"errors"
	"fmt"
	"time"

	"github.com/libcapsa/libcapsa/internal/safe"
	"github.com/libcapsa/libcapsa/internal/vm"
)

// ending is why a machine ends.
type ending struct {
	cause  vm.Cause
	err    error  // for causes that are failures
	detail string // for a person
}

// move changes the state, or says why it cannot.
//
// Preconditions: mu is held.
func (m *machine) move(op string, to vm.State) error {
	if m.closed {
		return closedError(op)
	}
	if m.ending != nil {
		return vm.Errorf(vm.KindState, op, "the machine has ended").WithComponent(component)
	}
	if err := m.state.Check(op, to); err != nil {
		return err
	}
	m.state = to
	return nil
}

func closedError(op string) error {
	return vm.Errorf(vm.KindClosed, op, "the machine is closed").WithComponent(component)
}

// Start implements vm.Machine.
func (m *machine) Start() error {
	m.opMu.Lock()
	defer m.opMu.Unlock()
	m.mu.Lock()
	if err := m.move("start", vm.StateStarting); err != nil {
		m.mu.Unlock()
		return err
	}
	m.started = time.Now()
	m.state = vm.StateRunning
	if m.cfg.Timeout > 0 {
		m.timer = time.AfterFunc(m.cfg.Timeout, m.timedOut)
	}
	// Under mu: a Kill that comes now finds vCPUs to kick.
	m.gate.enter(len(m.vcpus))
	for _, c := range m.vcpus {
		safe.Go(fmt.Sprintf("kvm CPU %d", c.kvm.ID()), nil, func() {
			// The last one out sees to the end, which is not to wait for a thread
			// to wake.
			defer func() {
				if m.gate.leave() {
					m.finish()
				}
			}()
			if err := safe.Run("vCPU thread", c.run); err != nil {
				m.crashed(err)
			}
		})
	}
	m.mu.Unlock()
	m.timeline.started.mark(m.born)
	return nil
}

func (m *machine) timedOut() { m.end(ending{cause: vm.CauseTimedOut}) }

// crashed ends the machine after a panic in one of its goroutines.
func (m *machine) crashed(err error) {
	e := ending{
		cause: vm.CauseVMMCrash,
		err:   vm.Errorf(vm.KindVMMDied, "run", "%w", err).WithComponent(component).WithHint("this is a bug in libcapsa; please report it"),
	}
	var p *safe.PanicError
	if errors.As(err, &p) {
		e.detail = string(p.Stack)
	}
	m.end(e)
}

// Pause implements vm.Machine.
func (m *machine) Pause() error {
	m.opMu.Lock()
	defer m.opMu.Unlock()
	const op = "pause"
	m.mu.Lock()
	if err := m.move(op, vm.StatePaused); err != nil {
		m.mu.Unlock()
		return err
	}
	m.gate.set(orderPause)
	m.mu.Unlock()
	m.kick()
	if !m.gate.waitParked() {
		return vm.Errorf(vm.KindState, op, "the machine ended before it was paused").WithComponent(component)
	}
	return nil
}

// Resume implements vm.Machine.
func (m *machine) Resume() error {
	m.opMu.Lock()
	defer m.opMu.Unlock()
	const op = "resume"
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.state != vm.StatePaused && m.ending == nil && !m.closed {
		return vm.Errorf(vm.KindState, op, "the machine is %s, not paused", m.state).WithComponent(component)
	}
	if err := m.move(op, vm.StateRunning); err != nil {
		return err
	}
	m.gate.set(orderRun)
	return nil
}

// kick makes every vCPU look at the gate.
func (m *machine) kick() {
	for _, c := range m.vcpus {
		c.kick()
	}
}

// PowerButton implements vm.Machine.
func (m *machine) PowerButton() error {
	const op = "power button"
	m.mu.Lock()
	switch {
	case m.closed:
		m.mu.Unlock()
		return closedError(op)
	case m.ending != nil || m.state != vm.StateRunning:
		state := m.state
		m.mu.Unlock()
		return vm.Errorf(vm.KindState, op, "the machine is %s, not running", state).WithComponent(component)
	}
	m.mu.Unlock()
	m.power.PressButton()
	return nil
}

// ResizeConsole implements vm.Machine.
func (m *machine) ResizeConsole(cols, rows uint16) error {
	const op = "resize console"
	m.mu.Lock()
	switch {
	case m.closed:
		m.mu.Unlock()
		return closedError(op)
	case m.ending != nil:
		m.mu.Unlock()
		return vm.Errorf(vm.KindState, op, "the machine has ended").WithComponent(component)
	}
	m.mu.Unlock()
	m.console.Resize(cols, rows)
	return nil
}

// end makes the machine end; the first reason is the one that is recorded. It
// returns at once and may be called from everywhere, vCPU threads included.
func (m *machine) end(why ending) {
	m.mu.Lock()
	first := m.ending == nil
	if first {
		m.ending = &why
		if len(m.disks) > 0 {
			m.stuck = time.AfterFunc(storageGrace, m.abandonDisks)
		}
		if m.timer != nil {
			m.timer.Stop()
		}
	}
	unstarted := first && m.started.IsZero()
	if m.state.Can(vm.StateStopping) {
		m.state = vm.StateStopping
	}
	m.gate.set(orderStop)
	if unstarted {
		safe.Go("kvm end", nil, m.finish)
	}
	m.mu.Unlock()
	m.kick()
}

// finish releases everything and makes the record. Nobody is woken before, as
// whoever waits for the end waits for all of it.
//
// Preconditions: no vCPU runs, and none will.
func (m *machine) finish() {
	if err := safe.Run("drain", m.drain); err != nil {
		m.log(component, err.Error())
	}
	m.timeline.ended.mark(m.born)
	if err := safe.Run("release", func() { m.closeErr = m.undo.run() }); err != nil {
		m.closeErr = err
	}
	m.record()
}

// record writes the exit record and closes done.
func (m *machine) record() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.stuck != nil {
		m.stuck.Stop()
	}
	m.report.stop()
	if m.ending == nil { // the vCPUs left without a word
		m.ending = &ending{cause: vm.CauseVMMCrash, err: vm.Errorf(vm.KindInternal, "run", "all vCPUs left").WithComponent(component)}
	}
	e := vm.Exit{Cause: m.ending.cause, Err: m.ending.err, Detail: m.ending.detail}
	if !m.started.IsZero() {
		e.Uptime = max(1, m.timeline.ended.get()-m.started.Sub(m.born))
	}
	if text := m.panicText(); text != "" {
		switch e.Cause {
		case vm.CauseReboot, vm.CauseTripleFault, vm.CausePanic:
			// A kernel that panicked says so or resets the machine, one way or another.
			e.Cause, e.PanicText = vm.PanicCause(text), text
		default:
			if e.Detail == "" {
				e.Detail = "the guest's kernel had panicked: " + text
			}
		}
	} else if e.Cause == vm.CausePanic && e.Detail == "" {
		e.Detail = noLastWords
	}
	m.exit = e
	m.state = e.State()
	close(m.done)
}

// Kill implements vm.Machine.
func (m *machine) Kill(cause vm.Cause) error {
	if !cause.Known() {
		return vm.Errorf(vm.KindInvalidArg, "kill", "there is no cause %d", int32(cause)).WithComponent(component)
	}
	why := ending{cause: cause}
	if cause.Failure() { // its caller knows more; the record must have an error
		why.err = vm.Errorf(vm.KindVMMDied, "kill", "%s", cause).WithComponent(component)
	}
	m.end(why)
	<-m.done
	return nil
}

// Done implements vm.Machine.
func (m *machine) Done() <-chan struct{} { return m.done }

// Exit implements vm.Machine.
func (m *machine) Exit() vm.Exit {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.exit
}

// Close implements vm.Machine.
func (m *machine) Close() error {
	m.mu.Lock()
	m.closed = true
	m.mu.Unlock()
	m.end(ending{cause: vm.CauseKilled})
	<-m.done
	return m.closeErr
}
