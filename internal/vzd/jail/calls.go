//go:build linux && amd64

package jail

import (
	"os"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/libcapsa/libcapsa/internal/vm"
)

// running are the system calls of a machine that runs: those of the Go runtime, of
// vCPUs and devices, and of the connection to the client.
var running = []uint32{
	// Memory, threads, time, signals.
	unix.SYS_MMAP, unix.SYS_MUNMAP, unix.SYS_MPROTECT, unix.SYS_MADVISE,
	unix.SYS_FUTEX, unix.SYS_SCHED_YIELD, unix.SYS_SCHED_GETAFFINITY, unix.SYS_NANOSLEEP, unix.SYS_CLOCK_GETTIME,
	unix.SYS_RESTART_SYSCALL, unix.SYS_GETRANDOM,
	unix.SYS_RT_SIGACTION, unix.SYS_RT_SIGPROCMASK, unix.SYS_RT_SIGRETURN, unix.SYS_SIGALTSTACK,
	unix.SYS_GETTID, unix.SYS_GETPID, unix.SYS_GETPPID, unix.SYS_GETEUID, unix.SYS_GETEGID, unix.SYS_GETUID, unix.SYS_GETGID,
	unix.SYS_EXIT, unix.SYS_EXIT_GROUP, unix.SYS_GETRLIMIT,
	// Descriptors that are open; holes in the memory that a guest gives back.
	unix.SYS_READ, unix.SYS_WRITE, unix.SYS_WRITEV, unix.SYS_CLOSE, unix.SYS_FSTAT, unix.SYS_LSEEK, unix.SYS_FCNTL, unix.SYS_FALLOCATE,
	// Waiting.
	unix.SYS_EPOLL_CREATE1, unix.SYS_EPOLL_CTL, unix.SYS_EPOLL_PWAIT, unix.SYS_EVENTFD2, unix.SYS_POLL, unix.SYS_PPOLL,
	// Sockets that are open.
	unix.SYS_RECVMSG, unix.SYS_SENDMSG, unix.SYS_RECVFROM, unix.SYS_SENDTO, unix.SYS_SHUTDOWN,
	unix.SYS_GETSOCKOPT, unix.SYS_SETSOCKOPT, unix.SYS_GETSOCKNAME, unix.SYS_GETPEERNAME,
}

// ofDisks are those of a machine with disks: their files are open.
var ofDisks = []uint32{
	unix.SYS_PREAD64, unix.SYS_PWRITE64, unix.SYS_PREADV, unix.SYS_PWRITEV, unix.SYS_FTRUNCATE, unix.SYS_FDATASYNC, unix.SYS_FSYNC,
}

// ofSockets are those of a machine with sockets: unix sockets, and their names.
var ofSockets = []uint32{
	unix.SYS_SOCKETPAIR, unix.SYS_CONNECT, unix.SYS_BIND, unix.SYS_LISTEN, unix.SYS_ACCEPT4,
	unix.SYS_FCHMOD, unix.SYS_FCHMODAT, unix.SYS_MKDIRAT, unix.SYS_UNLINKAT, unix.SYS_NEWFSTATAT, unix.SYS_LSTAT,
}

// ofNetworks are those of a machine with a network of its own: sockets of the host,
// forwarded ports, and the file with the host's name servers.
var ofNetworks = []uint32{
	unix.SYS_SOCKETPAIR, unix.SYS_CONNECT, unix.SYS_BIND, unix.SYS_LISTEN, unix.SYS_ACCEPT4, unix.SYS_RECVMMSG, unix.SYS_SENDMMSG,
	unix.SYS_OPENAT, unix.SYS_NEWFSTATAT, unix.SYS_FCHMOD, unix.SYS_FCHMODAT, unix.SYS_UNLINKAT,
}

// ofShares are those of a machine that shares directories: the calls for files.
var ofShares = []uint32{
	unix.SYS_PREAD64, unix.SYS_PWRITE64, unix.SYS_PREADV, unix.SYS_PWRITEV, unix.SYS_PREADV2, unix.SYS_PWRITEV2,
	unix.SYS_FTRUNCATE, unix.SYS_FDATASYNC, unix.SYS_FSYNC, unix.SYS_FLOCK,
	unix.SYS_OPENAT, unix.SYS_OPENAT2, unix.SYS_READLINKAT, unix.SYS_STATX, unix.SYS_NEWFSTATAT, unix.SYS_FSTATFS, unix.SYS_GETDENTS64,
	unix.SYS_MKDIRAT, unix.SYS_MKNODAT, unix.SYS_UNLINKAT, unix.SYS_LINKAT, unix.SYS_SYMLINKAT, unix.SYS_RENAMEAT, unix.SYS_RENAMEAT2,
	unix.SYS_FCHMOD, unix.SYS_FCHMODAT, unix.SYS_FCHOWN, unix.SYS_FCHOWNAT, unix.SYS_UTIMENSAT, unix.SYS_TRUNCATE,
	unix.SYS_GETXATTR, unix.SYS_SETXATTR, unix.SYS_LISTXATTR, unix.SYS_REMOVEXATTR,
	unix.SYS_FGETXATTR, unix.SYS_FSETXATTR, unix.SYS_FLISTXATTR, unix.SYS_FREMOVEXATTR,
	unix.SYS_COPY_FILE_RANGE, unix.SYS_SYNCFS, unix.SYS_INOTIFY_INIT1, unix.SYS_INOTIFY_ADD_WATCH, unix.SYS_INOTIFY_RM_WATCH,
	unix.SYS_SETFSUID, unix.SYS_SETFSGID, unix.SYS_CAPGET,
}

