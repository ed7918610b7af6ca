package console

import (
	"context"
	"io"
	"sync"
)

// Reader follows a console's output from its own position. Readers do not
// disturb each other or the writer, and one that is forgotten costs nothing
// but its few words. Calls on one Reader take turns.
type Reader struct {
	c       *Console
	turn    token
	closed  chan struct{}
	onClose sync.Once

	mu   sync.Mutex
	pos  uint64 // guarded by mu; changed only by the holder of turn
	lost uint64 // guarded by mu; changed only by the holder of turn
}

// NewReader returns a reader that starts at the oldest byte kept.
func (c *Console) NewReader() *Reader {
	start, _ := c.ring.bounds()
	return c.readerAt(start)
}

// NewReaderAtEnd returns a reader that starts at the next byte printed.
func (c *Console) NewReaderAtEnd() *Reader {
	_, end := c.ring.bounds()
	return c.readerAt(end)
}

func (c *Console) readerAt(pos uint64) *Reader {
	return &Reader{c: c, turn: newToken(), closed: make(chan struct{}), pos: pos}
}

// Close ends all calls that wait on the reader, now and later, with ErrClosed.
func (r *Reader) Close() error {
	r.onClose.Do(func() { close(r.closed) })
	return nil
}

// Lost returns the number of bytes that were overwritten before this reader
// saw them, since it was made.
func (r *Reader) Lost() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.lost
}

// Read waits for output and copies what there is into p. It returns io.EOF
// after the last byte of a console that has ended, and the context's error
// when that ends first; bytes already there are returned even then.
func (r *Reader) Read(ctx context.Context, p []byte) (int, error) {
	if err := r.enter(ctx); err != nil {
		return 0, err
	}
	defer r.turn.give()
	if len(p) == 0 {
		return 0, nil
	}
	for {
		v, err := r.next(ctx, p, r.pos)
		if err != nil {
			return 0, err
		}
		if v.n > 0 {
			r.advance(v.at+uint64(v.n), v.at-r.pos)
			return v.n, nil
		}
	}
}

// enter waits for the reader's turn. A free turn is taken even when ctx has
// ended, so that a call with no time left still gets what is there.
func (r *Reader) enter(ctx context.Context) error {
	if r.isClosed() {
		return ErrClosed
	}
	stop := ctx.Done()
	select {
	case <-r.turn:
		return nil
	default:
	}
	select {
	case <-r.turn:
		return nil
	case <-stop:
		return ctx.Err()
	case <-r.closed:
		return ErrClosed
	}
}

func (r *Reader) isClosed() bool {
	select {
	case <-r.closed:
		return true
	default:
		return false
	}
}

// next copies bytes from offset at on, or waits once for a change, in which
// case n is 0 and the caller asks again. The error is io.EOF, ErrClosed or the
// context's.
func (r *Reader) next(ctx context.Context, p []byte, at uint64) (view, error) {
	v := r.c.ring.read(p, at)
	switch {
	case r.isClosed():
		return v, ErrClosed
	case v.n > 0:
		return v, nil
	case v.ended:
		return v, io.EOF
	}
	select {
	case <-v.wake:
		return v, nil
	case <-ctx.Done():
		return v, ctx.Err()
	case <-r.closed:
		return v, ErrClosed
	}
}

// advance moves the position. Preconditions: the caller holds turn.
func (r *Reader) advance(pos, lost uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.pos = pos
	r.lost += lost
}
