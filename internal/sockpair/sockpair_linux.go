package sockpair

import (
	"os"

	"golang.org/x/sys/unix"
)

// SendFlags are those of every send(2): never wait, never raise SIGPIPE.
const SendFlags = unix.MSG_DONTWAIT | unix.MSG_NOSIGNAL

func pair(kind int) (ours, theirs int, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, kind|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return -1, -1, os.NewSyscallError("socketpair", err)
	}
	return fds[0], fds[1], nil
}
