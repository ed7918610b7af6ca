package nat

import (
	"net/netip"
	"time"

	"github.com/libcapsa/libcapsa/internal/net/frame"
	"github.com/libcapsa/libcapsa/internal/net/link"
)

// Bounds of reassembly. A packet that is not whole in time is forgotten when the
// next fragment comes, or when its place is needed.
const (
	maxPartial     = 64   // packets at once
	maxPieces      = 1024 // fragments of one of them
	partialTimeout = 30 * time.Second
)

// partialKey is what fragments of one packet have in common.
type partialKey struct {
	src, dst netip.Addr
	proto    uint8
	id       uint32
}

// partial is a packet some of whose fragments have come.
type partial struct {
	began  time.Time
	data   []byte // grows as fragments come
	pieces [][2]int
	have   int // bytes
	total  int // bytes, -1: the last fragment has not come
}

// reassembler puts packets of the guest together. Overlapping fragments end a
// packet (RFC 5722); a Linux guest makes none. Its owner is the goroutine of Send.
type reassembler struct {
	partial map[partialKey]*partial
}

// add takes a fragment. When the packet is whole, it returns what follows its IP
// header. lost is how many packets were given up.
func (r *reassembler) add(p *frame.Packet, f *link.Frame, now time.Time) (whole []byte, lost int) {
	key := partialKey{p.Src, p.Dst, p.Proto, p.FragID}
	for k, q := range r.partial {
		if now.Sub(q.began) > partialTimeout {
			delete(r.partial, k)
			lost++
		}
	}
	q := r.partial[key]
	if q == nil {
		if len(r.partial) >= maxPartial {
			r.forgetOldest()
			lost++
		}
		q = &partial{began: now, total: -1}
		if r.partial == nil {
			r.partial = map[partialKey]*partial{}
		}
		r.partial[key] = q
	}
	if !q.put(p, f) {
		delete(r.partial, key)
		return nil, lost + 1
	}
	if q.have != q.total {
		return nil, lost
	}
	delete(r.partial, key)
	return q.data, lost
}

func (r *reassembler) forgetOldest() {
	var oldest partialKey
	var began time.Time
	for k, q := range r.partial {
		if began.IsZero() || q.began.Before(began) {
			oldest, began = k, q.began
		}
	}
	delete(r.partial, oldest)
}

// put is false if the fragment does not fit the others.
func (q *partial) put(p *frame.Packet, f *link.Frame) bool {
	from, to := p.FragOff, p.FragOff+p.End-p.L4
	if len(q.pieces) >= maxPieces || q.total >= 0 && to > q.total {
		return false
	}
	for _, o := range q.pieces {
		if from < o[1] && o[0] < to {
			return false
		}
		if !p.More && o[1] > to {
			return false
		}
	}
	if !p.More {
		if q.total >= 0 {
			return false
		}
		q.total = to
	}
	if to > len(q.data) {
		q.data = append(q.data, make([]byte, to-len(q.data))...)
	}
	frame.Copy(q.data[from:to], f, p.L4, p.End)
	q.pieces = append(q.pieces, [2]int{from, to})
	q.have += to - from
	return true
}
