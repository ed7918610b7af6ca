package capsa

import (
	"encoding/json"
	"net"
	"os"

	"github.com/libcapsa/libcapsa/internal/net/lan"
	"github.com/libcapsa/libcapsa/internal/vm"
)

// Network is a network of several machines, in user space like that of one: a switch, and
// a gateway with DHCP, DNS and NAT that each machine has to itself, with its policy, its
// forwarded ports and its limits. Machines find each other by name: "web", or
// "web.capsa.internal".
//
// A flow between two machines needs the leave of both: of the policy of the one that
// opens it, and of the inbound rules of the other's.
//
// It has no resources of its own. It lasts as long as there are machines on it, also
// after Close.
type Network struct{ lan *lan.Network }

// NewNetwork makes a network. Errors: KindInvalidArg with every problem, KindUnsupported.
func NewNetwork(c SharedConfig) (*Network, error) {
	n, err := lan.New(c)
	if err != nil {
		return nil, err
	}
	return &Network{lan: n}, nil
}

// Close lets no more machines on the network: Build is then of KindState. Idempotent.
func (n *Network) Close() { n.lan.Close() }

// Attach puts the guest on a network of several machines. Of c count MAC, LinkDown,
// Guest (a static address of the network; else DHCP gives any that is free) and Hostname:
// the machine's name in DNS, which is the builder's name if that can be one, and of no
// other machine. Policy and forwards stay as they are. Errors of Build: KindExists (a
// name or an address is taken), KindLimit (no address is free), KindState (the network is
// closed), those of forwards.
func (b *Builder) Attach(n *Network, c NetworkConfig) error {
	next := NetworkConfig{
		Mode: NetworkShared, MAC: c.MAC, LinkDown: c.LinkDown, Guest: c.Guest, Hostname: c.Hostname,
	}
	return b.set("attach", func(p *vm.Problems) {
		p.Network(next)
		if n == nil {
			*p = append(*p, vm.Problem{Field: "network", Message: "there is none"})
		}
	}, func(cfg *vm.Config) {
		old := cfg.Network
		next.Policy, next.Forwards = old.Policy, old.Forwards
		next.Limits, next.Capture = old.Limits, old.Capture
		cfg.Network, b.network = next, n
	})
}

// port is a machine's place in a network, with what leads to it.
type port struct {
	*lan.Port
	remote *lan.Remote // of a machine in a process of its own, else nil
}

// Forwards are as in vm.Networked.
func (p port) Forwards() ([]vm.Forward, error) { return p.Port.Forwards(), nil }

// SetPolicy is as in vm.Networked.
func (p port) SetPolicy(text json.RawMessage) error { return p.Port.SetPolicy(text) }

// joinNetwork makes what is at the other end of the guest's cable, as far as that is not
// the backend's business. unplug is to be called once the machine is made.
func (v *VM) joinNetwork(cfg *vm.Config, host *vm.Host, network *Network) (unplug func(), err error) {
	c := &cfg.Network
	if c.Mode != NetworkShared {
		tap, err := lan.Prepare("attach", c)
		return func() { closeFile(tap) }, err
	}
	if network == nil {
		return nil, vm.Errorf(vm.KindConfig, "build", "no network is attached").WithHint("attach one, which the JSON form cannot name")
	}
	name := c.Hostname
	if name == "" && vm.DNSLabel(cfg.Name) {
		name = cfg.Name
	}
	p, err := network.lan.Join(lan.PortConfig{
		Name: name, MAC: c.MAC, Guest: c.Guest, Policy: c.Policy, Forwards: c.Forwards, Limits: c.Limits, Event: host.Event,
	})
	if err != nil {
		return nil, err
	}
	v.port = &port{Port: p}
	c.MAC, c.MTU = p.MAC(), p.MTU()
	c.Policy, c.Forwards = nil, nil // are the port's
	c.Limits.ConnectionsPerSec, c.Limits.ConnectionsBurst = 0, 0
	if cfg.Isolation != IsolationProcess {
		host.Port = p
		return func() {}, nil
	}
	file, remote, err := p.Plug()
	if err != nil {
		return nil, err
	}
	v.port.remote = remote
	c.Cable = vm.Cable{File: int(file.Fd()), Framing: vm.FramingDatagram, Header: true}
	return func() { closeFile(file) }, nil
}

func closeFile(f *os.File) {
	if f != nil {
		_ = f.Close()
	}
}

// leaveNetwork gives up the machine's place in a network. Preconditions: the machine is
// closed, or was not made.
func (v *VM) leaveNetwork() {
	if v.port == nil {
		return
	}
	if v.port.remote != nil {
		v.port.remote.Close()
	}
	_ = v.port.Close() // what it opened is the host's own
}

// countPort adds to the counters of the network device those of the machine's place in a
// network.
func (v *VM) countPort(s *Stats) {
	if v.port == nil {
		return
	}
	for i := range s.Devices {
		d := s.Devices[i].Net
		if d == nil {
			continue
		}
		n := v.port.Stats()
		n.Link, n.MAC, n.FramesIn, n.FramesOut = d.Link, d.MAC, d.FramesIn, d.FramesOut
		n.DroppedIn, n.DroppedOut = d.DroppedIn, n.DroppedOut+d.DroppedOut
		s.Devices[i].Net = &n
	}
}

// Addr is the guest's IPv4 address in a network of several machines; nil elsewhere.
func (v *VM) Addr() net.IP {
	if v.port == nil {
		return nil
	}
	return v.port.Addr().AsSlice()
}
