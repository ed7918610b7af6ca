package main

import (
	"os"

	"golang.org/x/sys/unix"
)

// newBell makes a descriptor that can be read once something was written to the other,
// which may be the same: an eventfd.
func newBell() (read, write int, err error) {
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return -1, -1, os.NewSyscallError("eventfd", err)
	}
	return fd, fd, nil
}
