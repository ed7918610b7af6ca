package capsa_test

import (
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/libcapsa/libcapsa/capsa"
	"github.com/libcapsa/libcapsa/internal/vm"
	"github.com/libcapsa/libcapsa/internal/vmtest"
)

// drain fetches the rest of the events of a machine that has ended.
func drain(t testing.TB, m *capsa.VM) (all []capsa.Event) {
	t.Helper()
	for {
		e, err := m.NextEvent(bounded(t))
		if err != nil {
			refused(t, vm.KindClosed, err)
			return all
		}
		require.False(t, e.Time.IsZero())
		all = append(all, e)
	}
}

func TestEvents(t *testing.T) {
	m := build(t, vmtest.KernelSpin)
	_, err := m.NextEvent(expired())
	refused(t, vm.KindTimeout, err)
	_, err = m.NextEvent(cancelled())
	refused(t, vm.KindCancelled, err)
	require.NoError(t, m.Start(t.Context()))
	require.NoError(t, m.Pause())
	require.NoError(t, m.Resume())
	require.NoError(t, m.Kill())
	var states []capsa.State
	events := drain(t, m)
	for _, e := range events[:len(events)-1] {
		require.Equal(t, vm.EventState, e.Type)
		states = append(states, e.State)
	}
	require.Equal(t, []capsa.State{vm.StateStarting, vm.StateRunning, vm.StatePaused, vm.StateRunning, vm.StateStopping, vm.StateStopped}, states)
	last := events[len(events)-1]
	require.Equal(t, vm.EventExited, last.Type)
	require.Equal(t, ended(t, m), *last.Exit)
	for range 64 { // the end goes before the end of the wait, always
		_, err = m.NextEvent(expired())
		refused(t, vm.KindClosed, err)
	}
}

func TestEventOfConsole(t *testing.T) {
	m := buildOn(t, program(func(g *vmtest.Guest) {
		for range 1000 {
			g.Print("line\n")
		}
		g.Print("[    5.0] Out of memory: Killed process 7 (hog)\n")
		g.Event(vm.Event{Type: vm.EventReady})
	}), "/guest")
	require.NoError(t, m.Start(t.Context()))
	ended(t, m)
	count := map[vm.EventType]int{}
	for _, e := range drain(t, m) {
		count[e.Type]++
		if e.Type == vm.EventOOM {
			require.Equal(t, "Out of memory: Killed process 7 (hog)", e.Message)
		}
	}
	require.Equal(t, 1, count[vm.EventConsoleData], "one until it is fetched")
	require.Equal(t, 1, count[vm.EventOOM])
	require.Equal(t, 1, count[vm.EventReady])
	require.Zero(t, count[vm.EventLost])
}

// TestEventsLost: the queue is bounded, the oldest go, and the last is still there.
func TestEventsLost(t *testing.T) {
	const sent = 1000
	m := buildOn(t, program(func(g *vmtest.Guest) {
		g.Print("x")
		for range sent {
			g.Event(vm.Event{Type: vm.EventLog, Message: "chatter"})
		}
	}), "/guest")
	require.NoError(t, m.Start(t.Context()))
	ended(t, m)
	all := drain(t, m)
	require.Equal(t, vm.EventLost, all[0].Type)
	require.Len(t, all, 1+256)
	// 3 changes of state, console data, the log lines and the end.
	require.EqualValues(t, 3+1+sent+1-256, all[0].Lost)
	require.Equal(t, vm.EventExited, all[len(all)-1].Type)
}

// TestEventsHammer: many fetch at once; every event is fetched once.
func TestEventsHammer(t *testing.T) {
	const sent = 5000
	m := buildOn(t, program(func(g *vmtest.Guest) {
		for range sent {
			g.Event(vm.Event{Type: vm.EventLog})
		}
	}), "/guest")
	var logs, lost, exited atomic.Int64
	var all sync.WaitGroup
	for range crowd {
		all.Go(func() {
			for {
				e, err := m.NextEvent(bounded(t))
				if err != nil {
					assert.ErrorIs(t, err, vm.KindClosed)
					return
				}
				switch e.Type {
				case vm.EventLog:
					logs.Add(1)
				case vm.EventLost:
					lost.Add(int64(e.Lost))
				case vm.EventExited:
					exited.Add(1)
				}
			}
		})
	}
	require.NoError(t, m.Start(t.Context()))
	all.Wait()
	require.EqualValues(t, 1, exited.Load())
	require.LessOrEqual(t, logs.Load(), int64(sent))
	require.GreaterOrEqual(t, logs.Load()+lost.Load(), int64(sent), "fetched or counted as lost")
}

// readable says whether a descriptor is readable, and whether it is at its end,
// waiting if asked to.
func readable(t testing.TB, fd int, wait bool) (ready, end bool) {
	t.Helper()
	timeout := 0
	if wait {
		timeout = int(patience.Milliseconds())
	}
	fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	_, err := unix.Poll(fds, timeout)
	for err == unix.EINTR {
		_, err = unix.Poll(fds, timeout)
	}
	require.NoError(t, err)
	return fds[0].Revents&(unix.POLLIN|unix.POLLHUP) != 0, fds[0].Revents&unix.POLLHUP != 0
}