// allowed are the calls of a machine, besides those whose arguments are looked at.
func allowed(cfg vm.Config) []uint32 {
	out := slices.Clone(running)
	if len(cfg.Disks) > 0 {
		out = append(out, ofDisks...)
	}
	if cfg.Vsock.Enabled() {
		out = append(out, ofSockets...)
	}
	if cfg.Network.Mode == vm.NetworkUser {
		out = append(out, ofNetworks...)
	}
	if len(cfg.Shares) > 0 {
		out = append(out, ofShares...)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// Offsets in struct seccomp_data (include/uapi/linux/seccomp.h), in bytes.
const (
	dataNr   = 0
	dataArch = 4
	dataArgs = 16 // six of 8 bytes, low half first
)

// x32 marks calls of the x32 ABI (arch/x86/include/uapi/asm/unistd.h).
const x32 = 0x4000_0000

// check is a call that is allowed for some values of an argument.
type check struct {
	call   uint32
	arg    uint32
	mask   uint32 // of the argument's low half
	values []uint32
}

// checks are the calls whose arguments are looked at. A vCPU's come first: the
// kernel remembers calls that are always allowed, and runs the filter for these.
func checks(cfg vm.Config) []check {
	out := []check{
		// The type of a request is its second byte: KVM, block devices, file systems.
		{unix.SYS_IOCTL, 1, 0xff00, []uint32{0xae00, 0x1200, 0x6600, 0x5800, 0x9400}},
		// Signals to threads of this process.
		{unix.SYS_TGKILL, 0, ^uint32(0), []uint32{uint32(os.Getpid())}},
		// New threads, not processes.
		{unix.SYS_CLONE, 0, unix.CLONE_THREAD | unix.CLONE_NEWUSER, []uint32{unix.CLONE_THREAD}},
		// Names of memory, for whoever reads /proc/PID/maps.
		{unix.SYS_PRCTL, 0, ^uint32(0), []uint32{unix.PR_SET_VMA}},
		// Limits are read, not set.
		{unix.SYS_PRLIMIT64, 2, ^uint32(0), []uint32{0}},
	}
	var families []uint32
	if cfg.Vsock.Enabled() {
		families = append(families, unix.AF_UNIX)
	}
	if cfg.Network.Mode == vm.NetworkUser {
		// rtnetlink is read: changes take capabilities.
		families = append(families, unix.AF_INET, unix.AF_INET6, unix.AF_UNIX, unix.AF_NETLINK)
		// How many bytes wait in a socket.
		out = append(out, check{unix.SYS_IOCTL, 1, ^uint32(0), []uint32{unix.TIOCINQ}})
	}
	if len(families) > 0 {
		out = append(out, check{unix.SYS_SOCKET, 0, ^uint32(0), families})
	}
	return out
}

// refuse is what the calls get that are not allowed: an error and not death, as
// libraries try calls and can do without.
const refuse = unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)

// filter makes the program that decides about a call (seccomp(2)).
func filter(calls []uint32, checks []check) []unix.SockFilter {
	ret := func(action uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: action}
	}
	load := func(at uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: at}
	}
	unless := func(op uint16, k uint32, skip int) unix.SockFilter { // goes on if true, else skips
		return unix.SockFilter{Code: unix.BPF_JMP | op | unix.BPF_K, Jf: uint8(skip), K: k}
	}
	out := []unix.SockFilter{
		load(dataArch),
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jt: 1, K: unix.AUDIT_ARCH_X86_64},
		ret(unix.SECCOMP_RET_KILL_PROCESS),
		load(dataNr),
		unless(unix.BPF_JGE, x32, 1),
		ret(unix.SECCOMP_RET_KILL_PROCESS),
	}
	for _, c := range checks {
		out = append(out, unless(unix.BPF_JEQ, c.call, 3+2*len(c.values)),
			load(dataArgs+8*c.arg),
			unix.SockFilter{Code: unix.BPF_ALU | unix.BPF_AND | unix.BPF_K, K: c.mask})
		for _, v := range c.values {
			out = append(out, unless(unix.BPF_JEQ, v, 1), ret(unix.SECCOMP_RET_ALLOW))
		}
		out = append(out, load(dataNr)) // for the checks that follow; no checked call is always allowed
	}
	for _, call := range calls {
		out = append(out, unless(unix.BPF_JEQ, call, 1), ret(unix.SECCOMP_RET_ALLOW))
	}
	return append(out, ret(refuse))
}

// restrictCalls leaves the process of a machine the calls, and those that are checked.
func restrictCalls(calls []uint32, cfg vm.Config) error {
	return install(filter(calls, checks(cfg)))
}
