package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"net/netip"
	"sync"
	"time"

	"github.com/libcapsa/libcapsa/internal/net/dhcp"
	"github.com/libcapsa/libcapsa/internal/net/dhcp6"
	"github.com/libcapsa/libcapsa/internal/net/dns"
	"github.com/libcapsa/libcapsa/internal/net/ether"
	"github.com/libcapsa/libcapsa/internal/net/frame"
	"github.com/libcapsa/libcapsa/internal/net/link"
	"github.com/libcapsa/libcapsa/internal/net/nat"
	"github.com/libcapsa/libcapsa/internal/net/ndp"
	"github.com/libcapsa/libcapsa/internal/net/policy"
	"github.com/libcapsa/libcapsa/internal/net/shaper"
	"github.com/libcapsa/libcapsa/internal/safe"
	"github.com/libcapsa/libcapsa/internal/vm"
)

// component is what errors and events of this package are about.
const component = "network"

// MAC is the address of gateways, of nobody's registry; a guest that has it finds the
// other one.
var (
	MAC   = ether.MAC{0xca, 0x95, 0xa0, 0, 0, 1}
	other = ether.MAC{0xca, 0x95, 0xa0, 0, 0, 2}
)

// Config is what a gateway is made from.
type Config struct {
	Network vm.NetworkConfig // of vm.NetworkUser, valid, with its defaults
	MAC     [6]byte          // of the guest's interface
	// NoNAT: nothing leaves the network but through forwarded ports; what the policy says
	// is for machines of the network (Judge).
	NoNAT bool
	// Names and Reverse are those of dns.Config: other machines of the network.
	Names   func(name string) ([]netip.Addr, bool)
	Reverse func(addr netip.Addr) (string, bool)
	// Event is told of ports that are bound and of flows and names that the policy
	// refuses; nil: nobody is. It must not block.
	Event func(vm.Event)
}

// Gateway is the network of one machine.
type Gateway struct {
	cfg     vm.NetworkConfig
	guest   ether.MAC
	mac     ether.MAC
	event   func(vm.Event)
	names   func(name string) ([]netip.Addr, bool)
	reverse func(addr netip.Addr) (string, bool)
	policy  *policy.Engine // of the machine
	beyond  *policy.Engine // of what leaves the network: policy, or nothing
	engine  *nat.Engine
	dhcp    *dhcp.Server
	dhcp6   *dhcp6.Server // nil without IPv6
	router  *ndp.Router   // nil without IPv6
	dns     *dns.Proxy
	watch   *watch
	denied  limiter
	opens   *shaper.Shaper // new flows of the guest
	ipv6    probe

	resolvers chan struct{} // a token for each connection to the DNS

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	tasks  sync.WaitGroup // Add while closed is false, under mu

	swapping sync.Mutex // serialises SetPolicy

	mu       sync.Mutex
	closed   bool                // guarded by mu
	lastID   uint32              // of a forward; guarded by mu
	forwards map[uint32]*forward // guarded by mu
	timer    *time.Timer         // of router advertisements, while a guest is attached; guarded by mu
}

var _ link.Host = (*Gateway)(nil)

// New makes a machine's network, with the ports of its configuration bound. The
// error, an *vm.Error, tells of all ports that cannot be bound.
func New(cfg Config) (_ *Gateway, err error) {
	g := &Gateway{
		cfg: cfg.Network, guest: cfg.MAC, mac: MAC, event: cfg.Event, names: cfg.Names, reverse: cfg.Reverse,
		forwards: map[uint32]*forward{}, resolvers: make(chan struct{}, maxResolvers),
		opens: shaper.New(connections(cfg.Network.Limits), nil),
	}
	if g.guest == g.mac {
		g.mac = other
	}
	g.ctx, g.cancel = context.WithCancel(context.Background())
	defer func() {
		if err != nil {
			_ = g.Close() // the error that led here says more
		}
	}()
	if cfg.NoNAT {
		if g.beyond, err = policy.Compile(policy.Policy{Default: policy.DenyAll}); err != nil {
			return nil, vm.Errorf(vm.KindInternal, "network policy", "%w", err)
		}
	}
	for _, step := range []func() error{g.makePolicy, g.makeServices, g.makeEngine, g.bindAll} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	return g, nil
}

