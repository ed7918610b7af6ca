package vm

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"strings"
)

// Network checks Config.Network.
func (p *Problems) Network(c NetworkConfig) {
	switch c.Mode {
	case NetworkNone, NetworkNAT, NetworkFD, NetworkTAP:
		p.notUser(c)
	case NetworkShared:
		p.notAlone(c)
	case NetworkUser:
	default:
		p.add("network.mode", `"none", "user", "shared", "fd", "tap" and "nat" are`, "%q is not known", string(c.Mode))
		return
	}
	p.mac(c.MAC)
	if c.MTU != 0 && (c.MTU < MinMTU || c.MTU > MaxMTU) {
		p.add("network.mtu", "use 0 for 1500", "%d bytes; from %d to %d are possible", c.MTU, MinMTU, MaxMTU)
	}
	p.cable(c)
	if c.Mode != NetworkShared { // whose addresses are the network's
		p.ipv4(c)
	}
	p.ipv6(c)
	p.names(c)
	p.Policy(c.Policy)
	p.Forwards(c.Forwards)
}

// notAlone finds settings that are those of a shared network, and no machine's.
func (p *Problems) notAlone(c NetworkConfig) {
	const hint = "it is for the network to say"
	if c.HostAccess {
		p.add("network.host_access", hint, "a machine of a shared network has no gateway of its own")
	}
	if c.IPv4.IsValid() || c.Gateway.IsValid() || c.IPv6.IsValid() || c.NoIPv6 {
		p.add("network.ipv4", hint, "a machine of a shared network has no other one")
	}
	if len(c.DNS)+len(c.Search)+len(c.Hosts) > 0 {
		p.add("network.dns", hint, "a machine of a shared network has no names of its own but the hostname")
	}
	if a := c.Guest; a.IsValid() && !a.Is4() {
		p.add("network.guest", "", "%v is not an IPv4 address", a)
	}
}

// notUser finds settings that have no meaning without NetworkUser, so that nobody
// believes in a policy that nothing keeps.
func (p *Problems) notUser(c NetworkConfig) {
	const hint = `set the mode "user"`
	if c.Mode == NetworkNone && c.MAC != "" {
		p.add("network.mac", hint, "there is no network")
	}
	if c.Policy != nil {
		p.add("network.policy", hint, "nothing keeps a policy in this mode")
	}
	if len(c.Forwards) > 0 {
		p.add("network.forwards", hint, "nothing forwards ports in this mode")
	}
	if c.HostAccess {
		p.add("network.host_access", hint, "there is no gateway in this mode")
	}
}

// mac refuses what is no address of one Ethernet interface (IEEE 802-2014 section
// 8.2: the lowest bit of the first byte is that of groups).
func (p *Problems) mac(text string) {
	if text == "" {
		return
	}
	const hint = `six pairs of hexadecimal digits, such as "02:00:5e:10:00:01"`
	a, err := net.ParseMAC(text)
	switch {
	case err != nil || len(a) != 6:
		p.add("network.mac", hint, "%q is not an Ethernet address", text)
	case a[0]&1 != 0 || bytes.Equal(a, make([]byte, 6)):
		p.add("network.mac", hint, "%q is not the address of one interface", text)
	}
}

func (p *Problems) ipv4(c NetworkConfig) {
	network := c.IPv4
	switch {
	case !network.IsValid():
		network = DefaultIPv4Prefix
	case !network.Addr().Is4() || network.Bits() < 8 || network.Bits() > 30:
		p.add("network.ipv4", `"10.0.2.0/24" is usual`, "%v is not an IPv4 network of 8 to 30 bits", network)
		return
	case !usable(network.Addr()):
		p.add("network.ipv4", "one of 10.0.0.0/8, 172.16.0.0/12 and 192.168.0.0/16 is right", "%v is not for machines", network)
		return
	}
	guest, gateway := c.addresses()
	for _, a := range []struct {
		field string
		addr  netip.Addr
	}{{"network.guest", guest}, {"network.gateway", gateway}} {
		if !host(network, a.addr) {
			p.add(a.field, "", "%v is not the address of a machine in %v", a.addr, network.Masked())
		}
	}
	if guest == gateway {
		p.add("network.guest", "", "%v is the gateway's address too", guest)
	}
}

// usable: neither "this network" (RFC 1122), loopback, link-local, multicast nor
// reserved.
func usable(a netip.Addr) bool {
	first := a.As4()[0]
	return first != 0 && first < 224 && !a.IsLoopback() && !a.IsLinkLocalUnicast()
}

// host: of the network, but neither its own nor its broadcast address.
func host(network netip.Prefix, a netip.Addr) bool {
	return a.Is4() && network.Contains(a) && a != network.Masked().Addr() && network.Contains(a.Next())
}

func (p *Problems) ipv6(c NetworkConfig) {
	if !c.IPv6.IsValid() {
		return
	}
	a := c.IPv6.Addr()
	switch {
	case c.NoIPv6:
		p.add("network.ipv6", "leave one of them out", "a network is given for IPv6, which is off")
	case !a.Is6() || a.Is4In6() || c.IPv6.Bits() != 64:
		p.add("network.ipv6", "one of fd00::/8 is right", "%v is not an IPv6 network of 64 bits", c.IPv6)
	case a.IsLinkLocalUnicast() || a.IsMulticast() || c.IPv6.Contains(netip.IPv6Loopback()):
		p.add("network.ipv6", "one of fd00::/8 is right", "%v is not for machines", c.IPv6)
	}
}

