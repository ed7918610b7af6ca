package host

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"net"
	"sync"
	"time"

	"github.com/containerd/ttrpc"

	"github.com/libcapsa/libcapsa/internal/agent/wire"
	"github.com/libcapsa/libcapsa/internal/safe"
	"github.com/libcapsa/libcapsa/internal/vm"
)

const (
	// maxStrangers is the largest number of connections that have not said who they
	// are; more are closed.
	maxStrangers = 256
	// helloTime is how long one may take to say it.
	helloTime = 30 * time.Second
)

// Config is what a Host is made of. The functions are called on goroutines of the
// Host's, may be nil, and must not wait for it.
type Config struct {
	Setup *wire.ConfigureRequest // sent to the first agent; Time is filled in
	Ready func(*wire.InfoReply)  // the guest is set up; once
	Log   func(text string)      // something a person may want to know
}

// Host is the host's side of one machine's agent.
type Host struct {
	cfg   Config
	l     net.Listener
	token wire.Token
	wg    sync.WaitGroup // every goroutine
	calls chan struct{}  // one token for each call without an answer

	closed chan struct{} // closed by Close
	ready  chan struct{} // closed when the guest is set up, or cannot be

	mu         sync.Mutex
	over       bool                       // Close has begun; guarded by mu
	taken      bool                       // an agent has the token; guarded by mu
	strangers  int                        // guarded by mu
	conns      map[net.Conn]bool          // that Close ends; guarded by mu
	link       *link                      // to the agent, or nil; guarded by mu
	linked     chan struct{}              // closed when link is set; replaced when it goes; guarded by mu
	streams    map[uint64]chan<- net.Conn // that calls wait for; guarded by mu
	nextStream uint64                     // guarded by mu
	info       *wire.InfoReply            // guarded by mu
	fault      error                      // why the guest cannot be set up; guarded by mu
}

// link is one control connection.
type link struct {
	guard  *guard
	client *ttrpc.Client
	agent  wire.AgentService
	gone   chan struct{} // closed when the connection has ended
}

// New takes connections from l, which it closes in the end.
func New(l net.Listener, cfg Config) *Host {
	h := &Host{
		cfg: cfg, l: l,
		calls:  make(chan struct{}, wire.MaxCalls),
		closed: make(chan struct{}), ready: make(chan struct{}), linked: make(chan struct{}),
		conns: map[net.Conn]bool{}, streams: map[uint64]chan<- net.Conn{},
	}
	_, _ = rand.Read(h.token[:]) // never fails (crypto/rand)
	var seed [8]byte
	_, _ = rand.Read(seed[:])
	h.nextStream = binary.LittleEndian.Uint64(seed[:]) | 1
	h.wg.Add(1)
	safe.Go("agent listener", nil, func() {
		defer h.wg.Done()
		h.accept()
	})
	return h
}

// Close ends everything: calls fail with KindClosed.
func (h *Host) Close() error {
	h.mu.Lock()
	if !h.over {
		h.over = true
		close(h.closed)
	}
	conns := make([]net.Conn, 0, len(h.conns))
	for c := range h.conns {
		conns = append(conns, c)
	}
	l := h.link
	h.mu.Unlock()
	_ = h.l.Close()
	for _, c := range conns {
		_ = c.Close()
	}
	if l != nil {
		_ = l.client.Close()
	}
	h.wg.Wait()
	return nil
}

// start runs fn on a goroutine that Close joins; false: Close has begun.
func (h *Host) start(name string, onPanic func(error), fn func()) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.over {
		return false
	}
	h.wg.Add(1)
	safe.Go(name, onPanic, func() {
		defer h.wg.Done()
		fn()
	})
	return true
}

// accept takes connections until Close.
func (h *Host) accept() {
	pause := 5 * time.Millisecond
	for {
		conn, err := h.l.Accept()
		if err != nil {
			// Out of descriptors, most likely: those who wait stay in the backlog.
			select {
			case <-h.closed:
				return
			case <-time.After(pause):
			}
			if errors.Is(err, net.ErrClosed) {
				return
			}
			pause = min(2*pause, time.Second)
			continue
		}
		pause = 5 * time.Millisecond
		if !h.admit(conn) {
			_ = conn.Close()
		}
	}
}

// admit lets a stranger say who it is.
func (h *Host) admit(conn net.Conn) bool {
	h.mu.Lock()
	if h.over || h.strangers >= maxStrangers {
		h.mu.Unlock()
		return false
	}
	h.strangers++
	h.conns[conn] = true
	h.mu.Unlock()
	ok := h.start("agent connection", func(error) { h.drop(conn) }, func() {
		_ = conn.SetDeadline(time.Now().Add(helloTime))
		hello, err := wire.ReadHello(conn)
		h.mu.Lock()
		h.strangers--
		h.mu.Unlock()
		switch {
		case err != nil:
			h.drop(conn)
		case hello.Kind == wire.KindStream:
			h.stream(conn, hello)
		default:
			h.control(conn, hello)
		}
	})
	if !ok {
		h.forget(conn)
	}
	return ok
}

