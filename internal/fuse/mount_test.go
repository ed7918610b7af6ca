//go:build linux

package fuse

import (
	"bytes"
	"cmp"
	"encoding/gob"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/hanwen/go-fuse/v2/posixtest"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// serveEnv tells this binary to be a server of /dev/fuse, and of what.
const serveEnv = "CAPSA_FUSE_SERVE"

func TestMain(m *testing.M) {
	if order := os.Getenv(serveEnv); order != "" {
		os.Exit(serveChild(order))
	}
	if code, done := alone(); done {
		os.Exit(code)
	}
	os.Exit(m.Run())
}

// aloneEnv says that this process has mounts of its own.
const aloneEnv = "CAPSA_FUSE_ALONE"

func init() { runtime.LockOSThread() } // Pdeathsig is of the thread that started the process

// alone runs the tests in a process that has mounts of its own: nobody else
// meets them, and they go with it, however it ends.
func alone() (code int, done bool) {
	fuzzing := slices.ContainsFunc(os.Args, func(a string) bool { return strings.HasPrefix(a, "-test.fuzz") })
	if os.Geteuid() != 0 || os.Getenv(aloneEnv) != "" || os.Getenv(childEnv) != "" || fuzzing {
		return 0, false
	}
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Env = append(os.Environ(), aloneEnv+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return 0, false // no such right here: the tests that mount will say so
	}
	_ = cmd.Wait()
	return cmd.ProcessState.ExitCode(), true
}

// mounted is a share on /dev/fuse: the host's own kernel is the guest.
type mounted struct {
	dir string // mount point
}

// serveOrder is what a server process is told.
type serveOrder struct {
	Dir     string
	Options Options
	Workers int
}

// mount mounts a directory, served by a process of its own: one that waits for
// itself could not be killed.
func mount(t testing.TB, dir string, opt Options, workers int) *mounted {
	t.Helper()
	m, fd := newMount(t)
	var b bytes.Buffer
	require.NoError(t, gob.NewEncoder(&b).Encode(serveOrder{dir, opt, workers}))
	dev := os.NewFile(uintptr(fd), "/dev/fuse")
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), serveEnv+"="+hex.EncodeToString(b.Bytes()))
	cmd.ExtraFiles = []*os.File{dev}
	cmd.Stderr = os.Stderr
	alive, err := cmd.StdinPipe() // its end is that of this process
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	require.NoError(t, dev.Close()) // when the server ends, requests fail and do not wait
	t.Cleanup(func() {
		require.NoError(t, unix.Unmount(m.dir, unix.MNT_DETACH))
		if t.Failed() { // it may have left files open, which keep the mount
			_ = alive.Close()
			_ = cmd.Wait()
			return
		}
		require.NoError(t, cmd.Wait(), "the server")
	})
	return m
}

// newMount mounts /dev/fuse without a server yet.
func newMount(t testing.TB) (*mounted, int) {
	t.Helper()
	if os.Geteuid() != 0 {
		skipMount(t, "mounting /dev/fuse without fusermount needs root")
	}
	fd, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		skipMount(t, "no /dev/fuse here: "+err.Error())
	}
	m := &mounted{dir: t.TempDir()}
	require.NoError(t, os.Chmod(filepath.Dir(m.dir), 0o755)) // suites are other users too
	data := fmt.Sprintf("fd=%d,rootmode=40000,user_id=0,group_id=0,allow_other,default_permissions,max_read=%d", fd, MaxIO)
	require.NoError(t, unix.Mount("capsa", m.dir, "fuse", 0, data))
	return m, fd
}

// skipMount skips a test that cannot mount here, or fails it when
// CAPSA_REQUIRE has the word "fuse".
func skipMount(t testing.TB, why string) {
	t.Helper()
	if slices.Contains(strings.Split(os.Getenv("CAPSA_REQUIRE"), ","), "fuse") {
		t.Fatal(why)
	}
	t.Skip(why)
}

// serveChild is the server process: it ends when the mount does, or its parent.
func serveChild(order string) int {
	complain := func(a ...any) int {
		fmt.Fprintln(os.Stderr, a...)
		return 1
	}
	raw, err := hex.DecodeString(order)
	var o serveOrder
	if err == nil {
		err = gob.NewDecoder(bytes.NewReader(raw)).Decode(&o)
	}
	if err != nil {
		return complain(err)
	}
	srv, err := New(o.Dir, o.Options)
	if err != nil {
		return complain(err)
	}
	go func() {
		_, _ = os.Stdin.Read(make([]byte, 1))
		os.Exit(1)
	}()
	var wg sync.WaitGroup
	for range o.Workers {
		wg.Go(func() { serveDev(3, srv) })
	}
	wg.Wait()
	srv.Close()
	if st := srv.Stats(); st.Panics > 0 || st.BadNames > 0 || st.Malformed > 0 || st.Files > 0 {
		return complain("the server saw what an honest kernel does not send, or leaks:", st)
	}
	return 0
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
	return Options{Owner: Ownership{Mode: Passthrough}, AllowSetID: true, AllowDevices: true}
}

// policies are what suites run over.
var policies = map[string]func(*Options){
	"auto":      func(*Options) {},
	"none":      func(o *Options) { o.Cache = CacheNone },
	"always":    func(o *Options) { o.Cache = CacheAlways },
	"writeback": func(o *Options) { o.Writeback = true },
	"acl":       func(o *Options) { o.ACL = true },
	"guestlock": func(o *Options) { o.Locks = LocksGuest },
	"tight":     func(o *Options) { o.MaxFiles = 64; o.MaxInodes = 64 },
}

// The tests of go-fuse for file systems, over each cache policy.
func TestPosix(t *testing.T) {
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
// part of this repository (tests/posix): CAPSA_FUSE_SUITE is the command,
// CAPSA_FUSE_POLICY one of policies, CAPSA_FUSE_DIR what is shared.
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
	change := policies[cmp.Or(os.Getenv("CAPSA_FUSE_POLICY"), "auto")]
	require.NotNil(t, change, "CAPSA_FUSE_POLICY")
	change(&opt)
	m := mount(t, dir, opt, 4)
	out, err := shell(filepath.Clean(m.dir), command)
	t.Logf("%s", out)
	require.NoError(t, err)
}
