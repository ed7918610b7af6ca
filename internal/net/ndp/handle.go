package ndp

import (
	"net/netip"

	"github.com/libcapsa/libcapsa/internal/net/ether"
)

// Result is what follows from a packet.
type Result struct {
	// Handled: the packet was of neighbour discovery, and needs nobody else. It
	// must not be forwarded, malformed or not.
	Handled bool
	Packets []Packet // to send
	// Neighbour has NeighbourMAC. Invalid: not said.
	Neighbour    netip.Addr
	NeighbourMAC ether.MAC
	// Conflict: the sender claims, or wants, an address that is another's.
	Conflict bool
}

// Handle judges an IPv6 packet that came in a frame from a MAC. The packet is not
// kept.
func (r *Router) Handle(b []byte, from ether.MAC) Result {
	if !isNDP(b) {
		return Result{}
	}
	result := Result{Handled: true}
	p, ok := parse(b, from)
	if ok {
		switch p.kind {
		case typeRouterSolicitation:
			ok = r.routerSolicitation(&p, &result)
		case typeNeighborSolicitation:
			ok = r.neighborSolicitation(&p, &result)
		case typeNeighborAdvertisement:
			ok = r.neighborAdvertisement(&p, &result)
		default: // a host that would be a router
			r.stats.rogue.Add(1)
		}
	}
	if !ok {
		r.stats.malformed.Add(1)
		return Result{Handled: true}
	}
	if result.Conflict {
		r.stats.conflicts.Add(1)
	}
	return result
}

// lookup knows the gateway's link-local address, too.
func (r *Router) lookup(a netip.Addr) (ether.MAC, bool) {
	if a == r.config.LinkLocal {
		return r.config.MAC, true
	}
	if r.config.Lookup == nil {
		return ether.MAC{}, false
	}
	return r.config.Lookup(a)
}

// learn notes where the sender of a packet is, unless the address is another's. It
// is false for what RFC 4861 section 7.1.1 forbids: a MAC of nobody.
func (r *Router) learn(p *packet, addr netip.Addr, code byte, options []byte, result *Result) bool {
	mac, there, ok := macOption(options, code)
	if !ok || there && mac != p.from {
		return false
	}
	if addr.IsUnspecified() {
		return !there
	}
	owner, known := r.lookup(addr)
	if known && owner != p.from {
		result.Conflict = true
		return true
	}
	result.Neighbour, result.NeighbourMAC = addr, p.from
	return true
}

// routerSolicitation is RFC 4861 sections 6.1.1 and 6.2.6. Who has no address yet is
// answered in the group of all nodes.
func (r *Router) routerSolicitation(p *packet, result *Result) bool {
	if p.dst != allRouters && p.dst != r.config.LinkLocal && p.dst != allNodes ||
		!r.learn(p, p.src, optSourceMAC, p.body[solicitation:], result) {
		return false
	}
	r.stats.solicitations.Add(1)
	if result.Conflict {
		return true
	}
	if p.src.IsUnspecified() {
		result.Packets = []Packet{r.Advertisement()}
		return true
	}
	r.stats.advertisements.Add(1)
	result.Packets = []Packet{{Bytes: pack(r.config.LinkLocal, p.src, r.advertisement()), To: p.from}}
	return true
}

// neighborSolicitation is RFC 4861 sections 7.1.1 and 7.2.3. One without a source is
// duplicate address detection: silence means that the address is free.
func (r *Router) neighborSolicitation(p *packet, result *Result) bool {
	if len(p.body) < neighbour {
		return false
	}
	target := netip.AddrFrom16([16]byte(p.body[offTarget:]))
	if target.IsMulticast() || p.dst != target && p.dst != solicitedNode(target) ||
		p.src.IsUnspecified() && p.dst == target ||
		!r.learn(p, p.src, optSourceMAC, p.body[neighbour:], result) {
		return false
	}
	owner, known := r.lookup(target)
	if !known || owner == p.from || result.Conflict {
		return true
	}
	r.stats.neighbours.Add(1)
	flags := byte(flagOverride)
	if owner == r.config.MAC {
		flags |= flagRouter
	}
	to, mac := p.src, p.from
	if p.src.IsUnspecified() {
		result.Conflict = true
		to, mac = allNodes, multicastMAC(allNodes)
	} else {
		flags |= flagSolicited
	}
	body := append([]byte{typeNeighborAdvertisement, 0, 0, 0, flags, 0, 0, 0}, target.AsSlice()...)
	result.Packets = []Packet{{Bytes: pack(target, to, appendMAC(body, optTargetMAC, owner)), To: mac}}
	return true
}

// neighborAdvertisement is RFC 4861 section 7.1.2.
func (r *Router) neighborAdvertisement(p *packet, result *Result) bool {
	if len(p.body) < neighbour {
		return false
	}
	target := netip.AddrFrom16([16]byte(p.body[offTarget:]))
	if target.IsMulticast() || target.IsUnspecified() || p.src.IsUnspecified() ||
		p.dst.IsMulticast() && p.body[offNAFlags]&flagSolicited != 0 {
		return false
	}
	return r.learn(p, target, optTargetMAC, p.body[neighbour:], result)
}

// Solicitation asks who has an address (RFC 4861 section 4.3).
func (r *Router) Solicitation(target netip.Addr) Packet {
	group := solicitedNode(target)
	body := append([]byte{typeNeighborSolicitation, 0, 0, 0, 0, 0, 0, 0}, target.AsSlice()...)
	return Packet{
		Bytes: pack(r.config.LinkLocal, group, appendMAC(body, optSourceMAC, r.config.MAC)),
		To:    multicastMAC(group),
	}
}
