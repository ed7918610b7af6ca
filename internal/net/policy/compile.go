package policy

import (
	"fmt"
	"net/netip"
	"slices"
)

// protocols is a set.
type protocols uint8

const (
	overTCP protocols = 1 << iota
	overUDP
	overICMP
	overAny = overTCP | overUDP | overICMP
)

var protocolBits = map[Protocol]protocols{TCP: overTCP, UDP: overUDP, ICMP: overICMP}

// rule is a compiled Rule: a conjunction. Each list has one entry for every part
// of that kind that was given, and all of them must match.
type rule struct {
	action            Decision
	log               bool // instead of action
	outbound, inbound bool
	protocols         protocols
	ports             []portSet
	addresses         []addressSet
	domains           []nameSet
}

// restricted says whether there is a condition besides names and addresses.
func (r *rule) restricted() bool { return r.protocols != overAny || len(r.ports) > 0 }

// compiled is a Policy as decisions need it. It never changes.
type compiled struct {
	rules    []rule
	fallback Default
	deny     Decision // of floor and fallback
	inbound  Decision
	unlocked groups
}

type compiler struct {
	problems
	unlocked groups
}

// compile checks a policy and translates it; the error is an *Error.
func compile(p Policy) (*compiled, error) {
	var c compiler
	c.header(p)
	out := &compiled{fallback: p.Default, unlocked: c.unlocked, deny: Reject, inbound: Allow}
	if p.Deny == ActionDrop {
		out.deny = Drop
	}
	switch p.Inbound {
	case ActionDeny, ActionReject:
		out.inbound = Reject
	case ActionDrop:
		out.inbound = Drop
	}
	if c.size(p.Rules) {
		out.rules = make([]rule, len(p.Rules))
		for i := range p.Rules {
			c.rule(fmt.Sprintf("rules[%d]", i), p.Rules[i], &out.rules[i])
		}
	}
	if err := c.err(); err != nil {
		return nil, err
	}
	return out, nil
}

func (c *compiler) rule(field string, in Rule, out *rule) {
	c.head(field, in, out)
	out.protocols = overAny
	before := len(c.list) + c.more
	c.match(field, &in.Match, out)
	if len(out.ports) > 0 {
		out.protocols &^= overICMP
	}
	if len(c.list)+c.more > before {
		return
	}
	switch {
	case out.protocols == 0 && len(out.ports) > 0:
		c.add(field+".ports", "ICMP has none", "no protocol that has ports is left: the rule would match nothing")
	case out.protocols == 0:
		c.add(field+".protocols", "", "no protocol is in all of the lists: the rule would match nothing")
	}
	if len(out.domains) > 0 && out.inbound {
		c.add(field+".domains", "match addresses", "an inbound flow comes from an address and has no name")
	}
	if in.Action == ActionAllow && out.outbound && !out.inbound {
		c.reachable(field, out)
	}
}

// reachable finds rules that the floor makes useless: people should learn it here
// and not by a connection that is refused.
func (c *compiler) reachable(field string, r *rule) {
	for _, set := range r.addresses {
		if set.networks == nil && set.groups&behindFloor&^c.unlocked == set.groups && set.groups != 0 {
			c.add(field+".groups", "unlock it too", "the floor denies all of it before rules are asked")
			return
		}
	}
}

// match adds a condition's parts to a rule's.
func (c *compiler) match(field string, m *Match, out *rule) {
	given := m.Addresses != nil || m.Groups != nil || m.Ports != nil || m.Protocols != nil || m.Domains != nil || m.All != nil
	switch {
	case !given && !m.Any:
		c.add(field, `say "any": true if that is meant`, "has no condition")
	case given && m.Any:
		c.add(field+".any", "leave out the one or the other", "there are conditions too")
	}
	c.empty(field+".addresses", m.Addresses != nil, len(m.Addresses))
	c.empty(field+".groups", m.Groups != nil, len(m.Groups))
	c.empty(field+".ports", m.Ports != nil, len(m.Ports))
	c.empty(field+".protocols", m.Protocols != nil, len(m.Protocols))
	c.empty(field+".domains", m.Domains != nil, len(m.Domains))
	c.empty(field+".all", m.All != nil, len(m.All))

	if len(m.Addresses) > 0 {
		out.addresses = append(out.addresses, c.networks(field+".addresses", m.Addresses))
	}
	if len(m.Groups) > 0 {
		out.addresses = append(out.addresses, c.groups(field+".groups", m.Groups))
	}
	if len(m.Ports) > 0 {
		out.ports = append(out.ports, c.ports(field+".ports", m.Ports))
	}
	if len(m.Protocols) > 0 {
		out.protocols &= c.protocols(field+".protocols", m.Protocols)
	}
	if len(m.Domains) > 0 {
		out.domains = append(out.domains, c.domains(field+".domains", m.Domains))
	}
	for i := range m.All {
		c.match(fmt.Sprintf("%s.all[%d]", field, i), &m.All[i], out)
	}
}

