package daemon

import (
	"bytes"
	"os"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/libcapsa/libcapsa/internal/sockpair"
	"github.com/libcapsa/libcapsa/internal/vmtest"
	"github.com/libcapsa/libcapsa/internal/vzd"
	"github.com/libcapsa/libcapsa/internal/vzd/wire"
)

// TestMain lets the test's program be a child that ends when its input does.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "child" {
		_, _ = os.Stdin.Read(make([]byte, 1))
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// TestByHand: it says who is to start it.
func TestByHand(t *testing.T) {
	for _, args := range [][]string{nil, {"--help"}, {"--parent=x"}} {
		var log bytes.Buffer
		require.Equal(t, 1, Run(args, vmtest.NewFake(), vzd.Options{}, &log))
		require.NotEmpty(t, log.String())
	}
}

func TestCheckControl(t *testing.T) {
	vmtest.CheckLeaks(t)
	ours, theirs, err := sockpair.New()
	require.NoError(t, err)
	require.NoError(t, checkControl(ours))
	wire.Files{ours, theirs}.Close()
	require.Error(t, checkControl(ours), "closed")
	for _, kind := range [][2]int{{unix.AF_INET, unix.SOCK_STREAM}, {unix.AF_UNIX, unix.SOCK_DGRAM}} {
		fd, err := unix.Socket(kind[0], kind[1], 0)
		require.NoError(t, err)
		require.Error(t, checkControl(fd))
		require.NoError(t, unix.Close(fd))
	}
	null, err := os.Open(os.DevNull)
	require.NoError(t, err)
	require.Error(t, checkControl(int(null.Fd())))
	require.NoError(t, null.Close())
}

// TestWatchParent: only the parent is watched, and only once.
func TestWatchParent(t *testing.T) {
	vmtest.CheckLeaks(t)
	stop, err := watchParent(os.Getppid(), func() { t.Error("the parent lives") })
	require.NoError(t, err)
	stop()

	_, err = watchParent(os.Getpid(), nil)
	require.ErrorContains(t, err, "the one that started this one has ended")

	exe, err := os.Executable()
	require.NoError(t, err)
	child := exec.Command(exe, "child")
	require.NoError(t, child.Run())
	_, err = watchParent(child.Process.Pid, nil)
	require.Error(t, err, "a process that has ended")
}

// TestEnded: a pidfd tells of the end, also of a zombie.
func TestEnded(t *testing.T) {
	vmtest.CheckLeaks(t)
	exe, err := os.Executable()
	require.NoError(t, err)
	child := exec.Command(exe, "child")
	stdin, err := child.StdinPipe()
	require.NoError(t, err)
	require.NoError(t, child.Start())
	fd, err := unix.PidfdOpen(child.Process.Pid, 0)
	require.NoError(t, err)
	require.False(t, ended(uintptr(fd)))
	require.NoError(t, stdin.Close())
	for {
		_, err = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, -1)
		if err != unix.EINTR {
			break
		}
	}
	require.NoError(t, err)
	require.True(t, ended(uintptr(fd)))
	require.NoError(t, child.Wait())
	require.NoError(t, unix.Close(fd))
}

// TestCloseInherited: what is close-on-exec stays, what is not goes, and the first
// ones stay whatever they are.
func TestCloseInherited(t *testing.T) {
	high, err := unix.FcntlInt(0, unix.F_DUPFD, 900)
	require.NoError(t, err)
	own, err := unix.FcntlInt(0, unix.F_DUPFD_CLOEXEC, 900)
	require.NoError(t, err)
	low, err := unix.FcntlInt(0, unix.F_DUPFD, 800)
	require.NoError(t, err)
	closeInherited(850)
	_, err = unix.FcntlInt(uintptr(high), unix.F_GETFD, 0)
	require.Equal(t, unix.EBADF, err)
	for _, fd := range []int{own, low} {
		_, err = unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
		require.NoError(t, err)
		require.NoError(t, unix.Close(fd))
	}
}