// names checks what has to do with DNS.
func (p *Problems) names(c NetworkConfig) {
	if c.Hostname != "" && !DNSLabel(c.Hostname) {
		p.add("network.hostname", "letters, digits and '-'", "%q is not one label of a DNS name", c.Hostname)
	}
	if len(c.DNS) > MaxDNSServers {
		p.add("network.dns", "", "%d servers; at most %d are possible", len(c.DNS), MaxDNSServers)
	}
	for i, a := range c.DNS {
		if !a.IsValid() || a.Port() == 0 {
			p.add(fmt.Sprintf("network.dns[%d]", i), `"192.0.2.53" or "192.0.2.53:53"`, "%v is not an address and a port", a)
		}
	}
	size := 0
	for i, name := range c.Search {
		size += len(name) + 2
		if !dnsName(name) {
			p.add(fmt.Sprintf("network.search[%d]", i), "", "%q is not a DNS name", name)
		}
	}
	if len(c.Search) > MaxSearchDomains || size > MaxSearchSize {
		p.add("network.search", "", "%d domains of %d bytes; at most %d of %d bytes are possible",
			len(c.Search), size, MaxSearchDomains, MaxSearchSize)
	}
	p.hosts(c.Hosts)
}

func (p *Problems) hosts(hosts []HostName) {
	if len(hosts) > MaxHosts {
		p.add("network.hosts", "", "%d are too many; at most %d are possible", len(hosts), MaxHosts)
		return
	}
	names := make(map[string]int)
	for i, h := range hosts {
		field := fmt.Sprintf("network.hosts[%d]", i)
		key := strings.ToLower(strings.TrimSuffix(h.Name, "."))
		first, twice := names[key]
		switch {
		case !dnsName(h.Name):
			p.add(field+".name", "", "%q is not a DNS name", h.Name)
		case key == "host.capsa.internal":
			p.add(field+".name", "", "%q is the gateway's name for the host", h.Name)
		case twice:
			p.add(field+".name", "", "%q is the name of entry %d too", h.Name, first)
		default:
			names[key] = i
		}
		if len(h.Addrs) > MaxHostAddrs {
			p.add(field+".addresses", "", "%d are too many; at most %d are possible", len(h.Addrs), MaxHostAddrs)
		}
		for k, a := range h.Addrs {
			if !a.IsValid() || a.Zone() != "" {
				p.add(fmt.Sprintf("%s.addresses[%d]", field, k), "", "%v is not an address without a zone", a)
			}
		}
	}
}

// DNSLabel says whether a text is one label of a DNS name.
func DNSLabel(s string) bool { return dnsName(s) && !strings.Contains(s, ".") }

// dnsName: labels of 1 to 63 letters, digits, '-' and '_', of which the last may be
// followed by a dot, 253 bytes in all.
func dnsName(name string) bool {
	name = strings.TrimSuffix(name, ".")
	if len(name) > 253 {
		return false
	}
	for label := range strings.SplitSeq(name, ".") {
		if len(label) < 1 || len(label) > 63 || strings.ContainsFunc(label, func(r rune) bool {
			return r != '-' && r != '_' && (r < '0' || r > '9') && (r|0x20 < 'a' || r|0x20 > 'z')
		}) {
			return false
		}
	}
	return true
}

// Policy checks the form of NetworkConfig.Policy: what is in it, package policy
// knows.
func (p *Problems) Policy(text json.RawMessage) {
	switch trimmed := bytes.TrimSpace(text); {
	case text == nil:
	case len(text) > MaxPolicySize:
		p.add("network.policy", "", "is %d bytes long; at most %d are read", len(text), MaxPolicySize)
	case !json.Valid(text) || trimmed[0] != '{':
		p.add("network.policy", `{"default": "allow-all"} is one`, "is not a JSON object")
	}
}

// Forwards checks NetworkConfig.Forwards, each by itself and all together.
func (p *Problems) Forwards(forwards []Forward) {
	if len(forwards) > MaxForwards {
		p.add("network.forwards", "", "%d are too many; at most %d are possible", len(forwards), MaxForwards)
		return
	}
	type place struct {
		protocol ForwardProtocol
		host     netip.AddrPort
		path     string
	}
	places := make(map[place]int)
	for i, f := range forwards {
		field := fmt.Sprintf("network.forwards[%d]", i)
		p.Forward(field, f)
		at := place{f.Protocol, f.Host, ""}
		if f.Path != "" {
			at = place{path: filepath.Clean(f.Path)}
		} else if f.Host.Port() == 0 {
			continue
		}
		if first, taken := places[at]; taken {
			p.add(field, "", "entry %d has that place on the host", first)
			continue
		}
		places[at] = i
	}
}

// Forward checks one Forward; its fields are below field, unless that is "".
func (p *Problems) Forward(field string, f Forward) {
	at := func(name string) string { return strings.TrimPrefix(field+"."+name, ".") }
	if f.Protocol != ForwardTCP && f.Protocol != ForwardUDP {
		p.add(at("protocol"), `"tcp" and "udp" are`, "%q is not known", string(f.Protocol))
	}
	if f.Guest == 0 {
		p.add(at("guest_port"), "", "no port of the guest is given")
	}
	if f.Host.Addr().Zone() != "" {
		p.add(at("host"), "", "%v has a zone", f.Host)
	}
	if f.Path == "" {
		return
	}
	p.socketPath(at("path"), f.Path)
	if f.Host.IsValid() {
		p.add(at("host"), "leave one of them out", "the host listens at %v or at %q", f.Host, f.Path)
	}
	if f.Protocol == ForwardUDP {
		p.add(at("path"), "", "a unix socket leads to a TCP port")
	}
}
