package policy

import (
	"fmt"
	"net/netip"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Validate returns nil or an *Error with every problem at once.
func (p Policy) Validate() error {
	_, err := compile(p)
	return err
}

// header checks all but the rules.
func (c *compiler) header(p Policy) {
	switch p.Default {
	case AllowAll, DenyAll, PublicOnly:
	case "":
		c.add("default", `"deny-all" is the safe one`, "no default is given")
	default:
		c.add("default", `"allow-all", "deny-all" and "public-only" are`, "%s is not known", quoted(p.Default))
	}
	switch p.Deny {
	case "", ActionDeny, ActionReject, ActionDrop:
	default:
		c.add("deny", `"reject" and "drop" are`, "%s is not possible", quoted(p.Deny))
	}
	switch p.Inbound {
	case "", ActionAllow, ActionDeny, ActionReject, ActionDrop:
	default:
		c.add("inbound", `"allow", "reject" and "drop" are`, "%s is not possible", quoted(p.Inbound))
	}
	for i, g := range p.Unlock {
		field := fmt.Sprintf("unlock[%d]", i)
		bit, known := groupBits[g]
		switch {
		case !known:
			c.unknownGroup(field, g)
		case bit&behindFloor == 0:
			c.add(field, "", "%q is not behind the floor", g)
		case c.unlocked&bit != 0:
			c.add(field, "", "%q is given twice", g)
		}
		c.unlocked |= bit & behindFloor
		if i >= len(groupBits) {
			c.add("unlock", "", "%d groups are too many", len(p.Unlock))
			return
		}
	}
}

func (c *compiler) unknownGroup(field string, g Group) {
	c.add(field, "public, private, loopback, linklocal, metadata, multicast and host are", "%s is not known", quoted(g))
}

// size says whether the rules are few and small enough to look at.
func (c *compiler) size(rules []Rule) bool {
	if len(rules) > MaxRules {
		c.add("rules", "", "%d are too many; at most %d are possible", len(rules), MaxRules)
		return false
	}
	entries := 0
	for i := range rules {
		n, ok := countEntries(&rules[i].Match, 0)
		if !ok {
			c.add(fmt.Sprintf("rules[%d].all", i), "", "is nested more than %d deep", MaxDepth)
			return false
		}
		if entries += n; entries > MaxEntries {
			c.add("rules", "", "have too many entries; at most %d are possible in all", MaxEntries)
			return false
		}
	}
	return true
}

func countEntries(m *Match, depth int) (int, bool) {
	if depth > MaxDepth {
		return 0, false
	}
	n := len(m.Addresses) + len(m.Groups) + len(m.Ports) + len(m.Protocols) + len(m.Domains) + len(m.All)
	for i := range m.All {
		if n > MaxEntries {
			break
		}
		inner, ok := countEntries(&m.All[i], depth+1)
		if !ok {
			return 0, false
		}
		n += inner
	}
	return n, true
}

// head checks and compiles a rule but for its condition.
func (c *compiler) head(field string, in Rule, out *rule) {
	switch in.Action {
	case ActionAllow:
		out.action = Allow
	case ActionDeny, ActionReject:
		out.action = Reject
	case ActionDrop:
		out.action = Drop
	case ActionLog:
		out.log = true
	default:
		c.add(field+".action", `"allow", "deny", "reject", "drop" and "log" are`, "%s is not known", quoted(in.Action))
	}
	switch in.Direction {
	case "", Outbound:
		out.outbound = true
	case Inbound:
		out.inbound = true
	case Both:
		out.outbound, out.inbound = true, true
	default:
		c.add(field+".direction", `"outbound", "inbound" and "both" are`, "%s is not known", quoted(in.Direction))
	}
	switch {
	case len(in.Note) > MaxNote:
		c.add(field+".note", "", "is %d bytes long; at most %d are allowed", len(in.Note), MaxNote)
	case !utf8.ValidString(in.Note) || strings.ContainsFunc(in.Note, func(r rune) bool { return !unicode.IsPrint(r) }):
		c.add(field+".note", "", "%s contains what cannot be printed", quoted(in.Note))
	}
}

// parseAddress reads a network or an address; the reason, if any, says why not.
func parseAddress(text string) (p netip.Prefix, reason, hint string) {
	p, err := netip.ParsePrefix(text)
	if err != nil {
		addr, err := netip.ParseAddr(text)
		if err != nil {
			return p, "is neither an address nor a network", `like "192.0.2.0/24" or "2001:db8::1"`
		}
		if addr.Zone() != "" {
			return p, "has a zone, which means nothing to others", ""
		}
		p = netip.PrefixFrom(addr, addr.BitLen())
	}
	switch {
	case p.Addr().Is4In6():
		return p, "is an IPv4 address in IPv6 clothes", "write it as an IPv4 one: flows are judged by that"
	case p != p.Masked():
		return p, "has bits beyond its size", fmt.Sprintf("did you mean %q?", p.Masked())
	}
	return p, "", ""
}
