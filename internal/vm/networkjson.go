package vm

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"reflect"
	"strings"
)

// The JSON form of a NetworkConfig.
//
//	{"mode": "user", "mac": "02:00:5e:10:00:01", "mtu": 1500,           // mode: "none", "nat", "shared", "fd", "tap"
//	 "ipv4": "10.0.2.0/24", "guest": "10.0.2.15", "gateway": "10.0.2.2",
//	 "ipv6": "fd6c:6962:6361::/64",                                     // or "off"
//	 "hostname": "web", "dns": ["192.0.2.53", "[2001:db8::53]:5353"], "search": ["example.com"],
//	 "hosts": [{"name": "db.example.com", "addresses": ["192.0.2.7"]}],
//	 "policy": {"default": "deny-all", "rules": [...]},
//	 "host_access": true, "link_down": true,
//	 "forwards": [{"protocol": "tcp", "host": "127.0.0.1:8080", "guest_port": 80},
//	              {"protocol": "tcp", "path": "/run/web.sock", "guest_port": 80}],
//	 "cable": {...}, "capture": {...}, "limits": {...}}                 // see cablejson.go
type networkJSON struct {
	Mode       *string         `json:"mode,omitempty"`
	MAC        *string         `json:"mac,omitempty"`
	MTU        *int            `json:"mtu,omitempty"`
	IPv4       *string         `json:"ipv4,omitempty"`
	Guest      *string         `json:"guest,omitempty"`
	Gateway    *string         `json:"gateway,omitempty"`
	IPv6       *string         `json:"ipv6,omitempty"`
	Hostname   *string         `json:"hostname,omitempty"`
	DNS        []string        `json:"dns,omitempty"`
	Search     []string        `json:"search,omitempty"`
	Hosts      []hostNameJSON  `json:"hosts,omitempty"`
	Policy     json.RawMessage `json:"policy,omitempty"`
	HostAccess *bool           `json:"host_access,omitempty"`
	LinkDown   *bool           `json:"link_down,omitempty"`
	Forwards   []forwardJSON   `json:"forwards,omitempty"`
	Cable      *cableJSON      `json:"cable,omitempty"`
	Capture    *captureJSON    `json:"capture,omitempty"`
	Limits     *limitsJSON     `json:"limits,omitempty"`
}

type hostNameJSON struct {
	Name      string   `json:"name"`
	Addresses []string `json:"addresses"`
}

type forwardJSON struct {
	Protocol ForwardProtocol `json:"protocol"`
	Host     string          `json:"host,omitempty"`
	Path     string          `json:"path,omitempty"`
	Guest    uint16          `json:"guest_port"`
}

const (
	modeNone = "none" // NetworkNone in JSON
	ipv6Off  = "off"  // NetworkConfig.NoIPv6 in JSON
	portDNS  = 53
)

// encodeNetwork is nil for the default.
func encodeNetwork(c NetworkConfig, p *Problems) *networkJSON {
	if reflect.ValueOf(c).IsZero() {
		return nil
	}
	text := func(field, s string) *string {
		p.utf8("network."+field, s)
		if s == "" {
			return nil
		}
		return &s
	}
	number := func(valid bool, s fmt.Stringer) *string {
		if !valid {
			return nil
		}
		v := s.String()
		return &v
	}
	set := func(b bool) *bool {
		if !b {
			return nil
		}
		return &b
	}
	out := &networkJSON{
		Mode: text("mode", string(c.Mode)), MAC: text("mac", c.MAC), Hostname: text("hostname", c.Hostname),
		IPv4: number(c.IPv4.IsValid(), c.IPv4), Guest: number(c.Guest.IsValid(), c.Guest),
		Gateway: number(c.Gateway.IsValid(), c.Gateway), IPv6: number(c.IPv6.IsValid(), c.IPv6),
		Search: c.Search, Policy: c.Policy, HostAccess: set(c.HostAccess), LinkDown: set(c.LinkDown),
	}
	out.Cable, out.Capture, out.Limits = encodeCable(c, p)
	if c.NoIPv6 {
		off := ipv6Off
		out.IPv6 = &off
	}
	if c.MTU != 0 {
		out.MTU = &c.MTU
	}
	for _, a := range c.DNS {
		out.DNS = append(out.DNS, a.String())
	}
	for i, name := range c.Search {
		p.utf8(fmt.Sprintf("network.search[%d]", i), name)
	}
	for i, h := range c.Hosts {
		p.utf8(fmt.Sprintf("network.hosts[%d].name", i), h.Name)
		j := hostNameJSON{Name: h.Name}
		for _, a := range h.Addrs {
			j.Addresses = append(j.Addresses, a.String())
		}
		out.Hosts = append(out.Hosts, j)
	}
	p.Policy(c.Policy) // else json.Marshal says it in its words
	for i, f := range c.Forwards {
		p.utf8(fmt.Sprintf("network.forwards[%d].path", i), f.Path)
		p.utf8(fmt.Sprintf("network.forwards[%d].protocol", i), string(f.Protocol))
		j := forwardJSON{Protocol: f.Protocol, Path: f.Path, Guest: f.Guest}
		if f.Host.IsValid() {
			j.Host = f.Host.String()
		}
		out.Forwards = append(out.Forwards, j)
	}
	return out
}

