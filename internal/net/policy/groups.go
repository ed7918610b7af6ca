package policy

import "net/netip"

// groups is a set of groups.
type groups uint16

const (
	inPublic groups = 1 << iota
	inPrivate
	inLoopback
	inLinkLocal
	inMetadata
	inMulticast
	inHost
	inReserved // no group that rules can name; closed always
	inSpecial  // no group; not public, reachable by address alone
)

// behindFloor are the groups that a policy has to unlock.
const behindFloor = inLoopback | inLinkLocal | inMetadata | inMulticast | inHost | inReserved

var groupBits = map[Group]groups{
	GroupPublic: inPublic, GroupPrivate: inPrivate, GroupLoopback: inLoopback, GroupLinkLocal: inLinkLocal,
	GroupMetadata: inMetadata, GroupMulticast: inMulticast, GroupHost: inHost,
}

// wellKnown are the sets of addresses with a meaning of their own: the IANA
// registries of special-purpose addresses (RFC 6890), and what clouds publish.
var wellKnown = []struct {
	prefix netip.Prefix
	in     groups
}{
	{netip.MustParsePrefix("0.0.0.0/8"), inReserved},
	{netip.MustParsePrefix("240.0.0.0/4"), inReserved}, // and broadcast
	{netip.MustParsePrefix("127.0.0.0/8"), inLoopback},
	{netip.MustParsePrefix("169.254.0.0/16"), inLinkLocal},
	{netip.MustParsePrefix("224.0.0.0/4"), inMulticast},
	{netip.MustParsePrefix("10.0.0.0/8"), inPrivate},
	{netip.MustParsePrefix("172.16.0.0/12"), inPrivate},
	{netip.MustParsePrefix("192.168.0.0/16"), inPrivate},
	{netip.MustParsePrefix("100.64.0.0/10"), inPrivate},
	{netip.MustParsePrefix("192.0.0.0/24"), inSpecial},
	{netip.MustParsePrefix("192.0.2.0/24"), inSpecial},
	{netip.MustParsePrefix("192.88.99.0/24"), inSpecial},
	{netip.MustParsePrefix("198.18.0.0/15"), inSpecial},
	{netip.MustParsePrefix("198.51.100.0/24"), inSpecial},
	{netip.MustParsePrefix("203.0.113.0/24"), inSpecial},

	{netip.MustParsePrefix("::1/128"), inLoopback},
	{netip.MustParsePrefix("fe80::/10"), inLinkLocal},
	{netip.MustParsePrefix("ff00::/8"), inMulticast},
	{netip.MustParsePrefix("fc00::/7"), inPrivate},
	{netip.MustParsePrefix("fec0::/10"), inPrivate},
	{netip.MustParsePrefix("2001:db8::/32"), inSpecial},
	{netip.MustParsePrefix("3fff::/20"), inSpecial},
	// Tunnels and translations whose inner IPv4 address nobody checks:
	// IPv4-compatible, IPv4-translated, Teredo, 6to4, local NAT64 that Env does not
	// name. "::" is in the first.
	{netip.MustParsePrefix("::/96"), inReserved},
	{netip.MustParsePrefix("::ffff:0:0:0/96"), inReserved},
	{netip.MustParsePrefix("2001::/32"), inReserved},
	{netip.MustParsePrefix("2002::/16"), inReserved},
	{netip.MustParsePrefix("64:ff9b:1::/48"), inReserved},

	{netip.MustParsePrefix("169.254.169.254/32"), inMetadata}, // most clouds
	{netip.MustParsePrefix("169.254.170.0/24"), inMetadata},   // AWS: tasks and pods
	{netip.MustParsePrefix("fd00:ec2::/64"), inMetadata},      // AWS
	{netip.MustParsePrefix("fd20:ce::254/128"), inMetadata},   // Google
	{netip.MustParsePrefix("fd00:42::42/128"), inMetadata},    // Scaleway
	{netip.MustParsePrefix("100.100.100.200/32"), inMetadata}, // Alibaba
	{netip.MustParsePrefix("168.63.129.16/32"), inMetadata},   // Azure's wire server
	{netip.MustParsePrefix("192.0.0.192/32"), inMetadata},     // Oracle
}

