package console

import (
	"context"
	"errors"
	"io"
	"sync"
)

const (
	// DefaultRingSize is the number of bytes of output kept when
	// Config.RingSize is zero: 1 MiB.
	DefaultRingSize = 1 << 20

	// Control characters of a terminal in its usual settings (termios(3): VINTR
	// and VEOF).
	charInterrupt = 0x03
	charEOF       = 0x04
)

// ErrClosed is returned by everything that needs a console, a reader or an
// input that has been closed.
var ErrClosed = errors.New("console: closed")

// Input takes the bytes that the host types. A machine's input queue
// implements it.
type Input interface {
	// Write accepts bytes, waits while the guest does not take them, and
	// returns how many were accepted when ctx ends.
	Write(ctx context.Context, p []byte) (int, error)
}

// Config is what a Console is made of.
type Config struct {
	// RingSize is the number of bytes of output kept; 0 means
	// DefaultRingSize. It is also all the memory that unread output can take.
	RingSize int
	// Input receives what is typed; nil makes a console without input, whose
	// Send answers ErrClosed.
	Input Input
}

// Console is the host's side of one guest console. Its Write takes the guest's
// output.
type Console struct {
	ring  ring
	input Input

	sending token // held while bytes go to input, so that each Send stays in one piece
	running token // held by Run: one command at a time

	dirty bool // guarded by running; a Run stopped in the middle of typing

	closed context.Context // ended by Close
	cancel context.CancelFunc

	mu  sync.Mutex
	fds map[*stream]struct{} // guarded by mu; nil after Close
}

var _ io.Writer = (*Console)(nil)

// New returns a console that has printed nothing yet.
func New(cfg Config) *Console {
	if cfg.RingSize <= 0 {
		cfg.RingSize = DefaultRingSize
	}
	c := &Console{
		ring:    ring{limit: cfg.RingSize},
		input:   cfg.Input,
		sending: newToken(),
		running: newToken(),
		fds:     map[*stream]struct{}{},
	}
	c.closed, c.cancel = context.WithCancel(context.Background())
	return c
}

// Write takes output of the guest. It never waits for a reader. After End or
// Close the bytes are dropped and the error is ErrClosed.
func (c *Console) Write(p []byte) (int, error) {
	if !c.ring.write(p) {
		return 0, ErrClosed
	}
	return len(p), nil
}

// End says that the guest prints nothing more, as when its machine has ended:
// readers get what is left and then io.EOF, and so do the holders of file
// descriptors. It may be called more than once.
func (c *Console) End() { c.ring.finish() }

// Close ends the console: End, and everything that types fails with ErrClosed.
// File descriptors from FD get what fits into them without waiting and are
// shut down. Readers can still read what is kept. Close returns after all
// goroutines of the console have ended; it may be called more than once.
func (c *Console) Close() error {
	c.cancel() // first, so that whoever sees the end can tell it from End
	c.ring.finish()
	c.mu.Lock()
	fds := c.fds
	c.fds = nil
	c.mu.Unlock()
	for s := range fds {
		s.stop()
	}
	for s := range fds {
		s.join()
	}
	return nil
}

// Tail returns a copy of the last n bytes printed, or of as many as are kept.
// No reader's position changes.
func (c *Console) Tail(n int) []byte { return c.ring.tail(n) }

// Send types p. It waits while the guest takes no input and returns the number
// of bytes typed, with the context's error when that ends first. The bytes of
// one Send are never mixed with those of another.
func (c *Console) Send(ctx context.Context, p []byte) (int, error) {
	if c.input == nil || c.closed.Err() != nil {
		return 0, ErrClosed
	}
	ctx, release := c.bind(ctx)
	defer release()
	if !c.sending.take(ctx.Done()) {
		return 0, c.ended(ctx)
	}
	defer c.sending.give()
	n, err := c.input.Write(ctx, p)
	if err != nil && c.closed.Err() != nil {
		err = ErrClosed
	}
	return n, err
}

// SendInterrupt types Ctrl-C, which a terminal in its usual settings turns
// into SIGINT for the foreground processes.
func (c *Console) SendInterrupt(ctx context.Context) error {
	_, err := c.Send(ctx, []byte{charInterrupt})
	return err
}

// SendEOF types Ctrl-D, which a terminal in its usual settings turns into the
// end of input when the line is empty.
func (c *Console) SendEOF(ctx context.Context) error {
	_, err := c.Send(ctx, []byte{charEOF})
	return err
}

// bind returns a context that ends with ctx and with the console.
func (c *Console) bind(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(c.closed, cancel)
	return ctx, func() { stop(); cancel() }
}

// ended returns why a context of bind ended.
func (c *Console) ended(ctx context.Context) error {
	if c.closed.Err() != nil {
		return ErrClosed
	}
	return ctx.Err()
}

// token is a mutex whose holder can be waited for with a channel.
type token chan struct{}

func newToken() token {
	t := make(token, 1)
	t <- struct{}{}
	return t
}

// take waits for the token and reports false when stop comes first.
func (t token) take(stop <-chan struct{}) bool {
	select {
	case <-t:
		return true
	default:
	}
	select {
	case <-t:
		return true
	case <-stop:
		return false
	}
}

func (t token) give() { t <- struct{}{} }
