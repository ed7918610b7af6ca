package vm

import (
	"context"
	"sync"
)

// DefaultPipeSize is the capacity of a Pipe made with capacity 0, in bytes: as
// much as a pipe of the Linux kernel holds (pipe(7)).
const DefaultPipeSize = 64 << 10

// Pipe is a bounded queue of bytes from the host to the guest. Writers block
// while it is full; the reader, a device's worker, never does: it is notified.
// All methods may be called from any goroutine.
type Pipe struct {
	turn chan struct{} // holds one token: whoever has it may write; keeps one Write's bytes together

	limit int // capacity in bytes

	mu     sync.Mutex
	buf    []byte        // ring, which grows to limit when it has to: most machines are never typed to; guarded by mu
	start  int           // index of the oldest byte; guarded by mu
	used   int           // bytes held; guarded by mu
	notify func()        // guarded by mu
	room   chan struct{} // closed and replaced when a full pipe gets room; guarded by mu
	closed chan struct{} // closed by Close
	shut   bool          // guarded by mu
}

// NewPipe makes a pipe of the given capacity in bytes; 0 or less means
// DefaultPipeSize.
func NewPipe(capacity int) *Pipe {
	if capacity <= 0 {
		capacity = DefaultPipeSize
	}
	return &Pipe{
		turn:   make(chan struct{}, 1),
		limit:  capacity,
		room:   make(chan struct{}),
		closed: make(chan struct{}),
	}
}

// Write queues b and blocks while the pipe is full. It returns the number of
// bytes accepted, which is less than len(b) only with an error: KindTimeout or
// KindCancelled when ctx ended, KindClosed when the pipe was closed. The bytes of
// one Write stay together.
func (p *Pipe) Write(ctx context.Context, b []byte) (int, error) {
	select { // a closed pipe or an ended context wins over a free turn
	case <-p.closed:
		return 0, ErrClosed
	case <-ctx.Done():
		return 0, ContextError(ctx, "write")
	default:
	}
	select {
	case p.turn <- struct{}{}:
	case <-p.closed:
		return 0, ErrClosed
	case <-ctx.Done():
		return 0, ContextError(ctx, "write")
	}
	defer func() { <-p.turn }()

	total := 0
	for {
		n, room, err := p.put(b[total:])
		total += n
		if err != nil || total == len(b) {
			return total, err
		}
		select {
		case <-room:
		case <-p.closed:
			return total, ErrClosed
		case <-ctx.Done():
			return total, ContextError(ctx, "write")
		}
	}
}

// put queues what fits and returns the channel that tells of room.
func (p *Pipe) put(b []byte) (int, <-chan struct{}, error) {
	p.mu.Lock()
	if p.shut {
		p.mu.Unlock()
		return 0, nil, ErrClosed
	}
	var notify func()
	n := min(len(b), p.limit-p.used)
	if n > 0 {
		if p.used == 0 {
			notify = p.notify
		}
		p.grow(p.used + n)
		at := (p.start + p.used) % len(p.buf)
		first := copy(p.buf[at:], b[:n])
		copy(p.buf, b[first:n])
		p.used += n
	}
	room := p.room
	p.mu.Unlock()
	if notify != nil {
		notify()
	}
	return n, room, nil
}

// grow makes room for size bytes in all. Preconditions: mu is held.
func (p *Pipe) grow(size int) {
	if size <= len(p.buf) {
		return
	}
	const least = 1 << 10
	buf := make([]byte, min(p.limit, max(least, size, 2*len(p.buf))))
	first := copy(buf[:p.used], p.buf[p.start:])
	copy(buf[first:p.used], p.buf)
	p.buf, p.start = buf, 0
}

// TryRead moves up to len(b) bytes out of the pipe and returns their number; 0
// when the pipe is empty. What was accepted before Close can still be read.
func (p *Pipe) TryRead(b []byte) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := min(len(b), p.used)
	if n == 0 {
		return 0
	}
	wasFull := p.used == p.limit
	first := copy(b[:n], p.buf[p.start:])
	copy(b[first:n], p.buf)
	p.start = (p.start + n) % len(p.buf)
	p.used -= n
	if wasFull {
		close(p.room)
		p.room = make(chan struct{})
	}
	return n
}

// Len is the number of bytes queued.
func (p *Pipe) Len() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.used
}

// SetNotify sets the function that is called, with no lock held, when an empty
// pipe gets bytes; nil for none. If bytes are waiting already it is called at
// once. It may be called from any goroutine, now and then without need, and must
// not block. A call that is under way may still be running when SetNotify
// returns.
func (p *Pipe) SetNotify(notify func()) {
	p.mu.Lock()
	p.notify = notify
	waiting := p.used > 0
	p.mu.Unlock()
	if waiting && notify != nil {
		notify()
	}
}

// Close ends the pipe: writers get an error of KindClosed. It may be called any
// number of times.
func (p *Pipe) Close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.shut {
		p.shut = true
		close(p.closed)
	}
}
