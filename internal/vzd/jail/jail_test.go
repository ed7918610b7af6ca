//go:build linux && amd64

package jail

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/libcapsa/libcapsa/internal/vm"
)

// TestMain lets the test's program be a confined process, with a configuration as
// its argument. It prints what it found, as JSON.
func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == "confined" {
		found, err := confined(os.Args[2])
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			syscall.Exit(1)
		}
		_ = json.NewEncoder(os.Stdout).Encode(found)
		syscall.Exit(0)
	}
	os.Exit(m.Run())
}

// confined tries what a monitor that was taken over would try.
func confined(config string) (map[string]string, error) {
	var cfg vm.Config
	if err := json.Unmarshal([]byte(config), &cfg); err != nil {
		return nil, err
	}
	found := make(map[string]string)
	try := func(what string, err error) {
		found[what] = "yes"
		if err != nil {
			found[what] = "no"
			if errno, ok := errors.AsType[syscall.Errno](err); ok {
				found[what] = unix.ErrnoName(errno)
			}
		}
	}
	open := func(path string, flags int) error {
		fd, err := unix.Open(path, flags|unix.O_CLOEXEC, 0o600)
		if err == nil {
			_ = unix.Close(fd)
		}
		return err
	}
	// A thread that was there before.
	work, done := make(chan func()), make(chan struct{})
	go func() {
		runtime.LockOSThread()
		for fn := range work {
			fn()
			done <- struct{}{}
		}
	}()
	work <- func() {}
	<-done

	seal, err := Enter(cfg, "")
	if err != nil {
		return nil, err
	}
	dir := filepath.Dir(cfg.Boot.Kernel)
	try("read kernel", open(cfg.Boot.Kernel, unix.O_RDONLY))
	try("write kernel", open(cfg.Boot.Kernel, unix.O_WRONLY))
	try("write disk", open(cfg.Disks[0].Path, unix.O_RDWR))
	try("read other", open(filepath.Join(dir, "other"), unix.O_RDONLY))
	try("make file", open(filepath.Join(dir, "new"), unix.O_CREAT|unix.O_WRONLY))
	try("read passwd", open("/etc/passwd", unix.O_RDONLY))
	work <- func() { try("read passwd on another thread", open("/etc/passwd", unix.O_RDONLY)) }
	<-done
	try("kvm", open("/dev/kvm", unix.O_RDWR))
	jail, err := seal()
	if err != nil {
		return nil, err
	}
	found["jail"] = jail
	if len(cfg.Shares) > 0 {
		return found, serve(cfg.Shares[0].Path, try)
	}
	try("open after", open(cfg.Boot.Kernel, unix.O_RDONLY))
	work <- func() { try("open after on another thread", open(cfg.Boot.Kernel, unix.O_RDONLY)) }
	<-done
	try("execute", exec.Command("/bin/true").Run())
	_, err = net.Dial("tcp", "127.0.0.1:1")
	try("connect", err)
	if cfg.Network.Enabled() {
		_, err := net.Listen("tcp", "127.0.0.1:0")
		try("listen", err)
		_, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
		try("packet socket", err)
		_, err = os.ReadFile(resolvConf)
		try("name servers", err)
	}
	try("signal", unix.Tgkill(os.Getppid(), os.Getppid(), 0))
	try("terminal ioctl", unix.IoctlSetInt(0, unix.TIOCSTI, 0))
	for range 4 { // the runtime is able to work
		go func() { runtime.LockOSThread(); done <- struct{}{} }()
		<-done
	}
	runtime.GC()
	return found, nil
}

// serve does what the file server does, inside of a share and outside.
func serve(share string, try func(what string, err error)) error {
	dir, err := unix.Open(share, unix.O_PATH|unix.O_CLOEXEC, 0)
	try("open share", err)
	proc, err := unix.Open("/proc/self/fd", unix.O_PATH|unix.O_CLOEXEC, 0)
	try("open proc", err)
	try("mkdir", unix.Mkdirat(dir, "sub", 0o700))
	file, err := unix.Openat(dir, "file", unix.O_CREAT|unix.O_RDWR|unix.O_CLOEXEC, 0o600)
	try("create", err)
	_, err = unix.Write(file, []byte("x"))
	try("write", err)
	held, err := unix.Openat(dir, "file", unix.O_PATH|unix.O_CLOEXEC, 0)
	try("hold", err)
	_, err = unix.Openat(proc, fmt.Sprint(held), unix.O_RDWR|unix.O_CLOEXEC, 0)
	try("reopen", err)
	try("rename", unix.Renameat(dir, "file", dir, "sub/file"))
	try("symlink", unix.Symlinkat("/etc/passwd", dir, "link"))
	_, err = unix.Openat(dir, "link", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	try("follow out", err)
	_, err = unix.Openat(dir, "../other", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	try("go out", err)
	try("move out", unix.Renameat(dir, "sub/file", dir, "../stolen"))
	try("unlink", unix.Unlinkat(dir, "sub/file", 0))
	try("execute", exec.Command("/bin/true").Run())
	return nil
}

// static is this test's program without cgo, as the daemon is.
func static(t *testing.T) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "static")
	build := exec.Command("go", "test", "-c", "-o", program, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=")
	out, err := build.CombinedOutput()
	require.NoError(t, err, string(out))
	return program
}

// guest is a configuration whose files are there, and one beside them.
func guest(t *testing.T) vm.Config {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"kernel", "disk", "other"} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), nil, 0o600))
	}
	cfg := vm.DefaultConfig()
	cfg.Boot.Kernel = filepath.Join(dir, "kernel")
	cfg.Disks = []vm.Disk{{Path: filepath.Join(dir, "disk"), Format: vm.DiskRaw}}
	return cfg
}

