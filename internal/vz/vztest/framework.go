package vztest

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/libcapsa/libcapsa/internal/safe"
	"github.com/libcapsa/libcapsa/internal/vz"
	"github.com/libcapsa/libcapsa/internal/vz/plan"
)

// Program is what a guest does while it runs, on a goroutine of its own. When it returns
// the guest powers itself off. Calls to g do not return once the guest has been stopped.
type Program func(g *Guest)

// Framework is a vz.Framework whose guests are Go functions. Set the fields before the
// first use.
type Framework struct {
	Host plan.Mac
	// Programs are the guests, by the base name of their kernel's file.
	Programs map[string]Program

	// Services take connections to ports of the guest.
	Services map[uint32]func(*net.UnixConn)

	// Faults to inject; each is returned by the call of that name.
	MacErr, NewErr, StartErr, PauseErr, ResumeErr, StopErr, SaveErr, RestoreErr, MemoryErr, CloseErr error

	live  atomic.Int64
	mu    sync.Mutex
	plans []*plan.Plan // guarded by mu
	last  *Guest       // guarded by mu
}

var _ vz.Framework = (*Framework)(nil)

// Mac implements vz.Framework.
func (f *Framework) Mac() (plan.Mac, error) { return f.Host, f.MacErr }

// Live is the number of guests that were made and not closed.
func (f *Framework) Live() int { return int(f.live.Load()) }

// Last is the guest that was made last.
func (f *Framework) Last() *Guest {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.last
}

// Plans are those of all guests.
func (f *Framework) Plans() []*plan.Plan {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]*plan.Plan{}, f.plans...)
}

// New implements vz.Framework.
func (f *Framework) New(p *plan.Plan, ends vz.Ends) (vz.Guest, error) {
	if f.NewErr != nil {
		ends.Close()
		return nil, f.NewErr
	}
	g := &Guest{
		f: f, plan: p, ends: ends, states: make(chan vz.State, 64), memory: p.Memory, button: make(chan struct{}, 1),
		stopped: make(chan struct{}), listeners: map[uint32]*listener{},
	}
	g.running.L = &g.mu
	if boot, ok := p.Boot.(plan.LinuxBoot); ok {
		g.program = f.Programs[filepath.Base(boot.Kernel)]
	}
	if g.program == nil {
		g.program = func(g *Guest) { <-g.Ended() }
	}
	f.live.Add(1)
	f.mu.Lock()
	f.plans, f.last = append(f.plans, p), g
	f.mu.Unlock()
	return g, nil
}

// Guest is a guest of Framework: a vz.Guest, and for its program what it sees.
type Guest struct {
	f       *Framework
	plan    *plan.Plan
	ends    vz.Ends
	program Program
	states  chan vz.State
	button  chan struct{}
	stopped chan struct{} // closed when it no longer runs
	wg      sync.WaitGroup

	mu        sync.Mutex
	running   sync.Cond            // state changed
	state     vz.State             // guarded by mu
	restored  bool                 // guarded by mu
	over      bool                 // stopped is closed; guarded by mu
	memory    uint64               // guarded by mu
	listeners map[uint32]*listener // guarded by mu
	conns     []*net.UnixConn      // guarded by mu
}

var _ vz.Guest = (*Guest)(nil)

// States implements vz.Guest.
func (g *Guest) States() <-chan vz.State { return g.states }

// set changes the state. Preconditions: mu is held.
func (g *Guest) set(s vz.State) {
	g.state = s
	g.states <- s
	g.running.Broadcast()
}

// Start implements vz.Guest.
func (g *Guest) Start() error {
	if g.f.StartErr != nil {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.set(vz.Stopped)
		return g.f.StartErr
	}
	if boot, ok := g.plan.Boot.(plan.LinuxBoot); ok && boot.Initrd != "" {
		if _, err := os.Stat(boot.Initrd); err != nil { // it is read now
			return err
		}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.set(vz.Running)
	g.boot()
	return nil
}

// boot starts the program. Preconditions: mu is held.
func (g *Guest) boot() {
	g.wg.Add(1)
	safe.Go("vztest guest", nil, func() {
		defer g.wg.Done()
		ended := make(chan struct{})
		safe.Go("vztest program", nil, func() { // a call of a guest that was stopped ends its goroutine
			defer close(ended)
			g.program(g)
			g.halt(vz.Stopped)
		})
		<-ended
	})
}

// halt ends the guest, once.
func (g *Guest) halt(s vz.State) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.over {
		return
	}
	g.over = true
	close(g.stopped)
	g.set(s)
	for _, c := range g.conns {
		_ = c.Close()
	}
	if g.ends.Network != nil {
		_ = g.ends.Network.Close() // ends a read of the program
	}
}

