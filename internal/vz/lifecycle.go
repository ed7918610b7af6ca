package vz

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/libcapsa/libcapsa/internal/safe"
	"github.com/libcapsa/libcapsa/internal/vm"
	"github.com/libcapsa/libcapsa/internal/vz/plan"
)

// refuse is the error of a call that comes too late, or nil. Preconditions: mu is held.
func (m *machine) refuse(op string) error {
	switch {
	case m.closed:
		return vm.Errorf(vm.KindClosed, op, "the machine is closed").WithComponent(component)
	case m.ending != nil:
		return vm.Errorf(vm.KindState, op, "the machine has ended").WithComponent(component)
	}
	return nil
}

// late is refuse for those who do not hold mu.
func (m *machine) late(op string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.refuse(op)
}

// move goes from one state through do to another.
func (m *machine) move(op string, from, to vm.State, do func() error) error {
	m.opMu.Lock()
	defer m.opMu.Unlock()
	m.mu.Lock()
	err := m.refuse(op)
	if err == nil && m.state != from {
		err = vm.Errorf(vm.KindState, op, "the machine is %s, not %s", m.state, from).WithComponent(component)
	}
	m.mu.Unlock()
	if err != nil {
		return err
	}
	err = do()
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.ending != nil: // meanwhile
		return vm.Errorf(vm.KindState, op, "the machine has ended").WithComponent(component)
	case err != nil:
		return wrap(op, err)
	}
	m.state = to
	return nil
}

// Start implements vm.Machine.
func (m *machine) Start() error {
	m.opMu.Lock()
	defer m.opMu.Unlock()
	m.mu.Lock()
	err := m.refuse("start")
	if err == nil {
		err = m.state.Check("start", vm.StateStarting)
	}
	if err != nil {
		m.mu.Unlock()
		return err
	}
	m.state, m.started = vm.StateStarting, time.Now()
	if m.cfg.Timeout > 0 {
		m.timer = time.AfterFunc(m.cfg.Timeout, func() { m.end(ending{cause: vm.CauseTimedOut}) })
	}
	m.mu.Unlock()

	err = wrap("start", m.launch())

	m.mu.Lock()
	switch {
	case err != nil:
		m.mu.Unlock()
		m.end(ending{cause: vm.CauseVMMCrash, err: err})
		return err
	case m.ending != nil: // meanwhile
		m.mu.Unlock()
		return nil
	}
	m.state = vm.StateRunning
	m.timeline.Started = time.Since(m.born)
	over, target := m.over, m.target
	m.mu.Unlock()
	if over != nil {
		m.end(*over)
		return nil
	}
	if target != m.cfg.Memory {
		if err := m.guest.SetMemory(target); err != nil {
			m.logf("memory target: %v", err)
		}
	}
	if m.sockets != nil {
		m.sockets.run(m.guest)
	}
	return nil
}

// launch boots the guest, or goes on from where it was saved.
func (m *machine) launch() error {
	if m.plan.Restore == "" {
		return m.guest.Start()
	}
	if err := m.guest.Restore(m.plan.Restore); err != nil {
		return err
	}
	return m.guest.Resume()
}

// watch follows what the guest does by itself.
func (m *machine) watch(states <-chan State) {
	for s := range states {
		switch s {
		case Running:
			m.mu.Lock()
			m.ranOnce = true
			m.mu.Unlock()
		case Stopped:
			m.ended(ending{cause: vm.CauseGuestShutdown})
		case Failed:
			m.ended(ending{cause: vm.CauseVMMCrash, err: vm.Errorf(vm.KindVMMDied, "run",
				"Virtualization.framework ended the machine with an internal error").WithComponent(component).
				WithHint("Console.app shows what com.apple.Virtualization says")})
		}
	}
}

// ended ends the machine whose guest has ended, unless Start is still at work, which
// then says why.
func (m *machine) ended(why ending) {
	m.mu.Lock()
	ran, starting := m.ranOnce, m.state == vm.StateStarting
	if starting && ran {
		m.over = &why
	}
	m.mu.Unlock()
	if ran && !starting {
		m.end(why)
	}
}

// Pause implements vm.Machine.
func (m *machine) Pause() error {
	return m.move("pause", vm.StateRunning, vm.StatePaused, func() error { return m.guest.Pause() })
}

// Resume implements vm.Machine.
func (m *machine) Resume() error {
	return m.move("resume", vm.StatePaused, vm.StateRunning, func() error { return m.guest.Resume() })
}

// PowerButton implements vm.Machine.
func (m *machine) PowerButton() error {
	return m.move("power button", vm.StateRunning, vm.StateRunning, func() error { return m.guest.RequestStop() })
}

// ResizeConsole implements vm.Machine: the framework has no way to tell the guest.
func (m *machine) ResizeConsole(uint16, uint16) error {
	const op = "resize console"
	if err := m.late(op); err != nil {
		return err
	}
	return m.caps.Refuse(vm.FeatureConsoleResize, op, component)
}

