package vsock

import (
	"golang.org/x/sys/unix"

	"github.com/libcapsa/libcapsa/internal/vsock/packet"
)

// turn is how many bytes one connection sends to the guest before the next one
// is served, in bytes.
const turn = packet.MaxPayload

// Pending says whether there is anything for the guest.
func (h *Host) Pending() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.owing.len()+h.ready.len()+h.refusals.len() > 0
}

// Fill writes packets for the guest to the slots, from the first one on, and
// returns how many. It returns soon, to have them delivered: it is called again
// until it returns 0. One goroutine calls it at a time.
func (h *Host) Fill(slots []packet.Slot) (n int) {
	for n == 0 {
		var c *conn
		if n, c = h.fillNews(slots); c == nil {
			break
		}
		r := h.read(c, slots[n:])
		h.hasRead(c, slots[n:n+r.slots], &r)
		n += r.slots
	}
	return n
}

// fillNews fills slots with packets that have no payload. When there is room
// after them, it returns a connection to read from as well, which is in use.
func (h *Host) fillNews(slots []packet.Slot) (n int, c *conn) {
	h.mu.Lock()
	defer h.unlock()
	for n < len(slots) {
		hdr, ok := h.nextNews()
		if !ok {
			return n, h.takeReady()
		}
		slots[n].Header = hdr
		n++
	}
	return n, nil
}

// nextNews returns the next packet without payload. Preconditions: h.mu is held.
func (h *Host) nextNews() (packet.Header, bool) {
	if hdr, ok := h.refusals.pop(); ok {
		return hdr, true
	}
	for {
		c, ok := h.owing.pop()
		if !ok {
			return packet.Header{}, false
		}
		c.queued = false
		if c.owed == 0 || !c.state.inTable() {
			continue
		}
		what := c.owed & -c.owed
		c.owed &^= what
		hdr := h.header(c, packet.OpCreditUpdate)
		switch what {
		case newsRequest:
			hdr.Op = packet.OpRequest
		case newsResponse:
			hdr.Op = packet.OpResponse
		case newsShutdown:
			hdr.Op, hdr.Flags = packet.OpShutdown, c.hostDone
		case newsCredit:
			h.stats.CreditUpdates++
		}
		if c.owed != 0 {
			h.owe(c, c.owed)
		}
		return hdr, true
	}
}

// header makes the header of a packet, which tells the window too.
// Preconditions: h.mu is held.
func (h *Host) header(c *conn, op packet.Op) packet.Header {
	hdr := packet.Header{
		SrcCID: packet.HostCID, DstCID: h.cid, SrcPort: c.host, DstPort: c.guest, Type: c.typ, Op: op,
	}
	hdr.BufAlloc, hdr.FwdCnt = c.receive.tell()
	return hdr
}

// takeReady returns a connection to read from, which is in use. Its readable is
// false from here on: an event that comes while it is read sets it again.
// Preconditions: h.mu is held.
func (h *Host) takeReady() *conn {
	for {
		c, ok := h.ready.pop()
		if !ok {
			return nil
		}
		c.ready = false
		if c.state == established && !c.inShut && c.readable && c.send.free() > 0 && h.use(c) {
			c.readable = false
			return c
		}
	}
}

// reading is what came of reading from a socket.
type reading struct {
	slots   int  // filled; Header.Len of each is set, and Header.Flags
	bytes   int  // in them
	more    bool // there may be more to read
	end     bool // the host's user sends no more
	tooLong bool // there is a message the guest can never take
}

// read reads from a socket what fits into the slots and the guest's window.
// Preconditions: c is in use; the caller is Fill.
func (h *Host) read(c *conn, slots []packet.Slot) reading {
	h.mu.Lock()
	limit, window, noShort := min(int64(c.send.free()), turn), c.send.size, c.noShort
	h.mu.Unlock()
	m := h.incoming
	for i := range slots {
		left := int(limit) - m.size
		if left == 0 {
			break
		}
		want := min(slots[i].Size, left)
		if m.add(slots[i].Room, 0, want) < want {
			break // the vectors are used up
		}
	}
	if c.typ == packet.SeqPacket {
		return readMessage(c, m, slots, window)
	}
	return readStream(c, m, slots, noShort)
}