// MarshalJSON gives a forward as it is in the JSON form of a configuration, with its
// ID if it has one.
func (f Forward) MarshalJSON() ([]byte, error) {
	j := struct {
		ID uint32 `json:"id,omitempty"`
		forwardJSON
	}{f.ID, forwardJSON{Protocol: f.Protocol, Path: f.Path, Guest: f.Guest}}
	if f.Host.IsValid() {
		j.Host = f.Host.String()
	}
	return json.Marshal(j)
}

// apply puts what is given into c, and what is no address into p.
func (j *networkJSON) apply(c *NetworkConfig, p *Problems) {
	if j == nil {
		return
	}
	if j.Mode != nil {
		c.Mode = NetworkMode(*j.Mode)
		if *j.Mode == modeNone {
			c.Mode = NetworkNone
		}
	}
	give(&c.MAC, j.MAC)
	give(&c.MTU, j.MTU)
	give(&c.Hostname, j.Hostname)
	give(&c.HostAccess, j.HostAccess)
	give(&c.LinkDown, j.LinkDown)
	parse(&c.IPv4, j.IPv4, "network.ipv4", netip.ParsePrefix, p)
	parse(&c.Guest, j.Guest, "network.guest", netip.ParseAddr, p)
	parse(&c.Gateway, j.Gateway, "network.gateway", netip.ParseAddr, p)
	if j.IPv6 != nil {
		c.NoIPv6, c.IPv6 = *j.IPv6 == ipv6Off, netip.Prefix{}
		if !c.NoIPv6 {
			parse(&c.IPv6, j.IPv6, "network.ipv6", netip.ParsePrefix, p)
		}
	}
	if j.Search != nil {
		c.Search = j.Search
	}
	if j.Policy != nil && string(j.Policy) != "null" {
		c.Policy = j.Policy
	}
	j.applyCable(c)
	j.applyLists(c, p)
}

func (j *networkJSON) applyLists(c *NetworkConfig, p *Problems) {
	if j.DNS != nil {
		c.DNS = make([]netip.AddrPort, len(j.DNS))
		for i := range j.DNS {
			parse(&c.DNS[i], &j.DNS[i], fmt.Sprintf("network.dns[%d]", i), parseServer, p)
		}
	}
	if j.Hosts != nil {
		c.Hosts = nil
		for i, h := range j.Hosts {
			name := HostName{Name: h.Name, Addrs: make([]netip.Addr, len(h.Addresses))}
			for k := range h.Addresses {
				parse(&name.Addrs[k], &h.Addresses[k], fmt.Sprintf("network.hosts[%d].addresses[%d]", i, k), netip.ParseAddr, p)
			}
			c.Hosts = append(c.Hosts, name)
		}
	}
	if j.Forwards != nil {
		c.Forwards = nil
		for i, f := range j.Forwards {
			next := Forward{Protocol: f.Protocol, Path: f.Path, Guest: f.Guest}
			if f.Host != "" {
				parse(&next.Host, &f.Host, fmt.Sprintf("network.forwards[%d].host", i), netip.ParseAddrPort, p)
			}
			c.Forwards = append(c.Forwards, next)
		}
	}
}

// parse reads a value that is text in JSON.
func parse[T any](to *T, from *string, field string, read func(string) (T, error), p *Problems) {
	if from == nil {
		return
	}
	v, err := read(*from)
	if err != nil {
		p.add(field, "", "%v", err)
		return
	}
	*to = v
}

// parseServer reads an address, or one with a port.
func parseServer(s string) (netip.AddrPort, error) {
	if a, err := netip.ParseAddr(strings.Trim(s, "[]")); err == nil {
		return netip.AddrPortFrom(a, portDNS), nil
	}
	return netip.ParseAddrPort(s)
}
