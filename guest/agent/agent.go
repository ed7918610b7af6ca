//go:build linux

package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/containerd/ttrpc"
	"golang.org/x/sys/unix"

	"github.com/libcapsa/libcapsa/internal/agent/wire"
	"github.com/libcapsa/libcapsa/internal/safe"
)

// Conn is a connection to the host.
type Conn interface {
	net.Conn
	CloseWrite() error
}

// Config is what an Agent is made of.
type Config struct {
	Version string
	Dial    func() (Conn, error) // a new connection to the host's port

	// Configure sets the guest up, once; nil: nothing is to be done.
	Configure func(*wire.ConfigureRequest) error
	// Shutdown ends the guest; it returns when that has begun.
	Shutdown func() error
	// Console is the machine's console, for programs that run there.
	Console string
	Init    bool // this is process 1
	Log     func(format string, a ...any)
}

// Agent serves one host.
type Agent struct {
	cfg   Config
	start int64 // when it was made, in ns of the monotonic clock

	reaper  *Reaper
	cgroups *cgroups
	procs   table[*process]
	files   table[*openFile]

	mu         sync.Mutex
	token      wire.Token // guarded by mu
	configured bool       // guarded by mu
	ready      int64      // when it was set up, in ns of the monotonic clock; guarded by mu
}

// New makes an agent whose programs r reaps.
func New(cfg Config, r *Reaper) *Agent {
	if cfg.Log == nil {
		cfg.Log = func(string, ...any) {}
	}
	return &Agent{
		cfg: cfg, start: monotonic(), reaper: r,
		procs: newTable[*process](maxProcesses), files: newTable[*openFile](maxFiles),
	}
}

// monotonic is the time since the kernel began, in ns.
func monotonic() int64 {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &t); err != nil {
		return 0
	}
	return t.Nano()
}

// Run serves the host until ctx ends. When the connection is lost it calls again.
func (a *Agent) Run(ctx context.Context) error {
	pause := time.Millisecond
	for ctx.Err() == nil {
		served, err := a.serve(ctx)
		if errors.Is(err, errRefused) {
			return err
		}
		if served {
			pause = time.Millisecond
		}
		if err != nil {
			a.cfg.Log("connection to the host: %v", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
		pause = min(2*pause, time.Second)
	}
	return ctx.Err()
}

var errRefused = errors.New("the host refuses this agent")

// serve serves one control connection.
func (a *Agent) serve(ctx context.Context) (served bool, err error) {
	conn, err := a.cfg.Dial()
	if err != nil {
		return false, err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	a.mu.Lock()
	hello := wire.Hello{Min: wire.Version, Max: wire.Version, Kind: wire.KindControl, Token: a.token}
	a.mu.Unlock()
	if _, err := conn.Write(hello.Bytes()); err != nil {
		return false, err
	}
	welcome, err := wire.ReadWelcome(conn)
	if err != nil {
		return false, err
	}
	switch {
	case welcome.Version == 0:
		return false, fmt.Errorf("%w: reason %d", errRefused, welcome.Reason)
	case welcome.Version != wire.Version:
		return false, fmt.Errorf("%w: it speaks version %d", errRefused, welcome.Version)
	}
	a.mu.Lock()
	a.token = welcome.Token
	a.mu.Unlock()
	return true, a.answer(ctx, conn)
}

// answer serves calls until the connection ends.
func (a *Agent) answer(ctx context.Context, conn net.Conn) error {
	server, err := ttrpc.NewServer()
	if err != nil {
		return err
	}
	defer func() { _ = server.Close() }()
	wire.RegisterAgentService(server, &service{a})
	l := &once{conn: make(chan net.Conn, 1), closed: make(chan struct{})}
	watched := &watched{Conn: conn, gone: l.end}
	l.conn <- watched
	err = server.Serve(ctx, l)
	if errors.Is(err, ttrpc.ErrServerClosed) || errors.Is(err, net.ErrClosed) {
		err = nil
	}
	return err
}

// once is a listener that has one connection, and ends when told to.
type once struct {
	conn   chan net.Conn
	closed chan struct{}
	over   sync.Once
}

func (l *once) Accept() (net.Conn, error) {
	select {
	case c := <-l.conn:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *once) end() { l.over.Do(func() { close(l.closed) }) }

// Close ends Accept.
func (l *once) Close() error { l.end(); return nil }

// Addr is needed for net.Listener and has no meaning here.
func (l *once) Addr() net.Addr { return &net.UnixAddr{} }

// watched tells when its connection is no longer served.
type watched struct {
	net.Conn
	gone func()
}

func (w *watched) Read(p []byte) (int, error) {
	n, err := w.Conn.Read(p)
	if err != nil {
		w.gone()
	}
	return n, err
}

func (w *watched) Close() error {
	w.gone()
	return w.Conn.Close()
}

// stream makes a stream that the host expects.
func (a *Agent) stream(id uint64) (Conn, error) {
	conn, err := a.cfg.Dial()
	if err != nil {
		return nil, err
	}
	a.mu.Lock()
	hello := wire.Hello{Min: wire.Version, Max: wire.Version, Kind: wire.KindStream, Stream: id, Token: a.token}
	a.mu.Unlock()
	if _, err := conn.Write(hello.Bytes()); err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}

// streams makes several at once; those of number 0 are nil.
func (a *Agent) streams(ids ...uint64) ([]Conn, error) {
	conns, errs := make([]Conn, len(ids)), make([]error, len(ids))
	var wg sync.WaitGroup
	for i, id := range ids {
		if id == 0 {
			continue
		}
		wg.Add(1)
		safe.Go("stream", func(err error) { errs[i] = err }, func() {
			defer wg.Done()
			conns[i], errs[i] = a.stream(id)
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		closeAll(conns)
		return nil, err
	}
	return conns, nil
}

func closeAll(conns []Conn) {
	for _, c := range conns {
		if c != nil {
			c.Close()
		}
	}
}

// discardAll reads a stream to its end, so that the other side's writing does not fail
// before it knows why.
func discardAll(r io.Reader) { _, _ = io.Copy(io.Discard, r) }
