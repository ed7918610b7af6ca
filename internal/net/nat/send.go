package nat

import (
	"net/netip"
	"time"

	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv6"
	"gvisor.dev/gvisor/pkg/tcpip/stack"

	"github.com/libcapsa/libcapsa/internal/net/frame"
	"github.com/libcapsa/libcapsa/internal/net/link"
)

// Ports of the gateway's services (IANA).
const (
	portDNS   = 53
	portDHCP4 = 67
	portDHCP6 = 547
)

// Send implements link.Host.
func (e *Engine) Send(frames []link.Frame) {
	for i := range frames {
		e.receive(&frames[i])
	}
	e.burst.flush()
}

// receive takes one frame of the guest.
func (e *Engine) receive(f *link.Frame) {
	e.counts.fromGuest.Add(1)
	p := &e.packet
	if r := p.Parse(f); r != frame.OK {
		e.counts.malformed[r].Add(1)
		return
	}
	if p.SrcMAC != e.cfg.GuestMAC {
		e.counts.spoofed.Add(1)
		return
	}
	if p.DstMAC != e.cfg.GatewayMAC && !p.DstMAC.Group() || p.GSO == link.GSONone && p.IP() != 0 && p.End-frame.EtherSize > e.cfg.MTU {
		e.counts.misdirected.Add(1)
		return
	}
	if p.EtherType == frame.TypeARP {
		e.neighbor(f)
		return
	}
	if p.Fragment {
		e.fragment(f)
		return
	}
	e.whole4(f)
}

// fragment keeps a part of a packet; when it is whole, it is taken like others.
func (e *Engine) fragment(f *link.Frame) {
	p := &e.packet
	e.counts.fragments.Add(1)
	if !e.mine(p) {
		return
	}
	l4, lost := e.whole.add(p, f, time.Now())
	e.counts.fragmentsLost.Add(uint64(lost))
	if l4 == nil {
		return
	}
	if len(l4) > 65535-20 {
		e.counts.fragmentsLost.Add(1)
		return
	}
	back := builder{from: e.cfg.GuestMAC, to: e.cfg.GatewayMAC}
	b := make([]byte, headroom, headroom+len(l4))
	b = append(b, l4...)
	start := back.ipHeader(b, headroom, len(l4), p.Proto, p.Src, p.Dst)
	g := &link.Frame{Data: [][]byte{b[start:]}}
	if r := p.Parse(g); r != frame.OK {
		e.counts.malformed[r].Add(1)
		return
	}
	e.whole4(g)
}

// mine says whether the guest may send from and to these addresses.
func (e *Engine) mine(p *frame.Packet) bool {
	if !e.ownSource(p) {
		e.counts.spoofed.Add(1)
		return false
	}
	if !e.goodDestination(p) {
		e.counts.misdirected.Add(1)
		return false
	}
	return true
}

// ownSource: the guest's lease, and over IPv6 any address of its network. Before it
// has one, it may ask for one.
func (e *Engine) ownSource(p *frame.Packet) bool {
	if p.Src.Is4() {
		return p.Src == e.cfg.Guest4.Addr() || p.Src.IsUnspecified() && !p.Fragment && p.Proto == frame.UDP && p.DstPort == portDHCP4
	}
	if !e.cfg.Gateway6.IsValid() {
		return false
	}
	if e.cfg.Prefix6.Contains(p.Src) {
		return p.Src != e.cfg.Gateway6 && !p.Src.Is4In6()
	}
	local := p.Src.IsLinkLocalUnicast() || p.Src.IsUnspecified()
	return local && (isNeighbor(p) || e.toDHCP6(p))
}

// goodDestination: not the guest itself nor anybody else of its network, no group
// but for the gateway's services, nothing that is no address or, as IPv4 in IPv6,
// another one's.
func (e *Engine) goodDestination(p *frame.Packet) bool {
	if e.isGateway(p.Dst) {
		return true
	}
	if isNeighbor(p) || e.toDHCP6(p) || p.Proto == frame.UDP && !p.Fragment && p.DstPort == portDHCP4 && p.Dst == limitedBroadcast {
		return true
	}
	if p.DstMAC.Group() || p.Dst.Is4In6() || p.Dst.IsMulticast() || p.Dst.IsUnspecified() || p.Dst == limitedBroadcast {
		return false
	}
	if p.Dst.Is4() {
		return !e.cfg.Guest4.Contains(p.Dst)
	}
	return !e.cfg.Prefix6.Contains(p.Dst) && !p.Dst.IsLinkLocalUnicast()
}

// allDHCP6 is where clients look for servers (RFC 8415 section 7.1).
var allDHCP6 = netip.MustParseAddr("ff02::1:2")