// run runs a program confined.
func run(t *testing.T, program string, cfg vm.Config) (map[string]string, error) {
	t.Helper()
	config, err := json.Marshal(cfg)
	require.NoError(t, err)
	cmd := exec.Command(program, "confined", string(config))
	var words strings.Builder
	cmd.Stderr = &words
	out, err := cmd.Output()
	if err != nil {
		return nil, errors.New(words.String())
	}
	var found map[string]string
	require.NoError(t, json.Unmarshal(out, &found))
	return found, nil
}

func TestConfined(t *testing.T) {
	abi, err := landlockVersion()
	if err != nil {
		t.Skipf("the kernel of this host has no Landlock: %v", err)
	}
	program := static(t)
	found, err := run(t, program, guest(t))
	require.NoError(t, err)
	for _, part := range []string{"new privileges are off", fmt.Sprintf("Landlock (ABI %d)", abi), "capabilities dropped", "seccomp ("} {
		require.Contains(t, found["jail"], part)
	}
	for what, want := range map[string]string{
		"read kernel": "yes", "write disk": "yes",
		"write kernel": "EACCES", "read other": "EACCES", "make file": "EACCES",
		"read passwd": "EACCES", "read passwd on another thread": "EACCES",
		"open after": "EPERM", "open after on another thread": "EPERM", "execute": "EPERM", "connect": "EPERM",
		"signal": "EPERM", "terminal ioctl": "EPERM",
	} {
		require.Equal(t, want, found[what], what)
	}

	cfg := guest(t)
	share := filepath.Join(filepath.Dir(cfg.Boot.Kernel), "share")
	require.NoError(t, os.Mkdir(share, 0o700))
	cfg.Shares = []vm.Share{{Tag: "s", Path: share}}
	found, err = run(t, program, cfg)
	require.NoError(t, err)
	for _, what := range []string{"open share", "open proc", "mkdir", "create", "write", "hold", "reopen", "rename", "symlink", "unlink"} {
		require.Equal(t, "yes", found[what], what)
	}
	for _, what := range []string{"follow out", "go out"} {
		require.Equal(t, "EACCES", found[what], what)
	}
	require.NotEqual(t, "yes", found["move out"])
	require.Equal(t, "EPERM", found["execute"])

	// A network of its own takes sockets, and nothing else.
	cfg = guest(t)
	cfg.Network.Mode = vm.NetworkUser
	found, err = run(t, program, cfg)
	require.NoError(t, err)
	for what, want := range map[string]string{
		"connect": "ECONNREFUSED", "listen": "yes", "packet socket": "EPERM", "name servers": "yes", "read passwd": "EACCES",
		"make file": "EACCES", "execute": "EPERM", "signal": "EPERM", "terminal ioctl": "EPERM",
	} {
		require.Equal(t, want, found[what], what)
	}

	cfg = guest(t)
	cfg.Jail = vm.JailOff
	found, err = run(t, program, cfg)
	require.NoError(t, err)
	require.Empty(t, found["jail"])
	require.Equal(t, "yes", found["read passwd"])
	require.Equal(t, "yes", found["execute"])
}

// TestNotPossible: a program that cannot be confined as wanted says so, and what to
// do; one that may do with less does with what there is.
func TestNotPossible(t *testing.T) {
	exe, err := os.Executable()
	require.NoError(t, err)
	if os.Getenv("CGO_ENABLED") == "0" {
		t.Skip("a program without cgo can be confined")
	}
	cfg := guest(t)
	_, err = run(t, exe, cfg)
	require.ErrorContains(t, err, "cgo")
	require.ErrorContains(t, err, hint)
	cfg.Jail = vm.JailPartial
	found, err := run(t, exe, cfg)
	if err == nil { // a filter without the rest takes privileges to install
		require.Contains(t, found["jail"], "no Landlock")
	}
}

