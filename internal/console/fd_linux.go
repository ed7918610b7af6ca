package console

import (
	"os"

	"golang.org/x/sys/unix"
)

// sendFlags: never wait, never raise SIGPIPE in the caller's process.
const sendFlags = unix.MSG_DONTWAIT | unix.MSG_NOSIGNAL

// socketPair returns two connected stream sockets, close-on-exec and non-blocking.
func socketPair() (own, theirs int, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return -1, -1, os.NewSyscallError("socketpair", err)
	}
	return fds[0], fds[1], nil
}
