package console

import (
	"os"

	"golang.org/x/sys/unix"
)

// sendFlags: never wait, never raise SIGPIPE in the caller's process.
const sendFlags = unix.MSG_DONTWAIT | unix.MSG_NOSIGNAL

// socketPair returns two connected close-on-exec stream sockets, the first of
// them non-blocking.
func socketPair() (own, theirs int, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, -1, os.NewSyscallError("socketpair", err)
	}
	if err := unix.SetNonblock(fds[0], true); err != nil {
		_ = unix.Close(fds[0])
		_ = unix.Close(fds[1])
		return -1, -1, os.NewSyscallError("fcntl", err)
	}
	return fds[0], fds[1], nil
}
