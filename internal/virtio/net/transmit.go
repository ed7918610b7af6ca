package net

import (
	"github.com/libcapsa/libcapsa/internal/net/link"
	"github.com/libcapsa/libcapsa/internal/virtio"
	"github.com/libcapsa/libcapsa/internal/virtio/virtq"
)

// maxBatch is how many frames the host's side gets in one call: as many as a
// worker serves at once.
const maxBatch = 64

// transmitter serves the transmit queue. All of it belongs to the queue's
// worker.
type transmitter struct {
	s      *session
	frames []link.Frame // of the batch, with slices of the chains' buffers
	used   []virtq.Used // all chains of the batch
	tally  tally
	held   pending // was taken from the queue, and is over a limit
	pacer  pacer
}

// pending is a frame of the driver, whose header was copied and found good.
type pending struct {
	chain *virtq.Chain // nil: none
	hdr   link.Header
	size  int // bytes of Ethernet
}

func (t *transmitter) init(s *session) {
	t.s = s
	t.frames = make([]link.Frame, 0, maxBatch)
	t.used = make([]virtq.Used, 0, maxBatch)
}

// serve implements [virtio.HandlerFunc]: one call of the host's side for the
// batch, and all chains back at once. What came before a fault is sent.
func (t *transmitter) serve(q *virtq.Queue, budget int) (n int, why virtio.Outcome, err error) {
	why = virtio.Again
	for len(t.used) < min(budget, maxBatch) {
		f := t.held
		t.held = pending{}
		if f.chain == nil {
			c, popErr := q.Pop()
			if popErr != nil || c == nil {
				why, err = virtio.RingEmpty, popErr
				break
			}
			if f = t.check(c); f.chain == nil {
				continue
			}
		}
		if wait := t.s.dev.fromGuest.Pass(packets(&f.hdr, f.size), uint64(f.size)); wait > 0 {
			// Without kicks until then: nothing of this queue goes on before.
			t.held, why = f, virtio.HostIdle
			t.pacer.after(wait)
			break
		}
		t.add(f)
	}
	if len(t.frames) > 0 {
		t.s.dev.host.Send(t.frames)
	}
	q.PushAll(t.used)
	n = len(t.used)
	t.count(n)
	clear(t.frames) // they name buffers that are the driver's again
	t.frames, t.used = t.frames[:0], t.used[:0]
	return n, why, err
}

// check reads the header of a chain. A frame that goes no further is counted, and
// its chain taken into the batch.
func (t *transmitter) check(c *virtq.Chain) pending {
	hdr, n, why := t.header(c)
	if why == dropNone {
		return pending{chain: c, hdr: hdr, size: n}
	}
	t.tally.drop(why)
	t.used = append(t.used, virtq.Used{Chain: c})
	return pending{}
}

// header is the header of a chain's frame, its bytes, and why it is dropped.
func (t *transmitter) header(c *virtq.Chain) (hdr link.Header, n int, why drop) {
	var raw [hdrSize]byte
	if c.CopyIn(raw[:], 0) < hdrSize {
		return hdr, 0, dropShort
	}
	hdr, n = decode(&raw), c.ReadLen()-hdrSize
	if why = t.s.rules.check(&hdr, n); why == dropNone && t.s.dev.down.Load() {
		why = dropDown
	}
	return hdr, n, why
}

// add takes a frame and its chain into the batch. Writable buffers have no business
// here and are left alone.
func (t *transmitter) add(f pending) {
	t.used = append(t.used, virtq.Used{Chain: f.chain})
	t.tally.frames++
	t.tally.bytes += uint64(f.size)
	t.frames = append(t.frames, link.Frame{Header: f.hdr, Data: behindHeader(f.chain.Read)})
}

// count adds the batch to the counters.
func (t *transmitter) count(n int) {
	if n == 0 {
		return
	}
	t.s.counters.AddRequests(uint64(n), t.tally.bytes)
	t.s.dev.counters.sent.add(&t.tally)
	t.tally = tally{}
}

// behindHeader returns the buffers of a chain without the bytes of the header.
// It cuts the first of them in place: a chain's slices are its device's.
func behindHeader(bufs [][]byte) [][]byte {
	skip := hdrSize
	for skip >= len(bufs[0]) { // there is an Ethernet header behind
		skip -= len(bufs[0])
		bufs = bufs[1:]
	}
	bufs[0] = bufs[0][skip:]
	return bufs
}
