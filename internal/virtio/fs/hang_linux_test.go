package fs

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/libcapsa/libcapsa/internal/fuse"
)

// aloneEnv says that this process has mounts of its own.
const aloneEnv = "CAPSA_FS_ALONE"

func init() { runtime.LockOSThread() } // Pdeathsig is of the thread that started the process

// alone runs one test in a process that has mounts of its own: nobody else
// meets a mount that hangs, and it goes with the process, however that ends.
func alone(t *testing.T, name string) (done bool) {
	t.Helper()
	if os.Getenv(aloneEnv) != "" {
		return false
	}
	if os.Geteuid() != 0 {
		t.Skip("mounting needs root")
	}
	cmd := exec.Command("/proc/self/exe", "-test.run=^"+name+"$", "-test.v")
	cmd.Env = append(os.Environ(), aloneEnv+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	return true
}

// hungMount mounts a file system that never answers, as a dead server's does.
// revive ends it: everything that waits fails.
func hungMount(t *testing.T, dir string) (revive func()) {
	t.Helper()
	fd, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Skipf("no /dev/fuse here: %v", err)
	}
	require.NoError(t, unix.Mount("hung", dir, "fuse", 0, fmt.Sprintf("fd=%d,rootmode=40000,user_id=0,group_id=0", fd)))
	open := true
	revive = func() {
		if open {
			open = false
			require.NoError(t, unix.Close(fd))
		}
	}
	t.Cleanup(func() {
		revive()
		require.NoError(t, unix.Unmount(dir, unix.MNT_DETACH))
	})
	return revive
}

// D5: a part of the share is on a server that is dead. Requests for it hang;
// others go on, the machine's reset and stop do too, and what hangs is cleaned
// up when the host lets go.
func TestShareHangs(t *testing.T) {
	if alone(t, "TestShareHangs") {
		return
	}
	s := newShareRig(t, fuse.Options{})
	dir := filepath.Join(s.dir, "hung")
	require.NoError(t, os.Mkdir(dir, 0o755))
	revive := hungMount(t, dir)
	s.Start(ringFeatures, small...)
	s.init(t)
	const hanging = 5
	for range 2 {
		for range hanging {
			s.Queue(1).Post(s.message(1, 1, []byte("hung\x00")), 144)
			// GETATTR of the root goes on.
			head := s.Queue(1).Post(s.message(3, 1, make([]byte, 16)), 120)
			require.Equal(t, head, s.Queue(1).Wait().Head)
		}
		s.Start(ringFeatures, small...)
		s.init(t)
	}
	require.Zero(t, s.transport.Stats().Faults)
	s.transport.Close()
	s.srv.Close()
	require.NotZero(t, s.srv.Stats().Files, "what hangs has its descriptors")
	revive()
	settle(t, "descriptors", func() bool { return s.srv.Stats().Files == 0 })
}