// connections are the limits that are an engine's business; the others are a device's.
func connections(l vm.NetworkLimits) shaper.Limits {
	return shaper.Limits{Connections: shaper.Rate{PerSecond: l.ConnectionsPerSec, Burst: l.ConnectionsBurst}}
}

// SetLimits changes how many flows the guest may open in a second.
func (g *Gateway) SetLimits(l vm.NetworkLimits) { g.opens.Set(connections(l)) }

// makePolicy also begins to watch the host's addresses.
func (g *Gateway) makePolicy() error {
	const op = "network policy"
	parsed, problems := ParsePolicy("network.policy", g.cfg.Policy)
	if err := problems.Err(vm.KindConfig, op); err != nil {
		return err
	}
	var err error
	if g.policy, err = policy.Compile(parsed); err != nil {
		return vm.Errorf(vm.KindInternal, op, "%w", err)
	}
	if g.beyond == nil {
		g.beyond = g.policy
	}
	if g.watch, err = watchHost(g.hostChanged); err != nil {
		return hostError("watch the host's addresses", err)
	}
	return nil
}

// hintFiles is what a person can do where there are no descriptors left.
const hintFiles = "raise the limit of open files (ulimit -n)"

// hostError is the error of something that the host does not give.
func hostError(op string, err error) error {
	e := vm.Errorf(vm.KindOf(err), op, "%w", err).WithComponent(component)
	if e.Kind == vm.KindLimit {
		return e.WithHint(hintFiles)
	}
	return e
}

// hostChanged tells the policy what the host's addresses are now.
func (g *Gateway) hostChanged(addrs []netip.Prefix) {
	g.policy.SetEnv(policy.Env{Host: addrs})
	g.mu.Lock()
	engine := g.engine
	g.mu.Unlock()
	if engine != nil {
		engine.Reevaluate()
	}
}

func (g *Gateway) makeServices() error {
	const op = "network services"
	var err error
	c := &g.cfg
	gateways := []netip.Addr{c.Gateway}
	if g.dhcp, err = dhcp.New(dhcp.Config{
		Network: c.IPv4.Masked(), Server: c.Gateway, Router: c.Gateway, DNS: gateways, Search: c.Search, MTU: c.MTU,
		Reservations: map[ether.MAC]dhcp.Reservation{g.guest: {Addr: c.Guest, Hostname: c.Hostname}},
	}); err != nil {
		return vm.Errorf(vm.KindConfig, op, "%w", err)
	}
	if c.IPv6.IsValid() {
		gateways = append(gateways, g.gateway6())
		if err := g.makeIPv6(); err != nil {
			return vm.Errorf(vm.KindConfig, op, "%w", err)
		}
	}
	hosts := make(map[string][]netip.Addr, len(c.Hosts))
	for _, h := range c.Hosts {
		hosts[h.Name] = h.Addrs
	}
	if g.dns, err = dns.New(dns.Config{
		Policy: g.beyond, Servers: c.DNS, Host: gateways, Hosts: hosts, IPv6: g.ipv6.ok, Observe: g.resolved,
		Names: g.names, Reverse: g.reverse,
	}); err != nil {
		return vm.Errorf(vm.KindConfig, op, "%w", err)
	}
	return nil
}

func (g *Gateway) makeIPv6() (err error) {
	c := &g.cfg
	servers := []netip.Addr{g.gateway6()}
	if g.dhcp6, err = dhcp6.New(dhcp6.Config{MAC: g.mac, DNS: servers, Search: c.Search}); err != nil {
		return err
	}
	g.router, err = ndp.New(ndp.Config{
		MAC: g.mac, LinkLocal: linkLocal(g.mac), Prefix: c.IPv6.Masked(), Lifetime: ndp.MaxLifetime, MTU: c.MTU, HopLimit: 64,
		DNS: servers, Search: c.Search, Other: true, Lookup: g.owner,
	})
	return err
}