// TestRules: each part of a configuration brings what it needs.
func TestRules(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	image := filepath.Join(dir, "image")
	require.NoError(t, os.WriteFile(image, nil, 0o600))
	tests := []struct {
		name string
		cfg  vm.Config
		want rule
	}{
		{"kernel", vm.Config{Boot: vm.LinuxBoot{Kernel: "/k"}}, rule{"/k", read}},
		{"initrd", vm.Config{Boot: vm.LinuxBoot{Initrd: "/i"}}, rule{"/i", read}},
		{"disk", vm.Config{Disks: []vm.Disk{{Path: image, Format: vm.DiskRaw}}}, rule{image, device}},
		{"read-only disk", vm.Config{Disks: []vm.Disk{{Path: image, ReadOnly: true}}}, rule{image, read | unix.LANDLOCK_ACCESS_FS_IOCTL_DEV}},
		{"backing files", vm.Config{Disks: []vm.Disk{{Path: image}}}, rule{dir, read}},
		{"backing directory", vm.Config{Disks: []vm.Disk{{Path: image, BackingDirs: []string{"/b"}}}}, rule{"/b", read}},
		{"new overlay", vm.Config{Disks: []vm.Disk{{Path: image, Overlay: dir + "/new"}}}, rule{dir, create | list}},
		{"old overlay", vm.Config{Disks: []vm.Disk{{Path: "/x", Overlay: image}}}, rule{image, write}},
		{"temporary", vm.Config{Disks: []vm.Disk{{Path: "/x", Temporary: true}}}, rule{defaultScratch, create}},
		{"scratch", vm.Config{Disks: []vm.Disk{{Path: "/x", Temporary: true, ScratchDir: "/s"}}}, rule{"/s", create}},
		{"share", vm.Config{Shares: []vm.Share{{Path: "/d"}}}, rule{"/d", tree}},
		{"read-only share", vm.Config{Shares: []vm.Share{{Path: "/d", ReadOnly: true}}}, rule{"/d", list}},
		{"socket", vm.Config{Vsock: vm.VsockConfig{Ports: []vm.VsockPort{{Mode: vm.VsockListen, Path: "/r/s"}}}}, rule{"/r", bind}},
	}
	for _, test := range tests {
		require.Contains(t, rules(test.cfg, ""), test.want, test.name)
		for _, r := range rules(test.cfg, "/t/capsa") {
			require.Zero(t, r.access&unix.LANDLOCK_ACCESS_FS_EXECUTE, r.path)
		}
	}
}

// TestHandled: the accesses of each version of Landlock, from its documentation.
func TestHandled(t *testing.T) {
	t.Parallel()
	for abi, want := range map[int]uint64{1: 0x1fff, 2: 0x3fff, 3: 0x7fff, 4: 0x7fff, 5: 0xffff, 7: 0xffff} {
		require.Equal(t, want, handledBy(abi), abi)
	}
}

// decide runs a filter on a call.
func decide(t *testing.T, program []unix.SockFilter, arch, call uint32, args ...uint64) uint32 {
	t.Helper()
	data := map[uint32]uint32{dataNr: call, dataArch: arch}
	for i := range 6 {
		data[dataArgs+8*uint32(i)] = 0
		if i < len(args) {
			data[dataArgs+8*uint32(i)] = uint32(args[i])
		}
	}
	var a uint32
	for pc := 0; pc < len(program); pc++ {
		i := program[pc]
		jump := func(yes bool) {
			if yes {
				pc += int(i.Jt)
			} else {
				pc += int(i.Jf)
			}
		}
		switch i.Code {
		case unix.BPF_LD | unix.BPF_W | unix.BPF_ABS:
			v, ok := data[i.K]
			require.True(t, ok, "offset %d", i.K)
			a = v
		case unix.BPF_ALU | unix.BPF_AND | unix.BPF_K:
			a &= i.K
		case unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K:
			jump(a == i.K)
		case unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K:
			jump(a >= i.K)
		case unix.BPF_RET | unix.BPF_K:
			return i.K
		default:
			require.Fail(t, "instruction", "%#x", i.Code)
		}
	}
	require.Fail(t, "the program has no end")
	return 0
}