func (c *compiler) empty(field string, given bool, n int) {
	if given && n == 0 {
		c.add(field, "leave it out", "is empty and would match nothing")
	}
}

func (c *compiler) networks(field string, texts []string) addressSet {
	list := make([]netip.Prefix, 0, len(texts))
	for i, text := range texts {
		p, reason, hint := parseAddress(text)
		if reason != "" {
			c.add(fmt.Sprintf("%s[%d]", field, i), hint, "%s %s", quoted(text), reason)
			continue
		}
		list = append(list, p)
	}
	return newAddressSet(list)
}

func (c *compiler) groups(field string, list []Group) (out addressSet) {
	for i, g := range list {
		bit, known := groupBits[g]
		if !known {
			c.unknownGroup(fmt.Sprintf("%s[%d]", field, i), g)
		}
		out.groups |= bit
	}
	return out
}

func (c *compiler) ports(field string, list []Ports) portSet {
	out := make(portSet, 0, len(list))
	for i, p := range list {
		at := fmt.Sprintf("%s[%d]", field, i)
		switch {
		case p.First < 1 || p.First > 65535 || p.Last < 1 || p.Last > 65535:
			c.add(at, "", "%d-%d is not within 1 to 65535", p.First, p.Last)
		case p.First > p.Last:
			c.add(at, "", "%d-%d is the wrong way round", p.First, p.Last)
		default:
			out = append(out, portRange{uint16(p.First), uint16(p.Last)})
		}
	}
	return out.merged()
}

func (c *compiler) protocols(field string, list []Protocol) (out protocols) {
	for i, p := range list {
		bit, known := protocolBits[p]
		if !known {
			c.add(fmt.Sprintf("%s[%d]", field, i), `"tcp", "udp" and "icmp" are`, "%s is not known", quoted(p))
		}
		out |= bit
	}
	return out
}

func (c *compiler) domains(field string, list []string) nameSet {
	out := make(nameSet, len(list))
	for i, text := range list {
		name, kind, reason := pattern(text)
		if reason != "" {
			c.add(fmt.Sprintf("%s[%d]", field, i), reason, "%s is not a name", quoted(text))
			continue
		}
		out[name] |= kind
	}
	return out
}

// portRange is a range, both ends included.
type portRange struct{ first, last uint16 }

// portSet is sorted and does not overlap.
type portSet []portRange

func (s portSet) merged() portSet {
	slices.SortFunc(s, func(a, b portRange) int { return int(a.first) - int(b.first) })
	out := s[:0]
	for _, r := range s {
		if n := len(out); n > 0 && int(r.first) <= int(out[n-1].last)+1 {
			out[n-1].last = max(out[n-1].last, r.last)
			continue
		}
		out = append(out, r)
	}
	return out
}

func (s portSet) has(port uint16) bool {
	low, high := 0, len(s)
	for low < high {
		if mid := (low + high) / 2; s[mid].last < port {
			low = mid + 1
		} else {
			high = mid
		}
	}
	return low < len(s) && s[low].first <= port
}

// addressSet is networks or groups.
type addressSet struct {
	networks *networks
	groups   groups
}

// networks are sorted and disjoint.
type networks struct{ v4, v6 []netip.Prefix }

func newAddressSet(list []netip.Prefix) addressSet {
	var out networks
	slices.SortFunc(list, func(a, b netip.Prefix) int {
		if c := a.Addr().Compare(b.Addr()); c != 0 {
			return c
		}
		return a.Bits() - b.Bits()
	})
	for _, p := range list {
		to := &out.v6
		if p.Addr().Is4() {
			to = &out.v4
		}
		// Networks nest or are disjoint: what overlaps the last one is inside of it.
		if n := len(*to); n > 0 && (*to)[n-1].Overlaps(p) {
			continue
		}
		*to = append(*to, p)
	}
	return addressSet{networks: &out}
}

func (n *networks) has(addr netip.Addr) bool {
	list := n.v6
	if addr.Is4() {
		list = n.v4
	}
	low, high := 0, len(list)
	for low < high { // the last network that begins at or below addr
		if mid := (low + high) / 2; list[mid].Addr().Compare(addr) <= 0 {
			low = mid + 1
		} else {
			high = mid
		}
	}
	return low > 0 && list[low-1].Contains(addr)
}

// everything: 0.0.0.0/0 and ::/0.
func (n *networks) everything() bool {
	return n != nil && len(n.v4) == 1 && n.v4[0].Bits() == 0 && len(n.v6) == 1 && n.v6[0].Bits() == 0
}

// open says whether a set has more than networks that someone listed: a name may
// well lead there.
func (s addressSet) open() bool {
	if s.networks == nil {
		return s.groups&inPublic != 0
	}
	return slices.ContainsFunc(s.networks.v4, isAll) || slices.ContainsFunc(s.networks.v6, isAll)
}

func isAll(p netip.Prefix) bool { return p.Bits() == 0 }
