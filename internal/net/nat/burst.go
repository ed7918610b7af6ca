package nat

import (
	"slices"

	"golang.org/x/sys/unix"
)

// Bounds of what one system call sends: segments (UDP_MAX_SEGMENTS of the kernel),
// bytes with room for headers, pieces (UIO_MAXIOV).
const (
	maxRunSegments = 64
	maxRunSize     = 65000
	maxRunPieces   = 1024
)

// maxRunSegment is how long datagrams may be that are sent together: the kernel
// refuses those that it would have to fragment.
const maxRunSegment = minMTU - 40 - 8

// run is one datagram, or several of one size, of which the last may be shorter.
type run struct {
	end  int // of its pieces in burst.pieces
	size int // bytes
	each int // bytes of one datagram
}

// burst are datagrams that the guest sent at once, of one session. Their bytes lie
// in guest memory, until the end of Send. It belongs to Send's goroutine.
type burst struct {
	s      *session
	pieces [][]byte
	runs   []run
}

// to is the session that gets what is added from now on.
func (b *burst) to(s *session) {
	if b.s != s {
		b.flush()
		b.s = s
	}
}

// add takes the pieces from the from-th on as datagrams of each bytes, together
// size.
func (b *burst) add(from, size, each int) {
	if len(b.pieces) == from {
		b.pieces = append(b.pieces, nil) // an empty datagram
	}
	if len(b.pieces)-from > maxRunPieces {
		whole := slices.Concat(b.pieces[from:]...)
		clear(b.pieces[from:])
		b.pieces = append(b.pieces[:from], whole)
	}
	if n := len(b.runs); n > 0 && b.runs[n-1].takes(b.start(n-1), len(b.pieces), size, each) {
		r := &b.runs[n-1]
		r.end, r.size = len(b.pieces), r.size+size
		return
	}
	b.runs = append(b.runs, run{end: len(b.pieces), size: size, each: each})
}

// start is where the pieces of a run begin.
func (b *burst) start(i int) int {
	if i == 0 {
		return 0
	}
	return b.runs[i-1].end
}

// takes says whether a run goes on with another datagram.
func (r *run) takes(start, end, size, each int) bool {
	return size == each && size > 0 && size <= r.each && r.each <= maxRunSegment && r.size%r.each == 0 &&
		r.size/r.each < maxRunSegments && r.size+size <= maxRunSize && end-start <= maxRunPieces
}

// flush sends all.
func (b *burst) flush() {
	if len(b.runs) > 0 {
		b.s.sendRuns(b)
		clear(b.pieces)
		b.pieces, b.runs = b.pieces[:0], b.runs[:0]
	}
	b.s = nil
}

// sendRuns sends what the burst holds. What the socket has no room for is lost, as
// on any way.
func (s *session) sendRuns(b *burst) {
	s.touch()
	if s.forward != nil {
		s.replied.Store(true)
	}
	at := 0
	for _, r := range b.runs {
		s.sendRun(b.pieces[at:r.end], r)
		at = r.end
	}
}

func (s *session) sendRun(pieces [][]byte, r run) {
	if r.size > r.each && (s.forward != nil || !s.sendSegments(pieces, r)) {
		for r.size > 0 {
			n := min(r.each, r.size)
			var datagram [][]byte
			datagram, pieces = cut(pieces, n)
			_ = s.sendOne(datagram, n, 0)
			r.size -= n
		}
		return
	}
	if r.size <= r.each {
		_ = s.sendOne(pieces, r.size, 0)
	}
}

// cut takes the first n bytes off.
func cut(pieces [][]byte, n int) (first, rest [][]byte) {
	for i, p := range pieces {
		if n < len(p) {
			pieces[i] = p[n:]
			return append(first, p[:n]), pieces[i:]
		}
		first = append(first, p)
		if n -= len(p); n == 0 {
			return first, pieces[i+1:]
		}
	}
	return first, nil
}

// sendSegments sends a run by one system call (UDP_SEGMENT of udp(7)). It is false
// if the kernel does not do that on this way; it is not asked again then.
func (s *session) sendSegments(pieces [][]byte, r run) bool {
	if !sendsRuns || s.apart || r.each > maxRunSegment || (r.size-1)/r.each >= maxRunSegments || r.size > maxRunSize || len(pieces) > maxRunPieces {
		return false
	}
	switch s.sendOne(pieces, r.size, r.each) {
	case unix.EINVAL, unix.EIO, unix.EOPNOTSUPP, unix.ENOPROTOOPT, unix.EMSGSIZE:
		s.apart = true
		return false
	}
	return true
}

// sendOne sends one datagram, or with each those of a run. It does not block. An
// error that came back for an earlier datagram is reported to the next one, which
// is then sent again.
func (s *session) sendOne(pieces [][]byte, size, each int) (failed error) {
	if s.forward != nil {
		if s.forward.sendTo(s.client, pieces) {
			s.fromGuest.Add(uint64(size))
		}
		return nil
	}
	var control segmentControl
	var oob []byte
	if each > 0 {
		control = newSegmentControl(uint16(each))
		oob = control[:]
	}
	s.pieces, s.control = pieces, oob
	err := s.sock.raw.Write(s.sending)
	s.pieces, s.control = nil, nil
	if err != nil {
		return err
	}
	if s.failed == nil {
		s.fromGuest.Add(uint64(size))
	}
	return s.failed
}

// trySend is the system call, within the poller.
func (s *session) trySend(fd uintptr) bool {
	for range 2 {
		if len(s.pieces) == 1 {
			_, s.failed = unix.SendmsgN(int(fd), s.pieces[0], s.control, nil, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
		} else {
			_, s.failed = unix.SendmsgBuffers(int(fd), s.pieces, s.control, nil, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
		}
		switch s.failed {
		case nil, unix.EAGAIN, unix.EINVAL, unix.EIO, unix.EOPNOTSUPP, unix.ENOPROTOOPT:
			return true
		}
	}
	return true
}
