package cable

import (
	"encoding/binary"
	"errors"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/libcapsa/libcapsa/internal/net/frame"
	"github.com/libcapsa/libcapsa/internal/net/link"
)

const (
	// maxBacklog is how many bytes wait for a descriptor that takes no more.
	maxBacklog = 4 << 20
	// maxPieces is how many pieces of memory are written from where they lie; a frame
	// of more is copied. The kernel's limit is 1024 (UIO_MAXIOV).
	maxPieces = 64
	// maxChunk is about how many bytes of a stream are written at once.
	maxChunk = 256 << 10
)

// outbox is the way out. Everything is written under its lock, which keeps the order.
// What the descriptor does not take waits for the outbox's goroutine.
type outbox struct {
	c         *conn
	dropped   atomic.Uint64 // there was no room, or no other end
	malformed atomic.Uint64 // of the other end

	mu      sync.Mutex
	wake    sync.Cond // the goroutine's: waiting is not empty, or it is over
	waiting [][]byte  // messages, or the rest of a stream; guarded by mu
	size    int       // bytes of waiting; guarded by mu
	asked   bool      // somebody wants to know when there is room; guarded by mu
	over    bool      // guarded by mu
	flat    []byte    // for a frame to be changed; guarded by mu
	chunk   []byte    // of a stream; guarded by mu
	chunked uint64    // frames in chunk; guarded by mu
	iov     [][]byte  // guarded by mu
	head    [headerSize]byte
}

func (o *outbox) init(c *conn) {
	o.c = c
	o.wake.L = &o.mu
}

// stop ends the goroutine; what waits is lost.
func (o *outbox) stop() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.over, o.waiting, o.size = true, nil, 0
	o.wake.Broadcast()
}

// send takes all frames: what has no room is dropped.
func (o *outbox) send(frames []link.Frame) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for i := range frames {
		o.add(&frames[i])
	}
	o.flush()
}

// offer takes frames while there is room, and returns how many. If not all, room is
// told when there is some.
func (o *outbox) offer(frames []link.Frame) (taken int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for taken < len(frames) && (len(o.waiting) == 0 || o.over) {
		o.add(&frames[taken])
		taken++
	}
	o.flush()
	o.asked = o.asked || taken < len(frames)
	return taken
}

// add writes one frame, or, of a stream, puts it into the chunk. Preconditions: mu is
// held.
func (o *outbox) add(f *link.Frame) {
	switch {
	case o.over:
		o.dropped.Add(1)
	case o.c.cfg.Header:
		o.message(&f.Header, f.Data)
	case f.Header.Flags&link.NeedsChecksum == 0 && f.Header.GSOType == link.GSONone:
		o.plain(f.Data)
	default:
		o.flat = o.flat[:0]
		for _, d := range f.Data {
			o.flat = append(o.flat, d...)
		}
		if !frame.Fit(o.flat, f.Header, link.Offloads{}, func(_ link.Header, b []byte) { o.plain([][]byte{b}) }) {
			o.dropped.Add(1)
		}
	}
}

// plain writes one frame that needs nothing more to be done. Preconditions: mu is held.
func (o *outbox) plain(data [][]byte) {
	if !o.c.cfg.Stream {
		o.message(nil, data)
		return
	}
	n := 0
	for _, d := range data {
		n += len(d)
	}
	o.chunked++
	o.chunk = binary.BigEndian.AppendUint32(o.chunk, uint32(n))
	for _, d := range data {
		o.chunk = append(o.chunk, d...)
	}
	if len(o.chunk) >= maxChunk {
		o.flush()
	}
}

// flush writes the chunk. Preconditions: mu is held.
func (o *outbox) flush() {
	b, n := o.chunk, o.chunked
	o.chunk, o.chunked = b[:0], 0
	if len(b) == 0 || o.over {
		return
	}
	if len(o.waiting) == 0 {
		written, err := o.write([][]byte{b})
		if err != nil && !errors.Is(err, unix.EAGAIN) {
			return // the reader finds the end
		}
		b = b[max(written, 0):]
	}
	o.keep(b, n)
}

// message writes one frame as a message. Preconditions: mu is held.
func (o *outbox) message(h *link.Header, data [][]byte) {
	o.iov = o.iov[:0]
	if h != nil {
		encodeHeader(o.head[:], h)
		o.iov = append(o.iov, o.head[:])
	}
	o.iov = append(o.iov, data...)
	if len(o.iov) > maxPieces {
		o.iov = append(o.iov[:0], join(o.iov))
	}
	if len(o.waiting) == 0 {
		_, err := o.write(o.iov)
		switch {
		case err == nil:
			return
		case !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.ENOBUFS):
			// Refused by the other end (a TAP that is down), or there is none.
			o.dropped.Add(1)
			o.c.lost(err)
			return
		}
	}
	o.keep(join(o.iov), 1)
	clear(o.iov)
}

// keep has the bytes of n frames wait, or, where too many do, drops them: of a stream
// whole frames only, never a part of one. Preconditions: mu is held.
func (o *outbox) keep(b []byte, n uint64) {
	if len(b) == 0 {
		return
	}
	if o.size+len(b) > maxBacklog && len(o.waiting) > 0 {
		o.dropped.Add(n)
		return
	}
	if o.c.cfg.Stream {
		b = append([]byte(nil), b...) // the chunk is used again
	}
	o.waiting = append(o.waiting, b)
	o.size += len(b)
	o.wake.Signal()
}

func join(pieces [][]byte) []byte {
	n := 0
	for _, p := range pieces {
		n += len(p)
	}
	b := make([]byte, 0, n)
	for _, p := range pieces {
		b = append(b, p...)
	}
	return b
}

// write is one attempt.
func (o *outbox) write(iov [][]byte) (n int, err error) {
	rawErr := o.c.raw.Control(func(fd uintptr) { n, err = o.c.writev(int(fd), iov) })
	if rawErr != nil {
		return 0, rawErr
	}
	return n, err
}

func (c *conn) writev(fd int, iov [][]byte) (int, error) {
	return retry(func() (int, error) {
		if c.socket {
			return unix.SendmsgBuffers(fd, iov, nil, nil, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
		}
		return unix.Writev(fd, iov)
	})
}

// run writes what waits, when the descriptor takes it, and tells of room.
func (o *outbox) run(room func()) {
	for {
		next, tell, over := o.next()
		if over {
			return
		}
		if tell {
			room()
			continue
		}
		o.drain(next)
	}
}

// next waits for something to do. tell: all was written, and somebody asked.
func (o *outbox) next() (b []byte, tell, over bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for {
		switch {
		case o.over:
			return nil, false, true
		case len(o.waiting) > 0:
			return o.waiting[0], false, false
		case o.asked:
			o.asked = false
			return nil, true, false
		}
		o.wake.Wait()
	}
}

// drain writes some of the first that waits, once that is possible.
func (o *outbox) drain(b []byte) {
	var n int
	var err error
	rawErr := o.c.raw.Write(func(fd uintptr) bool {
		n, err = o.c.writev(int(fd), [][]byte{b})
		return !errors.Is(err, unix.EAGAIN)
	})
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.over {
		return
	}
	if rawErr != nil {
		o.over = true
		return
	}
	if err != nil || !o.c.cfg.Stream {
		if err != nil {
			o.dropped.Add(1)
		}
		n = len(b) // a message goes whole, or is lost
	}
	o.size -= n
	if n < len(b) {
		o.waiting[0] = b[n:]
		return
	}
	o.waiting[0] = nil
	if o.waiting = o.waiting[1:]; len(o.waiting) == 0 {
		o.waiting = nil
	}
}
