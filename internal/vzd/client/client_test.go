package client

import (
	"context"
	"io"
	"os"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/libcapsa/libcapsa/internal/vm"
	"github.com/libcapsa/libcapsa/internal/vmtest"
)

func TestConformance(t *testing.T) {
	vmtest.Conformance(t, backend(t, "daemon"), vmtest.FakeGuests())
}

// wait waits for something to be over.
func wait(t testing.TB, what string, done <-chan struct{}) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	select {
	case <-done:
	case <-ctx.Done():
		require.FailNow(t, "hangs", what)
	}
}

// events collects what a machine tells.
type events struct {
	mu  sync.Mutex
	all []vm.Event
	log chan string // messages of logs
}

func newEvents() *events { return &events{log: make(chan string, 8192)} }

func (e *events) add(event vm.Event) {
	e.mu.Lock()
	e.all = append(e.all, event)
	e.mu.Unlock()
	if event.Type == vm.EventLog {
		e.log <- event.Message
	}
}

// TestEvents: events come in order, each after what was printed before it, and all
// before the end.
func TestEvents(t *testing.T) {
	vmtest.CheckLeaks(t)
	out, serial := vmtest.NewRecorder(), vmtest.NewRecorder()
	var seen []vm.Event
	var printed []string
	m, err := backend(t, "daemon").New(vmtest.Config("/events"), vm.Host{Console: out, Serial: serial, Event: func(e vm.Event) {
		seen = append(seen, e)
		printed = append(printed, out.String()+serial.String())
	}})
	require.NoError(t, err)
	require.NoError(t, m.Start())
	wait(t, "the guest", m.Done())
	require.Len(t, printed, 2)
	require.Contains(t, printed[0], "before") // and what came after it, perhaps
	require.Equal(t, "beforeearly", printed[1])
	require.Equal(t, []vm.Event{
		{Type: vm.EventDiskError, Component: "disk", Message: "bad\xff"}, {Type: vm.EventReady},
	}, seen)
	exit := m.Exit()
	require.Equal(t, vm.Exit{Cause: vm.CauseMainExited, Code: 3, Detail: "d\xff", Uptime: exit.Uptime}, exit)
	require.NoError(t, m.Close())
}

// TestFailure: the error of a machine that fails by itself keeps all it says.
func TestFailure(t *testing.T) {
	vmtest.CheckLeaks(t)
	m, err := backend(t, "daemon").New(vmtest.Config("/failure"), vm.Host{})
	require.NoError(t, err)
	require.NoError(t, m.Start())
	wait(t, "the guest", m.Done())
	require.Equal(t, vm.CauseVMMCrash, m.Exit().Cause)
	e, ok := m.Exit().Err.(*vm.Error)
	require.True(t, ok)
	require.Equal(t, "run: ioctl: bad address (h)", e.Error())
	require.Equal(t, int(unix.EFAULT), e.Errno())
	require.NoError(t, m.Close())
}

// TestFlood: more events than anyone fetches neither hold up the guest nor get lost
// without a word.
func TestFlood(t *testing.T) {
	vmtest.CheckLeaks(t)
	out := vmtest.NewRecorder()
	e := newEvents()
	m, err := backend(t, "daemon").New(vmtest.Config("/flood"), vm.Host{Console: out, Event: e.add})
	require.NoError(t, err)
	require.NoError(t, m.Start())
	wait(t, "the guest", out.Seen("flooded"))
	require.NoError(t, m.Close())
	total := uint64(0)
	for _, event := range e.all {
		total += event.Lost
		if event.Type == vm.EventLog {
			total++
		}
	}
	require.LessOrEqual(t, total, uint64(3*1024))
	require.Positive(t, total)
}

// TestSockets: descriptors arrive as they should be, and errors and ends of waits.
func TestSockets(t *testing.T) {
	vmtest.CheckLeaks(t)
	e := newEvents()
	made, err := backend(t, "daemon").New(vmtest.Config(vmtest.KernelSpin), vm.Host{Event: e.add})
	require.NoError(t, err)
	m := made.(vm.Sockets)
	fd, err := m.VsockConnect(t.Context(), vm.VsockStream, 1)
	require.NoError(t, err)
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
	require.NoError(t, err)
	require.Zero(t, flags&unix.O_NONBLOCK)
	flags, err = unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
	require.NoError(t, err)
	require.NotZero(t, flags&unix.FD_CLOEXEC)
	f := os.NewFile(uintptr(fd), "socket")
	_, err = f.WriteString("hello")
	require.NoError(t, err)
	b := make([]byte, 5)
	_, err = io.ReadFull(f, b)
	require.NoError(t, err)
	require.Equal(t, "hello", string(b))
	require.NoError(t, f.Close())

	_, err = m.VsockConnect(t.Context(), vm.VsockStream, 2)
	require.ErrorIs(t, err, vm.KindProtocol)
	_, err = m.VsockConnect(t.Context(), vm.VsockSeqPacket, 1)
	require.ErrorIs(t, err, vm.KindProtocol, "a stream is no packet socket")
	_, err = m.VsockListen(vm.VsockStream, 1, 1)
	require.ErrorIs(t, err, vm.KindExists)
	require.ErrorIs(t, m.VsockUnlisten(1), vm.KindNotFound)

	// A wait that is given up here is given up there.
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-e.log
		cancel()
	}()
	_, err = m.VsockConnect(ctx, vm.VsockStream, 3)
	require.ErrorIs(t, err, vm.KindCancelled)
	require.Equal(t, "gave up", <-e.log)
	require.NoError(t, made.Close())
	_, err = m.VsockConnect(t.Context(), vm.VsockStream, 1)
	require.ErrorIs(t, err, vm.KindClosed)
}

func TestCapabilities(t *testing.T) {
	vmtest.CheckLeaks(t)
	b := backend(t, "daemon")
	caps, err := b.Capabilities()
	require.NoError(t, err)
	want := vmtest.NewFake().Caps
	require.Equal(t, want, caps)
	b.cfg.Capabilities = func() (vm.Capabilities, error) { return vm.Capabilities{MaxCPUs: 3}, nil }
	caps, err = b.Capabilities()
	require.NoError(t, err)
	require.Equal(t, 3, caps.MaxCPUs)
}