// readStream reads once. A read that comes back with less than there was room
// for has emptied the socket: what comes later makes an event. Not so when an
// event has said already that the end or an urgent byte comes next, and when the
// read stopped behind bytes that came with descriptors, which are dropped, as
// MSG_CTRUNC says.
func readStream(c *conn, m *message, slots []packet.Slot, noShort bool) (r reading) {
	room := m.size
	n, err := m.receive(c.fd, 0)
	switch {
	case err == unix.EAGAIN:
	case err != nil || n == 0:
		// The only error of a connected unix socket is ECONNRESET: the user
		// closed with bytes unread, and all it had sent has been read.
		r.end = true
	default:
		r.more = n == room || noShort || m.hdr.Flags&unix.MSG_CTRUNC != 0
		r.spread(slots, n)
	}
	return r
}

// readMessage reads the message at the socket's head, or a part of it, and
// leaves it there until the guest has all of it: so it needs no memory of ours.
// The socket's peek offset goes on by what was read (socket(7), SO_PEEK_OFF).
func readMessage(c *conn, m *message, slots []packet.Slot, window uint32) (r reading) {
	room := m.size
	left, err := m.receive(c.fd, unix.MSG_PEEK|unix.MSG_TRUNC)
	switch {
	case err == unix.EAGAIN:
		return r
	case err == unix.ECONNRESET:
		r.more = true // told once; what the user sent before is still there
		return r
	case err != nil:
		r.end = true
		return r
	case left == 0:
		r.end = isEnd(c.fd, m)
		r.more = !r.end
		return r
	case !c.partial && uint64(left) > uint64(window):
		r.tooLong = true
		return r
	}
	r.more = true
	r.spread(slots, min(left, room))
	c.partial = left > room
	if !c.partial {
		slots[r.slots-1].Header.Flags = packet.EndOfMessage
		_, _ = m.receive(c.fd, 0) // takes the message away, and the offset back to 0
	}
	return r
}

// isEnd tells the end of a SeqPacket socket from an empty message, which reads
// the same, and takes the latter away. A message has its sender's credentials,
// the end has none.
func isEnd(fd int, m *message) bool {
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PASSCRED, 1) != nil {
		return true
	}
	n, err := m.receiveControl(fd, 0)
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PASSCRED, 0)
	return err != nil && err != unix.EAGAIN || err == nil && n == 0
}

// spread notes that n bytes were read into the slots, from the first one on. n
// is above 0.
func (r *reading) spread(slots []packet.Slot, n int) {
	r.bytes = n
	for n > 0 {
		s := &slots[r.slots]
		s.Header = packet.Header{Len: uint32(min(n, s.Size))}
		n -= int(s.Header.Len)
		r.slots++
	}
}

// hasRead completes the headers and notes what came of reading. The caller has
// not shown the packets to the guest yet, so that it cannot have answered them.
func (h *Host) hasRead(c *conn, slots []packet.Slot, r *reading) {
	h.mu.Lock()
	defer h.unlock()
	h.unuse(c)
	for i := range slots {
		hdr := h.header(c, packet.OpData)
		hdr.Len, hdr.Flags = slots[i].Header.Len, slots[i].Header.Flags
		slots[i].Header = hdr
	}
	c.send.send(uint32(r.bytes))
	h.stats.ToGuest += uint64(r.bytes)
	c.readable = c.readable || r.more
	switch {
	case r.tooLong:
		h.stats.Resets++
		h.sendReset(c)
		h.end(c, nil)
	case r.end && c.state == established && !c.inShut:
		c.inShut = true
		h.sayDone(c, packet.ShutdownSend)
		h.settle(c)
		h.checkHungUp(c)
	default:
		h.offer(c)
	}
}

// checkHungUp ends the way to a user of the host that has closed, once what it
// had sent before is on its way. Preconditions: h.mu is held.
func (h *Host) checkHungUp(c *conn) {
	if c.hungUp && c.inShut && !c.outShut && h.use(c) {
		h.breaking = append(h.breaking, c)
	}
}
