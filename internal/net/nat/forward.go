package nat

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/libcapsa/libcapsa/internal/net/policy"
	"github.com/libcapsa/libcapsa/internal/safe"
)

// ForwardConfig is one port of the guest that the host's side can reach.
type ForwardConfig struct {
	Network string         // "tcp", "udp", or "unix" for a unix socket that leads to a TCP port
	Host    netip.AddrPort // where the host listens; port 0: any that is free
	Path    string         // of the unix socket, which is removed at the end
	Guest   uint16         // port
	IPv6    bool           // reach the guest at Config.Guest6
}

// forwards are the forwarded ports.
type forwards struct {
	mu     sync.Mutex
	closed bool
	open   map[*Forward]struct{}
}

// Forward is a forwarded port while it is open.
type Forward struct {
	e     *Engine
	cfg   ForwardConfig
	guest netip.AddrPort
	addr  net.Addr
	close func() error
	done  chan struct{}

	udp *udpForward // of "udp"
}

// Forward opens a port to the guest; the guest sees the gateway as the source. Until
// the guest answers, connections wait. Errors: an impossible configuration, what
// the system refuses (an address in use, a privileged port), ErrClosed.
func (e *Engine) Forward(cfg ForwardConfig) (*Forward, error) {
	f := &Forward{e: e, cfg: cfg, done: make(chan struct{})}
	guest := e.cfg.Guest4.Addr()
	if cfg.IPv6 {
		guest = e.cfg.Guest6
	}
	if !guest.IsValid() || cfg.Guest == 0 {
		return nil, fmt.Errorf("nat: forward to port %d of %v: the guest needs an address (Config.Guest6) and a port from 1 on", cfg.Guest, guest)
	}
	f.guest = netip.AddrPortFrom(guest, cfg.Guest)
	serve, err := f.listen()
	if err != nil {
		return nil, fmt.Errorf("nat: forward %s %s to port %d: %w", cfg.Network, f.where(), cfg.Guest, err)
	}
	if err := e.forwards.add(f, e.cfg.Limits.Forwards); err != nil {
		return nil, errors.Join(err, f.close())
	}
	if !e.start("nat forward", func() { defer close(f.done); serve() }) {
		close(f.done)
		return nil, errors.Join(ErrClosed, f.Close())
	}
	return f, nil
}

func (f *Forward) where() string {
	if f.cfg.Network == "unix" {
		return f.cfg.Path
	}
	return f.cfg.Host.String()
}

// listen opens what the host listens on and returns what serves it.
func (f *Forward) listen() (serve func(), err error) {
	switch f.cfg.Network {
	case "tcp":
		if !f.cfg.Host.IsValid() {
			return nil, errors.New("an address of the host is needed, 127.0.0.1:0 say")
		}
		lc := net.ListenConfig{KeepAliveConfig: keepAlive}
		lc.SetMultipathTCP(false)
		l, err := lc.Listen(f.e.ctx, family("tcp", f.cfg.Host), f.cfg.Host.String())
		if err != nil {
			return nil, err
		}
		f.addr, f.close = l.Addr(), l.Close
		return func() { f.accept(l) }, nil
	case "unix":
		l, err := net.Listen("unix", f.cfg.Path)
		if err != nil {
			return nil, err
		}
		f.addr, f.close = l.Addr(), l.Close
		return func() { f.accept(l) }, nil
	case "udp":
		if !f.cfg.Host.IsValid() {
			return nil, errors.New("an address of the host is needed, 127.0.0.1:0 say")
		}
		conn, err := net.ListenUDP(family("udp", f.cfg.Host), net.UDPAddrFromAddrPort(f.cfg.Host))
		if err != nil {
			return nil, err
		}
		f.addr, f.close = conn.LocalAddr(), conn.Close
		f.udp = newUDPForward(f, conn)
		return f.udp.serve, nil
	}
	return nil, errors.New(`the network is "tcp", "udp" or "unix"`)
}

func family(network string, a netip.AddrPort) string {
	if a.Addr().Unmap().Is4() {
		return network + "4"
	}
	return network + "6"
}

func (fs *forwards) add(f *Forward, most int) error {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if fs.closed {
		return ErrClosed
	}
	if len(fs.open) >= most {
		return fmt.Errorf("nat: %d forwarded ports are open already (Limits.Forwards)", most)
	}
	fs.open[f] = struct{}{}
	return nil
}

func (fs *forwards) closeAll() {
	fs.mu.Lock()
	fs.closed = true
	all := make([]*Forward, 0, len(fs.open))
	for f := range fs.open {
		all = append(all, f)
	}
	fs.mu.Unlock()
	for _, f := range all {
		_ = f.Close()
	}
}

// Addr is where the host listens: a *net.TCPAddr, *net.UDPAddr or *net.UnixAddr.
func (f *Forward) Addr() net.Addr { return f.addr }

// Close stops listening. TCP connections that are established stay; UDP ones end.
// Idempotent.
func (f *Forward) Close() error {
	fs := &f.e.forwards
	fs.mu.Lock()
	_, open := fs.open[f]
	delete(fs.open, f)
	fs.mu.Unlock()
	if !open {
		return nil
	}
	err := f.close()
	<-f.done
	if f.udp != nil {
		f.e.datagrams.dropIf(func(s *session) bool { return s.forward == f })
	}
	return err
}

// acceptPause is how long no connection is accepted after the system had no
// descriptor or memory for one.
const acceptPause = 100 * time.Millisecond

// accept takes connections until the listener is closed.
func (f *Forward) accept(l net.Listener) {
	for {
		conn, err := l.Accept()
		switch {
		case err == nil:
			f.connect(conn)
		case errors.Is(err, net.ErrClosed):
			return
		default: // of one connection, or for want of something
			select {
			case <-f.e.ctx.Done():
				return
			case <-time.After(acceptPause):
			}
		}
	}
}

// client is who connects, for the policy: the host itself, through a unix socket.
func client(a net.Addr) netip.AddrPort {
	if t, ok := a.(*net.TCPAddr); ok {
		ap := t.AddrPort()
		return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
	}
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), 1)
}

// connect decides about a connection and begins to carry it.
func (f *Forward) connect(conn net.Conn) {
	e := f.e
	c := &e.counts.inbound
	asked := policy.Flow{Direction: policy.Inbound, Protocol: policy.TCP, Src: client(conn.RemoteAddr()), Dst: f.guest}
	w := newFlow(e, c, asked)
	w.verdict = e.cfg.Policy.Flow(asked)
	e.tcp.mu.Lock()
	full := len(e.tcp.flows) >= e.cfg.Limits.Flows
	e.tcp.mu.Unlock()
	switch {
	case w.verdict.Action != policy.Allow:
		e.denied(c, asked, w.verdict)
	case full:
		c.limited.Add(1)
	case e.tcp.add(w, nil):
		safe.Go("nat tcp forward", nil, func() {
			defer e.tasks.Done()
			defer e.tcp.remove(w)
			w.reach(conn.(hostConn), f.guest) // they are of sockets
		})
		return
	}
	w.over = errReset
	w.cancel()
	w.closeHost(conn.(hostConn))
}
