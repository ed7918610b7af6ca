package vmtest

import (
	"cmp"
	"encoding/json"
	"maps"
	"net/netip"
	"slices"

	"github.com/stretchr/testify/require"

	"github.com/libcapsa/libcapsa/internal/vm"
)

// network is the network of a fake machine: its forwards exist on paper.
type network struct {
	last     uint32
	forwards map[uint32]vm.Forward
	policy   json.RawMessage
	link     bool
	limits   vm.NetworkLimits
	capture  vm.Capture
}

// firstPort is the first port that a fake machine chooses.
const firstPort = 40000

func (n *network) init(cfg vm.NetworkConfig) {
	n.forwards = map[uint32]vm.Forward{}
	n.policy, n.link = cfg.Policy, cfg.Enabled() && !cfg.LinkDown
	for _, f := range cfg.Forwards {
		n.add(f)
	}
}

func (n *network) add(f vm.Forward) vm.Forward {
	n.last++
	f = f.WithDefaults()
	f.ID = n.last
	if f.Host.IsValid() && f.Host.Port() == 0 {
		f.Host = netip.AddrPortFrom(f.Host.Addr(), uint16(firstPort+n.last))
	}
	n.forwards[f.ID] = f
	return f
}

var _ vm.Networked = (*machine)(nil)

// onNetwork makes a call that needs a network.
func (m *machine) onNetwork(op string, call func(n *network) error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.check(op, vm.StateStopped); err != nil {
		return err
	}
	if err := m.cfg.CheckNetwork(op); err != nil {
		return err
	}
	return call(&m.network)
}

func (m *machine) AddForward(f vm.Forward) (open vm.Forward, err error) {
	err = m.onNetwork("add forward", func(n *network) error {
		var p vm.Problems
		p.Forward("", f)
		if err := p.Err(vm.KindInvalidArg, "add forward"); err != nil {
			return err
		}
		if m.fake.ForwardErr != nil {
			return m.fake.ForwardErr
		}
		for _, other := range n.forwards {
			if f.Path != "" && f.Path == other.Path || f.Host.Port() != 0 && f.Host == other.Host && f.Protocol == other.Protocol {
				return vm.Errorf(vm.KindExists, "add forward", "forward %d is there", other.ID)
			}
		}
		open = n.add(f)
		return nil
	})
	return open, err
}

func (m *machine) RemoveForward(id uint32) error {
	return m.onNetwork("remove forward", func(n *network) error {
		if _, there := n.forwards[id]; !there {
			return vm.Errorf(vm.KindNotFound, "remove forward", "there is no forward %d", id)
		}
		delete(n.forwards, id)
		return nil
	})
}

func (m *machine) Forwards() (list []vm.Forward, err error) {
	err = m.onNetwork("forwards", func(n *network) error {
		list = slices.SortedFunc(maps.Values(n.forwards), func(a, b vm.Forward) int { return cmp.Compare(a.ID, b.ID) })
		return nil
	})
	return list, err
}

func (m *machine) SetPolicy(policy json.RawMessage) error {
	return m.onNetwork("set policy", func(n *network) error {
		var p vm.Problems
		p.Policy(policy)
		if err := p.Err(vm.KindInvalidArg, "set policy"); err != nil {
			return err
		}
		n.policy = policy
		return nil
	})
}

func (m *machine) SetLink(up bool) error {
	return m.onCable("set link", func(n *network) error { n.link = up; return nil })
}

// onCable makes a call that needs a network device.
func (m *machine) onCable(op string, call func(n *network) error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.check(op, vm.StateStopped); err != nil {
		return err
	}
	if err := m.cfg.CheckCable(op); err != nil {
		return err
	}
	return call(&m.network)
}

func (m *machine) SetLimits(l vm.NetworkLimits) error {
	return m.onCable("set limits", func(n *network) error { n.limits = l; return nil })
}

func (m *machine) SetCapture(c vm.Capture) error {
	return m.onCable("set capture", func(n *network) error {
		var p vm.Problems
		p.Capture("", c)
		n.capture = c
		return p.Err(vm.KindInvalidArg, "set capture")
	})
}

func (m *machine) SetCable(int) error {
	return m.onCable("set cable", func(n *network) error {
		if m.cfg.Network.Mode != vm.NetworkFD {
			return vm.Errorf(vm.KindUnsupported, "set cable", "the machine's network is no descriptor")
		}
		n.link = true
		return nil
	})
}

// networked is the machine's network.
func (r *run) networked() vm.Networked {
	r.Helper()
	m, ok := r.m.(vm.Networked)
	require.True(r, ok, "%T has no network", r.m)
	return m
}

