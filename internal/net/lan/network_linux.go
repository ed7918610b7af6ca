package lan

import (
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"

	"github.com/libcapsa/libcapsa/internal/net/ether"
	"github.com/libcapsa/libcapsa/internal/net/gateway"
	"github.com/libcapsa/libcapsa/internal/vm"
)

// Network is a network of several machines. It has no resources of its own: they are
// those of its ports.
type Network struct {
	cfg   Config
	base  vm.NetworkConfig // of gateways, with its defaults
	flows flows

	mu     sync.RWMutex
	closed bool                // guarded by mu
	macs   map[ether.MAC]*Port // guarded by mu
	addrs  map[netip.Addr]*Port
	names  map[string]*Port // in lower case; guarded by mu, like addrs
}

// New makes a network. Errors: vm.KindInvalidArg, with every problem.
func New(cfg Config) (*Network, error) {
	if err := cfg.Validate("new network"); err != nil {
		return nil, err
	}
	n := &Network{
		cfg: cfg, base: cfg.network().WithDefaults(),
		macs: map[ether.MAC]*Port{}, addrs: map[netip.Addr]*Port{}, names: map[string]*Port{},
	}
	n.flows.init()
	return n, nil
}

// Close lets no more machines join. Those that are there stay.
func (n *Network) Close() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.closed = true
}

// Join makes a port for a machine. Close it when the machine is gone. Errors:
// vm.KindExists (a name or an address is taken), vm.KindLimit, vm.KindState, those of the
// policy and of forwards.
func (n *Network) Join(cfg PortConfig) (*Port, error) {
	p, err := n.reserve(cfg)
	if err != nil {
		return nil, err
	}
	own := n.base
	own.Guest, own.Hostname, own.MAC = p.ip, cfg.Name, p.MAC()
	own.Policy, own.Forwards, own.Limits = cfg.Policy, cfg.Forwards, cfg.Limits
	g, err := gateway.New(gateway.Config{
		Network: own, MAC: p.mac, Event: cfg.Event, NoNAT: n.cfg.NoNAT, Names: n.lookup, Reverse: n.reverse,
	})
	if err != nil {
		n.leave(p)
		return nil, err
	}
	p.gateway = g
	p.ready.Store(true)
	return p, nil
}

// reserve makes a port that has its addresses and its name.
func (n *Network) reserve(cfg PortConfig) (*Port, error) {
	const op = "join network"
	n.mu.Lock()
	defer n.mu.Unlock()
	refuse := func(kind vm.Kind, format string, a ...any) (*Port, error) {
		return nil, vm.Errorf(kind, op, format, a...).WithComponent(component)
	}
	if n.closed {
		return refuse(vm.KindState, "the network is closed")
	}
	if len(n.macs) >= MaxPorts {
		return refuse(vm.KindLimit, "%d machines are there already", MaxPorts)
	}
	p := newPort(n, strings.ToLower(cfg.Name))
	if _, taken := n.names[p.name]; taken && p.name != "" {
		return refuse(vm.KindExists, "a machine with the name %q is there", cfg.Name)
	}
	if err := n.chooseMAC(p, cfg.MAC); err != nil {
		return refuse(vm.KindExists, "%w", err)
	}
	if err := n.chooseAddr(p, cfg.Guest); err != nil {
		return refuse(vm.KindOf(err), "%w", err)
	}
	n.macs[p.mac], n.addrs[p.ip] = p, p
	if p.name != "" {
		n.names[p.name] = p
	}
	if n.base.IPv6.IsValid() { // nobody else's, whoever is first to use them
		n.addrs[interfaceAddr(n.base.IPv6, p.mac)] = p
		n.addrs[interfaceAddr(linkLocal, p.mac)] = p
	}
	return p, nil
}

