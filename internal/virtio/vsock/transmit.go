package vsock

import (
	"github.com/libcapsa/libcapsa/internal/virtio"
	"github.com/libcapsa/libcapsa/internal/virtio/virtq"
	"github.com/libcapsa/libcapsa/internal/vsock/packet"
)

// transmitter serves the transmit queue. All of it belongs to the queue's
// worker.
type transmitter struct {
	s *session
	// chains has the chains of packets that are kept, by their heads, which are
	// the packets' tags.
	chains []*virtq.Chain
	free   []*packet.Packet
}

func (t *transmitter) init(s *session, a virtio.Activation) {
	t.s = s
	if q := a.Queues[queueTransmit]; q != nil {
		t.chains = make([]*virtq.Chain, q.Config().Size)
	}
}

// keep is how many descriptors may be taken by packets that wait for sockets of
// the host: half of them. The others go on.
func (t *transmitter) keep() int { return len(t.chains) / 2 }

// serve implements [virtio.HandlerFunc]. What the packets call for, answers and
// room, goes to the guest at the end of a batch, from here.
func (t *transmitter) serve(q *virtq.Queue, budget int) (n int, why virtio.Outcome, err error) {
	n = t.reclaim(q, budget)
	why = virtio.Again
	for n < budget {
		c, popErr := q.Pop()
		if popErr != nil || c == nil {
			why, err = virtio.RingEmpty, popErr
			break
		}
		t.send(q, c)
		n++
	}
	if t.s.host.Pending() {
		t.s.lane.deliver(transmitRounds)
	}
	return n, why, err
}

// reclaim gives chains back that are not kept any more.
func (t *transmitter) reclaim(q *virtq.Queue, budget int) (n int) {
	for n < budget {
		p := t.s.host.Finished()
		if p == nil {
			break
		}
		c := t.chains[p.Tag]
		t.chains[p.Tag] = nil
		t.release(p)
		q.Push(c, 0)
		n++
	}
	return n
}

// send hands one packet on. A chain with no whole header in it is no packet: it
// is dropped. Whatever else is wrong is for the host's side to answer. Writable
// buffers have no business here and are left alone.
func (t *transmitter) send(q *virtq.Queue, c *virtq.Chain) {
	var raw [packet.HeaderSize]byte
	if c.CopyIn(raw[:], 0) < len(raw) {
		t.s.counters.AddError()
		q.Push(c, 0)
		return
	}
	p := t.take()
	p.Header = packet.Decode(&raw)
	p.Payload = behindHeader(p.Payload[:0], c.Read)
	p.Size = c.ReadLen() - packet.HeaderSize
	p.Weight = len(c.Read) + len(c.Write) // no fewer than it takes; in an indirect table it takes one
	p.Tag = c.Head
	t.s.counters.AddRequests(1, uint64(min(p.Size, packet.MaxPayload)))
	if t.s.host.Send(p) {
		t.chains[c.Head] = c
		return
	}
	t.release(p)
	q.Push(c, 0)
}

// take returns a packet whose storage has been used before, if there is one.
func (t *transmitter) take() *packet.Packet {
	last := len(t.free) - 1
	if last < 0 {
		return new(packet.Packet)
	}
	p := t.free[last]
	t.free = t.free[:last]
	return p
}

func (t *transmitter) release(p *packet.Packet) { t.free = append(t.free, p) }

// behindHeader appends to dst the buffers of a chain without the bytes of the
// header.
func behindHeader(dst, bufs [][]byte) [][]byte {
	skip := packet.HeaderSize
	for _, b := range bufs {
		if skip >= len(b) {
			skip -= len(b)
			continue
		}
		dst = append(dst, b[skip:])
		skip = 0
	}
	return dst
}
