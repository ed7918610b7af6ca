package vsock

import "golang.org/x/sys/unix"

// todo is what one batch of events asks for, besides reading.
type todo struct {
	write []*conn // in use: the socket may have room
	open  []*door
}

// run is the poller's goroutine: it turns events of sockets into packets for the
// guest.
func (h *Host) run() {
	defer close(h.pollerDone)
	m := new(message)
	var do todo
	// It ends by Close only: epoll_wait has nothing to complain of.
	_ = h.poll.wait(func(events []unix.EpollEvent) {
		h.sort(events, &do)
		for _, c := range do.write {
			h.account(c, h.flush(c, m))
		}
		for _, d := range do.open {
			h.accept(d)
		}
		if guest := h.guest(); guest != nil {
			guest.Deliver()
		}
	})
}

// sort takes note of events.
func (h *Host) sort(events []unix.EpollEvent, do *todo) {
	h.mu.Lock()
	defer h.unlock()
	clear(do.write)
	do.write, do.open = do.write[:0], do.open[:0]
	for i := range events {
		e := &events[i]
		switch target := h.poll.lookup(ticket{e.Fd, e.Pad}).(type) {
		case *door:
			do.open = append(do.open, target)
		case *conn:
			h.event(target, e.Events)
			if e.Events&(unix.EPOLLOUT|unix.EPOLLHUP|unix.EPOLLERR) != 0 && h.use(target) {
				do.write = append(do.write, target)
			}
		}
	}
}

// event takes note of one socket's events. Preconditions: h.mu is held, and is
// unlocked with unlock.
func (h *Host) event(c *conn, events uint32) {
	if events&(unix.EPOLLIN|unix.EPOLLRDHUP|unix.EPOLLHUP|unix.EPOLLERR) != 0 {
		c.readable = true
	}
	if events&(unix.EPOLLPRI|unix.EPOLLRDHUP|unix.EPOLLHUP|unix.EPOLLERR) != 0 {
		c.noShort = true
	}
	if events&unix.EPOLLHUP != 0 {
		c.hungUp = true
	}
	switch {
	case c.state == requested && c.hungUp:
		h.withdraw(c, errClosed) // who came through a door has left
	case c.inShut:
		h.checkHungUp(c)
	default:
		h.offer(c)
	}
}

// withdraw ends a connection that the guest has not answered yet. Preconditions:
// h.mu is held, and is unlocked with unlock.
func (h *Host) withdraw(c *conn, why error) {
	if c.owed&newsRequest == 0 {
		h.sendReset(c)
	}
	h.end(c, why)
}
