package nat

import "net/netip"

// mapping is the port of the host that stands for one of the guest's: all its
// flows leave from it, whomever they go to (RFC 4787 section 4.1), so that two
// guests behind such ports find each other. It is the guest's own number where
// that is free (section 4.2.1).
type mapping struct {
	guest netip.AddrPort
	port  uint16 // of the host; 0: none yet
	flows int
}

// mappings are those in use.
type mappings map[netip.AddrPort]*mapping

// take counts a flow of the guest's port.
func (m mappings) take(guest netip.AddrPort) *mapping {
	p := m[guest]
	if p == nil {
		p = &mapping{guest: guest}
		m[guest] = p
	}
	p.flows++
	return p
}

// release ends that.
func (m mappings) release(p *mapping) {
	if p.flows--; p.flows == 0 && m[p.guest] == p {
		delete(m, p.guest)
	}
}
