package client

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/libcapsa/libcapsa/internal/vm"
	"github.com/libcapsa/libcapsa/internal/vmtest"
)

// spinning is a machine that runs.
func spinning(t testing.TB, b *Backend, kernel string, host vm.Host, change func(*vm.Config)) *machine {
	t.Helper()
	cfg := vmtest.Config(kernel)
	if change != nil {
		change(&cfg)
	}
	m, err := b.New(cfg, host)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, m.Close()) })
	require.NoError(t, m.Start())
	return m.(*machine)
}

// TestDaemonIsKilled: every pending call fails, the record tells, nothing is left.
func TestDaemonIsKilled(t *testing.T) {
	vmtest.CheckLeaks(t)
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	path := filepath.Join(dir, "sock")
	e := newEvents()
	m := spinning(t, backend(t, "daemon"), vmtest.KernelSpin, vm.Host{Event: e.add, Input: vm.NewPipe(0)}, func(c *vm.Config) {
		c.Vsock.Ports = []vm.VsockPort{{Port: 1, Mode: vm.VsockListen, Path: path}}
	})
	require.FileExists(t, path)
	const calls = 8
	errs := make(chan error, calls)
	for range calls {
		go func() {
			_, err := m.VsockConnect(t.Context(), vm.VsockStream, 3)
			errs <- err
		}()
	}
	for range calls { // all of them are being served
		require.Equal(t, "connecting", <-e.log)
	}
	require.NoError(t, unix.Kill(m.pid, unix.SIGKILL))
	for range calls {
		err := <-errs
		require.ErrorIs(t, err, vm.KindVMMDied)
		require.ErrorContains(t, err, "signal: killed")
		require.NotEmpty(t, err.(*vm.Error).Hint)
	}
	wait(t, "the end", m.Done())
	exit := m.Exit()
	require.Equal(t, vm.CauseVMMCrash, exit.Cause)
	require.ErrorIs(t, exit.Err, vm.KindVMMDied)
	require.Positive(t, exit.Uptime)
	require.ErrorIs(t, m.Pause(), vm.KindState)
	require.NoError(t, m.Kill(vm.CauseKilled))
	require.Equal(t, 256*vm.MiB, m.Stats().Memory)
	require.Zero(t, m.Stats().Resident)
	require.NoError(t, m.Close())
	require.Equal(t, exit, m.Exit())
	require.ErrorIs(t, m.Pause(), vm.KindClosed)
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, left, "what the daemon has left")
}

// TestDaemonPanics: what a crash has written is in the record, and what the guest
// has printed is not lost.
func TestDaemonPanics(t *testing.T) {
	vmtest.CheckLeaks(t)
	out := vmtest.NewRecorder()
	m, err := backend(t, "daemon").New(vmtest.Config("/crash"), vm.Host{Console: out})
	require.NoError(t, err)
	if err := m.Start(); err != nil { // it may die that early
		require.ErrorIs(t, err, vm.KindVMMDied)
	}
	wait(t, "the end", m.Done())
	exit := m.Exit()
	require.Equal(t, vm.CauseVMMCrash, exit.Cause)
	require.ErrorContains(t, exit.Err, "panic: the monitor is broken")
	require.Contains(t, exit.Detail, "goroutine ")
	require.Equal(t, "last words of the guest", out.String())
	require.NoError(t, m.Close())
}

// TestDaemonStops: a daemon that does not answer is killed by Kill and by Close.
func TestDaemonStops(t *testing.T) {
	vmtest.CheckLeaks(t)
	b := backend(t, "daemon")
	b.cfg.times.kill = 100 * time.Millisecond
	for _, end := range []struct {
		name  string
		call  func(m *machine) error
		cause vm.Cause
	}{
		{"kill", func(m *machine) error { return m.Kill(vm.CauseTimedOut) }, vm.CauseTimedOut},
		{"close", (*machine).Close, vm.CauseKilled},
	} {
		m := spinning(t, b, vmtest.KernelSpin, vm.Host{}, nil)
		require.NoError(t, unix.Kill(m.pid, unix.SIGSTOP))
		require.NoError(t, retry(func() error { return unix.Waitid(unix.P_PID, m.pid, nil, unix.WSTOPPED|unix.WNOWAIT, nil) }))
		pending := make(chan error, 1)
		go func() { pending <- m.Pause() }()
		require.NoError(t, end.call(m), end.name)
		require.Equal(t, end.cause, m.Exit().Cause)
		require.Contains(t, m.Exit().Detail, "did not answer")
		require.Error(t, <-pending)
	}
}

// retry repeats a system call that the runtime's signals interrupt.
func retry(call func() error) error {
	for {
		if err := call(); err != unix.EINTR {
			return err
		}
	}
}

// TestSomebodyElseReaps: programs that wait for all their children, or for none.
func TestSomebodyElseReaps(t *testing.T) {
	vmtest.CheckLeaks(t)
	m := spinning(t, backend(t, "daemon"), vmtest.KernelSpin, vm.Host{}, nil)
	require.NoError(t, unix.Kill(m.pid, unix.SIGKILL))
	var status unix.WaitStatus
	err := retry(func() error { // or ours was faster
		_, err := unix.Wait4(m.pid, &status, 0, nil)
		return err
	})
	if err != nil {
		require.Equal(t, unix.ECHILD, err)
	}
	wait(t, "the end", m.Done())
	require.Equal(t, vm.CauseVMMCrash, m.Exit().Cause)
}

