//go:build linux

package fuse

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/hanwen/go-fuse/v2/posixtest"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// mounted is a share on /dev/fuse: the host's own kernel is the guest.
type mounted struct {
	dir string // mount point
	srv *Server
	fd  int
}

// mount mounts a server of the directory. workers requests are served at once.
func mount(t testing.TB, dir string, opt Options, workers int) *mounted {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("mounting /dev/fuse without fusermount needs root")
	}
	m := &mounted{dir: t.TempDir(), fd: -1}
	fd, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Skipf("no /dev/fuse here: %v", err)
	}
	m.fd = fd
	if opt.Notify == nil {
		opt.Notify = func(message []byte) bool {
			_, err := unix.Write(fd, message)
			return err == nil
		}
	}
	m.srv, err = New(dir, opt)
	require.NoError(t, err)
	data := fmt.Sprintf("fd=%d,rootmode=40000,user_id=0,group_id=0,allow_other,default_permissions,max_read=%d", fd, MaxIO)
	require.NoError(t, unix.Mount("capsa", m.dir, "fuse", 0, data))
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() { serveDev(fd, m.srv) })
	}
	m.learnNoPoll(t)
	t.Cleanup(func() {
		require.NoError(t, unix.Unmount(m.dir, unix.MNT_DETACH))
		wg.Wait() // reads end with ENODEV
		m.srv.Close()
		require.NoError(t, unix.Close(fd))
	})
	return m
}

// learnNoPoll has the kernel ask for POLL once, and not again. Go's runtime
// registers files with epoll in a system call that holds a processor of the
// scheduler, which must not wait for this same process.
func (m *mounted) learnNoPoll(t testing.TB) {
	t.Helper()
	file := filepath.Join(m.dir, ".poll")
	fd, err := unix.Open(file, unix.O_CREAT|unix.O_RDWR|unix.O_CLOEXEC, 0o600)
	if err == unix.EROFS {
		return
	}
	require.NoError(t, err)
	_, err = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
	require.NoError(t, err)
	require.NoError(t, unix.Close(fd))
	require.NoError(t, unix.Unlink(file))
}

// serveDev answers requests of /dev/fuse until it is unmounted.
func serveDev(fd int, srv *Server) {
	handle := srv.Worker(nil, nil)
	in, out := make([]byte, MaxIO+8192), make([]byte, MaxIO+4096)
	for {
		n, err := unix.Read(fd, in)
		switch err {
		case nil:
		case unix.EINTR, unix.EAGAIN, unix.ENOENT:
			continue
		default:
			return
		}
		if w := handle([][]byte{in[:n]}, [][]byte{out}); w > 0 {
			// ENOENT: the request was interrupted meanwhile.
			_, _ = unix.Write(fd, out[:w])
		}
	}
}

// faithful are the options with which a share looks like the host's own
// directory.
func faithful() Options {
	return Options{Owner: Ownership{Mode: Passthrough}, AllowSetID: true}
}

// The tests of go-fuse for file systems, over each cache policy.
func TestPosix(t *testing.T) {
	policies := map[string]func(*Options){
		"auto":      func(*Options) {},
		"none":      func(o *Options) { o.Cache = CacheNone },
		"always":    func(o *Options) { o.Cache = CacheAlways },
		"writeback": func(o *Options) { o.Writeback = true },
		"acl":       func(o *Options) { o.ACL = true },
		"guestlock": func(o *Options) { o.Locks = LocksGuest },
		"tight":     func(o *Options) { o.MaxFiles = 64; o.MaxInodes = 64 },
	}
	for policy, change := range policies {
		t.Run(policy, func(t *testing.T) {
			opt := faithful()
			change(&opt)
			for name, test := range posixtest.All {
				if name == "FcntlFlockLocksFile" {
					continue // wants two locks of one process to conflict, which they do not on ext4 either
				}
				t.Run(name, func(t *testing.T) {
					dir := t.TempDir()
					m := mount(t, dir, opt, 4)
					test(t, m.dir)
				})
			}
		})
	}
}

// TestSuite runs a command of the tester's in a mount, for suites that are not
// part of this repository: CAPSA_FUSE_SUITE="cd pjdfstest && prove -r tests".
func TestSuite(t *testing.T) {
	command := os.Getenv("CAPSA_FUSE_SUITE")
	if command == "" {
		t.Skip("CAPSA_FUSE_SUITE has no command to run in the mount")
	}
	dir := os.Getenv("CAPSA_FUSE_DIR")
	if dir == "" {
		dir = t.TempDir()
	}
	opt := faithful()
	opt.ACL = os.Getenv("CAPSA_FUSE_ACL") != ""
	m := mount(t, dir, opt, 4)
	out, err := shell(filepath.Clean(m.dir), command)
	t.Logf("%s", out)
	require.NoError(t, err)
}