func (h *Host) forget(conn net.Conn) {
	h.mu.Lock()
	delete(h.conns, conn)
	h.mu.Unlock()
}

func (h *Host) drop(conn net.Conn) {
	h.forget(conn)
	_ = conn.Close()
}

// knows says whether a connection shows the machine's token.
func (h *Host) knows(t wire.Token) bool { return subtle.ConstantTimeCompare(t[:], h.token[:]) == 1 }

// stream hands a stream to the call that waits for it.
func (h *Host) stream(conn net.Conn, hello wire.Hello) {
	h.mu.Lock()
	waiting := h.streams[hello.Stream]
	if !h.knows(hello.Token) || waiting == nil || h.over {
		h.mu.Unlock()
		h.drop(conn)
		return
	}
	delete(h.streams, hello.Stream)
	delete(h.conns, conn) // the call's from here on
	_ = conn.SetDeadline(time.Time{})
	waiting <- conn // has room for it; with mu held, so that Cancel finds it
	h.mu.Unlock()
}

// control welcomes an agent and sets its guest up, or sends it away.
func (h *Host) control(conn net.Conn, hello wire.Hello) {
	h.mu.Lock()
	welcome := wire.Welcome{Version: wire.Version, Token: h.token}
	switch {
	case hello.Min > wire.Version || hello.Max < wire.Version:
		welcome = wire.Welcome{Reason: wire.ReasonVersion}
	case h.taken && !h.knows(hello.Token):
		welcome = wire.Welcome{Reason: wire.ReasonToken}
	default:
		h.taken = true
	}
	first := h.info == nil && h.fault == nil
	h.mu.Unlock()
	if _, err := conn.Write(welcome.Bytes()); err != nil || welcome.Version == 0 {
		if welcome.Reason == wire.ReasonVersion {
			h.log("an agent speaks versions %d to %d of the protocol; this library speaks %d", hello.Min, hello.Max, wire.Version)
		}
		h.drop(conn)
		return
	}
	_ = conn.SetDeadline(time.Time{})
	h.forget(conn) // the link's from here on
	l := h.connect(conn)
	if l == nil || !first {
		return
	}
	h.setUp()
}

// connect makes a connection the link; the one before, if any, ends.
func (h *Host) connect(conn net.Conn) *link {
	l := &link{guard: newGuard(conn), gone: make(chan struct{})}
	h.mu.Lock()
	if h.over {
		h.mu.Unlock()
		_ = conn.Close()
		return nil
	}
	h.wg.Add(1)
	l.client = ttrpc.NewClient(l.guard, ttrpc.WithOnClose(func() {
		defer h.wg.Done()
		h.lost(l)
	}))
	l.agent = wire.NewAgentClient(l.client)
	before := h.link
	h.link = l
	if before == nil {
		close(h.linked)
	}
	h.mu.Unlock()
	if before != nil {
		_ = before.client.Close()
	}
	return l
}

// lost takes down that a link has ended.
func (h *Host) lost(l *link) {
	h.mu.Lock()
	if h.link == l {
		h.link = nil
		h.linked = make(chan struct{})
	}
	h.mu.Unlock()
	close(l.gone)
	if err := l.guard.fault(); err != nil {
		h.log("the agent's connection was closed: %v", err)
	}
}

// setUp tells the guest what to be.
func (h *Host) setUp() {
	setup := h.cfg.Setup
	if setup == nil {
		setup = &wire.ConfigureRequest{}
	}
	setup.TimeNs = time.Now().UnixNano()
	reply, err := callEarly(context.Background(), h, "configure", wire.AgentService.Configure, setup, nil)
	h.mu.Lock()
	if h.info != nil || h.fault != nil {
		h.mu.Unlock()
		return
	}
	switch {
	case err != nil:
		h.fault = err
	case reply.Info == nil:
		h.fault = vm.Errorf(vm.KindProtocol, "configure", "the agent does not say what it is").WithComponent(component)
	default:
		h.info = reply.Info
	}
	info := h.info
	h.mu.Unlock()
	close(h.ready)
	if info != nil && h.cfg.Ready != nil {
		h.cfg.Ready(info)
	}
}

// Ready waits until the guest is set up. Errors: KindGuest and others, it cannot be;
// KindTimeout, KindCancelled, KindClosed.
func (h *Host) Ready(ctx context.Context) (*wire.InfoReply, error) {
	const op = "wait for the agent"
	select {
	case <-h.ready:
	default:
		select {
		case <-h.ready:
		case <-h.closed:
			return nil, closedError(op)
		case <-ctx.Done():
			return nil, vm.ContextError(ctx, op)
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.info, h.fault
}