// everyNetworkCall makes every call of vm.Networked.
func everyNetworkCall(m vm.Networked) map[string]error {
	_, add := m.AddForward(vm.Forward{Protocol: vm.ForwardTCP, Guest: 80})
	_, list := m.Forwards()
	return map[string]error{
		"add forward": add, "remove forward": m.RemoveForward(1), "forwards": list,
		"set policy": m.SetPolicy(nil), "set link": m.SetLink(true), "set limits": m.SetLimits(vm.NetworkLimits{}),
		"set capture": m.SetCapture(vm.Capture{}), "set cable": m.SetCable(3),
	}
}

// hasNetwork says whether the backend under test can give a machine one.
func (r *run) hasNetwork() bool {
	r.Helper()
	return r.has(vm.FeatureNetwork)
}

// testNetwork: forwards come and go, before the start as well; what cannot be changes
// nothing.
func testNetwork(r *run) {
	if !r.hasNetwork() {
		r.Skip("the backend under test has no network")
	}
	r.cfg.Network = vm.NetworkConfig{Mode: vm.NetworkUser, Forwards: []vm.Forward{
		{Protocol: vm.ForwardTCP, Guest: 22}, {Protocol: vm.ForwardUDP, Guest: 53},
	}}
	other := r.another()
	m := other.networked()
	list, err := m.Forwards()
	require.NoError(r, err)
	require.Len(r, list, 2)
	for i, f := range list {
		require.Equal(r, vm.Forward{ID: uint32(i + 1), Protocol: r.cfg.Network.Forwards[i].Protocol, Host: f.Host,
			Guest: r.cfg.Network.Forwards[i].Guest}, f)
		require.Equal(r, "127.0.0.1", f.Host.Addr().String())
		require.NotZero(r, f.Host.Port(), "one was chosen")
	}
	added, err := m.AddForward(vm.Forward{Protocol: vm.ForwardTCP, Guest: 80})
	require.NoError(r, err)
	require.NotZero(r, added.Host.Port())
	other.start()
	_, err = m.AddForward(vm.Forward{Protocol: vm.ForwardTCP, Host: added.Host, Guest: 81})
	r.refused(vm.KindExists, "a port that is taken", err)
	_, err = m.AddForward(vm.Forward{Protocol: "sctp"})
	r.refused(vm.KindInvalidArg, "nonsense", err)
	require.NoError(r, m.RemoveForward(added.ID))
	r.refused(vm.KindNotFound, "a forward that is gone", m.RemoveForward(added.ID))
	again, err := m.AddForward(vm.Forward{Protocol: vm.ForwardTCP, Host: added.Host, Guest: 80})
	require.NoError(r, err, "the port is free again")
	require.Greater(r, again.ID, added.ID)
	require.NoError(r, m.SetPolicy(json.RawMessage(`{"default": "deny-all"}`)))
	r.refused(vm.KindInvalidArg, "a policy that is none", m.SetPolicy(json.RawMessage(`[]`)))
	require.NoError(r, other.m.Pause())
	require.NoError(r, m.SetLink(false))
	require.False(r, netStats(other).Link)
	require.NoError(r, m.SetLink(true))
	require.True(r, netStats(other).Link)
	other.kill(vm.CauseKilled)
	for what, err := range everyNetworkCall(m) {
		r.refused(vm.KindState, what+" after the end", err)
	}
	require.NoError(r, other.m.Close())
	for what, err := range everyNetworkCall(m) {
		r.refused(vm.KindClosed, what+" after close", err)
	}
}

// netStats are the counters of a machine's network device.
func netStats(r *run) vm.NetStats {
	r.Helper()
	for _, d := range r.m.Stats().Devices {
		if d.Net != nil {
			return *d.Net
		}
	}
	require.Fail(r, "no network device is counted")
	return vm.NetStats{}
}

// testPlatformNetwork: what a backend lacks it says by name, and never gives another.
func testPlatformNetwork(r *run) {
	caps, err := r.suite.backend.Capabilities()
	require.NoError(r, err)
	cfg := r.cfg.Clone()
	cfg.Network.Mode = vm.NetworkNAT
	require.Contains(r, cfg.Needs(), vm.FeatureNetworkNAT)
	if !caps.Has(vm.FeatureNetworkNAT) {
		m, err := r.suite.backend.New(cfg, vm.Host{})
		require.Nil(r, m)
		r.refused(vm.KindUnsupported, "the platform's network", err)
		require.ErrorContains(r, err, "network-nat")
	}
}

// testNoNetwork: every call on a machine without a network says so.
func testNoNetwork(r *run) {
	if !r.hasNetwork() {
		r.Skip("the backend under test has no network")
	}
	r.start()
	for what, err := range everyNetworkCall(r.networked()) {
		r.refused(vm.KindUnsupported, what, err)
	}
}
