package vsock

import (
	"golang.org/x/sys/unix"

	"github.com/libcapsa/libcapsa/internal/vsock/packet"
)

// tuple names a connection in the table. The guest's address and the host's are
// always the same two. The type is not part of it, as Linux's is not.
type tuple struct{ host, guest uint32 } // ports

// news are packets without payload that the guest is owed. They are bits of a
// connection, so that however slow the guest takes them, they need no memory.
type news uint8

const (
	newsRequest  news = 1 << iota // ask for the connection
	newsResponse                  // accept it
	newsShutdown                  // tell what the host has done with: conn.done
	newsCredit                    // tell the free room
)

// conn is one connection. Fields are guarded by Host.mu, unless said otherwise.
type conn struct {
	tuple
	typ   packet.Type
	state state

	// The socket is open until it is buried and has no users any more.
	fd     int // never changes
	ticket ticket
	users  int  // goroutines in system calls on fd
	buried bool // fd is to be closed, by the last user

	receive receiveWindow // from the guest
	send    sendWindow    // to the guest

	owed   news
	queued bool // in Host.owing

	// Guest to host.
	guestDone uint32   // directions the guest has done with, flags of a shutdown
	outShut   bool     // the socket has got everything, or takes no more
	out       outbound // has a lock of its own

	// Host to guest.
	hostDone uint32 // directions the host has done with, flags of a shutdown
	inShut   bool   // the guest has got everything, or takes no more
	readable bool   // an event said that the socket has something, and no read has found it empty since
	hungUp   bool   // an event said that the host's user has closed
	ready    bool   // in Host.ready
	noShort  bool   // an event said that there is more than bytes: the end, or an urgent byte, before which reads stop
	partial  bool   // of the goroutine in Fill: the guest has a part of the message at the socket's head

	// answer is where Connect waits, nil elsewhere: nil is sent when the
	// connection is established, else why it is not. Capacity 1.
	answer chan error
}

// move changes the state. Where it goes is decided by the code and not by the
// guest, so a move that the table does not have is a bug.
func (c *conn) move(to state) {
	if !c.state.can(to) {
		panic("BUG: vsock: connection goes from " + c.state.String() + " to " + to.String())
	}
	c.state = to
}

// answered tells Connect how it ended, if that is who asked.
func (c *conn) answered(err error) {
	if c.answer != nil {
		c.answer <- err
		c.answer = nil
	}
}

// open makes a connection around a socket, which is its own from then on; nil:
// there is no room, and the socket is still the caller's. Preconditions: h.mu
// is held; the tuple is not in the table; s is requested or established.
func (h *Host) open(t tuple, typ packet.Type, fd int, s state) (*conn, error) {
	if h.closed {
		return nil, errClosed
	}
	if h.broken != nil {
		return nil, h.broken
	}
	if h.count() >= h.max {
		return nil, errFull
	}
	credit := h.credits.take(typ)
	if credit == 0 {
		return nil, errFull
	}
	if typ == packet.SeqPacket {
		credit = h.fitMessages(fd, credit)
	}
	c := &conn{tuple: t, typ: typ, state: s, fd: fd, receive: receiveWindow{size: credit}}
	ticket, err := h.poll.add(fd, c)
	if err != nil {
		h.credits.put(credit)
		return nil, err
	}
	c.ticket = ticket
	h.table[t] = c
	h.sockets++
	h.stats.Opened++
	return c, nil
}

// fitMessages makes the credit no larger than a message may be for the socket
// (unix_dgram_sendmsg): a larger one would find no way out. Preconditions: h.mu
// is held.
func (h *Host) fitMessages(fd int, credit uint32) uint32 {
	size, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF)
	if err != nil || size <= messageOverhead || uint32(size-messageOverhead) >= credit {
		return credit
	}
	h.credits.put(credit - uint32(size-messageOverhead))
	return uint32(size - messageOverhead)
}

// count is the number of connections. Preconditions: h.mu is held.
func (h *Host) count() int { return len(h.table) + h.lingering }

// owe queues a packet without payload. Preconditions: h.mu is held; c is in the
// table.
func (h *Host) owe(c *conn, what news) {
	c.owed |= what
	if !c.queued {
		c.queued = true
		h.owing.push(c)
	}
}

// sayDone tells the guest, once, that the host has done with a direction.
// Preconditions: h.mu is held.
func (h *Host) sayDone(c *conn, what uint32) {
	if c.state.inTable() && c.hostDone&what != what {
		c.hostDone |= what
		h.owe(c, newsShutdown)
	}
}

