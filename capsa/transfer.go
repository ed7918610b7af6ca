package capsa

import (
	"context"
	"errors"
	"io"
	"net"

	"github.com/libcapsa/libcapsa/internal/agent/host"
	"github.com/libcapsa/libcapsa/internal/agent/wire"
	"github.com/libcapsa/libcapsa/internal/safe"
	"github.com/libcapsa/libcapsa/internal/vm"
)

// streamCall is a call that answers when a whole stream has passed.
type streamCall func(ctx context.Context, h *host.Host, op string) (*wire.StreamReply, error)

func streaming[Q any](m func(wire.AgentService, context.Context, *Q) (*wire.StreamReply, error), q *Q) streamCall {
	return func(ctx context.Context, h *host.Host, op string) (*wire.StreamReply, error) {
		return host.Call(ctx, h, op, m, q)
	}
}

// transfer makes a call with a stream. pump moves the data and returns the caller's own
// errors; those of the connection are the guest's to explain.
func transfer(
	ctx context.Context, v *VM, op string, call func(stream uint64) streamCall, pump func(net.Conn) (int64, error),
) (int64, error) {
	h, err := v.hostOf(op)
	if err != nil {
		return 0, err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	s := h.Expect()
	waiting, give := context.WithCancel(ctx)
	defer give()
	type answer struct {
		size int64
		err  error
	}
	answers := make(chan answer, 1)
	failed := func(err error) { answers <- answer{err: err}; give() }
	safe.Go("agent transfer", failed, func() {
		r, err := call(s.ID())(ctx, h, op)
		if err != nil {
			failed(err)
			return
		}
		answers <- answer{size: r.Size}
	})
	conn, err := s.Wait(waiting, op)
	if err != nil {
		stop()
		if a := <-answers; a.err != nil {
			err = a.err
		}
		return 0, v.guestError(op, err)
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	n, err := pump(conn)
	if err != nil {
		_ = conn.Close() // the guest sees that something is missing
		stop()
		<-answers
		return n, vm.Wrap(op, err)
	}
	a := <-answers
	switch {
	case a.err != nil:
		return n, v.guestError(op, a.err)
	case a.size != n:
		return n, vm.Errorf(vm.KindProtocol, op, "%d bytes passed, and the agent speaks of %d", n, a.size).WithComponent("agent")
	}
	return n, nil
}

// receive copies a stream of the guest's to w: at most size bytes, -1: all.
func receive(ctx context.Context, v *VM, op string, w io.Writer, size int64, call func(uint64) streamCall) (int64, error) {
	return transfer(ctx, v, op, call, func(conn net.Conn) (int64, error) {
		counted := &writer{w: w, left: size}
		_, err := io.Copy(counted, onlyReader{conn})
		if counted.err != nil {
			return counted.n, counted.err
		}
		_ = err // of the connection
		return counted.n, nil
	})
}

// onlyReader hides the rest of a connection from io.Copy, whose shortcuts would mix its
// errors with the other side's.
type onlyReader struct{ io.Reader }

// writer counts, and keeps the error apart from that of the reader.
type writer struct {
	w    io.Writer
	left int64 // that may come; -1: any number
	n    int64
	err  error
}

var errTooMuch = errors.New("the agent sends more than was asked for")

func (w *writer) Write(p []byte) (int, error) {
	if w.left >= 0 {
		if int64(len(p)) > w.left {
			w.err = &vm.Error{Op: "receive", Kind: vm.KindProtocol, Component: "agent", Err: errTooMuch}
			return 0, w.err
		}
		w.left -= int64(len(p))
	}
	n, err := w.w.Write(p)
	w.n += int64(n)
	w.err = err
	return n, err
}

// send copies r to a stream of the guest's, in chunks.
func send(ctx context.Context, v *VM, op string, r io.Reader, call func(uint64) streamCall) (int64, error) {
	return transfer(ctx, v, op, call, func(conn net.Conn) (int64, error) {
		n, err := wire.WriteChunks(conn, r)
		if _, ours := errors.AsType[*wire.WriteError](err); ours {
			err = nil // the guest says why
		}
		return n, err
	})
}
