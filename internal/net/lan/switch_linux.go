package lan

import (
	"encoding/binary"
	"net/netip"

	"github.com/libcapsa/libcapsa/internal/net/frame"
	"github.com/libcapsa/libcapsa/internal/net/link"
)

// ICMPv6 types of neighbour discovery (RFC 4861 section 4).
const (
	routerSolicit    = 133
	routerAdvert     = 134
	neighborSolicit  = 135
	neighborAdvert   = 136
	redirect         = 137
	portDHCP4Server  = 67
	portDHCP6Server  = 547
	portDHCP6Client  = 546
	portDHCP4Client  = 68
	neighborTargetAt = 8 // from the beginning of the ICMPv6 header, of 16 bytes
)

// switched takes a frame that is not addressed to the gateway; alone is the same frame.
func (p *Port) switched(f *link.Frame, alone []link.Frame) {
	pk := &p.packet
	if r := pk.Parse(f); r != frame.OK {
		p.counts.malformed.Add(1)
		return
	}
	if pk.SrcMAC != frame.MAC(p.mac) {
		p.counts.spoofed.Add(1)
		return
	}
	switch {
	case pk.EtherType == frame.TypeARP:
		p.arp(pk, f, alone)
	case !p.mine(pk):
		p.counts.spoofed.Add(1)
	case isNeighbor(pk):
		p.neighbor(pk, f, alone)
	case pk.DstMAC.Group():
		p.flood(pk, f, alone)
	default:
		p.unicast(pk, f)
	}
}

// ARP over Ethernet and IPv4 (RFC 826): where things are in a frame.
const (
	arpSenderMAC = frame.EtherSize + 8
	arpSenderIP  = frame.EtherSize + 14
	arpTargetIP  = frame.EtherSize + 24
	arpSize      = frame.EtherSize + 28
)

// arp goes to the one who is asked for: the gateway, or a machine.
func (p *Port) arp(pk *frame.Packet, f *link.Frame, alone []link.Frame) {
	h := pk.Head[:]
	if pk.Size < arpSize || pk.Size > frame.MaxHeaders || string(h[frame.EtherSize:frame.EtherSize+6]) != "\x00\x01\x08\x00\x06\x04" {
		p.counts.malformed.Add(1)
		return
	}
	sender, target := netip.AddrFrom4([4]byte(h[arpSenderIP:])), netip.AddrFrom4([4]byte(h[arpTargetIP:]))
	if [6]byte(h[arpSenderMAC:]) != p.mac || sender != p.ip && !sender.IsUnspecified() {
		p.counts.spoofed.Add(1)
		return
	}
	if target == p.n.base.Gateway || target == p.ip {
		p.gateway.Send(alone)
		return
	}
	p.ask(target, pk, f)
}

// ask hands a question to the machine that has an address, if there is one.
func (p *Port) ask(target netip.Addr, pk *frame.Packet, f *link.Frame) {
	to := p.n.owner(target)
	switch {
	case to == nil || to == p || p.n.cfg.Isolated:
		p.counts.stray.Add(1)
	case p.group.Pass(1, uint64(pk.Size)) > 0:
		p.counts.limited.Add(1)
	default:
		p.push(to, pk, f)
	}
}

// isNeighbor: neighbour discovery.
func isNeighbor(pk *frame.Packet) bool {
	return pk.Proto == frame.ICMPv6 && !pk.Fragment && pk.Type >= routerSolicit && pk.Type <= redirect
}

// neighbor takes a packet of neighbour discovery. Machines are no routers.
func (p *Port) neighbor(pk *frame.Packet, f *link.Frame, alone []link.Frame) {
	if pk.Type == routerSolicit {
		p.gateway.Send(alone)
		return
	}
	at := pk.L4 + neighborTargetAt
	if pk.Type == routerAdvert || pk.Type == redirect || pk.TTL != 255 || at+16 > min(pk.End, frame.MaxHeaders) || !pk.Valid(f) {
		p.counts.spoofed.Add(1)
		return
	}
	target := netip.AddrFrom16([16]byte(pk.Head[at:]))
	if pk.Type == neighborAdvert {
		if !p.owns(target) {
			p.counts.spoofed.Add(1)
			return
		}
		if to := p.n.station(pk.DstMAC); to != nil && to != p && !p.n.cfg.Isolated {
			p.answer(to, pk, f)
		}
		return
	}
	if pk.Src.IsUnspecified() { // duplicate address detection: it means to use it
		if !p.owns(target) { // which it must not
			p.ask(target, pk, f)
			return
		}
		p.gateway.Send(alone)
		return
	}
	if to := p.n.owner(target); to == nil || to == p {
		p.gateway.Send(alone) // which knows its own addresses
		return
	}
	p.ask(target, pk, f)
}

// answer hands an answer to a machine, within the bounds.
func (p *Port) answer(to *Port, pk *frame.Packet, f *link.Frame) {
	if p.group.Pass(1, uint64(pk.Size)) > 0 {
		p.counts.limited.Add(1)
		return
	}
	p.push(to, pk, f)
}