// chooseMAC gives a port its address. Preconditions: mu is held.
func (n *Network) chooseMAC(p *Port, given string) error {
	if a, err := net.ParseMAC(given); err == nil && len(a) == 6 {
		p.mac = ether.MAC(a)
		if _, taken := n.macs[p.mac]; taken || gateway.MAC == p.mac {
			return fmt.Errorf("a machine with the address %v is there", given)
		}
		return nil
	}
	for seed := p.name; ; seed = rand.Text() {
		if seed == "" {
			continue
		}
		sum := sha256.Sum256([]byte("capsa network " + seed))
		p.mac = ether.MAC(sum[:6])
		p.mac[0] = p.mac[0]&^1 | 2 // of one station, and of nobody's registry
		if _, taken := n.macs[p.mac]; !taken && p.mac != gateway.MAC {
			return nil
		}
	}
}

// firstHost is which address of a network the first machine gets, as alone.
const firstHost = 15

// chooseAddr gives a port its IPv4 address. Preconditions: mu is held.
func (n *Network) chooseAddr(p *Port, given netip.Addr) error {
	network := n.base.IPv4.Masked()
	free := func(a netip.Addr) bool {
		_, taken := n.addrs[a]
		return !taken && a != n.base.Gateway && network.Contains(a) && network.Contains(a.Next()) && a != network.Addr()
	}
	if given.IsValid() {
		if !network.Contains(given) || !free(given) {
			kind := vm.KindExists
			if !network.Contains(given) || given == network.Addr() || !network.Contains(given.Next()) {
				kind = vm.KindInvalidArg
			}
			return vm.Errorf(kind, "join network", "%v is not free in %v", given, network)
		}
		p.ip = given
		return nil
	}
	a := network.Addr()
	for i := 0; i < firstHost && network.Bits() <= 27; i++ {
		a = a.Next()
	}
	for range 2 * (MaxPorts + firstHost) {
		if free(a) {
			p.ip = a
			return nil
		}
		if a = a.Next(); !network.Contains(a) {
			a = network.Addr()
		}
	}
	return vm.Errorf(vm.KindLimit, "join network", "no address of %v is free", network)
}

// leave forgets a port.
func (n *Network) leave(p *Port) {
	n.mu.Lock()
	delete(n.macs, p.mac)
	if n.names[p.name] == p {
		delete(n.names, p.name)
	}
	for a, q := range n.addrs {
		if q == p {
			delete(n.addrs, a)
		}
	}
	n.mu.Unlock()
	n.flows.forget(p)
}

// lookup is the addresses of a machine by its name, with or without the domain.
func (n *Network) lookup(name string) ([]netip.Addr, bool) {
	label := strings.TrimSuffix(name, "."+Zone)
	if n.cfg.Domain != "" && label == name {
		label = strings.TrimSuffix(name, "."+strings.ToLower(strings.TrimSuffix(n.cfg.Domain, ".")))
	}
	n.mu.RLock()
	defer n.mu.RUnlock()
	p := n.names[label]
	if p == nil || label == "" {
		return nil, false
	}
	out := []netip.Addr{p.ip}
	for _, a := range p.learned {
		if n.base.IPv6.Contains(a) {
			out = append(out, a)
		}
	}
	return out, true
}

// reverse is the name of a machine by an address.
func (n *Network) reverse(a netip.Addr) (string, bool) {
	n.mu.RLock()
	defer n.mu.RUnlock()
	p := n.addrs[a]
	if p == nil || p.name == "" {
		return "", false
	}
	domain := n.cfg.Domain
	if domain == "" {
		domain = Zone
	}
	return p.name + "." + strings.TrimSuffix(domain, "."), true
}

// gatewayLocal is the gateway's link-local address.
var gatewayLocal = interfaceAddr(linkLocal, gateway.MAC)

var linkLocal = netip.MustParsePrefix("fe80::/64")

// interfaceAddr is the address in a network of 64 bits that follows from that of an
// interface (RFC 4291 appendix A).
func interfaceAddr(network netip.Prefix, m ether.MAC) netip.Addr {
	a := network.Masked().Addr().As16()
	copy(a[8:], []byte{m[0] ^ 2, m[1], m[2], 0xff, 0xfe, m[3], m[4], m[5]})
	return netip.AddrFrom16(a)
}