// SetMemoryTarget implements vm.Machine.
func (m *machine) SetMemoryTarget(bytes uint64) error {
	const op = "set memory target"
	m.opMu.Lock()
	defer m.opMu.Unlock()
	if err := m.late(op); err != nil {
		return err
	}
	if err := m.cfg.CheckMemoryTarget(op, bytes); err != nil {
		return err
	}
	if bytes == 0 {
		bytes = m.cfg.Memory
	}
	bytes = bytes / vm.MiB * vm.MiB // the framework's unit
	m.mu.Lock()
	up := m.state == vm.StateRunning || m.state == vm.StatePaused
	m.mu.Unlock()
	if up { // else Start does it
		if err := m.guest.SetMemory(bytes); err != nil {
			return wrap(op, err)
		}
	}
	m.mu.Lock()
	m.target = bytes
	m.mu.Unlock()
	return nil
}

// Save implements vm.Saver. The identifier, without which the state is of no use, is
// written first.
func (m *machine) Save(path string) error {
	const op = "save"
	if err := m.late(op); err != nil {
		return err
	}
	if err := m.caps.Refuse(vm.FeatureSave, op, component); err != nil {
		return err
	}
	return m.move(op, vm.StatePaused, vm.StatePaused, func() error {
		if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
			return vm.Errorf(vm.KindExists, op, "there is something already").WithComponent(component).WithPath(path)
		}
		id, err := m.guest.Identifier()
		if err == nil {
			err = os.WriteFile(plan.IdentifierPath(path), id, 0o600)
		}
		if err == nil {
			err = m.guest.Save(path)
		}
		if err != nil {
			_ = os.Remove(plan.IdentifierPath(path))
			_ = os.Remove(path)
			return vm.Errorf(vm.KindOf(err), op, "%w", err).WithComponent(component).WithPath(path)
		}
		return nil
	})
}

// end makes the machine end; the first reason is the one that is recorded. It returns
// at once.
func (m *machine) end(why ending) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.ending != nil {
		return
	}
	m.ending = &why
	if m.timer != nil {
		m.timer.Stop()
	}
	if m.state.Can(vm.StateStopping) {
		m.state = vm.StateStopping
	}
	safe.Go("vz end", nil, m.finish)
}

// finish stops the guest, releases everything and makes the record.
func (m *machine) finish() {
	m.opMu.Lock() // Start, Pause and Resume are over
	defer m.opMu.Unlock()
	m.mu.Lock()
	started := !m.started.IsZero()
	m.mu.Unlock()
	if started {
		if err := safe.Run("stop", func() { m.stop() }); err != nil {
			m.logf("%v", err)
		}
	}
	m.console.drain()
	m.mu.Lock()
	m.timeline.Ended = time.Since(m.born)
	m.mu.Unlock()
	if err := safe.Run("release", m.release); err != nil {
		m.closeErr = err
	}
	m.record()
}

// stop stops a guest that may have stopped by itself, which the framework refuses.
func (m *machine) stop() {
	if err := m.guest.Stop(); err != nil && !errors.Is(err, ErrNotRunning) {
		m.logf("stop: %v", err)
	}
}

// ErrNotRunning is what Guest.Stop returns for a guest that does not run.
var ErrNotRunning = errors.New("the guest does not run")

// record writes the exit record and closes done.
func (m *machine) record() {
	text := m.console.panicText()
	m.mu.Lock()
	defer m.mu.Unlock()
	e := vm.Exit{Cause: m.ending.cause, Err: m.ending.err, Detail: m.ending.detail, PanicText: m.ending.panic}
	if !m.started.IsZero() {
		e.Uptime = max(1, m.timeline.Ended-m.started.Sub(m.born))
	}
	if text != "" && e.PanicText == "" && e.Detail == "" {
		e.Detail = "the guest's kernel had panicked: " + text
	}
	m.exit = e
	m.state = e.State()
	close(m.done)
}

// crashed ends the machine after a panic in one of its goroutines.
func (m *machine) crashed(err error) {
	e := ending{
		cause: vm.CauseVMMCrash,
		err:   vm.Errorf(vm.KindVMMDied, "run", "%w", err).WithComponent(component).WithHint("this is a bug in libcapsa; please report it"),
	}
	if p, ok := errors.AsType[*safe.PanicError](err); ok {
		e.detail = string(p.Stack)
	}
	m.end(e)
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

// Close implements vm.Machine.
func (m *machine) Close() error {
	m.mu.Lock()
	m.closed = true
	m.mu.Unlock()
	m.end(ending{cause: vm.CauseKilled})
	<-m.done
	return m.closeErr
}

// log tells the host of something that a person may want to know.
func (m *machine) log(part, format string, a ...any) {
	if m.host.Event != nil {
		m.host.Event(vm.Event{Type: vm.EventLog, Component: part, Message: fmt.Sprintf(format, a...)})
	}
}