// TestBadDaemons: whatever the file is, the error says what is wrong with which.
func TestBadDaemons(t *testing.T) {
	vmtest.CheckLeaks(t)
	tests := []struct {
		role string
		kind vm.Kind
		text string
	}{
		{"exit", vm.KindUnavailable, "exit status 0"},
		{"words", vm.KindUnavailable, "no such luck"},
		{"hang", vm.KindUnavailable, "did not answer in time"},
		{"garbage", vm.KindProtocol, "is no frame"},
		{"huge", vm.KindProtocol, "2147483648 bytes"},
		{"half", vm.KindUnavailable, "exit status 0"},
		{"old", vm.KindProtocol, "version 0 of the protocol, and the library version 2"},
		{"refuser", vm.KindProtocol, "hello"},
		{"stranger", vm.KindUnavailable, `"other", and not "fake"`},
		{"mad", vm.KindProtocol, "frames of kind 1"},
	}
	for _, test := range tests {
		t.Run(test.role, func(t *testing.T) {
			b := backend(t, test.role)
			if test.role == "hang" {
				b.cfg.times.hello = 50 * time.Millisecond
			}
			for _, try := range []func() error{
				func() error { _, err := b.Capabilities(); return err },
				func() error { _, err := b.New(vmtest.Config(vmtest.KernelSpin), vm.Host{}); return err },
			} {
				err := try()
				require.ErrorIs(t, err, test.kind)
				require.Equal(t, test.kind, vm.KindOf(err))
				require.ErrorContains(t, err, test.text)
				require.Equal(t, b.cfg.Path, err.(*vm.Error).Path)
			}
		})
	}
	_, err := New(Config{Name: "fake", Path: "/does/not/exist"}).New(vmtest.Config(vmtest.KernelSpin), vm.Host{})
	require.ErrorIs(t, err, vm.KindNotFound)
	_, err = New(Config{Name: "fake", Path: "/dev/null"}).New(vmtest.Config(vmtest.KernelSpin), vm.Host{})
	require.ErrorIs(t, err, vm.KindPermission)
}

// TestCleanProcess: the daemon has what it was given, and nothing of its parent's.
func TestCleanProcess(t *testing.T) {
	vmtest.CheckLeaks(t)
	leak, err := unix.Open(os.DevNull, unix.O_RDONLY, 0) // without close-on-exec, as careless programs do
	require.NoError(t, err)
	defer func() { _ = unix.Close(leak) }()
	t.Setenv("SECRET", "1")

	// Started by a thread that blocks signals.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var all, old unix.Sigset_t
	for i := range all.Val {
		all.Val[i] = 1<<64 - 1
	}
	require.NoError(t, unix.PthreadSigmask(unix.SIG_SETMASK, &all, &old))
	m := spinning(t, backend(t, "daemon"), vmtest.KernelSpin, vm.Host{}, nil)
	require.NoError(t, unix.PthreadSigmask(unix.SIG_SETMASK, &old, nil))

	proc := fmt.Sprintf("/proc/%d/", m.pid)
	environ, err := os.ReadFile(proc + "environ")
	require.NoError(t, err)
	require.Empty(t, environ)
	group, err := unix.Getpgid(m.pid)
	require.NoError(t, err)
	require.Equal(t, m.pid, group)
	status, err := os.ReadFile(proc + "status")
	require.NoError(t, err)
	require.Contains(t, string(status), "SigBlk:\t0000000000000000\n")
	fds, err := os.ReadDir(proc + "fd")
	require.NoError(t, err)
	for _, fd := range fds {
		target, err := os.Readlink(proc + "fd/" + fd.Name())
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		require.NoError(t, err)
		if target == os.DevNull {
			require.Contains(t, "01", fd.Name())
			continue
		}
		own := strings.HasPrefix(target, "socket:") || strings.HasPrefix(target, "anon_inode:") || strings.HasPrefix(target, "/sys/fs/cgroup/")
		require.True(t, own, "descriptor %s is %s", fd.Name(), target)
	}
	limits, err := os.ReadFile(proc + "limits")
	require.NoError(t, err)
	require.Regexp(t, `Max core file size +0 +0`, string(limits))
}

// TestManyDeaths: a hundred machines, each ended in another way, leave nothing.
func TestManyDeaths(t *testing.T) {
	vmtest.CheckLeaks(t)
	b := backend(t, "daemon")
	for i := range 100 {
		m, err := b.New(vmtest.Config(vmtest.KernelEcho), vm.Host{Console: vmtest.NewRecorder(), Input: vm.NewPipe(0)})
		require.NoError(t, err)
		require.NoError(t, m.Start())
		switch i % 4 {
		case 0:
			require.NoError(t, unix.Kill(m.(*machine).pid, unix.SIGKILL))
		case 1:
			require.NoError(t, m.Kill(vm.CauseKilled))
		case 2:
			require.NoError(t, unix.Kill(m.(*machine).pid, unix.SIGKILL))
			wait(t, "the end", m.Done())
		}
		require.NoError(t, m.Close())
		err = unix.Kill(m.(*machine).pid, 0)
		require.Equal(t, unix.ESRCH, err, "the process is there")
	}
}

// TestOtherHolders: a child of the program that holds the daemon's ends of the
// sockets, as one that was forked at the wrong moment, hides the daemon's end from
// nobody.
func TestOtherHolders(t *testing.T) {
	vmtest.CheckLeaks(t)
	m := spinning(t, backend(t, "daemon"), vmtest.KernelSpin, vm.Host{}, nil)
	pidfd, err := unix.PidfdOpen(m.pid, 0)
	require.NoError(t, err)
	defer func() { _ = unix.Close(pidfd) }()
	var held []int
	for fd := range 32 {
		if got, err := unix.PidfdGetfd(pidfd, fd, 0); err == nil {
			held = append(held, got)
			defer func() { _ = unix.Close(got) }()
		}
	}
	require.NotEmpty(t, held)
	require.NoError(t, unix.Kill(m.pid, unix.SIGKILL))
	wait(t, "the end", m.Done())
	require.NoError(t, m.Close())
}
