package policy

import (
	"fmt"
	"net/netip"
	"time"
)

// Flow is what a decision is about.
type Flow struct {
	Direction Direction // Outbound (also if empty) or Inbound
	Protocol  Protocol
	Src, Dst  netip.AddrPort // the ports mean nothing for ICMP
	// Names are pins that the flow had when it was opened (Verdict.Names). They hold
	// as long as the flow lives, even when the DNS answer does not.
	Names []string
	// Said and Name are what the client has said about the name it wants.
	Said Said
	Name string    // if Said is SaidName
	Now  time.Time // zero: the clock's
}

// Said is what is known about the name that a client says.
type Said uint8

// What may be known.
const (
	SaidUnknown Said = iota // no bytes have come yet
	SaidName
	SaidNone // it began without saying one
)

// Decision is what becomes of a flow or a query.
type Decision uint8

// The decisions. The zero value is a refusal.
const (
	Reject Decision = iota // RST, ICMP unreachable; REFUSED for a query
	Drop
	Allow
)

func (d Decision) String() string {
	switch d {
	case Allow:
		return "allow"
	case Drop:
		return "drop"
	}
	return "reject"
}

// Values of Verdict.Rule that are not the number of a rule.
const (
	RuleDefault = -1 // no rule matched
	RuleFloor   = -2 // closed, and not unlocked: see Verdict.Floor
	RuleInvalid = -3 // not a flow, or not a name
)

// Verdict is a decision and how it came about.
type Verdict struct {
	Action Decision
	Rule   int   // the index in Policy.Rules, or one of the constants
	Floor  Group // the group, if Rule is RuleFloor; "reserved" for those of no name
	// NeedName: the flow is allowed for now. Nothing of it may reach the other side
	// until Flow has been asked again with what the client said.
	NeedName bool
	// WantName: if the client begins with a name, ask again; do not wait for it.
	WantName bool
	// Hidden: refused because QUIC hides the name that would decide; over TCP it
	// may be allowed.
	Hidden bool
	// Logged are the "log" rules that matched. Empty while NeedName: they are in the
	// second verdict.
	Logged []int
	// Dst is what to dial: Flow.Dst, but for IPv4-mapped addresses and zones.
	Dst netip.AddrPort
	// Names are the pins that were looked at; keep them in Flow.Names.
	Names      []string
	Generation uint64
}

func (v Verdict) String() string {
	by := fmt.Sprintf("rule %d", v.Rule)
	switch v.Rule {
	case RuleDefault:
		by = "default"
	case RuleFloor:
		by = fmt.Sprintf("floor (%s)", v.Floor)
	case RuleInvalid:
		by = "invalid"
	}
	return v.Action.String() + " by " + by
}