func TestFilter(t *testing.T) {
	t.Parallel()
	const allow, kill = unix.SECCOMP_RET_ALLOW, uint32(unix.SECCOMP_RET_KILL_PROCESS)
	cfg := vm.Config{}
	plain := filter(allowed(cfg), checks(cfg))
	cfg.Vsock.On = true
	sockets := filter(allowed(cfg), checks(cfg))
	cfg.Vsock.On, cfg.Shares = false, []vm.Share{{}}
	shares := filter(allowed(cfg), checks(cfg))
	cfg.Shares, cfg.Network.Mode = nil, vm.NetworkUser
	network := filter(allowed(cfg), checks(cfg))
	me := uint64(os.Getpid())
	tests := []struct {
		name    string
		program []unix.SockFilter
		call    uint32
		args    []uint64
		want    uint32
	}{
		{"read", plain, unix.SYS_READ, nil, allow},
		{"KVM_RUN", plain, unix.SYS_IOCTL, []uint64{3, 0xae80}, allow},
		{"BLKDISCARD", plain, unix.SYS_IOCTL, []uint64{3, unix.BLKDISCARD}, allow},
		{"TIOCSTI", plain, unix.SYS_IOCTL, []uint64{3, unix.TIOCSTI}, refuse},
		{"own thread", plain, unix.SYS_TGKILL, []uint64{me, 5, 9}, allow},
		{"other process", plain, unix.SYS_TGKILL, []uint64{me + 1, 5, 9}, refuse},
		{"kill", plain, unix.SYS_KILL, []uint64{me, 9}, refuse},
		{"thread", plain, unix.SYS_CLONE, []uint64{unix.CLONE_VM | unix.CLONE_THREAD | unix.CLONE_SIGHAND}, allow},
		{"fork", plain, unix.SYS_CLONE, []uint64{uint64(unix.SIGCHLD)}, refuse},
		{"user namespace", plain, unix.SYS_CLONE, []uint64{unix.CLONE_THREAD | unix.CLONE_NEWUSER}, refuse},
		{"clone3", plain, unix.SYS_CLONE3, nil, refuse},
		{"execve", plain, unix.SYS_EXECVE, nil, refuse},
		{"execve with shares", shares, unix.SYS_EXECVE, nil, refuse},
		{"open", plain, unix.SYS_OPENAT, nil, refuse},
		{"open with shares", shares, unix.SYS_OPENAT, nil, allow},
		{"socket", plain, unix.SYS_SOCKET, []uint64{unix.AF_UNIX}, refuse},
		{"unix socket", sockets, unix.SYS_SOCKET, []uint64{unix.AF_UNIX}, allow},
		{"internet socket", sockets, unix.SYS_SOCKET, []uint64{unix.AF_INET}, refuse},
		{"internet socket of a network", network, unix.SYS_SOCKET, []uint64{unix.AF_INET6}, allow},
		{"packet socket of a network", network, unix.SYS_SOCKET, []uint64{unix.AF_PACKET}, refuse},
		{"KVM_RUN of a network", network, unix.SYS_IOCTL, []uint64{3, 0xae80}, allow},
		{"TIOCINQ of a network", network, unix.SYS_IOCTL, []uint64{3, unix.TIOCINQ}, allow},
		{"TIOCINQ", plain, unix.SYS_IOCTL, []uint64{3, unix.TIOCINQ}, refuse},
		{"TIOCSTI of a network", network, unix.SYS_IOCTL, []uint64{3, unix.TIOCSTI}, refuse},
		{"execve of a network", network, unix.SYS_EXECVE, nil, refuse},
		{"vsock socket", sockets, unix.SYS_SOCKET, []uint64{unix.AF_VSOCK}, refuse},
		{"read limits", plain, unix.SYS_PRLIMIT64, []uint64{0, 7, 0, 1}, allow},
		{"set limits", plain, unix.SYS_PRLIMIT64, []uint64{0, 7, 1, 0}, refuse},
		{"ptrace", shares, unix.SYS_PTRACE, nil, refuse},
		{"mount", shares, unix.SYS_MOUNT, nil, refuse},
		{"bpf", shares, unix.SYS_BPF, nil, refuse},
		{"io_uring", shares, unix.SYS_IO_URING_SETUP, nil, refuse},
		{"x32", plain, x32 | unix.SYS_READ, nil, kill},
	}
	for _, test := range tests {
		require.Equal(t, test.want, decide(t, test.program, unix.AUDIT_ARCH_X86_64, test.call, test.args...), test.name)
	}
	require.Equal(t, kill, decide(t, plain, unix.AUDIT_ARCH_I386, unix.SYS_READ))
	require.LessOrEqual(t, len(running), 70)
}

// TestSize holds the lists down: a call more is a part of the host's kernel more.
func TestSize(t *testing.T) {
	cfg := guest(t)
	size := func() int { return len(allowed(cfg)) + len(checks(cfg)) }
	require.LessOrEqual(t, size(), 60, "with a disk")
	cfg.Vsock.On = true
	require.LessOrEqual(t, size(), 72, "and sockets")
	cfg.Network.Mode = vm.NetworkUser
	require.LessOrEqual(t, size(), 77, "and a network")
	cfg.Shares = []vm.Share{{Tag: "s", Path: "/"}}
	require.LessOrEqual(t, size(), 109, "and a share")
}
