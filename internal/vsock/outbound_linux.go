package vsock

import (
	"sync"

	"golang.org/x/sys/unix"

	"github.com/libcapsa/libcapsa/internal/vsock/packet"
)

const (
	// keepSize is how many bytes a packet has left at least to be kept rather
	// than copied, in bytes: below a page the copy costs less than the guest's
	// buffer, which it cannot use meanwhile.
	keepSize = 4 << 10
	// chunkSize is how much memory is taken at once for what is copied, in
	// bytes, unless more is needed at once.
	chunkSize = 16 << 10
)

// outbound is what a connection owes its socket: what the guest has sent and
// the socket has had no room for. mu is held while the socket is written to, so
// that bytes stay in order.
type outbound struct {
	mu      sync.Mutex
	pending []segment // guarded by mu; as each field below
	message []byte    // the pieces of a message that is not complete
	asked   bool      // an event is asked for when the socket has room
	fin     bool      // no more comes from the guest
	shut    bool      // the socket has got everything, or takes no more
}

// segment is a run of bytes: the payload of a packet that is kept, or a copy.
// Those of a SeqPacket connection are one message each.
type segment struct {
	kept keptPacket // packet is nil for a copy
	copy []byte
	off  int // bytes sent
}

// keptPacket is a packet of the guest that the device must not give back yet.
type keptPacket struct {
	packet *packet.Packet
	epoch  uint64 // Host.epoch then
}

func (s *segment) size() int {
	if s.kept.packet != nil {
		return s.kept.packet.Size
	}
	return len(s.copy)
}

// appendTo adds what is left of a segment to a system call; false: not all of
// it found room.
func (s *segment) appendTo(m *message) bool {
	left := s.size() - s.off
	if s.kept.packet != nil {
		return m.add(s.kept.packet.Payload, s.off, left) == left
	}
	return m.addOne(s.copy[s.off:])
}

// progress is what came of writing to a socket.
type progress struct {
	kept    bool         // the packet at hand is kept
	forward int          // bytes that have left for the socket, or were dropped
	dropped int          // those of them that were dropped
	shut    bool         // the socket has got everything or takes no more, since now
	broken  bool         // it takes no more: the host's user has closed or stopped reading
	back    []keptPacket // kept packets that are done with
}

// full says whether an error of sendmsg means that the socket has no room now.
// Every other one means that it takes no more: EPIPE, or a host out of memory.
func full(err error) bool { return err == unix.EAGAIN }

// write hands a packet of the guest to the socket. Preconditions: c is in use;
// only the device's transmit worker calls it.
func (h *Host) write(c *conn, p *packet.Packet) (r progress) {
	o := &c.out
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.shut {
		return progress{forward: p.Size, dropped: p.Size}
	}
	if c.typ == packet.SeqPacket {
		h.writeMessage(c, p, &r)
	} else {
		h.writeStream(c, p, &r)
	}
	if len(o.pending) > 0 && !o.asked {
		o.asked = true
		h.askWrite(c)
	}
	return r
}

// writeStream sends what it can and leaves the rest pending. Preconditions: out.mu
// is held.
func (h *Host) writeStream(c *conn, p *packet.Packet, r *progress) {
	o, m := &c.out, h.outgoing
	for len(o.pending) == 0 && r.forward < p.Size {
		m.add(p.Payload, r.forward, p.Size)
		n, err := m.send(c.fd)
		if full(err) {
			break
		}
		if err != nil {
			o.fail(r, p.Size-r.forward)
			return
		}
		r.forward += n
	}
	if r.forward < p.Size {
		h.hold(c, p, r)
	}
}

// writeMessage sends the message that a packet completes, or leaves it pending.
// A message that is empty is dropped: to the host's user it would look like the
// end. Preconditions: out.mu is held.
func (h *Host) writeMessage(c *conn, p *packet.Packet, r *progress) {
	o, m := &c.out, h.outgoing
	if p.Header.Flags&packet.EndOfMessage == 0 {
		o.message = appendPayload(o.message, p, 0)
		return
	}
	size := len(o.message) + p.Size
	if size == 0 {
		return
	}
	if len(o.message) > 0 {
		m.addOne(o.message)
	}
	if fits := m.add(p.Payload, 0, p.Size) == p.Size; len(o.pending) > 0 || !fits {
		m.reset()
		h.hold(c, p, r)
		return
	}
	_, err := m.send(c.fd)
	switch {
	case full(err):
		h.hold(c, p, r)
	case err != nil:
		o.fail(r, p.Size)
	default:
		o.message = o.message[:0]
		r.forward = size
	}
}

// hold leaves a packet pending, but for the bytes that were forwarded: it is
// kept, if the guest has buffers enough besides, else copied. Preconditions:
// out.mu is held.
func (h *Host) hold(c *conn, p *packet.Packet, r *progress) {
	o := &c.out
	if left := p.Size - r.forward; left >= keepSize && len(o.message) == 0 && len(p.Payload) <= maxVectors {
		if epoch, ok := h.mayKeep(p); ok {
			o.pending = append(o.pending, segment{kept: keptPacket{p, epoch}, off: r.forward})
			r.kept = true
			return
		}
	}
	if c.typ == packet.SeqPacket {
		o.pending = append(o.pending, segment{copy: appendPayload(o.message, p, 0)})
		o.message = nil
		return
	}
	o.pending = appendCopy(o.pending, p, r.forward)
}

