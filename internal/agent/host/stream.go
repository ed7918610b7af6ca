package host

import (
	"context"
	"net"

	"github.com/libcapsa/libcapsa/internal/vm"
)

// Stream is a stream of data that a call has named and the guest is to make.
type Stream struct {
	h    *Host
	id   uint64
	conn chan net.Conn
}

// Expect makes up the number of a stream.
func (h *Host) Expect() *Stream {
	s := &Stream{h: h, conn: make(chan net.Conn, 1)}
	h.mu.Lock()
	defer h.mu.Unlock()
	s.id = h.nextStream
	if h.nextStream += 2; h.nextStream < s.id { // never 0: that is no stream
		h.nextStream = 1
	}
	h.streams[s.id] = s.conn
	return s
}

// ID is the number for the guest.
func (s *Stream) ID() uint64 {
	if s == nil {
		return 0
	}
	return s.id
}

// Wait waits for the guest's connection, which is then the caller's.
func (s *Stream) Wait(ctx context.Context, op string) (net.Conn, error) {
	select {
	case c := <-s.conn:
		return c, nil
	default:
	}
	select {
	case c := <-s.conn:
		return c, nil
	case <-s.h.closed:
		s.Cancel()
		return nil, closedError(op)
	case <-ctx.Done():
		s.Cancel()
		return nil, vm.ContextError(ctx, op)
	}
}

// Cancel gives the stream up: a connection for it is closed.
func (s *Stream) Cancel() {
	if s == nil {
		return
	}
	s.h.mu.Lock()
	delete(s.h.streams, s.id)
	s.h.mu.Unlock()
	select {
	case c := <-s.conn:
		_ = c.Close()
	default:
	}
}
