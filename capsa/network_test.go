package capsa_test

import (
	"encoding/json"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/libcapsa/libcapsa/capsa"
	"github.com/libcapsa/libcapsa/internal/vm"
	"github.com/libcapsa/libcapsa/internal/vmtest"
)

// networkBuilder is a builder for fake machines with a network.
func networkBuilder(t *testing.T) *capsa.Builder {
	t.Helper()
	vmtest.CheckLeaks(t)
	b := capsa.NewBuilder()
	b.UseBackend(vmtest.NewFake())
	require.NoError(t, b.SetKernel(vmtest.KernelSpin))
	require.NoError(t, b.SetNetwork(capsa.NetworkConfig{Mode: capsa.NetworkUser}))
	return b
}

func TestBuilderNetwork(t *testing.T) {
	t.Parallel()
	b := capsa.NewBuilder()
	forward := capsa.Forward{Protocol: capsa.ForwardTCP, Guest: 80}
	require.NoError(t, b.AddForward(forward))
	require.NoError(t, b.SetPolicy(capsa.Policy{Default: "deny-all", Rules: []capsa.PolicyRule{
		{Action: "allow", Match: capsa.PolicyMatch{Ports: []capsa.PolicyPorts{{First: 80, Last: 80}}}},
	}}))
	require.NoError(t, b.SetNetwork(capsa.NetworkConfig{Mode: capsa.NetworkUser, MTU: 9000}), "policy and forwards stay")
	cfg := b.Config().Network
	require.Equal(t, []capsa.Forward{forward}, cfg.Forwards)
	require.JSONEq(t, `{"default": "deny-all", "rules": [{"action": "allow", "ports": [80]}]}`, string(cfg.Policy))
	require.Equal(t, 9000, cfg.MTU)

	refused(t, vm.KindInvalidArg, b.SetNetwork(capsa.NetworkConfig{Mode: "some"}))
	refused(t, vm.KindInvalidArg, b.SetNetwork(capsa.NetworkConfig{Mode: capsa.NetworkUser, Policy: json.RawMessage(`{"default": "x"}`)}))
	refused(t, vm.KindInvalidArg, b.SetPolicy(capsa.Policy{}))
	refused(t, vm.KindInvalidArg, b.SetPolicyJSON([]byte(`{"default": "allow-all", "more": 1}`)))
	refused(t, vm.KindInvalidArg, b.SetPolicyJSON([]byte{}))
	refused(t, vm.KindInvalidArg, b.AddForward(capsa.Forward{Protocol: "sctp", Guest: 1}))
	require.Equal(t, cfg, b.Config().Network, "what is refused changes nothing")

	require.NoError(t, b.SetPolicyJSON(nil))
	require.Nil(t, b.Config().Network.Policy)
	b.ClearForwards()
	for range vm.MaxForwards {
		require.NoError(t, b.AddForward(forward))
	}
	refused(t, vm.KindInvalidArg, b.AddForward(forward))
	b.ClearForwards()
	require.NoError(t, b.SetNetwork(capsa.NetworkConfig{}))
	text, err := b.JSON()
	require.NoError(t, err)
	require.NotContains(t, string(text), "network")
}

// What is wrong with a policy is told with everything else.
func TestPolicyProblems(t *testing.T) {
	t.Parallel()
	b, err := capsa.FromJSON([]byte(`{"boot": {"kernel": "` + vmtest.KernelSpin + `"}, "cpus": 0,
		"network": {"mode": "user", "policy": {"default": "allow-all", "rules": [{"action": "allow"}, {"action": "x", "any": true}]}}}`))
	require.NoError(t, err)
	b.UseBackend(vmtest.NewFake())
	err = b.Validate()
	refused(t, vm.KindConfig, err)
	for _, field := range []string{"cpus", "network.policy.rules[0]", "network.policy.rules[1].action"} {
		require.ErrorContains(t, err, field)
	}
	require.NoError(t, b.SetCPUs(1))
	_, err = b.Build()
	refused(t, vm.KindConfig, err)
	require.ErrorContains(t, err, "network.policy.rules[0]")
	require.NoError(t, b.SetPolicyJSON(nil))
	require.NoError(t, b.Validate())
}

func TestNetwork(t *testing.T) {
	b := networkBuilder(t)
	require.NoError(t, b.AddForward(capsa.Forward{Protocol: capsa.ForwardTCP, Guest: 22}))
	m := buildFrom(t, b)
	list, err := m.Forwards()
	require.NoError(t, err)
	require.Len(t, list, 1)
	require.Equal(t, uint32(1), list[0].ID)
	open, err := m.AddForward(capsa.Forward{Protocol: capsa.ForwardUDP, Host: netip.MustParseAddrPort("[::1]:0"), Guest: 53})
	require.NoError(t, err)
	require.NotZero(t, open.Host.Port())
	_, err = m.AddForward(capsa.Forward{})
	refused(t, vm.KindInvalidArg, err)
	require.NoError(t, m.RemoveForward(open.ID))
	refused(t, vm.KindNotFound, m.RemoveForward(open.ID))
	require.NoError(t, m.SetPolicy(capsa.Policy{Default: "public-only"}))
	refused(t, vm.KindInvalidArg, m.SetPolicy(capsa.Policy{Default: "some"}))
	refused(t, vm.KindInvalidArg, m.SetPolicyJSON([]byte("{")))
	require.NoError(t, m.SetPolicyJSON(nil))
	require.NoError(t, m.SetLink(false))
	require.Contains(t, string(m.Metrics()), "capsa_net_link_up{")
	require.NoError(t, m.Kill())
	_, err = m.AddForward(capsa.Forward{Protocol: capsa.ForwardTCP, Guest: 22})
	refused(t, vm.KindState, err)
	_, err = m.Forwards()
	refused(t, vm.KindState, err)
	for _, err := range []error{m.RemoveForward(1), m.SetPolicyJSON(nil), m.SetLink(true)} {
		refused(t, vm.KindState, err)
	}
}

// plain is a machine that has never heard of networks.
type plain struct{ vm.Machine }

func TestNoNetwork(t *testing.T) {
	b := networkBuilder(t)
	fake := vmtest.NewFake()
	b.UseBackend(faulty{fake, func(m vm.Machine) vm.Machine { return plain{m} }})
	refused(t, vm.KindUnsupported, buildFrom(t, b).SetLink(true))

	b.UseBackend(fake)
	require.NoError(t, b.SetNetwork(capsa.NetworkConfig{}))
	m := buildFrom(t, b)
	for _, err := range []error{m.RemoveForward(1), m.SetPolicyJSON(nil), m.SetLink(true)} {
		refused(t, vm.KindUnsupported, err)
	}

	require.NoError(t, b.SetNetwork(capsa.NetworkConfig{Mode: capsa.NetworkNAT}))
	_, err := b.Build()
	refused(t, vm.KindUnsupported, err)
	require.ErrorContains(t, err, "network-nat")
}
