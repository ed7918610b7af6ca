//go:build linux

package kvm

import (
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// poller remembers that the Go runtime has its poller, which is for the life of the process.
type poller struct {
	mu    sync.Mutex
	ready bool // guarded by mu
}

// thisPoller is the process's, as the poller is the runtime's.
var thisPoller poller

// pollerFDs is what the runtime's poller opens, an epoll and an eventfd, and the file that makes it do so.
const pollerFDs = 3

// start has the Go runtime make its poller while there are descriptors for it. The runtime would make it at the first
// file, socket or timer of the process, and abort the process if it could not (runtime/netpoll_epoll.go, netpollinit).
// Errors: EMFILE, ENFILE or ENOMEM as *os.SyscallError.
func (p *poller) start() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ready {
		return nil
	}
	if err := roomFor(pollerFDs); err != nil {
		return err
	}
	f, err := os.Open(os.DevNull)
	if err != nil {
		return err
	}
	p.ready = true
	return f.Close()
}

// roomFor says whether the process may have n more descriptors.
func roomFor(n int) (err error) {
	for ; n > 0 && err == nil; n-- {
		var fd int
		if fd, err = unix.Eventfd(0, unix.EFD_CLOEXEC); err == nil {
			defer func() { _ = unix.Close(fd) }()
		}
	}
	return os.NewSyscallError("eventfd2", err)
}
