package policy

import (
	"net/netip"
	"time"
)

// Types of queries that copy a whole zone (RFC 1995, RFC 5936).
const (
	typeIXFR = 251
	typeAXFR = 252
)

// maxLearn is how many addresses of one answer are kept. What a 64 KiB answer can
// hold beyond that nobody tries.
const maxLearn = 64

// Query decides about a DNS query before it is sent anywhere: a name is a message
// to whoever runs its zone. Refused are names that a rule denies whatever the port,
// and, where the rest is denied, all but those that a rule could allow. Rules that
// allow no more than listed networks allow no queries.
func (e *Engine) Query(name string, qtype uint16) Verdict {
	s := e.now.Load()
	v := Verdict{Action: Reject, Rule: RuleInvalid, Generation: s.generation}
	if qtype == typeIXFR || qtype == typeAXFR {
		return v
	}
	canonical, ok := Canonical(name)
	if !ok && name != "." {
		return v
	}
	v.Rule = RuleDefault
	for i := range s.rules {
		r := &s.rules[i]
		switch {
		case !r.outbound || !r.about(canonical):
		case r.log:
			if !r.restricted() && r.anywhere() {
				v.Logged = append(v.Logged, i)
			}
		case r.action == Allow && (len(r.domains) > 0 || r.open()),
			r.action != Allow && !r.restricted() && r.anywhere():
			v.Action, v.Rule = r.action, i
			return v
		}
	}
	if v.Action = s.deny; s.fallback != DenyAll {
		v.Action = Allow
	}
	return v
}

// Target decides about a name that the answer for qname leads to (CNAME, DNAME,
// SVCB): names that are denied are denied under other names too. A rule that allows
// qname allows where it leads.
func (e *Engine) Target(qname, target string) Verdict {
	s := e.now.Load()
	v := Verdict{Action: Reject, Rule: RuleInvalid, Generation: s.generation}
	from, ok := Canonical(qname)
	to, okTo := Canonical(target)
	if !ok || !okTo {
		return v
	}
	for i := range s.rules {
		r := &s.rules[i]
		if !r.outbound || r.log || len(r.domains) == 0 {
			continue
		}
		if r.action == Allow && r.has(from) || r.action != Allow && !r.restricted() && r.anywhere() && r.has(to) {
			v.Action, v.Rule = r.action, i
			return v
		}
	}
	v.Action, v.Rule = Allow, RuleDefault
	return v
}

// Answer decides about an address in the answer for qname. Public ones are let
// through. Others are so only where a flow to them would be for the address's own
// sake, and not merely because of the name: else its owner could lead the machine
// into the host's network (rebinding).
func (e *Engine) Answer(qname string, addr netip.Addr) Verdict {
	s := e.now.Load()
	name, ok := Canonical(qname)
	if !ok || !addr.IsValid() {
		return Verdict{Action: Reject, Rule: RuleInvalid, Generation: s.generation}
	}
	v, _ := s.answer(name, addr)
	return v
}

// answer also returns the address that pins go by.
func (s *state) answer(name string, addr netip.Addr) (Verdict, netip.Addr) {
	v := Verdict{Action: s.deny, Rule: RuleDefault, Generation: s.generation}
	q := query{state: s}
	q.other(addr)
	if behind := q.groups.floor() &^ s.unlocked; behind != 0 {
		v.Rule, v.Floor = RuleFloor, behind.name()
		return v, q.addr
	}
	if q.groups == inPublic || s.fallback == AllowAll && len(s.rules) == 0 {
		v.Action = Allow
		return v, q.addr
	}
	for i := range s.rules {
		r := &s.rules[i]
		if !r.outbound || r.log || !r.about(name) || !q.within(r) {
			continue
		}
		byName := len(r.domains) > 0 && len(r.addresses) == 0
		switch {
		case r.action == Allow && byName && s.fallback != AllowAll, r.action != Allow && r.restricted():
			continue
		}
		v.Action, v.Rule = r.action, i
		return v, q.addr
	}
	if s.fallback == AllowAll {
		v.Action = Allow
	}
	return v, q.addr
}

// Learn pins a name to the addresses of its answer. Addresses that Answer refuses
// are left out, and so is a name that is none. qname is what was asked for, not what
// it led to.
func (e *Engine) Learn(qname string, addrs []netip.Addr, ttl time.Duration, now time.Time) {
	name, ok := Canonical(qname)
	if !ok {
		return
	}
	s := e.now.Load()
	for _, addr := range addrs[:min(len(addrs), maxLearn)] {
		if !addr.IsValid() {
			continue
		}
		if v, key := s.answer(name, addr); v.Action == Allow {
			e.pins.learn(name, key, ttl, now)
		}
	}
}

// about: the rule names this name, or none at all.
func (r *rule) about(name string) bool {
	return len(r.domains) == 0 || name != "" && r.has(name)
}

// within checks the addresses alone.
func (q *query) within(r *rule) bool {
	for i := range r.addresses {
		if !q.in(r, &r.addresses[i]) {
			return false
		}
	}
	return true
}

// anywhere: no condition on the address, or none that leaves any out.
func (r *rule) anywhere() bool {
	for _, set := range r.addresses {
		if !set.networks.everything() {
			return false
		}
	}
	return true
}

// open: names in general may lead to what the rule allows.
func (r *rule) open() bool {
	for _, set := range r.addresses {
		if !set.open() {
			return false
		}
	}
	return true
}