// Pause implements vz.Guest.
func (g *Guest) Pause() error { return g.to(vz.Running, vz.Paused, g.f.PauseErr) }

// Resume implements vz.Guest.
func (g *Guest) Resume() error {
	g.mu.Lock()
	restored := g.restored
	g.restored = false
	if restored {
		g.boot()
	}
	g.mu.Unlock()
	return g.to(vz.Paused, vz.Running, g.f.ResumeErr)
}

func (g *Guest) to(from, to vz.State, err error) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if err == nil && g.state != from {
		err = vz.ErrNotRunning
	}
	if err == nil {
		g.set(to)
	}
	return err
}

// RequestStop implements vz.Guest.
func (g *Guest) RequestStop() error {
	select {
	case g.button <- struct{}{}:
	default:
	}
	return nil
}

// Stop implements vz.Guest.
func (g *Guest) Stop() error {
	g.mu.Lock()
	over := g.over
	g.mu.Unlock()
	if over {
		return vz.ErrNotRunning
	}
	g.halt(vz.Stopped)
	g.wg.Wait()
	return g.f.StopErr
}

// Save implements vz.Guest.
func (g *Guest) Save(path string) error {
	if g.f.SaveErr != nil {
		return g.f.SaveErr
	}
	return os.WriteFile(path, []byte("state"), 0o600)
}

// Restore implements vz.Guest.
func (g *Guest) Restore(path string) error {
	if _, err := os.ReadFile(path); err != nil || g.f.RestoreErr != nil {
		return g.f.RestoreErr
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.restored = true
	g.set(vz.Paused)
	return nil
}

// Identifier implements vz.Guest.
func (g *Guest) Identifier() ([]byte, error) { return []byte("identifier"), nil }

// SetMemory implements vz.Guest.
func (g *Guest) SetMemory(bytes uint64) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.f.MemoryErr == nil {
		g.memory = bytes
	}
	return g.f.MemoryErr
}

// Memory is what the host last said.
func (g *Guest) Memory() uint64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.memory
}

// Close implements vz.Guest.
func (g *Guest) Close() error {
	g.halt(vz.Stopped)
	g.wg.Wait()
	g.ends.Close()
	close(g.states)
	g.f.live.Add(-1)
	return g.f.CloseErr
}

// pair is a connection: one end of it for the guest, which goes with it.
func (g *Guest) pair() (guest, host *net.UnixConn, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		return nil, nil, err
	}
	var conns [2]*net.UnixConn
	for i, fd := range fds {
		unix.CloseOnExec(fd)
		f := os.NewFile(uintptr(fd), "vsock")
		c, err := net.FileConn(f)
		_ = f.Close()
		if err != nil {
			return nil, nil, err
		}
		conns[i] = c.(*net.UnixConn)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.over {
		_ = conns[0].Close()
	}
	g.conns = append(g.conns, conns[0])
	return conns[0], conns[1], nil
}

// Connect implements vz.Guest.
func (g *Guest) Connect(_ context.Context, port uint32) (*net.UnixConn, error) {
	serve := g.f.Services[port]
	if serve == nil {
		return nil, os.NewSyscallError("connect", unix.ECONNREFUSED)
	}
	guest, host, err := g.pair()
	if err != nil {
		return nil, err
	}
	g.wg.Add(1)
	safe.Go("vztest service", nil, func() {
		defer g.wg.Done()
		serve(guest)
	})
	return host, nil
}

// Listen implements vz.Guest.
func (g *Guest) Listen(port uint32) (vz.Listener, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	l := &listener{conns: make(chan *net.UnixConn, 16), closed: make(chan struct{})}
	g.listeners[port] = l
	g.running.Broadcast()
	return l, nil
}

type listener struct {
	conns  chan *net.UnixConn
	closed chan struct{}
	once   sync.Once
}

func (l *listener) Accept() (*net.UnixConn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *listener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}