// toDHCP6 says whether a datagram is for the gateway's DHCPv6 service.
func (e *Engine) toDHCP6(p *frame.Packet) bool {
	return p.Proto == frame.UDP && !p.Fragment && p.DstPort == portDHCP6 && (p.Dst == allDHCP6 || p.Dst == e.linkLocal() || p.Dst == e.cfg.Gateway6)
}

// isListener: the guest's kernel says what groups it listens to (RFC 3810 section 5).
// There are none.
func isListener(p *frame.Packet) bool {
	return p.Proto == frame.ICMPv6 && !p.Fragment && (p.Type >= 130 && p.Type <= 132 || p.Type == 143)
}

var limitedBroadcast = netip.AddrFrom4([4]byte{255, 255, 255, 255})

// isNeighbor: neighbor discovery (RFC 4861 section 4).
func isNeighbor(p *frame.Packet) bool {
	return p.Proto == frame.ICMPv6 && !p.Fragment && p.Type >= 133 && p.Type <= 137
}

// whole4 takes a packet that is no fragment to the layer above, the fourth.
func (e *Engine) whole4(f *link.Frame) {
	p := &e.packet
	if isListener(p) || !e.mine(p) {
		return
	}
	if p.TTL <= 1 && !e.isGateway(p.Dst) && !p.DstMAC.Group() && !isNeighbor(p) {
		e.unreachable(exceeded, p.Src, p.Dst, p.Proto, quote(p), p.End-p.L4, 0) // RFC 1812 section 5.3.1
		return
	}
	switch p.Proto {
	case frame.TCP:
		e.injectTCP(f)
	case frame.UDP:
		if !p.Valid(f) {
			e.counts.checksum.Add(1)
			return
		}
		e.udp(f)
	default:
		if !p.Valid(f) {
			e.counts.checksum.Add(1)
			return
		}
		if isNeighbor(p) {
			e.neighbor(f)
			return
		}
		e.icmp(f)
	}
}

// injectTCP gives a segment to netstack, under an IP header of ours: options and
// extensions end here. Its checksum is checked here, as netstack was told.
func (e *Engine) injectTCP(f *link.Frame) {
	p := &e.packet
	pkt, ok := e.canonical(f)
	if !ok {
		e.counts.checksum.Add(1)
		return
	}
	proto := ipv4.ProtocolNumber
	if p.Src.Is6() {
		proto = ipv6.ProtocolNumber
	}
	e.port.inject(proto, pkt)
	pkt.DecRef()
}

// canonical copies a packet out of guest memory. Headers and payload are views of
// their own: netstack clones the view that holds the headers.
func (e *Engine) canonical(f *link.Frame) (*stack.PacketBuffer, bool) {
	p := &e.packet
	var ip [headroom]byte
	start := frame.EtherSize + e.build.ipHeader(ip[:], headroom, p.End-p.L4, p.Proto, p.Src, p.Dst)
	head := buffer.NewView(headroom - start + p.Payload - p.L4)
	_, _ = head.Write(ip[start:])
	_, _ = head.Write(p.Head[p.L4:p.Payload])
	all := buffer.MakeWithView(head)
	var body *buffer.View
	if p.End > p.Payload {
		body = buffer.NewView(p.End - p.Payload)
		frame.Range(f, p.Payload, p.End, func(b []byte) { _, _ = body.Write(b) })
	}
	if !p.Partial {
		var s frame.Sum
		s.AddUint16(frame.Pseudo(p.Src, p.Dst, p.Proto, p.End-p.L4))
		s.Add(p.Head[p.L4:p.Payload])
		if body != nil {
			s.Add(body.AsSlice())
		}
		if s.Fold() != 0xffff {
			all.Release()
			if body != nil {
				body.Release()
			}
			return nil, false
		}
	}
	if body != nil {
		rest := buffer.MakeWithView(body)
		all.Merge(&rest) // Append would move a few bytes into the first view
	}
	return stack.NewPacketBuffer(stack.PacketBufferOptions{Payload: all}), true
}

// quote is the beginning of the packet's transport header, for errors about it.
func quote(p *frame.Packet) (q [8]byte) {
	copy(q[:], p.Head[p.L4:p.L4+8])
	return q
}

// unreachable tells the guest that a packet did not get where it should.
func (e *Engine) unreachable(why unreachable, guest, dst netip.Addr, proto uint8, l4 [8]byte, size, mtu int) {
	from := e.gateway(guest)
	if why == noPort {
		from = dst
	}
	e.out.raw(e.build.icmpError(why, from, guest, dst, proto, l4, size, mtu)...)
}
