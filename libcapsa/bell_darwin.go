package main

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// newBell makes a descriptor that can be read once something was written to the other:
// a pipe, as Darwin has no eventfd.
func newBell() (read, write int, err error) {
	var fds [2]int
	syscall.ForkLock.RLock() // nor pipe2
	err = unix.Pipe(fds[:])
	if err == nil {
		unix.CloseOnExec(fds[0])
		unix.CloseOnExec(fds[1])
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return -1, -1, os.NewSyscallError("pipe", err)
	}
	for _, fd := range fds {
		if err := unix.SetNonblock(fd, true); err != nil {
			_, _ = unix.Close(fds[0]), unix.Close(fds[1])
			return -1, -1, os.NewSyscallError("fcntl", err)
		}
	}
	return fds[0], fds[1], nil
}
