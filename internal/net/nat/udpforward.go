package nat

import (
	"errors"
	"net"
	"net/netip"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/libcapsa/libcapsa/internal/net/frame"
	"github.com/libcapsa/libcapsa/internal/net/link"
	"github.com/libcapsa/libcapsa/internal/net/policy"
)

// udpForward is the socket of a forwarded UDP port. To the guest each of its
// clients is a port of the gateway.
type udpForward struct {
	f    *Forward
	conn *net.UDPConn
	raw  syscall.RawConn

	mu      sync.Mutex
	clients map[netip.AddrPort]*session
}

func newUDPForward(f *Forward, conn *net.UDPConn) *udpForward {
	u := &udpForward{f: f, conn: conn, clients: map[netip.AddrPort]*session{}}
	u.raw, _ = conn.SyscallConn() // no error: it was just opened
	return u
}

// serve takes datagrams until the socket is closed.
func (u *udpForward) serve() {
	b := make([]byte, udpRoom+65536)
	for {
		n, from, err := u.conn.ReadFromUDPAddrPort(b[udpRoom:])
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil:
			continue // of an earlier datagram
		}
		from = netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
		u.mu.Lock()
		s := u.clients[from]
		u.mu.Unlock()
		if s == nil {
			s = u.open(from)
		}
		if s != nil {
			s.deliverOne(b[:udpRoom+n])
		}
	}
}

// portAttempts is how many ports of the gateway are tried for a new client.
const portAttempts = 64

// open decides about a new client and gives it a port of the gateway.
func (u *udpForward) open(from netip.AddrPort) *session {
	e := u.f.e
	asked := policy.Flow{Direction: policy.Inbound, Protocol: policy.UDP, Src: from, Dst: u.f.guest}
	v := e.cfg.Policy.Flow(asked)
	if v.Action != policy.Allow {
		e.denied(&e.counts.inbound, asked, v)
		return nil
	}
	for range portAttempts {
		key := sessionKey{frame.UDP, u.f.guest, netip.AddrPortFrom(e.gateway(u.f.guest.Addr()), e.datagrams.port())}
		s := &session{e: e, key: key, counts: &e.counts.inbound, asked: asked, verdict: v, forward: u.f, client: from}
		if !e.datagrams.add(s) {
			continue
		}
		u.mu.Lock()
		u.clients[from] = s
		u.mu.Unlock()
		if s.ended.Load() { // before it was in the table of clients
			u.forget(s)
		}
		s.counts.opened.Add(1)
		e.observer.say(Event{Kind: Opened, Flow: asked, Verdict: v})
		if v.Generation != e.cfg.Policy.Generation() {
			e.datagrams.reevaluate()
		}
		return s
	}
	e.counts.inbound.limited.Add(1)
	return nil
}

// port is the next port for a client.
func (d *datagrams) port() uint16 {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.nextPort = (d.nextPort + 1) % countUDPPorts
	return firstUDPPort + d.nextPort
}

func (u *udpForward) forget(s *session) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.clients[s.client] == s {
		delete(u.clients, s.client)
	}
}

func (f *Forward) forget(s *session) { f.udp.forget(s) }

// sendTo sends a datagram of the guest to a client. It does not block.
func (f *Forward) sendTo(to netip.AddrPort, pieces [][]byte) (sent bool) {
	err := f.udp.raw.Write(func(fd uintptr) bool {
		_, err := unix.SendmsgBuffers(int(fd), pieces, nil, sockaddr(to), unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
		sent = err == nil
		return true
	})
	return sent && err == nil
}

// deliverOne hands one datagram to the guest, with room for headers before it.
func (s *session) deliverOne(b []byte) {
	if len(b)-headroom > mostL4(s.key.guest.Addr()) {
		return
	}
	udpHeader(b, s.key.remote.Port(), s.key.guest.Port())
	var frames [1]link.Frame
	s.touch()
	s.toGuest.Add(uint64(len(b) - udpRoom))
	s.e.out.raw(s.e.build.packet(frames[:0], b, frame.UDP, 6, s.key.remote.Addr(), s.key.guest.Addr(), s.e.fragID.Add(1))...)
}
