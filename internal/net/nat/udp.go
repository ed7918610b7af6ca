package nat

import (
	"net/netip"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv6"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	udpproto "gvisor.dev/gvisor/pkg/tcpip/transport/udp"

	"github.com/libcapsa/libcapsa/internal/net/frame"
	"github.com/libcapsa/libcapsa/internal/net/link"
)

// udp takes a UDP datagram of the guest, or several of them (USO).
func (e *Engine) udp(f *link.Frame) {
	p := &e.packet
	if p.SrcPort == 0 || p.DstPort == 0 {
		e.counts.malformed[frame.BadTransport].Add(1)
		return
	}
	from, to := netip.AddrPortFrom(p.Src, p.SrcPort), netip.AddrPortFrom(p.Dst, p.DstPort)
	if e.udpService(f, from, to) {
		return
	}
	if !p.Src.IsGlobalUnicast() && p.Src != e.cfg.Guest4.Addr() || p.DstMAC.Group() {
		e.counts.misdirected.Add(1)
		return
	}
	key := sessionKey{frame.UDP, from, to}
	s := e.burst.s // mostly
	if s == nil || s.key != key || s.ended.Load() {
		s = e.datagrams.find(key)
	}
	if s == nil && e.isGateway(p.Dst) {
		switch {
		case e.ownUDP(from, to):
			e.injectUDP(f)
			return
		case !e.cfg.HostAccess:
			e.unreachable(noPort, p.Src, p.Dst, frame.UDP, quote(p), p.End-p.L4, 0)
			return
		}
	}
	if s == nil {
		if s = e.openSession(key, quote(p), p.End-p.L4); s == nil {
			return
		}
	}
	e.sendDatagrams(s, f)
}

// sendDatagrams takes what the frame holds into the burst.
func (e *Engine) sendDatagrams(s *session, f *link.Frame) {
	p, b := &e.packet, &e.burst
	if b.to(s); s.ttl != 0 || p.TTL < farTTL {
		b.flush()
		b.to(s)
		s.reach(p.TTL)
	}
	from, size := len(b.pieces), p.End-p.Payload
	each := size
	if p.GSO != link.GSONone {
		each = p.SegmentSize
	}
	if p.Inner {
		b.pieces = append(b.pieces, e.payload(f))
	} else {
		frame.Range(f, p.Payload, p.End, func(piece []byte) { b.pieces = append(b.pieces, piece) })
	}
	b.add(from, size, each)
}

// payload copies the frame's payload, with inner checksums completed.
func (e *Engine) payload(f *link.Frame) []byte {
	p := &e.packet
	b := make([]byte, p.End-p.Payload)
	frame.Copy(b, f, p.Payload, p.End)
	if p.Inner {
		frame.Complete(b, int(f.Header.CSumStart)-p.Payload, int(f.Header.CSumOffset))
	}
	return b
}

// udpService serves what is meant for the gateway's services. False: it is not.
func (e *Engine) udpService(f *link.Frame, from, to netip.AddrPort) bool {
	s := &e.cfg.Services
	var serve DatagramService
	gateway := e.isGateway(to.Addr())
	switch {
	case to.Port() == portDHCP4 && from.Addr().Is4() && (gateway || to.Addr() == limitedBroadcast):
		if s.DHCP4 != nil {
			s.DHCP4(e.payload(f), from, e.replyDHCP4)
		}
		return true
	case e.toDHCP6(&e.packet):
		serve = s.DHCP6
		to = netip.AddrPortFrom(e.linkLocal(), to.Port())
	case to.Port() == portDNS && (gateway || e.intercept.Load()):
		serve = s.DNS
		if serve == nil {
			e.unreachable(noPort, from.Addr(), to.Addr(), frame.UDP, quote(&e.packet), e.packet.End-e.packet.L4, 0)
		}
	default:
		return false
	}
	if serve != nil {
		serve(e.payload(f), from, to, func(b []byte) { e.sendUDP(to, from, b, e.cfg.GuestMAC) })
	}
	return true
}

// replyDHCP4 sends to an address that nobody may have yet, or to everybody.
func (e *Engine) replyDHCP4(b []byte, to netip.AddrPort) {
	mac := e.cfg.GuestMAC
	if to.Addr() == limitedBroadcast {
		mac = frame.Broadcast
	}
	e.sendUDP(netip.AddrPortFrom(e.cfg.Gateway4, portDHCP4), to, b, mac)
}

// sendUDP sends a datagram of ours to the guest. It is dropped if it is too long,
// or the addresses are of two families.
func (e *Engine) sendUDP(from, to netip.AddrPort, payload []byte, mac frame.MAC) {
	if 8+len(payload) > mostL4(from.Addr()) || !to.IsValid() || from.Addr().Is4() != to.Addr().Is4() {
		return
	}
	b := make([]byte, udpRoom, udpRoom+len(payload))
	b = append(b, payload...)
	udpHeader(b, from.Port(), to.Port())
	build := e.build
	build.to = mac
	e.out.raw(build.packet(nil, b, frame.UDP, 6, from.Addr(), to.Addr(), e.fragID.Add(1))...)
}

// ownUDP: netstack has a socket of Dial for it.
func (e *Engine) ownUDP(from, to netip.AddrPort) bool {
	id := stack.TransportEndpointID{
		LocalAddress: tcpip.AddrFromSlice(to.Addr().AsSlice()), LocalPort: to.Port(),
		RemoteAddress: tcpip.AddrFromSlice(from.Addr().AsSlice()), RemotePort: from.Port(),
	}
	return e.stack.FindTransportEndpoint(protocolOf(to.Addr()), udpproto.ProtocolNumber, id, nicID) != nil
}

func (e *Engine) injectUDP(f *link.Frame) {
	proto := ipv4.ProtocolNumber
	if e.packet.Src.Is6() {
		proto = ipv6.ProtocolNumber
	}
	e.packet.Partial = true // it was checked, or needs not be
	if pkt, ok := e.canonical(f); ok {
		e.port.inject(proto, pkt)
		pkt.DecRef()
	}
}