// offer queues a connection that has something for the guest which the guest
// has room for. Preconditions: h.mu is held.
func (h *Host) offer(c *conn) {
	if c.state == established && !c.inShut && c.readable && !c.ready && c.send.free() > 0 {
		c.ready = true
		h.ready.push(c)
	}
}

// settle ends a connection both of whose directions are done. Preconditions:
// h.mu is held.
func (h *Host) settle(c *conn) {
	if !c.inShut || !c.outShut {
		return
	}
	switch c.state {
	case established:
		c.move(closing)
		h.sayDone(c, packet.ShutdownBoth)
		h.bury(c)
	case lingering:
		h.end(c, nil)
	}
}

// leave takes an established connection out of the table that the guest has
// ended. What the guest had sent still goes to the socket: the caller goes on
// with finish. Preconditions: h.mu is held.
func (h *Host) leave(c *conn) {
	delete(h.table, c.tuple)
	c.move(lingering)
	h.lingering++
	c.owed, c.inShut = 0, true
	h.settle(c)
}

// end closes a connection for good; why is for Connect. What was not yet
// delivered is dropped. Preconditions: h.mu is held, and is unlocked with
// unlock.
func (h *Host) end(c *conn, why error) {
	switch c.state {
	case closed:
		return
	case lingering:
		h.lingering--
	default:
		delete(h.table, c.tuple)
	}
	c.move(closed)
	c.owed, c.inShut = 0, true
	c.answered(why)
	h.bury(c)
	h.welcome()
}

// sendReset queues a packet that ends a connection, which the caller ends.
// Preconditions: h.mu is held.
func (h *Host) sendReset(c *conn) {
	h.refuse(&packet.Header{DstCID: packet.HostCID, SrcPort: c.guest, DstPort: c.host, Type: c.typ})
}

// bury gives the socket up: the last user closes it. Preconditions: as for end.
func (h *Host) bury(c *conn) {
	if c.buried {
		return
	}
	c.buried = true
	h.poll.remove(c.fd, c.ticket)
	if c.users == 0 {
		h.dying = append(h.dying, c)
	}
}

// use keeps the socket open; false: it is too late. Preconditions: h.mu is held.
func (h *Host) use(c *conn) bool {
	if c.buried {
		return false
	}
	c.users++
	return true
}

// unuse ends what use began. Preconditions: as for end.
func (h *Host) unuse(c *conn) {
	c.users--
	if c.buried && c.users == 0 {
		h.dying = append(h.dying, c)
	}
}

// useAll returns all connections that have a socket, each in use.
// Preconditions: h.mu is held.
func (h *Host) useAll() []*conn {
	conns := make([]*conn, 0, h.count())
	for _, w := range h.poll.table {
		if c, ok := w.target.(*conn); ok && h.use(c) {
			conns = append(conns, c)
		}
	}
	return conns
}

// unlock unlocks h.mu, and does what had to wait for that: it closes sockets that
// were given up, and drops what is pending for users that have closed.
func (h *Host) unlock() {
	dying, breaking := h.dying, h.breaking
	h.dying, h.breaking = nil, nil
	h.mu.Unlock()
	for _, c := range breaking {
		h.account(c, c.breakOff())
	}
	for _, c := range dying {
		kept := c.out.abandon()
		hangUp(c.fd)
		h.mu.Lock()
		h.credits.put(c.receive.size)
		h.sockets--
		h.giveBack(kept)
		h.welcome()
		h.mu.Unlock()
		h.reclaim(kept)
	}
}

// account notes what came of writing to the socket of a connection that was in
// use for it.
func (h *Host) account(c *conn, r progress) {
	h.mu.Lock()
	h.wrote(c, &r)
	h.unuse(c)
	h.unlock()
	h.reclaim(r.back)
}

// giveBack queues packets that were kept for the device, unless its driver is
// gone. Preconditions: h.mu is held.
func (h *Host) giveBack(kept []keptPacket) {
	for _, k := range kept {
		if k.epoch == h.epoch {
			h.keep += k.packet.Weight
			h.finished.push(k.packet)
		}
	}
}

// reclaim has the device fetch what was given back. Preconditions: h.mu is not
// held.
func (h *Host) reclaim(kept []keptPacket) {
	if len(kept) == 0 {
		return
	}
	h.mu.Lock()
	guest := h.link.Guest
	h.mu.Unlock()
	if guest != nil {
		guest.Reclaim()
	}
}