// closeFD closes a descriptor that a call has given.
func closeFD(fd int, err error) error {
	if err != nil {
		return err
	}
	return unix.Close(fd)
}

// owned is a descriptor that the test closes.
func owned(t testing.TB, fd int, err error) int {
	t.Helper()
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, unix.Close(fd)) })
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
	require.NoError(t, err)
	require.NotZero(t, flags&unix.FD_CLOEXEC, "close-on-exec")
	status, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
	require.NoError(t, err)
	require.NotZero(t, status&unix.O_NONBLOCK, "non-blocking")
	return fd
}

func TestExitFD(t *testing.T) {
	m := build(t, vmtest.KernelSpin)
	fd1, err := m.ExitFD()
	fd1 = owned(t, fd1, err)
	fd2, err := m.ExitFD()
	fd2 = owned(t, fd2, err)
	require.NotEqual(t, fd1, fd2)
	require.NoError(t, m.Start(t.Context()))
	ready, _ := readable(t, fd1, false)
	require.False(t, ready)
	forked, err := unix.FcntlInt(uintptr(fd2), unix.F_DUPFD_CLOEXEC, 0) // as a forked child has
	forked = owned(t, forked, err)
	require.NoError(t, m.Kill())
	require.NoError(t, m.Close())
	late, err := m.ExitFD()
	late = owned(t, late, err)
	for _, fd := range []int{fd1, fd2, forked, late} {
		for range 2 { // for ever
			ready, end := readable(t, fd, true)
			require.True(t, ready && end)
			n, err := unix.Read(fd, make([]byte, 1))
			require.NoError(t, err)
			require.Zero(t, n)
		}
	}
}

// TestExitFDAbandoned: callers may open and close as many as they like, and a caller
// that closes its end does no harm.
func TestExitFDAbandoned(t *testing.T) {
	m := running(t, vmtest.KernelSpin)
	for range 2000 {
		require.NoError(t, closeFD(m.ExitFD()))
	}
}

func TestEventFD(t *testing.T) {
	m := build(t, vmtest.KernelSpin)
	fd, err := m.EventFD()
	fd = owned(t, fd, err)
	ready, _ := readable(t, fd, false)
	require.False(t, ready, "nothing yet")
	require.NoError(t, m.Start(t.Context()))
	ready, end := readable(t, fd, false)
	require.True(t, ready)
	require.False(t, end)
	late, err := m.EventFD()
	late = owned(t, late, err)
	ready, _ = readable(t, late, false)
	require.True(t, ready, "a new descriptor knows what is there")

	for range 2 { // Starting, Running
		_, err = m.NextEvent(expired())
		require.NoError(t, err)
	}
	for _, f := range []int{fd, late} {
		ready, _ = readable(t, f, false)
		require.False(t, ready, "level-triggered: nothing is there any more")
	}
	require.NoError(t, m.Pause())
	ready, _ = readable(t, fd, false)
	require.True(t, ready)
	_, _ = unix.Read(fd, make([]byte, 16)) // what is read has no meaning
	_, err = m.NextEvent(expired())
	require.NoError(t, err)
	require.NoError(t, m.Resume())
	ready, _ = readable(t, fd, false)
	require.True(t, ready, "reading does no harm")

	require.NoError(t, m.Kill())
	ready, end = readable(t, fd, true)
	require.True(t, ready && end)
	require.NotEmpty(t, drain(t, m), "what is left can still be fetched")
}

// TestEventFDAbuse: whatever the caller does to its end, nobody else notices.
func TestEventFDAbuse(t *testing.T) {
	m := build(t, vmtest.KernelSpin)
	blocking, err := m.EventFD()
	blocking = owned(t, blocking, err)
	require.NoError(t, unix.SetNonblock(blocking, false)) // the flag is shared with the library's duplicate
	shut, err := m.EventFD()
	shut = owned(t, shut, err)
	require.NoError(t, unix.Shutdown(shut, unix.SHUT_RDWR))
	full, err := m.EventFD()
	full = owned(t, full, err)
	for {
		if _, err := unix.Write(full, make([]byte, 4096)); err != nil {
			break
		}
	}
	good, err := m.EventFD()
	good = owned(t, good, err)
	require.NoError(t, m.Start(t.Context()))
	ready, _ := readable(t, good, false)
	require.True(t, ready)
	for range 2 {
		_, err := m.NextEvent(expired())
		require.NoError(t, err)
	}
	_, err = m.NextEvent(expired())
	refused(t, vm.KindTimeout, err)
	ready, _ = readable(t, good, false)
	require.False(t, ready)
}

func TestEventFDLimit(t *testing.T) {
	m := build(t, vmtest.KernelSpin)
	for range 256 {
		require.NoError(t, closeFD(m.EventFD()))
	}
	_, err := m.EventFD()
	require.NotEmpty(t, refusal(t, vm.KindLimit, err).Hint)
}
