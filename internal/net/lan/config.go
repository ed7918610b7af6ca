package lan

import (
	"encoding/json"
	"net/netip"

	"github.com/libcapsa/libcapsa/internal/vm"
)

// component is what errors of this package are about.
const component = "network"

// Zone is the domain of machines' names where none is given.
const Zone = "capsa.internal"

// MaxPorts is how many machines a network has at most.
const MaxPorts = 1024

// Config is what a network is made from. Zero fields are as in vm.NetworkConfig.
type Config struct {
	IPv4    netip.Prefix // that all machines and the gateway are in
	Gateway netip.Addr
	NoIPv6  bool
	IPv6    netip.Prefix
	MTU     int
	Domain  string // of the machines' names, besides Zone, and the first search domain
	DNS     []netip.AddrPort
	Search  []string
	Hosts   []vm.HostName

	NoNAT      bool // nothing leaves the network
	HostAccess bool
	Isolated   bool // machines do not reach each other
	Broadcast  bool // broadcasts and multicasts of machines reach the others, so many in a second
}

// network is the configuration of each machine's gateway, but for what is its own.
func (c *Config) network() vm.NetworkConfig {
	n := vm.NetworkConfig{
		Mode: vm.NetworkUser, MTU: c.MTU, IPv4: c.IPv4, Gateway: c.Gateway, NoIPv6: c.NoIPv6, IPv6: c.IPv6,
		DNS: c.DNS, Hosts: c.Hosts, HostAccess: c.HostAccess,
	}
	if c.Domain != "" {
		n.Search = append(n.Search, c.Domain)
	} else {
		n.Search = append(n.Search, Zone)
	}
	n.Search = append(n.Search, c.Search...)
	return n
}

// Validate finds everything that is wrong with a configuration: an *vm.Error of
// vm.KindInvalidArg.
func (c *Config) Validate(op string) error {
	var p vm.Problems
	p.Network(c.network())
	if c.NoNAT && c.HostAccess {
		p = append(p, vm.Problem{Field: "network.host_access", Message: "there is no NAT, through which the host would be reached"})
	}
	return p.Err(vm.KindInvalidArg, op)
}

// PortConfig is one machine's part.
type PortConfig struct {
	Name  string     // in DNS: one label; "": none
	MAC   string     // of its interface; "": one that is made of the name, or of chance
	Guest netip.Addr // static IPv4 address; zero: any that is free

	Policy   json.RawMessage
	Forwards []vm.Forward
	Limits   vm.NetworkLimits
	Event    func(vm.Event)
}
