package virtio

import (
	"encoding/binary"
	"errors"
	"io"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// eventFDSize is what one read or write of an eventfd carries, in bytes
// (eventfd(2)).
const eventFDSize = 8

// EventFD is a [StoppableKick] over an eventfd: KVM's ioeventfd signals it
// without an exit to user space. Waiting goes through the Go runtime's poller
// and holds no thread.
type EventFD struct {
	fd   int
	file *os.File
	raw  syscall.RawConn
	buf  [eventFDSize]byte // of the one goroutine in Wait
	once sync.Once
}

// NewEventFD makes an eventfd with a count of zero. Errors: those of
// eventfd(2) as *os.SyscallError, EMFILE among them; os.ErrNoDeadline where
// the runtime's poller could not take it.
func NewEventFD() (*EventFD, error) {
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return nil, os.NewSyscallError("eventfd2", err)
	}
	file := os.NewFile(uintptr(fd), "eventfd")
	// NewFile does not say whether the poller took the descriptor (epoll_ctl
	// can fail with ENOSPC); a deadline can only be set where it did.
	if err := file.SetReadDeadline(time.Time{}); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	raw, err := file.SyscallConn()
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return &EventFD{fd: fd, file: file, raw: raw}, nil
}

// FD returns the descriptor, to be lent to KVM. It stays the EventFD's and is
// valid until Stop.
func (e *EventFD) FD() int { return e.fd }

// Wait implements [Kick].
func (e *EventFD) Wait() error {
	n, err := e.file.Read(e.buf[:])
	switch {
	case errors.Is(err, os.ErrClosed):
		return ErrStopped
	case err != nil:
		return err
	case n != eventFDSize:
		return io.ErrUnexpectedEOF
	default:
		return nil
	}
}

// Poke implements [Kick].
func (e *EventFD) Poke() {
	var one [eventFDSize]byte
	binary.NativeEndian.PutUint64(one[:], 1)
	// The RawConn keeps the descriptor from being closed meanwhile; its error
	// says that it was closed before, which is Stop. EAGAIN of the write says
	// that the count is at its maximum: a wake-up is pending, as asked for.
	_ = e.raw.Write(func(fd uintptr) bool {
		for {
			if _, err := unix.Write(int(fd), one[:]); err != unix.EINTR {
				return true
			}
		}
	})
}

// Stop implements [StoppableKick].
func (e *EventFD) Stop() { e.once.Do(func() { _ = e.file.Close() }) }

// Close is Stop for owners that expect an io.Closer.
func (e *EventFD) Close() error {
	e.Stop()
	return nil
}

var _ StoppableKick = (*EventFD)(nil)