// globalUnicast is what IANA has handed out of IPv6; the rest is not public.
var globalUnicast = netip.MustParsePrefix("2000::/3")

// nat64 is the well-known prefix of RFC 6052.
var nat64 = netip.MustParsePrefix("64:ff9b::/96")

// Env is what the host knows about itself. It changes while machines run.
type Env struct {
	// Host are the host's own addresses, and those that lead to it, such as the
	// alias that the gateway gives it: GroupHost.
	Host []netip.Prefix
	// Closed are networks that are never reached, whatever the policy says: those of
	// other machines.
	Closed []netip.Prefix
	// NAT64 are prefixes of translators in the host's network (RFC 6052 section 2.2;
	// of 32, 40, 48, 56, 64 or 96 bits), besides 64:ff9b::/96.
	NAT64 []netip.Prefix
}

// clone also drops what is no prefix and unmaps addresses.
func (e Env) clone() Env {
	tidy := func(in []netip.Prefix) []netip.Prefix {
		var out []netip.Prefix
		for _, p := range in {
			if addr := p.Addr(); p.IsValid() && addr.Is4In6() && p.Bits() >= 96 {
				p = netip.PrefixFrom(addr.Unmap(), p.Bits()-96)
			}
			if p.IsValid() {
				out = append(out, p.Masked())
			}
		}
		return out
	}
	return Env{tidy(e.Host), tidy(e.Closed), tidy(e.NAT64)}
}

// groupsOf is every group that an unmapped address is in.
func (e *Env) groupsOf(addr netip.Addr) groups {
	var in groups
	if addr == netip.IPv6Loopback() {
		return inLoopback // also one of ::/96, which no policy can unlock
	}
	for i := range wellKnown {
		if wellKnown[i].prefix.Contains(addr) {
			in |= wellKnown[i].in
		}
	}
	if contains(e.Host, addr) {
		in |= inHost
	}
	if contains(e.Closed, addr) {
		in |= inReserved
	}
	if in == 0 && (addr.Is4() || globalUnicast.Contains(addr)) {
		in = inPublic
	}
	if in == 0 {
		in = inSpecial
	}
	return in
}

// floor is the part of an address's groups that the floor is about. Metadata
// counts as such and not as link-local, so that it can be unlocked by itself.
func (in groups) floor() groups {
	in &= behindFloor
	if in&inMetadata != 0 {
		in &^= inLinkLocal
	}
	return in
}

// granted is the part of an address's groups by which rules can allow it: "private"
// does not open the host's private address, nor that of a metadata service.
func (in groups) granted() groups {
	if behind := in.floor(); behind != 0 {
		return behind
	}
	return in
}

func contains(list []netip.Prefix, addr netip.Addr) bool {
	for _, p := range list {
		if p.Contains(addr) {
			return true
		}
	}
	return false
}

// Unmap is the address that decides: without a zone, and the IPv4 address inside
// of IPv4-mapped and NAT64 addresses.
func (e *Env) Unmap(addr netip.Addr) netip.Addr {
	addr = addr.WithZone("").Unmap()
	if addr.Is4() {
		return addr
	}
	if nat64.Contains(addr) {
		return embedded(addr, nat64.Bits())
	}
	for _, p := range e.NAT64 {
		if p.Contains(addr) {
			if inner := embedded(addr, p.Bits()); inner.IsValid() {
				return inner
			}
		}
	}
	return addr
}

// embedded takes the IPv4 address out (RFC 6052 section 2.2): it follows the
// prefix, but bits 64 to 71 are left out. Invalid for other sizes of prefixes.
func embedded(addr netip.Addr, bits int) netip.Addr {
	switch bits {
	case 32, 40, 48, 56, 64, 96:
	default:
		return netip.Addr{}
	}
	b := addr.As16()
	var inner [4]byte
	at := bits / 8
	for i := range inner {
		if at == 8 {
			at++
		}
		inner[i] = b[at]
		at++
	}
	return netip.AddrFrom4(inner)
}
