//go:build linux

package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// openPorts opens the virtio-serial ports with the given numbers. They appear
// one by one after the driver has started; inotify tells when.
func openPorts(numbers ...int) (map[int]*os.File, error) {
	watch, err := unix.InotifyInit1(unix.IN_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("inotify: %w", err)
	}
	defer unix.Close(watch)
	if _, err := unix.InotifyAddWatch(watch, "/dev", unix.IN_CREATE); err != nil {
		return nil, fmt.Errorf("inotify: %w", err)
	}
	ports := map[int]*os.File{}
	events := make([]byte, 4096)
	for {
		for _, n := range numbers {
			if ports[n] != nil {
				continue
			}
			f, err := openPort(n)
			if err != nil {
				return nil, err
			}
			if f != nil {
				ports[n] = f
			}
		}
		if len(ports) == len(numbers) {
			return ports, nil
		}
		if _, err := unix.Read(watch, events); err != nil && !errors.Is(err, unix.EINTR) {
			return nil, fmt.Errorf("inotify: %w", err)
		}
	}
}

// openPort opens one port, nil when it is not there yet. O_NONBLOCK is left
// off: each port has a goroutine of its own.
func openPort(n int) (*os.File, error) {
	found, err := filepath.Glob(fmt.Sprintf("/dev/vport*p%d", n))
	if err != nil || len(found) == 0 {
		return nil, err
	}
	fd, err := unix.Open(found[0], unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", found[0], err)
	}
	return os.NewFile(uintptr(fd), found[0]), nil
}