// mine says whether the port may send from an address. It may ask for one without.
func (p *Port) mine(pk *frame.Packet) bool {
	switch {
	case pk.Src.Is4():
		return pk.Src == p.ip || pk.Src.IsUnspecified() && pk.Proto == frame.UDP && pk.DstPort == portDHCP4Server
	case pk.Src.IsUnspecified():
		return pk.Proto == frame.ICMPv6
	}
	return p.owns(pk.Src)
}

// owns says whether an IPv6 address is the port's, which it becomes if nobody has it.
func (p *Port) owns(a netip.Addr) bool {
	n := p.n
	if !n.base.IPv6.IsValid() || !n.base.IPv6.Contains(a) && !linkLocal.Contains(a) || n.gatewayAddr(a) {
		return false
	}
	n.mu.RLock()
	q := n.addrs[a]
	n.mu.RUnlock()
	if q != nil {
		if q == p {
			p.learn(a)
		}
		return q == p
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if q := n.addrs[a]; q != nil || n.macs[p.mac] != p {
		return q == p
	}
	n.addrs[a] = p
	p.remember(a)
	return true
}

// learn notes that the port uses one of the addresses that were its own from the
// beginning.
func (p *Port) learn(a netip.Addr) {
	p.n.mu.RLock()
	known := false
	for _, have := range p.learned {
		known = known || have == a
	}
	p.n.mu.RUnlock()
	if known {
		return
	}
	p.n.mu.Lock()
	defer p.n.mu.Unlock()
	p.remember(a)
}

// remember adds an address of the port's, in place of the oldest that is not its own for
// good. Preconditions: n.mu is held.
func (p *Port) remember(a netip.Addr) {
	own := func(a netip.Addr) bool {
		return a == interfaceAddr(p.n.base.IPv6, p.mac) || a == interfaceAddr(linkLocal, p.mac)
	}
	if len(p.learned) >= maxLearned {
		for i, old := range p.learned {
			if !own(old) {
				p.learned = append(p.learned[:i:i], p.learned[i+1:]...)
				if p.n.addrs[old] == p {
					delete(p.n.addrs, old)
				}
				break
			}
		}
	}
	p.learned = append(p.learned[:len(p.learned):len(p.learned)], a)
}

// flood takes a packet to a group: the gateway's services, and in a network that is made
// so everybody.
func (p *Port) flood(pk *frame.Packet, f *link.Frame, alone []link.Frame) {
	if pk.Proto == frame.UDP && (pk.DstPort == portDHCP4Server || pk.DstPort == portDHCP6Server) {
		p.gateway.Send(alone)
		return
	}
	if !p.n.cfg.Broadcast || p.n.cfg.Isolated {
		if pk.Proto != frame.ICMPv6 && pk.Proto != igmp { // every kernel says what groups it listens to
			p.counts.stray.Add(1)
		}
		return
	}
	if pk.Proto == frame.UDP && (pk.DstPort == portDHCP4Client || pk.DstPort == portDHCP6Client) {
		p.counts.spoofed.Add(1)
		return
	}
	if p.group.Pass(1, uint64(pk.Size)) > 0 {
		p.counts.limited.Add(1)
		return
	}
	for _, to := range p.n.others(p) {
		p.push(to, pk, f)
	}
}

// igmp is a protocol number (IANA).
const igmp = 2

// unicast takes a packet to one machine.
func (p *Port) unicast(pk *frame.Packet, f *link.Frame) {
	to := p.n.station(pk.DstMAC)
	if to == nil || to == p || p.n.cfg.Isolated || p.n.owner(pk.Dst) != to {
		p.counts.stray.Add(1)
		return
	}
	switch p.n.flows.judge(p, to, pk) {
	case pass:
		p.push(to, pk, f)
	case limited:
		p.counts.limited.Add(1)
	case stray:
		p.counts.stray.Add(1)
	case refused:
		p.counts.denied.Add(1)
		if pk.Proto == frame.TCP && pk.Flags&frame.FlagRST == 0 {
			p.gateway.Deliver([]link.Frame{{Data: [][]byte{reset(pk)}}})
		}
	case denied:
		p.counts.denied.Add(1)
	}
}

// owner is whose an address is, or nil.
func (n *Network) owner(a netip.Addr) *Port {
	n.mu.RLock()
	defer n.mu.RUnlock()
	return n.addrs[a]
}

// station is whose interface has an address, or nil.
func (n *Network) station(m frame.MAC) *Port {
	n.mu.RLock()
	defer n.mu.RUnlock()
	return n.macs[[6]byte(m)]
}

// others are all ports but one.
func (n *Network) others(p *Port) (list []*Port) {
	n.mu.RLock()
	defer n.mu.RUnlock()
	for _, q := range n.macs {
		if q != p {
			list = append(list, q)
		}
	}
	return list
}

// gatewayAddr says whether an address is the gateway's.
func (n *Network) gatewayAddr(a netip.Addr) bool {
	six := n.base.IPv6.Masked().Addr().Next().Next()
	return a == n.base.Gateway || a == six || a == gatewayLocal
}

// firstPorts are the ports of TCP or UDP at the beginning of a packet.
func firstPorts(pk *frame.Packet) (src, dst uint16, ok bool) {
	if pk.L4+8 > min(pk.End, frame.MaxHeaders) {
		return 0, 0, false
	}
	h := pk.Head[pk.L4:]
	return binary.BigEndian.Uint16(h), binary.BigEndian.Uint16(h[2:]), true
}