// mayKeep says whether the transmit queue can spare what a packet takes of it.
func (h *Host) mayKeep(p *packet.Packet) (epoch uint64, ok bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.keep < p.Weight {
		return 0, false
	}
	h.keep -= p.Weight
	return h.epoch, true
}

// appendPayload appends the payload from byte off on to a copy.
func appendPayload(to []byte, p *packet.Packet, off int) []byte {
	for _, b := range p.Payload {
		if off >= len(b) {
			off -= len(b)
			continue
		}
		to = append(to, b[off:]...)
		off = 0
	}
	return to
}

// appendCopy appends the payload from byte off on to what is pending. Little
// packets share a chunk.
func appendCopy(pending []segment, p *packet.Packet, off int) []segment {
	left := p.Size - off
	if n := len(pending); n > 0 {
		last := &pending[n-1]
		if last.kept.packet == nil && cap(last.copy)-len(last.copy) >= left {
			last.copy = appendPayload(last.copy, p, off)
			return pending
		}
	}
	return append(pending, segment{copy: appendPayload(make([]byte, 0, max(left, chunkSize)), p, off)})
}

// fail notes that the socket takes no more: what was to go there is dropped,
// n bytes besides what waits here. Preconditions: mu is held.
func (o *outbound) fail(r *progress, n int) {
	n += len(o.message)
	for i := range o.pending {
		s := &o.pending[i]
		n += s.size() - s.off
		if s.kept.packet != nil {
			r.back = append(r.back, s.kept)
		}
	}
	o.pending, o.message, o.shut = nil, nil, true
	r.forward += n
	r.dropped += n
	r.shut, r.broken = true, true
}

// flush sends what is pending, as far as the socket has room. Preconditions: c
// is in use.
func (h *Host) flush(c *conn, m *message) (r progress) {
	o := &c.out
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.shut {
		return r
	}
	for len(o.pending) > 0 {
		gather(o.pending, m, c.typ)
		n, err := m.send(c.fd)
		if full(err) {
			return r
		}
		if err != nil {
			o.fail(&r, 0)
			return r
		}
		r.forward += n
		o.advance(n, &r)
	}
	if o.asked {
		o.asked = false
		h.askRead(c)
	}
	o.close(c.fd, &r)
	return r
}

// gather fills a system call with what is pending: one message, or as much of a
// stream as there are vectors for.
func gather(pending []segment, m *message, t packet.Type) {
	for i := range pending {
		if !pending[i].appendTo(m) || t == packet.SeqPacket {
			return
		}
	}
}

// advance takes n bytes off what is pending. Preconditions: mu is held.
func (o *outbound) advance(n int, r *progress) {
	done := 0
	for n > 0 {
		s := &o.pending[done]
		left := s.size() - s.off
		if n < left {
			s.off += n
			break
		}
		n -= left
		if s.kept.packet != nil {
			r.back = append(r.back, s.kept)
		}
		done++
	}
	rest := copy(o.pending, o.pending[done:])
	clear(o.pending[rest:])
	o.pending = o.pending[:rest]
}

// close shows the end to the host's user once everything was sent.
// Preconditions: mu is held.
func (o *outbound) close(fd int, r *progress) {
	if o.fin && !o.shut && len(o.pending) == 0 {
		_ = unix.Shutdown(fd, unix.SHUT_WR)
		r.dropped += len(o.message)
		o.message, o.shut, r.shut = nil, true, true
	}
}

// finish notes that no more comes from the guest. A message that is not
// complete is dropped. Preconditions: c is in use.
func (c *conn) finish() (r progress) {
	c.out.mu.Lock()
	defer c.out.mu.Unlock()
	c.out.fin = true
	c.out.close(c.fd, &r)
	return r
}

// breakOff drops what is pending and takes no more: the host's user has closed.
func (c *conn) breakOff() (r progress) {
	c.out.mu.Lock()
	defer c.out.mu.Unlock()
	if !c.out.shut {
		c.out.fail(&r, 0)
	}
	return r
}

// abandon drops what is pending and returns the packets that were kept.
func (o *outbound) abandon() []keptPacket {
	o.mu.Lock()
	defer o.mu.Unlock()
	var r progress
	o.fail(&r, 0)
	return r.back
}

// copyKept replaces packets that are kept by copies, since the guest's memory
// is going away.
func (o *outbound) copyKept() {
	o.mu.Lock()
	defer o.mu.Unlock()
	for i := range o.pending {
		s := &o.pending[i]
		if p := s.kept.packet; p != nil {
			*s = segment{copy: appendPayload(nil, p, s.off)}
		}
	}
}

// wrote notes what came of writing to a socket. Preconditions: h.mu is held,
// and is unlocked with unlock.
func (h *Host) wrote(c *conn, r *progress) {
	c.receive.forward(uint32(r.forward))
	h.stats.FromGuest += uint64(r.forward - r.dropped)
	h.stats.Dropped += uint64(r.dropped)
	if c.state.inTable() && c.receive.due(c.typ == packet.SeqPacket) {
		h.owe(c, newsCredit)
	}
	h.giveBack(r.back)
	if r.shut {
		c.outShut = true
		if r.broken {
			h.sayDone(c, packet.ShutdownReceive)
		}
		h.settle(c)
	}
}

// askWrite has an event sent when the socket has room, askRead ends that.
func (h *Host) askWrite(c *conn) { h.ask(c, askWrite) }
func (h *Host) askRead(c *conn)  { h.ask(c, askRead) }

func (h *Host) ask(c *conn, events uint32) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !c.buried {
		h.poll.ask(c.fd, c.ticket, events)
	}
}
