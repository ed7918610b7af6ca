package gateway

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// watchSocket is a socket that can be read when the host's addresses have changed, or
// its routes (route(4)).
func watchSocket() (fd int, err error) {
	syscall.ForkLock.RLock() // Darwin has no SOCK_CLOEXEC
	fd, err = unix.Socket(unix.AF_ROUTE, unix.SOCK_RAW, unix.AF_UNSPEC)
	if err == nil {
		unix.CloseOnExec(fd)
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return -1, os.NewSyscallError("socket", err)
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		_ = unix.Close(fd)
		return -1, os.NewSyscallError("fcntl", err)
	}
	return fd, nil
}
