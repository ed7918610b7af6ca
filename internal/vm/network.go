package vm

import (
	"bytes"
	"encoding/json"
	"net/netip"
	"slices"
)

// Limits of a NetworkConfig.
const (
	// MinMTU is the least MTU that IPv6 works with (RFC 8200 section 5).
	MinMTU = 1280
	// MaxMTU is the largest, as Linux's virtio driver and TCP like it best: 64 KiB
	// less what a long header takes, a multiple of 16.
	MaxMTU = 65520
	// DefaultMTU is that of Ethernet.
	DefaultMTU = 1500

	// MaxPolicySize is the longest policy, in bytes of JSON.
	MaxPolicySize = 1 << 20

	// MaxDNSServers is the largest number of name servers.
	MaxDNSServers = 8
	// MaxSearchDomains is the largest number of search domains.
	MaxSearchDomains = 32
	// MaxSearchSize is how long all of them may be together in bytes, so that they
	// fit into a router's advertisement.
	MaxSearchSize = 400
	// MaxHosts is the largest number of static names.
	MaxHosts = 4096
	// MaxHostAddrs is the largest number of addresses of one of them.
	MaxHostAddrs = 64

	// MaxForwards is the largest number of forwarded ports of a machine.
	MaxForwards = 1024
)

// NetworkMode says what is at the other end of the guest's cable.
type NetworkMode string

// The modes.
const (
	// NetworkNone: the guest has no network device.
	NetworkNone NetworkMode = ""
	// NetworkUser: the machine's own network in user space. The guest reaches what
	// this process does, through sockets of the host and as far as the policy lets
	// it. Needs no privileges and changes nothing about the host.
	NetworkUser NetworkMode = "user"
	// NetworkNAT: the network that the platform provides, as macOS does.
	NetworkNAT NetworkMode = "nat"
)

// What NetworkUser has where nothing else is said.
var (
	DefaultIPv4Prefix  = netip.MustParsePrefix("10.0.2.0/24")
	DefaultIPv6Prefix  = netip.MustParsePrefix("fd6c:6962:6361::/64")
	DefaultForwardHost = netip.MustParseAddrPort("127.0.0.1:0")
)

// NetworkConfig is the guest's network. The zero value is none. What NetworkUser does
// not share with the others is said beside it. NetworkShared has Guest, Hostname,
// Policy and Forwards in common with it.
type NetworkConfig struct {
	Mode NetworkMode
	// MAC is the address of the guest's interface, "02:00:5e:10:00:01"; "": one that
	// is made of the machine's name, or of chance if it has none.
	MAC string
	MTU int // bytes of IP packets, MinMTU to MaxMTU; 0: DefaultMTU

	// IPv4 is the network that guest and gateway are in, of at most 30 bits. Guest is
	// its 15th address, or the 2nd of networks that are too small, and Gateway the
	// 2nd, or the 1st, unless they are given.
	IPv4    netip.Prefix
	Guest   netip.Addr
	Gateway netip.Addr
	NoIPv6  bool
	IPv6    netip.Prefix // of 64 bits; the guest chooses an address, the gateway has the 2nd

	Hostname string           // that DHCP gives the guest: one DNS label; "": none
	DNS      []netip.AddrPort // name servers of the gateway's DNS; none: the host's
	Search   []string         // search domains
	Hosts    []HostName       // static names

	// Policy says what the guest may reach, as JSON (package policy has the form);
	// nil: everything but the host itself, and what only the host should reach.
	Policy json.RawMessage
	// HostAccess lets the gateway's address lead to the host's loopback, where the
	// policy allows that.
	HostAccess bool
	Forwards   []Forward // ports of the guest that the host's side reaches

	// LinkDown: the cable is not plugged in, until SetLink.
	LinkDown bool

	Cable   Cable // of NetworkFD and NetworkTAP
	Limits  NetworkLimits
	Capture Capture
}

// HostName is a static name.
type HostName struct {
	Name  string
	Addrs []netip.Addr
}

// ForwardProtocol is what a forwarded port speaks.
type ForwardProtocol string

// The protocols.
const (
	ForwardTCP ForwardProtocol = "tcp"
	ForwardUDP ForwardProtocol = "udp"
)

