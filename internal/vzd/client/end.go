package client

import (
	"context"
	"fmt"
	"time"

	"github.com/libcapsa/libcapsa/internal/vm"
	"github.com/libcapsa/libcapsa/internal/vzd/wire"
)

// settle makes the exit record, once.
func (m *machine) settle(exit vm.Exit) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.over {
		return
	}
	m.over = true
	m.exit = exit
	close(m.done)
}

// bury makes the record of a machine whose process is gone, if it left none, after
// the host has had all that the guest printed.
func (m *machine) bury() {
	for _, f := range m.in {
		f.wait(1<<64 - 1)
	}
	m.mu.Lock()
	tidy, forced := m.tidy, m.forced
	m.mu.Unlock()
	if !tidy {
		removeSockets(m.sockets)
	}
	m.settle(m.crash(forced))
}

// crash is the record of a machine whose process is gone. It was killed for the
// cause forced, or for none.
func (m *machine) crash(forced *vm.Cause) vm.Exit {
	m.mu.Lock()
	var uptime time.Duration
	if !m.started.IsZero() {
		uptime = time.Since(m.started)
	}
	m.mu.Unlock()
	died, _ := m.cutShort("run").(*vm.Error)
	if forced != nil {
		exit := vm.Exit{
			Cause: *forced, Uptime: uptime,
			Detail: fmt.Sprintf("the process that ran the machine did not answer for %v and was killed", m.patience),
		}
		if forced.Failure() {
			exit.Err = died
		}
		return exit
	}
	return vm.Exit{Cause: vm.CauseVMMCrash, Err: died, Detail: m.log.String(), Uptime: uptime}
}

// force kills the daemon for a cause, when it has not answered in time.
func (m *machine) force(cause vm.Cause) *time.Timer {
	return time.AfterFunc(m.patience, func() {
		m.mu.Lock()
		if m.forced == nil {
			m.forced = &cause
		}
		m.mu.Unlock()
		m.kill()
	})
}

// Kill implements vm.Machine. A daemon that does not answer is killed, which ends
// the machine too.
func (m *machine) Kill(cause vm.Cause) error {
	select {
	case <-m.done:
		return nil
	default:
	}
	timer := m.force(cause)
	defer timer.Stop()
	_, err := m.call(context.Background(), wire.MethodKill, wire.Kill{Cause: cause}, nil, nil)
	switch vm.KindOf(err) {
	case vm.KindVMMDied, vm.KindClosed, 0:
		<-m.done
		return nil
	}
	return err
}

// Close implements vm.Machine.
func (m *machine) Close() error {
	m.mu.Lock()
	m.closed = true
	m.mu.Unlock()
	m.closing.Do(func() { m.close = m.shut() })
	return m.close
}

// shut closes the machine in the daemon, and what there is of it here.
func (m *machine) shut() error {
	timer := m.force(vm.CauseKilled)
	defer timer.Stop()
	var last wire.Closed
	_, err := m.call(context.Background(), wire.MethodClose, nil, nil, &last)
	died := vm.KindOf(err) == vm.KindVMMDied
	m.mu.Lock()
	if last.Stats.Memory != 0 {
		m.stats = last.Stats
	}
	m.tidy = !died
	m.mu.Unlock()
	if died { // which its record tells
		err = nil
		<-m.ended
	} else {
		m.leave()
	}
	m.release()
	return err
}