// gateway6 is the 2nd address of the prefix.
func (g *Gateway) gateway6() netip.Addr { return g.cfg.IPv6.Masked().Addr().Next().Next() }

// linkLocal is the address in fe80::/64 of an interface (RFC 4291 appendix A), as
// package nat has it.
func linkLocal(m ether.MAC) netip.Addr {
	return netip.AddrFrom16([16]byte{0xfe, 0x80, 8: m[0] ^ 2, m[1], m[2], 0xff, 0xfe, m[3], m[4], m[5]})
}

func (g *Gateway) makeEngine() error {
	c := &g.cfg
	cfg := nat.Config{
		GatewayMAC: frame.MAC(g.mac), GuestMAC: frame.MAC(g.guest), Gateway4: c.Gateway,
		Guest4: netip.PrefixFrom(c.Guest, c.IPv4.Bits()), MTU: c.MTU,
		Policy: g.beyond, HostAccess: c.HostAccess, Observe: g.observe, Admit: func() bool { return g.opens.Connect() == 0 },
		Services: nat.Services{DHCP4: g.serveDHCP, DNS: g.serveDNS, DNSConn: g.serveDNSConn, Neighbor: g.serveNeighbor},
	}
	if parsed, _ := ParsePolicy("", c.Policy); byName(parsed) {
		cfg.InterceptDNS = true
	}
	if c.IPv6.IsValid() {
		cfg.Gateway6, cfg.Prefix6 = g.gateway6(), c.IPv6.Masked()
		cfg.Services.DHCP6 = g.serveDHCP6
	}
	engine, err := nat.New(cfg)
	if err != nil {
		return hostError("network", err)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.engine = engine
	return nil
}

// SetPolicy puts another policy in force: nil is as in vm.NetworkConfig. Flows that it
// does not allow end. The error, of vm.KindInvalidArg, has every problem.
func (g *Gateway) SetPolicy(text json.RawMessage) error {
	const op = "set policy"
	parsed, problems := ParsePolicy("", text)
	if err := problems.Err(vm.KindInvalidArg, op); err != nil {
		return err
	}
	g.swapping.Lock()
	defer g.swapping.Unlock()
	names := byName(parsed)
	if names { // before the policy, or a name could be resolved elsewhere
		g.engine.SetInterceptDNS(true)
	}
	if err := g.policy.Swap(parsed); err != nil {
		return vm.Errorf(vm.KindInternal, op, "%w", err)
	}
	g.engine.SetInterceptDNS(names)
	g.engine.Reevaluate()
	return nil
}

// Attach implements link.Host.
func (g *Gateway) Attach(guest link.Guest, offloads link.Offloads) {
	g.engine.Attach(guest, offloads)
	g.advertise()
}

// Detach implements link.Host.
func (g *Gateway) Detach() {
	g.hush()
	g.engine.Detach()
}

// Send implements link.Host.
func (g *Gateway) Send(frames []link.Frame) { g.engine.Send(frames) }

// Room implements link.Host.
func (g *Gateway) Room() { g.engine.Room() }

// start runs a goroutine that Close joins, unless the gateway is closed.
func (g *Gateway) start(name string, fn func()) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return false
	}
	g.tasks.Add(1)
	safe.Go(name, nil, func() {
		defer g.tasks.Done()
		fn()
	})
	return true
}

// Close ends everything and returns when nothing is left: no goroutine, no socket.
// Idempotent. Preconditions: the device is closed.
func (g *Gateway) Close() error {
	g.mu.Lock()
	g.closed = true
	g.mu.Unlock()
	g.hush()
	g.cancel()
	var errs []error
	if g.watch != nil {
		errs = append(errs, g.watch.close())
	}
	if g.engine != nil {
		errs = append(errs, g.engine.Close())
	}
	if g.dns != nil {
		errs = append(errs, g.dns.Close())
	}
	g.tasks.Wait()
	return errors.Join(errs...)
}