// Forward is a port of the guest that the host's side reaches.
type Forward struct {
	// ID tells the forwards of one machine apart. It is given, not chosen.
	ID       uint32
	Protocol ForwardProtocol
	// Host is where the host listens; port 0: any that is free. Zero: port 0 of
	// 127.0.0.1, unless there is a Path.
	Host netip.AddrPort
	// Path is that of a unix socket, in place of Host, which leads to a TCP port.
	// Nothing may be there yet; it goes with the forward.
	Path  string
	Guest uint16 // port
}

// Enabled says whether the guest has a network device.
func (c NetworkConfig) Enabled() bool { return c.Mode != NetworkNone }

func (c NetworkConfig) clone() NetworkConfig {
	c.DNS, c.Search, c.Policy = slices.Clone(c.DNS), slices.Clone(c.Search), bytes.Clone(c.Policy)
	c.Hosts, c.Forwards = slices.Clone(c.Hosts), slices.Clone(c.Forwards)
	for i := range c.Hosts {
		c.Hosts[i].Addrs = slices.Clone(c.Hosts[i].Addrs)
	}
	return c
}

// WithDefaults returns c with what was not said filled in, but for the MAC.
// Preconditions: c is valid.
func (c NetworkConfig) WithDefaults() NetworkConfig {
	c = c.clone()
	if c.MTU == 0 && c.Mode != NetworkNone {
		c.MTU = DefaultMTU
	}
	if c.Mode != NetworkUser {
		return c
	}
	c.Guest, c.Gateway = c.addresses()
	if !c.IPv4.IsValid() {
		c.IPv4 = DefaultIPv4Prefix
	}
	switch {
	case c.NoIPv6:
		c.IPv6 = netip.Prefix{}
	case !c.IPv6.IsValid():
		c.IPv6 = DefaultIPv6Prefix
	}
	for i := range c.Forwards {
		c.Forwards[i] = c.Forwards[i].WithDefaults()
	}
	return c
}

// WithDefaults returns f with the address of the host filled in.
func (f Forward) WithDefaults() Forward {
	if f.Path == "" && !f.Host.IsValid() {
		f.Host = DefaultForwardHost
	}
	return f
}

// addresses of guest and gateway.
func (c NetworkConfig) addresses() (guest, gateway netip.Addr) {
	network := c.IPv4
	if !network.IsValid() {
		network = DefaultIPv4Prefix
	}
	guest, gateway = c.Guest, c.Gateway
	nth := func(small, large int) netip.Addr {
		n := large
		if network.Bits() > 27 {
			n = small
		}
		a := network.Masked().Addr()
		for range n {
			a = a.Next()
		}
		return a
	}
	if !guest.IsValid() {
		guest = nth(2, 15)
	}
	if !gateway.IsValid() {
		gateway = nth(1, 2)
	}
	return guest, gateway
}

// Networked is a Machine whose guest can have a network. Calls are legal until the
// machine ends. Errors of their own: KindUnsupported, it has none.
type Networked interface {
	// AddForward opens a port, and returns it as it is: with its ID, and the port
	// that was chosen. Errors of its own: KindInvalidArg; KindExists, something is at
	// that address or path; KindPermission; KindLimit.
	AddForward(f Forward) (Forward, error)
	// RemoveForward closes a port. TCP connections that are established go on.
	// Errors of its own: KindNotFound.
	RemoveForward(id uint32) error
	// Forwards are those that are open, by ID.
	Forwards() ([]Forward, error)
	// SetPolicy puts another policy in force, at once: flows that it does not allow
	// end. Errors of its own: KindInvalidArg, with every problem.
	SetPolicy(policy json.RawMessage) error
	// SetLink plugs the cable in or pulls it out.
	SetLink(up bool) error
	// SetLimits changes NetworkConfig.Limits, at once.
	SetLimits(NetworkLimits) error
	// SetCapture begins to capture to a descriptor, of which the machine makes a copy,
	// and ends the capture before; the zero Capture ends it. Path is not looked at.
	// Errors of its own: KindInvalidArg.
	SetCapture(Capture) error
	// SetCable puts another descriptor in place of that of NetworkFD, or of one whose
	// other end has gone, and plugs it in. It is used as the configuration's was; the
	// machine makes a copy. Errors of its own: KindUnsupported, another mode;
	// KindInvalidArg.
	SetCable(file int) error
}

// CheckNetwork is the error of a call for the network of a machine that has none, or
// nil.
func (c Config) CheckNetwork(op string) error {
	if c.Network.Mode == NetworkUser {
		return nil
	}
	return Errorf(KindUnsupported, op, "the machine has no network of its own").WithHint("build it with one")
}
