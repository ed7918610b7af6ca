package capsa

import (
	"context"
	"errors"
	"io"

	"github.com/libcapsa/libcapsa/internal/console"
	"github.com/libcapsa/libcapsa/internal/vm"
)

// Console is a guest's console: what the guest prints, kept in a bounded ring that
// any number of readers follow, each with a position of its own, and what the host
// types. Output that nobody reads neither stalls the guest nor grows the process.
// All methods may be called from any goroutine.
//
// Waiting calls end with KindTimeout or KindCancelled when ctx does, and lose
// nothing. They end with KindClosed when the console does.
type Console struct {
	v *VM
	c *console.Console
}

// NewReader returns a reader that begins at the oldest output kept.
func (c *Console) NewReader() *Reader { return &Reader{c.c.NewReader()} }

// NewReaderAtEnd returns a reader that begins with what is printed next.
func (c *Console) NewReaderAtEnd() *Reader { return &Reader{c.c.NewReaderAtEnd()} }

// Write types p. It waits while the guest takes no input, and returns the number of
// bytes typed. The bytes of one Write stay together.
func (c *Console) Write(ctx context.Context, p []byte) (int, error) {
	n, err := c.c.Send(ctx, p)
	return n, typed("console write", vm.KindIO, err)
}

// SendInterrupt types Ctrl-C.
func (c *Console) SendInterrupt(ctx context.Context) error {
	return typed("console interrupt", vm.KindIO, c.c.SendInterrupt(ctx))
}

// SendEOF types Ctrl-D, which ends the input when the line is empty.
func (c *Console) SendEOF(ctx context.Context) error {
	return typed("console end of input", vm.KindIO, c.c.SendEOF(ctx))
}

// Run runs a command line in the POSIX shell that waits on the console, and returns
// its exit status and what was printed meanwhile. Prompt and echo do not matter.
// When ctx ends first the output so far comes with the error, and the command goes
// on in the guest: SendInterrupt ends it.
func (c *Console) Run(ctx context.Context, command string) (RunResult, error) {
	result, err := c.c.Run(ctx, command)
	return result, typed("console run", vm.KindInvalidArg, err)
}

// Resize tells the guest the size of its terminal, in characters, both at least 1.
// Errors: KindInvalidArg, KindState (the machine has ended), KindUnsupported.
func (c *Console) Resize(cols, rows uint16) error {
	const op = "console resize"
	if cols == 0 || rows == 0 {
		return vm.Errorf(vm.KindInvalidArg, op, "%d by %d characters; both must be at least 1", cols, rows)
	}
	if s := c.v.State(); s.Final() {
		return vm.Errorf(vm.KindState, op, "the machine is %s", s)
	}
	err := c.v.machine.ResizeConsole(cols, rows)
	if ending(err) { // between the two
		err = vm.Errorf(vm.KindState, op, "the machine has ended")
	}
	return vm.Wrap(op, err)
}

// Tail is a copy of the last n bytes printed, or of as many as are kept.
func (c *Console) Tail(n int) []byte { return c.c.Tail(n) }

// FD returns a new descriptor that is the console: reading gives the output from
// the oldest byte kept on, writing types. It is one end of a unix stream socket
// pair, close-on-exec, and belongs to the caller. It is at its end when the console
// is.
func (c *Console) FD() (int, error) {
	fd, err := c.c.FD()
	return fd, typed("console descriptor", vm.KindIO, err)
}

// Reader is a position in a console's output. Its calls take turns.
type Reader struct{ r *console.Reader }

// Read waits for output and copies what there is into p. It returns io.EOF itself
// after the last byte of a console that has ended. Bytes that are there are
// returned even when ctx has ended.
func (r *Reader) Read(ctx context.Context, p []byte) (int, error) {
	n, err := r.r.Read(ctx, p)
	if errors.Is(err, io.EOF) {
		return n, io.EOF
	}
	return n, typed("console read", vm.KindIO, err)
}

// Expect waits until the output from the reader's position on has a match of one
// of the patterns, and consumes everything up to the match's end. The match that is
// complete first wins, then the order of the list. No newline is needed. When it
// fails, nothing is consumed, and errors.As finds an *ExpectError with the last
// output.
func (r *Reader) Expect(ctx context.Context, patterns []Pattern) (Match, error) {
	m, err := r.r.Expect(ctx, patterns)
	return m, typed("console expect", vm.KindInvalidArg, err)
}

// Lost is the number of bytes that were overwritten before this reader saw them.
func (r *Reader) Lost() uint64 { return r.r.Lost() }

// Close ends the reader, and a call that waits on it, with KindClosed.
func (r *Reader) Close() error { return typed("console reader close", vm.KindIO, r.r.Close()) }

// Literal is a pattern that matches the text itself.
func Literal(text string) Pattern { return console.Literal(text) }

// Regexp is a pattern in the syntax of package regexp; it must not match the empty
// text. Errors: KindInvalidArg.
func Regexp(expr string) (Pattern, error) {
	p, err := console.Regexp(expr)
	return p, typed("pattern", vm.KindInvalidArg, err)
}

// MustRegexp is Regexp for an expression that is known to be good. It panics
// otherwise.
func MustRegexp(expr string) Pattern { return console.MustRegexp(expr) }

// typed makes an *Error of one of package console's. other is the kind of errors
// that say nothing about themselves.
func typed(op string, other vm.Kind, err error) error {
	if err == nil {
		return nil
	}
	kind := vm.KindOf(err)
	switch {
	case errors.Is(err, console.ErrClosed), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		kind = vm.KindClosed
	case kind == vm.KindInternal:
		kind = other
	}
	return &vm.Error{Op: op, Kind: kind, Component: "console", Err: err}
}
