package dhcp

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/libcapsa/libcapsa/internal/net/ether"
)

// Limits of a configuration, ours: what comes near them is a mistake.
const (
	MaxPool  = 4096 // addresses to give out, reservations included
	maxDNS   = 8
	maxNames = 32
	maxRoute = 64
)

// DefaultLease is how long an address is lent.
const DefaultLease = time.Hour

// Config is a network, as its server describes it to clients.
type Config struct {
	// Network is the prefix that the clients live in. It is at most a /30.
	Network netip.Prefix
	// Server is this server's own address, and that of the gateway.
	Server netip.Addr
	// First and Last are the ends of the range that is lent to whoever asks; both
	// invalid: only reservations are served.
	First, Last netip.Addr
	// Reservations are addresses of clients that always get the same one. They may
	// lie outside of the range.
	Reservations map[ether.MAC]Reservation
	// Router is the default route, invalid: none.
	Router netip.Addr
	DNS    []netip.Addr
	Domain string
	Search []string
	// Routes are others than the default route.
	Routes []Route
	// MTU in bytes, 0: not said.
	MTU int
	// Lease is at least a minute; 0 is DefaultLease.
	Lease time.Duration
}

// Reservation is what one client gets.
type Reservation struct {
	Addr     netip.Addr
	Hostname string // empty: none
}

// Route is a network behind a router of the link.
type Route struct {
	Prefix netip.Prefix
	Via    netip.Addr
}

// check returns what is wrong with a configuration.
func (c *Config) check() error {
	if !c.Network.IsValid() || !c.Network.Addr().Is4() || c.Network.Bits() > 30 {
		return fmt.Errorf("dhcp: network %v: want an IPv4 prefix of at most 30 bits", c.Network)
	}
	if !c.host(c.Server) {
		return fmt.Errorf("dhcp: server %v: not an address of a host in %v", c.Server, c.Network)
	}
	if c.Router.IsValid() && !c.host(c.Router) {
		return fmt.Errorf("dhcp: router %v: not an address of a host in %v", c.Router, c.Network)
	}
	if err := c.checkRange(); err != nil {
		return err
	}
	if err := c.checkReservations(); err != nil {
		return err
	}
	if c.MTU != 0 && (c.MTU < 68 || c.MTU > 65535) {
		return fmt.Errorf("dhcp: MTU %d: want 68 to 65535 bytes (RFC 2132 section 5.1)", c.MTU)
	}
	if c.Lease != 0 && (c.Lease < time.Minute || c.Lease/time.Second >= 1<<32-1) {
		return fmt.Errorf("dhcp: lease of %v: want at least a minute, and seconds that fit into 32 bits", c.Lease)
	}
	return c.checkLists()
}

func (c *Config) checkRange() error {
	if !c.First.IsValid() && !c.Last.IsValid() {
		return nil
	}
	if !c.host(c.First) || !c.host(c.Last) || c.Last.Less(c.First) {
		return fmt.Errorf("dhcp: range %v to %v: not a range of hosts in %v", c.First, c.Last, c.Network)
	}
	if n := number(c.Last) - number(c.First) + 1; n+uint32(len(c.Reservations)) > MaxPool {
		return fmt.Errorf("dhcp: range %v to %v: %d addresses, and %d reservations; at most %d together",
			c.First, c.Last, n, len(c.Reservations), MaxPool)
	}
	return nil
}

func (c *Config) checkReservations() error {
	if len(c.Reservations) > MaxPool {
		return fmt.Errorf("dhcp: %d reservations: at most %d", len(c.Reservations), MaxPool)
	}
	taken := map[netip.Addr]ether.MAC{}
	for _, mac := range slices.SortedFunc(maps.Keys(c.Reservations), func(a, b ether.MAC) int { return slices.Compare(a[:], b[:]) }) {
		r := c.Reservations[mac]
		other, twice := taken[r.Addr]
		switch {
		case !mac.Unicast():
			return fmt.Errorf("dhcp: reservation for %v: not the address of one interface", mac)
		case !c.host(r.Addr) || r.Addr == c.Server:
			return fmt.Errorf("dhcp: reservation of %v for %v: not an address of a client in %v", r.Addr, mac, c.Network)
		case twice:
			return fmt.Errorf("dhcp: reservation of %v for %v: it is %v's", r.Addr, mac, other)
		case len(r.Hostname) > 63 || r.Hostname != "" && !isName(r.Hostname):
			return fmt.Errorf("dhcp: hostname %q for %v: not a DNS label", r.Hostname, mac)
		}
		taken[r.Addr] = mac
	}
	return nil
}

func (c *Config) checkLists() error {
	if len(c.DNS) > maxDNS || len(c.Search) > maxNames || len(c.Routes) > maxRoute {
		return fmt.Errorf("dhcp: %d DNS servers, %d search domains, %d routes: at most %d, %d, %d",
			len(c.DNS), len(c.Search), len(c.Routes), maxDNS, maxNames, maxRoute)
	}
	for _, a := range c.DNS {
		if !a.Is4() {
			return fmt.Errorf("dhcp: DNS server %v: not an IPv4 address", a)
		}
	}
	if c.Domain != "" && !isName(c.Domain) {
		return fmt.Errorf("dhcp: domain %q: not a DNS name", c.Domain)
	}
	for _, name := range c.Search {
		if !isName(name) {
			return fmt.Errorf("dhcp: search domain %q: not a DNS name", name)
		}
	}
	for _, r := range c.Routes {
		if !r.Prefix.IsValid() || !r.Prefix.Addr().Is4() || !r.Via.Is4() {
			return fmt.Errorf("dhcp: route to %v via %v: not IPv4", r.Prefix, r.Via)
		}
	}
	return nil
}

// host: an address of the network, but neither its own nor its broadcast address.
func (c *Config) host(a netip.Addr) bool {
	return a.Is4() && c.Network.Contains(a) && a != c.Network.Masked().Addr() && a != c.broadcast()
}

func (c *Config) broadcast() netip.Addr {
	return fromNumber(number(c.Network.Addr()) | ^uint32(0)>>c.Network.Bits())
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
