package sockpair

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// SendFlags are those of every send(2): never wait. SIGPIPE is switched off on the
// socket, since Darwin has no flag for it.
const SendFlags = unix.MSG_DONTWAIT

// Darwin has no SOCK_CLOEXEC: the fork lock keeps Go's own forks from inheriting the
// sockets.
func pair(kind int) (ours, theirs int, err error) {
	syscall.ForkLock.RLock()
	fds, err := unix.Socketpair(unix.AF_UNIX, kind, 0)
	if err == nil {
		unix.CloseOnExec(fds[0])
		unix.CloseOnExec(fds[1])
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return -1, -1, os.NewSyscallError("socketpair", err)
	}
	for _, fd := range fds {
		if err == nil {
			err = os.NewSyscallError("fcntl", unix.SetNonblock(fd, true))
		}
		if err == nil {
			err = os.NewSyscallError("setsockopt", unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_NOSIGPIPE, 1))
		}
	}
	if err != nil {
		_, _ = unix.Close(fds[0]), unix.Close(fds[1])
		return -1, -1, err
	}
	return fds[0], fds[1], nil
}
