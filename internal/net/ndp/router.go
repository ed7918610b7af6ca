package ndp

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/libcapsa/libcapsa/internal/net/ether"
)

// Limits of a configuration, ours: an advertisement fits into the least MTU of IPv6.
const (
	maxDNS    = 8
	maxSearch = 512 // bytes of all names together

	// MaxLifetime of a router (RFC 8319 section 4), and the default: the field's.
	MaxLifetime = 65535 * time.Second
	minMTU      = 1280 // RFC 8200 section 5
)

// Config is a network, as its router describes it.
type Config struct {
	MAC       ether.MAC  // of the gateway
	LinkLocal netip.Addr // of the gateway, in fe80::/64
	// Prefix is the network in which hosts choose an address themselves, a /64;
	// invalid: none.
	Prefix netip.Prefix
	// Lifetime is how long the gateway is the default route, 0: it is not. Use
	// MaxLifetime where nothing else is wanted.
	Lifetime time.Duration
	MTU      int // bytes, 0: not said
	// HopLimit is that of the hosts' packets, 0: not said.
	HopLimit uint8
	DNS      []netip.Addr
	Search   []string
	// Managed: addresses come by DHCPv6. Other: the rest does.
	Managed, Other bool
	// Lookup returns whose an address is. The gateway's own are among them; besides
	// LinkLocal, which it need not know.
	Lookup func(netip.Addr) (ether.MAC, bool)
}

// Router is the gateway's part.
type Router struct {
	config Config
	stats  counters
}

// Packet is an IPv6 packet to send.
type Packet struct {
	Bytes []byte
	To    ether.MAC // of the frame
}

// New makes a router. Its error says which part of the configuration is wrong.
func New(config Config) (*Router, error) {
	if err := config.check(); err != nil {
		return nil, err
	}
	config.DNS, config.Search = slices.Clone(config.DNS), slices.Clone(config.Search)
	return &Router{config: config}, nil
}

func (c *Config) check() error {
	switch {
	case !c.MAC.Unicast():
		return fmt.Errorf("ndp: MAC %v: not the address of one interface", c.MAC)
	case !c.LinkLocal.Is6() || !c.LinkLocal.IsLinkLocalUnicast() || c.LinkLocal.Zone() != "":
		return fmt.Errorf("ndp: link-local address %v: want one of fe80::/10, without a zone", c.LinkLocal)
	case c.Prefix.IsValid() && (!c.Prefix.Addr().Is6() || c.Prefix.Addr().Is4In6() || c.Prefix.Bits() != 64):
		return fmt.Errorf("ndp: prefix %v: want an IPv6 prefix of 64 bits", c.Prefix)
	case c.Lifetime < 0 || c.Lifetime > MaxLifetime:
		return fmt.Errorf("ndp: lifetime of %v: want 0 to %v", c.Lifetime, MaxLifetime)
	case c.MTU != 0 && (c.MTU < minMTU || c.MTU > 65535):
		return fmt.Errorf("ndp: MTU %d: want %d to 65535 bytes", c.MTU, minMTU)
	case len(c.DNS) > maxDNS:
		return fmt.Errorf("ndp: %d DNS servers: at most %d", len(c.DNS), maxDNS)
	}
	for _, a := range c.DNS {
		if !a.Is6() || a.Is4In6() || a.Zone() != "" {
			return fmt.Errorf("ndp: DNS server %v: not an IPv6 address without a zone", a)
		}
	}
	size := 0
	for _, name := range c.Search {
		if !isName(name) {
			return fmt.Errorf("ndp: search domain %q: not a DNS name", name)
		}
		size += len(name) + 2
	}
	if size > maxSearch {
		return fmt.Errorf("ndp: search domains of %d bytes: at most %d", size, maxSearch)
	}
	return nil
}

// isName: labels of 1 to 63 bytes, 253 in all, of printable ASCII.
func isName(name string) bool {
	name = strings.TrimSuffix(name, ".")
	if len(name) > 253 {
		return false
	}
	for label := range strings.SplitSeq(name, ".") {
		if len(label) < 1 || len(label) > 63 || strings.ContainsFunc(label, func(r rune) bool { return r <= ' ' || r > '~' }) {
			return false
		}
	}
	return true
}

// Advertisement tells all hosts about the network, unasked.
func (r *Router) Advertisement() Packet {
	r.stats.advertisements.Add(1)
	return Packet{Bytes: pack(r.config.LinkLocal, allNodes, r.advertisement()), To: multicastMAC(allNodes)}
}

// advertisement is RFC 4861 section 4.2.
func (r *Router) advertisement() []byte {
	c := &r.config
	flags := byte(0)
	if c.Managed {
		flags |= 0x80
	}
	if c.Other {
		flags |= 0x40
	}
	b := []byte{typeRouterAdvertisement, 0, 0, 0, c.HopLimit, flags}
	b = binary.BigEndian.AppendUint16(b, uint16(c.Lifetime/time.Second))
	b = append(b, 0, 0, 0, 0, 0, 0, 0, 0) // reachable and retransmission time: the host's own
	b = appendMAC(b, optSourceMAC, c.MAC)
	if c.MTU != 0 {
		b = appendMTU(b, c.MTU)
	}
	if c.Prefix.IsValid() {
		b = appendPrefix(b, c.Prefix)
	}
	return appendDNSSL(appendRDNSS(b, c.DNS), c.Search)
}

// Stats counts since the router was made.
type Stats struct {
	Solicitations  uint64 // of routers
	Advertisements uint64 // of the router
	Neighbours     uint64 // solicitations that were answered
	Malformed      uint64
	Conflicts      uint64 // somebody claimed what is another's
	Rogue          uint64 // advertisements and redirects of those who are no router
}

type counters struct {
	solicitations, advertisements, neighbours, malformed, conflicts, rogue atomic.Uint64
}

// Stats is a copy of the counters.
func (r *Router) Stats() Stats {
	return Stats{
		Solicitations:  r.stats.solicitations.Load(),
		Advertisements: r.stats.advertisements.Load(),
		Neighbours:     r.stats.neighbours.Load(),
		Malformed:      r.stats.malformed.Load(),
		Conflicts:      r.stats.conflicts.Load(),
		Rogue:          r.stats.rogue.Load(),
	}
}
