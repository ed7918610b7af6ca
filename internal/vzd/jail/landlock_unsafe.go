//go:build linux && amd64

package jail

import (
	"fmt"
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// landlockVersion is the version of Landlock that the kernel has.
func landlockVersion() (int, error) {
	v, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	if errno != 0 {
		return 0, os.NewSyscallError("landlock_create_ruleset", errno)
	}
	return int(v), nil
}

// newRuleset makes a ruleset that denies the accesses, TCP unless tcp is set, signals
// to other processes, and abstract sockets of other processes, as far as the version
// goes.
func newRuleset(access uint64, tcp bool, abi int) (int, error) {
	attr := unix.LandlockRulesetAttr{Handled_access_fs: access}
	size := unsafe.Sizeof(attr.Handled_access_fs)
	if abi >= 4 && !tcp {
		attr.Handled_access_net = unix.LANDLOCK_ACCESS_NET_BIND_TCP | unix.LANDLOCK_ACCESS_NET_CONNECT_TCP
		size = unsafe.Offsetof(attr.Scoped)
	}
	if abi >= 6 {
		attr.Scoped = unix.LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET | unix.LANDLOCK_SCOPE_SIGNAL
		size = unsafe.Offsetof(attr.Scoped) + unsafe.Sizeof(attr.Scoped)
	}
	// SAFETY: attr lives until the call returns, and size is within it.
	fd, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, uintptr(unsafe.Pointer(&attr)), size, 0)
	if errno != 0 {
		return -1, os.NewSyscallError("landlock_create_ruleset", errno)
	}
	return int(fd), nil
}

// addPath allows an access to a file, or beneath a directory.
func addPath(ruleset, fd int, access uint64) error {
	attr := unix.LandlockPathBeneathAttr{Allowed_access: access, Parent_fd: int32(fd)}
	// SAFETY: attr lives until the call returns, which reads a struct landlock_path_beneath_attr.
	_, _, errno := unix.Syscall6(unix.SYS_LANDLOCK_ADD_RULE, uintptr(ruleset), unix.LANDLOCK_RULE_PATH_BENEATH,
		uintptr(unsafe.Pointer(&attr)), 0, 0, 0)
	if errno != 0 {
		return os.NewSyscallError("landlock_add_rule", errno)
	}
	return nil
}

// restrictSelf makes a ruleset hold for all threads.
func restrictSelf(ruleset int) error {
	return everywhere("landlock_restrict_self", unix.SYS_LANDLOCK_RESTRICT_SELF, uintptr(ruleset), 0, 0)
}

// everywhere makes a system call on all threads of the process.
func everywhere(name string, call, a, b, c uintptr) error {
	_, _, errno := syscall.AllThreadsSyscall6(call, a, b, c, 0, 0, 0)
	if errno == syscall.ENOTSUP { // with cgo
		return fmt.Errorf("%w: this program was built with cgo, which has threads of its own", errMissing)
	}
	if errno != 0 {
		return os.NewSyscallError(name, errno)
	}
	return nil
}

// noNewPrivileges makes execution of programs gain nothing, which unprivileged
// processes need for the rest.
func noNewPrivileges() error {
	return everywhere("prctl", unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0)
}

// dropCapabilities drops all capabilities of all threads.
func dropCapabilities() error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var none [2]unix.CapUserData
	// SAFETY: both live until the call returns on the last thread; version 3 has two elements of data.
	return everywhere("capset", unix.SYS_CAPSET, uintptr(unsafe.Pointer(&header)), uintptr(unsafe.Pointer(&none[0])), 0)
}

// install installs a filter of system calls for all threads.
func install(program []unix.SockFilter) error {
	prog := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	// SAFETY: prog and the filter it points to live until the call returns, which copies them.
	at, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&prog)))
	if errno != 0 {
		return os.NewSyscallError("seccomp", errno)
	}
	if at != 0 {
		return fmt.Errorf("thread %d has a filter of its own", at)
	}
	return nil
}
