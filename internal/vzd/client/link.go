package client

import (
	"context"
	"sync"

	"github.com/libcapsa/libcapsa/internal/vm"
	"github.com/libcapsa/libcapsa/internal/vzd/wire"
)

// link makes calls over a connection.
type link struct {
	conn *wire.Conn
	out  *wire.Outbox

	onOutput func(wire.Output)     // waits for output; called before a result is used
	onNotice func(wire.Notice)     // an event
	onLog    func(wire.Log)        // words of the daemon
	failure  func(op string) error // the error of a call that the end cut short

	over chan struct{} // closed when no response will come any more

	mu    sync.Mutex
	next  uint64                     // guarded by mu
	calls map[uint64]chan wire.Frame // by id; nil: nobody waits; guarded by mu
}

func newLink(conn *wire.Conn) *link {
	return &link{
		conn: conn, out: wire.NewOutbox(conn), over: make(chan struct{}), calls: make(map[uint64]chan wire.Frame),
		onOutput: func(wire.Output) {}, onNotice: func(wire.Notice) {}, onLog: func(wire.Log) {},
	}
}

// call makes a call: it sends the parameters and descriptors, which it takes over,
// and puts the result into result. The error is the daemon's, or that of a call
// that ctx or the daemon's end cut short.
func (l *link) call(ctx context.Context, method string, params any, files wire.Files, result any) (wire.Files, error) {
	request := wire.Request{Method: method}
	var err error
	if params != nil {
		request.Params, err = wire.EncodeBody(params)
	}
	var body []byte
	if err == nil {
		body, err = wire.EncodeBody(request)
	}
	if err != nil {
		files.Close()
		return nil, err
	}
	answer := make(chan wire.Frame, 1)
	l.mu.Lock()
	l.next++
	id := l.next
	l.calls[id] = answer
	l.mu.Unlock()
	l.out.Send(wire.Frame{Kind: wire.KindRequest, ID: id, Body: body, Files: files})
	select {
	case f := <-answer:
		return l.finish(f, result)
	case <-ctx.Done():
		l.abandon(id, answer)
		return nil, vm.ContextError(ctx, method)
	case <-l.over:
	}
	select {
	case f := <-answer: // it had come before the end
		return l.finish(f, result)
	default:
		return nil, l.failure(method)
	}
}

// abandon gives up a call. Its response, with what may come with it, is dropped.
func (l *link) abandon(id uint64, answer chan wire.Frame) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, waiting := l.calls[id]; waiting {
		l.calls[id] = nil
		l.out.Send(wire.Frame{Kind: wire.KindCancel, ID: id})
		return
	}
	select {
	case f := <-answer:
		f.Files.Close()
	default:
	}
}

// finish takes a response apart.
func (l *link) finish(f wire.Frame, result any) (wire.Files, error) {
	var r wire.Response
	err := wire.DecodeBody(f.Body, &r)
	if err == nil {
		l.onOutput(r.Output)
		err = r.Error.Decode()
	}
	if err == nil && result != nil {
		err = wire.DecodeBody(r.Result, result)
	}
	if err != nil {
		f.Files.Close()
		return nil, err
	}
	return f.Files, nil
}

// receive handles what the daemon sends until the connection ends, and says why it
// did.
func (l *link) receive() error {
	for {
		f, err := l.conn.Receive()
		if err != nil {
			return err
		}
		if len(f.Files) > 0 {
			l.out.Send(wire.Frame{Kind: wire.KindAck, ID: f.ID})
		}
		if err := l.handle(f); err != nil {
			return err
		}
	}
}

func (l *link) handle(f wire.Frame) error {
	if len(f.Files) > 0 && f.Kind != wire.KindResponse {
		f.Files.Close()
		return vm.Errorf(vm.KindProtocol, "receive", "descriptors with a frame of kind %d", f.Kind).WithComponent(component)
	}
	switch f.Kind {
	case wire.KindResponse:
		return l.deliver(f)
	case wire.KindEvent:
		var n wire.Notice
		if err := wire.DecodeBody(f.Body, &n); err != nil {
			return err
		}
		l.onOutput(n.Output)
		l.onNotice(n)
	case wire.KindLog:
		var words wire.Log
		if err := wire.DecodeBody(f.Body, &words); err != nil {
			return err
		}
		l.onLog(words)
	case wire.KindAck:
		l.out.Ack(f.ID)
	default:
		return vm.Errorf(vm.KindProtocol, "receive", "a daemon sends no frames of kind %d", f.Kind).WithComponent(component)
	}
	return nil
}

// deliver gives a response to its call.
func (l *link) deliver(f wire.Frame) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	answer, known := l.calls[f.ID]
	delete(l.calls, f.ID)
	if answer == nil {
		f.Files.Close()
		if !known {
			return vm.Errorf(vm.KindProtocol, "receive", "a response to call %d, which was not made", f.ID).WithComponent(component)
		}
		return nil
	}
	answer <- f // which has room
	return nil
}

// end makes calls fail, those under way and those to come. Preconditions: receive
// has returned.
func (l *link) end() {
	close(l.over)
	l.conn.Shutdown()
	l.out.Close()
	_ = l.conn.Close()
}
