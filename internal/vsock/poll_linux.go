package vsock

import (
	"errors"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// eventBatch is how many events are taken at once.
const eventBatch = 64

// What is asked of sockets, always edge-triggered: an event comes once for each
// change, so that a socket nobody has a use for at the moment costs nothing.
// Room to write is asked for only while something waits for it, as otherwise
// each read of the host would wake us. EPOLLPRI says that there is an urgent
// byte, see conn.noShort.
const (
	askRead  = unix.EPOLLIN | unix.EPOLLPRI | unix.EPOLLRDHUP | unix.EPOLLET
	askWrite = askRead | unix.EPOLLOUT
)

// ticket names a descriptor among those waited for. A number is used again for
// the next descriptor, its generation is not: an event that was taken before a
// descriptor was closed reaches nobody.
type ticket struct{ number, generation int32 }

// watched is what a ticket stands for: a *conn or a *door.
type watched struct {
	generation int32
	target     any
}

// poller waits for many descriptors at once. Its own descriptor is waited for by
// the runtime's poller, so that no thread is held. Host.mu guards it, except
// wait.
type poller struct {
	file *os.File
	raw  syscall.RawConn
	fd   int // -1 once closed

	table []watched
	free  []int32
}

// newPoller makes one. Errors: those of epoll_create1(2), and
// os.ErrNoDeadline where the runtime cannot wait for it.
func newPoller() (*poller, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	if err := unix.SetNonblock(fd, true); err != nil { // tells NewFile to use the runtime's poller
		_ = unix.Close(fd)
		return nil, os.NewSyscallError("fcntl", err)
	}
	file := os.NewFile(uintptr(fd), "vsock poller")
	if err := file.SetReadDeadline(time.Time{}); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	raw, err := file.SyscallConn()
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return &poller{file: file, raw: raw, fd: fd}, nil
}

// add begins to wait for a descriptor.
func (p *poller) add(fd int, target any) (ticket, error) {
	if p.fd < 0 {
		return ticket{}, os.ErrClosed
	}
	if len(p.free) == 0 {
		p.free = append(p.free, int32(len(p.table)))
		p.table = append(p.table, watched{})
	}
	last := len(p.free) - 1
	number := p.free[last]
	t := ticket{number, p.table[number].generation}
	if err := p.control(unix.EPOLL_CTL_ADD, fd, t, askRead); err != nil {
		return ticket{}, os.NewSyscallError("epoll_ctl", err)
	}
	p.free = p.free[:last]
	p.table[number].target = target
	return t, nil
}

// ask changes what is waited for, and has an event sent if it is there already.
func (p *poller) ask(fd int, t ticket, events uint32) {
	if p.lookup(t) != nil {
		// It cannot fail: the descriptor was added and is open.
		_ = p.control(unix.EPOLL_CTL_MOD, fd, t, events)
	}
}

// remove ends the waiting. The descriptor is still open.
func (p *poller) remove(fd int, t ticket) {
	if p.lookup(t) == nil {
		return
	}
	_ = p.control(unix.EPOLL_CTL_DEL, fd, t, 0)
	p.table[t.number].generation++
	p.table[t.number].target = nil
	p.free = append(p.free, t.number)
}

// lookup returns what a ticket stands for, nil if it is void.
func (p *poller) lookup(t ticket) any {
	if p.fd < 0 || int(t.number) >= len(p.table) || p.table[t.number].generation != t.generation {
		return nil
	}
	return p.table[t.number].target
}

func (p *poller) control(op, fd int, t ticket, events uint32) error {
	return unix.EpollCtl(p.fd, op, fd, &unix.EpollEvent{Events: events, Fd: t.number, Pad: t.generation})
}

// wait calls handle with events, as they come, until interrupt is called or
// waiting fails.
//
// All of that is one Read of the runtime's poller: it remembers that our
// descriptor became ready while handle ran, which a new Read would begin by
// forgetting. So one epoll_wait for each wake-up is enough, unless there were
// more events than it could take.
func (p *poller) wait(handle func(events []unix.EpollEvent)) error {
	events := make([]unix.EpollEvent, eventBatch)
	var failed error
	err := p.raw.Read(func(fd uintptr) bool {
		for {
			n, err := unix.EpollWait(int(fd), events, 0)
			switch {
			case err == unix.EINTR:
				continue
			case err != nil:
				failed = os.NewSyscallError("epoll_wait", err)
				return true
			case n > 0:
				handle(events[:n])
			}
			if n < len(events) {
				return false
			}
		}
	})
	return errors.Join(failed, err)
}

// interrupt makes wait return an error, now and for ever.
func (p *poller) interrupt() { _ = p.file.SetReadDeadline(time.Unix(1, 0)) }

// close releases the descriptor. Nobody waits any more.
func (p *poller) close() {
	p.fd = -1
	_ = p.file.Close()
}
