package vzd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/libcapsa/libcapsa/internal/safe"
	"github.com/libcapsa/libcapsa/internal/vm"
	"github.com/libcapsa/libcapsa/internal/vzd/wire"
)

// component is what errors of the daemon itself name.
const component = "vzd"

// maxCalls is the largest number of calls under way. Threads of a program that all
// wait for sockets of the guest are as many as that at most.
const maxCalls = 4096

// Options are what Serve can do without.
type Options struct {
	// Confine gives up what the process does not need to make a machine. After that
	// seal gives up what it does not need to run it, and says in words what holds it
	// from then on. nil: nothing does.
	Confine func(vm.Config) (seal func() (jail string, err error), err error)
}

// Serve serves one machine of a backend to the client at the other end of conn,
// which it takes over. It returns when the client is gone or ctx has ended, after
// the machine is gone too. The error is nil when the client has closed the
// connection, and of KindProtocol when it broke the rules.
func Serve(ctx context.Context, conn *wire.Conn, backend vm.Backend, opts Options) error {
	s := &session{conn: conn, out: wire.NewOutbox(conn), backend: backend, opts: opts, cancels: make(map[uint64]context.CancelFunc)}
	life, end := context.WithCancel(ctx)
	s.life = life
	unhook := context.AfterFunc(ctx, conn.Shutdown)
	err := safe.Run("vzd session", func() { s.err = s.receive() })
	if err == nil {
		err = s.err
	}
	end()
	s.finish()
	s.calls.Wait()
	s.out.Close()
	unhook()
	_ = conn.Close()
	if errors.Is(err, io.EOF) || ctx.Err() != nil {
		return nil
	}
	return err
}

// session is one client.
type session struct {
	conn    *wire.Conn
	out     *wire.Outbox
	backend vm.Backend
	opts    Options
	life    context.Context // of all calls
	calls   sync.WaitGroup
	greeted bool  // of receive
	err     error // of receive

	mu      sync.Mutex
	cancels map[uint64]context.CancelFunc // of calls under way, by id; guarded by mu
	over    bool                          // no machine can be made any more; guarded by mu
	made    bool                          // a machine was asked for; guarded by mu
	hosted  *hosted                       // nil until it is made; guarded by mu
}

// receive handles frames until the connection ends.
func (s *session) receive() error {
	for {
		f, err := s.conn.Receive()
		if err != nil {
			return err
		}
		switch f.Kind {
		case wire.KindRequest:
			if err := s.request(f); err != nil {
				return err
			}
		case wire.KindCancel:
			s.cancel(f.ID)
		case wire.KindAck:
			s.out.Ack(f.ID)
		default:
			f.Files.Close()
			return vm.Errorf(vm.KindProtocol, "receive", "a client sends no frames of kind %d", f.Kind).WithComponent(component)
		}
	}
}

// request starts a call. The error ends the session.
func (s *session) request(f wire.Frame) error {
	if len(f.Files) > 0 {
		s.out.Send(wire.Frame{Kind: wire.KindAck, ID: f.ID})
	}
	c := &call{s: s, id: f.ID, files: f.Files}
	if err := wire.DecodeBody(f.Body, &c.Request); err != nil {
		f.Files.Close()
		return err
	}
	run, known := methods[c.Method]
	if c.Method == wire.MethodHello && !s.greeted {
		welcome, err := s.hello(c)
		c.respond(welcome, nil, err)
		return err
	}
	if !s.greeted {
		f.Files.Close()
		return vm.Errorf(vm.KindProtocol, "receive", "%q before hello", c.Method).WithComponent(component)
	}
	if !takesFiles(c.Method) && len(f.Files) > 0 {
		f.Files.Close()
		return vm.Errorf(vm.KindProtocol, "receive", "%q with descriptors", c.Method).WithComponent(component)
	}
	if !known {
		f.Files.Close()
		c.respond(nil, nil, vm.Errorf(vm.KindUnsupported, c.Method, "the daemon knows no such call").WithComponent(component))
		return nil
	}
	return s.start(c, run)
}

// takesFiles says whether descriptors may come with a request.
func takesFiles(method string) bool {
	return method == wire.MethodCreate || method == wire.MethodSetCapture || method == wire.MethodSetCable
}

// hello settles the version.
func (s *session) hello(c *call) (*wire.Welcome, error) {
	c.files.Close()
	var h wire.Hello
	if err := wire.DecodeBody(c.Params, &h); err != nil {
		return nil, err
	}
	if h.Proto != wire.Proto {
		return nil, vm.Errorf(vm.KindProtocol, "hello", "the library speaks version %d of the protocol, and the daemon version %d",
			h.Proto, wire.Proto).WithComponent(component)
	}
	s.greeted = true
	return &wire.Welcome{Proto: wire.Proto, PID: pid(), Backend: s.backend.Name()}, nil
}

// start runs a call on a goroutine of its own.
func (s *session) start(c *call, run method) error {
	s.mu.Lock()
	_, twice := s.cancels[c.id]
	full := len(s.cancels) >= maxCalls
	if !twice && !full {
		c.ctx, s.cancels[c.id] = context.WithCancel(s.life)
	}
	s.mu.Unlock()
	switch {
	case twice:
		c.files.Close()
		return vm.Errorf(vm.KindProtocol, "receive", "call %d is under way already", c.id).WithComponent(component)
	case full:
		c.files.Close()
		c.respond(nil, nil, vm.Errorf(vm.KindLimit, c.Method, "%d calls are under way already", maxCalls).WithComponent(component))
		return nil
	}
	s.calls.Add(1)
	safe.Go("vzd call "+c.Method, c.panicked, func() {
		defer s.calls.Done()
		result, files, err := run(c)
		s.forget(c.id)
		c.respond(result, files, err)
	})
	return nil
}

// cancel makes a call give up, if it is still under way.
func (s *session) cancel(id uint64) {
	s.mu.Lock()
	cancel := s.cancels[id]
	s.mu.Unlock()
	if cancel != nil {
		cancel()
	}
}

// forget frees a call's id, before its response lets the client use it again.
func (s *session) forget(id uint64) {
	s.mu.Lock()
	cancel := s.cancels[id]
	delete(s.cancels, id)
	s.mu.Unlock()
	if cancel != nil {
		cancel()
	}
}

// finish closes the machine, at the end of the session.
func (s *session) finish() {
	s.mu.Lock()
	s.over = true
	h := s.hosted
	s.mu.Unlock()
	if h != nil {
		h.abandon()
		_ = h.close() // nobody is left to tell
	}
}

// machine is the one that was made.
func (s *session) machine(op string) (*hosted, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.hosted == nil {
		return nil, vm.Errorf(vm.KindState, op, "no machine was made").WithComponent(component)
	}
	return s.hosted, nil
}

// log tells the client what goes wrong here.
func (s *session) log(format string, a ...any) {
	body, err := wire.EncodeBody(wire.EncodeLog(component, fmt.Sprintf(format, a...)))
	if err == nil {
		s.out.TrySend(wire.Frame{Kind: wire.KindLog, Body: body}, maxQueued)
	}
}
