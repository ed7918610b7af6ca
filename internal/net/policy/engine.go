package policy

import (
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Engine decides by a policy, for one machine.
type Engine struct {
	writer sync.Mutex // serialises Swap and SetEnv
	now    atomic.Pointer[state]
	pins   pins
}

// state is what a decision is made by. It never changes; another one takes its place.
type state struct {
	*compiled
	env        Env
	generation uint64
}

// Compile makes an engine. Its error is an *Error with every problem of the policy.
func Compile(p Policy) (*Engine, error) {
	c, err := compile(p)
	if err != nil {
		return nil, err
	}
	e := new(Engine)
	e.now.Store(&state{compiled: c, generation: 1})
	return e, nil
}

// Swap puts another policy in force, at once and for every flow that is decided
// from now on. Pins stay: they are facts and no permissions. After an error the old
// policy is still in force.
func (e *Engine) Swap(p Policy) error {
	c, err := compile(p)
	if err != nil {
		return err
	}
	e.writer.Lock()
	defer e.writer.Unlock()
	old := e.now.Load()
	e.now.Store(&state{compiled: c, env: old.env, generation: old.generation + 1})
	return nil
}

// SetEnv tells what the host's addresses are now.
func (e *Engine) SetEnv(env Env) {
	env = env.clone()
	e.writer.Lock()
	defer e.writer.Unlock()
	old := e.now.Load()
	if slices.Equal(old.env.Host, env.Host) && slices.Equal(old.env.Closed, env.Closed) && slices.Equal(old.env.NAT64, env.NAT64) {
		return
	}
	e.now.Store(&state{compiled: old.compiled, env: env, generation: old.generation + 1})
}

// Generation is raised whenever a verdict may have become another one.
func (e *Engine) Generation() uint64 { return e.now.Load().generation }

// Flow decides about a flow: when it opens, when its name is known, and whenever
// Generation has changed since.
//
// The gateway's own services (ARP, DHCP, DNS, ping of the gateway) are none of its
// business, and neither are spoofed sources.
func (e *Engine) Flow(f Flow) Verdict {
	s := e.now.Load()
	v := Verdict{Rule: RuleInvalid, Action: Drop, Generation: s.generation, Dst: f.Dst}
	q := query{state: s, pins: &e.pins, said: f.Said, now: f.Now, names: f.Names}
	var ok bool
	if q.protocol, ok = protocolBits[f.Protocol]; !ok || !f.Src.IsValid() || !f.Dst.IsValid() {
		return v
	}
	if q.port = f.Dst.Port(); q.protocol != overICMP && (q.port == 0 || f.Src.Port() == 0) {
		return v
	}
	v.Dst = netip.AddrPortFrom(f.Dst.Addr().WithZone("").Unmap(), q.port)
	switch f.Direction {
	case "", Outbound:
		q.other(f.Dst.Addr())
		if behind := q.groups.floor() &^ s.unlocked; behind != 0 {
			v.Action, v.Rule, v.Floor = s.deny, RuleFloor, behind.name()
			return v
		}
	case Inbound:
		q.inbound = true
		q.other(f.Src.Addr())
	default:
		return v
	}
	if f.Said == SaidName {
		q.name, _ = Canonical(f.Name) // "" matches nothing and is pinned nowhere
	}
	q.holds = q.protocol == overTCP && saysName(q.port)
	q.quic = q.protocol == overUDP && q.port == 443
	q.decide(&v)
	return v
}

// saysName: ports of HTTP and HTTPS, where the client begins, with a name.
func saysName(port uint16) bool {
	return port == 80 || port == 443 || port == 8080 || port == 8443
}

// query is a flow while it is decided about.
type query struct {
	*state
	pins     *pins
	protocol protocols
	port     uint16
	inbound  bool
	addr     netip.Addr // of the other end, unmapped
	outer    netip.Addr // as it was, if it was a translator's; else invalid
	groups   groups
	said     Said
	name     string // canonical; "" if that is impossible
	holds    bool   // the first bytes wait for the name
	quic     bool
	now      time.Time

	names  []string // pinned, canonical
	looked bool     // at the pins
	maybe  bool     // a name could make it another verdict
	hidden bool     // QUIC hides the name of a rule that matches otherwise
}

// other sets the address of the other end.
func (q *query) other(addr netip.Addr) {
	addr = addr.WithZone("").Unmap()
	q.addr = q.env.Unmap(addr)
	q.groups = q.env.groupsOf(q.addr)
	if q.addr == addr {
		return
	}
	q.outer = addr
	if also := q.env.groupsOf(addr) & inHost; also != 0 {
		q.groups = q.groups&^inPublic | also
	}
	if contains(q.env.Closed, addr) {
		q.groups = q.groups&^inPublic | inReserved
	}
}

// decide asks the rules and then the default.
func (q *query) decide(v *Verdict) {
	v.Rule = RuleDefault
	for i := range q.rules {
		r := &q.rules[i]
		if !q.matches(r) {
			continue
		}
		if len(r.domains) > 0 && !q.named(r) {
			continue
		}
		if r.log {
			v.Logged = append(v.Logged, i)
			continue
		}
		v.Rule, v.Action = i, r.action
		break
	}
	if v.Rule == RuleDefault {
		v.Action = q.byDefault()
	}
	if v.Hidden = q.hidden && v.Action != Allow; v.Hidden {
		v.Action = Reject // so that clients learn it at once
	}
	if q.maybe && q.said == SaidUnknown && v.Action == Allow {
		v.NeedName, v.WantName = q.holds, !q.holds
	}
	if v.NeedName {
		v.Logged = nil
	}
	if q.looked {
		v.Names = q.names
	}
}

func (q *query) byDefault() Decision {
	switch {
	case q.inbound:
		return q.state.inbound
	case q.fallback == AllowAll, q.fallback == PublicOnly && q.groups == inPublic:
		return Allow
	}
	return q.deny
}

// matches checks all conditions but the names.
func (q *query) matches(r *rule) bool {
	if q.inbound && !r.inbound || !q.inbound && !r.outbound || r.protocols&q.protocol == 0 {
		return false
	}
	for _, set := range r.ports {
		if !set.has(q.port) {
			return false
		}
	}
	for i := range r.addresses {
		if !q.in(r, &r.addresses[i]) {
			return false
		}
	}
	return true
}

// in: what denies matches whatever the address can be taken for, what allows only
// what decides.
func (q *query) in(r *rule, set *addressSet) bool {
	allows := r.action == Allow && !r.log
	if set.networks != nil {
		return set.networks.has(q.addr) || !allows && q.outer.IsValid() && set.networks.has(q.outer)
	}
	if allows {
		return set.groups&q.groups.granted() != 0
	}
	return set.groups&q.groups != 0
}

// named checks the names of a rule that matches otherwise, and notes whether a name
// that is said later could matter. The package's documentation has the reasons.
func (q *query) named(r *rule) bool {
	q.look()
	some, every := false, len(q.names) > 0
	for _, name := range q.names {
		if r.has(name) {
			some = true
		} else {
			every = false
		}
	}
	said := q.name != "" && r.has(q.name)
	pinned := q.name != "" && slices.Contains(q.names, q.name)
	talks := q.protocol == overTCP
	switch {
	case r.log:
		q.maybe = q.maybe || talks
		if q.said == SaidName {
			return said
		}
		return some
	case r.action == Allow:
		if !q.opens(r) {
			return false
		}
		if q.quic {
			q.hidden = q.hidden || some
			return false
		}
		q.maybe = q.maybe || some && talks
		switch q.said {
		case SaidName:
			return said && pinned
		case SaidNone:
			return some && !q.holds
		}
		return some
	}
	if q.quic {
		q.hidden = true
		return true
	}
	q.maybe = q.maybe || talks
	switch q.said {
	case SaidName:
		return said || some && !pinned
	case SaidNone:
		return some
	}
	return every || some && !q.holds
}

// opens says whether a rule that allows names can allow this address: a public one,
// or one that the rule has listed, unless everything is allowed anyway.
func (q *query) opens(r *rule) bool {
	return q.groups == inPublic || len(r.addresses) > 0 || q.fallback == AllowAll
}

// look fetches the pins, once.
func (q *query) look() {
	if q.looked {
		return
	}
	q.looked = true
	if q.now.IsZero() {
		q.now = time.Now()
	}
	kept := q.names
	q.names = q.pins.names(nil, q.addr, q.now)
	for _, name := range kept {
		if name, ok := Canonical(name); ok && !slices.Contains(q.names, name) {
			q.names = append(q.names, name)
		}
	}
}

// has: a name must be in every set of names.
func (r *rule) has(name string) bool {
	for _, set := range r.domains {
		if !set.has(name) {
			return false
		}
	}
	return true
}

// name is the name of one of the groups, for people.
func (in groups) name() Group {
	for _, g := range []Group{GroupMetadata, GroupLoopback, GroupHost, GroupLinkLocal, GroupMulticast} {
		if in&groupBits[g] != 0 {
			return g
		}
	}
	return "reserved"
}
