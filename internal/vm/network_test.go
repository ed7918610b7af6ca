package vm_test

import (
	"encoding/json"
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/libcapsa/libcapsa/internal/vm"
)

func addr(s string) netip.Addr         { return netip.MustParseAddr(s) }
func prefix(s string) netip.Prefix     { return netip.MustParsePrefix(s) }
func addrPort(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

// tcp is a forward of a port.
func tcp(host string) vm.Forward {
	f := vm.Forward{Protocol: vm.ForwardTCP, Guest: 80}
	if host != "" {
		f.Host = addrPort(host)
	}
	return f
}

func TestNetworkAccepted(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		change func(*vm.NetworkConfig)
	}{
		{"the mode alone", func(*vm.NetworkConfig) {}},
		{"none", func(c *vm.NetworkConfig) { c.Mode = vm.NetworkNone }},
		{"the platform's", func(c *vm.NetworkConfig) { c.Mode, c.MAC = vm.NetworkNAT, "02:00:5e:10:00:01" }},
		{"MAC in other forms", func(c *vm.NetworkConfig) { c.MAC = "02-00-5E-10-00-01" }},
		{"least MTU", func(c *vm.NetworkConfig) { c.MTU = vm.MinMTU }},
		{"largest MTU", func(c *vm.NetworkConfig) { c.MTU = vm.MaxMTU }},
		{"a network of two machines", func(c *vm.NetworkConfig) { c.IPv4 = prefix("192.168.1.4/30") }},
		{"a network in another one's form", func(c *vm.NetworkConfig) { c.IPv4 = prefix("10.1.2.3/8") }},
		{"addresses of one's own", func(c *vm.NetworkConfig) { c.Guest, c.Gateway = addr("10.0.2.254"), addr("10.0.2.1") }},
		{"IPv6 off", func(c *vm.NetworkConfig) { c.NoIPv6 = true }},
		{"IPv6 of one's own", func(c *vm.NetworkConfig) { c.IPv6 = prefix("2001:db8:1::/64") }},
		{"names", func(c *vm.NetworkConfig) {
			c.Hostname, c.Search = "web-1", []string{"example.com", "a.b."}
			c.Hosts = []vm.HostName{{Name: "_x.example.com."}, {Name: "db", Addrs: []netip.Addr{addr("::1"), addr("192.0.2.1")}}}
			c.DNS = []netip.AddrPort{addrPort("[2001:db8::53]:53")}
		}},
		{"a policy", func(c *vm.NetworkConfig) { c.Policy = json.RawMessage(` {"any": "thing"} `) }},
		{"forwards", func(c *vm.NetworkConfig) {
			c.Forwards = []vm.Forward{tcp(""), tcp(""), tcp("0.0.0.0:80"), tcp("[::1]:80"),
				{Protocol: vm.ForwardUDP, Host: addrPort("0.0.0.0:80"), Guest: 80}, {Protocol: vm.ForwardTCP, Path: "/run/x", Guest: 80}}
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			c := valid()
			c.Network.Mode = vm.NetworkUser
			test.change(&c.Network)
			require.NoError(t, c.Validate())
			require.NoError(t, c.WithDefaults().Validate())
		})
	}
}

func TestNetworkRefused(t *testing.T) {
	t.Parallel()
	forward := func(f vm.Forward) func(*vm.NetworkConfig) {
		return func(c *vm.NetworkConfig) { c.Forwards = []vm.Forward{f} }
	}
	hosts := func(h ...vm.HostName) func(*vm.NetworkConfig) { return func(c *vm.NetworkConfig) { c.Hosts = h } }
	tests := []struct {
		name   string
		change func(*vm.NetworkConfig)
		want   []string // without "network."
	}{
		{"unknown mode", func(c *vm.NetworkConfig) { c.Mode, c.MTU = "bridge", 1 }, []string{"mode"}},
		{"settings without a network", func(c *vm.NetworkConfig) {
			*c = vm.NetworkConfig{MAC: "02:00:5e:10:00:01", Policy: json.RawMessage("{}"), HostAccess: true, Forwards: []vm.Forward{tcp("")}}
		}, []string{"mac", "policy", "forwards", "host_access"}},
		{"settings that the platform has not", func(c *vm.NetworkConfig) { c.Mode, c.Policy = vm.NetworkNAT, json.RawMessage("{}") }, []string{"policy"}},
		{"no MAC", func(c *vm.NetworkConfig) { c.MAC = "x" }, []string{"mac"}},
		{"long MAC", func(c *vm.NetworkConfig) { c.MAC = "02:00:5e:10:00:00:00:01" }, []string{"mac"}},
		{"MAC of a group", func(c *vm.NetworkConfig) { c.MAC = "03:00:5e:10:00:01" }, []string{"mac"}},
		{"MAC of nobody", func(c *vm.NetworkConfig) { c.MAC = "00:00:00:00:00:00" }, []string{"mac"}},
		{"small MTU", func(c *vm.NetworkConfig) { c.MTU = vm.MinMTU - 1 }, []string{"mtu"}},
		{"large MTU", func(c *vm.NetworkConfig) { c.MTU = vm.MaxMTU + 1 }, []string{"mtu"}},
		{"network of one", func(c *vm.NetworkConfig) { c.IPv4 = prefix("10.0.0.0/31") }, []string{"ipv4"}},
		{"network of everybody", func(c *vm.NetworkConfig) { c.IPv4 = prefix("10.0.0.0/7") }, []string{"ipv4"}},
		{"network that is IPv6", func(c *vm.NetworkConfig) { c.IPv4 = prefix("fd00::/64") }, []string{"ipv4"}},
		{"loopback", func(c *vm.NetworkConfig) { c.IPv4 = prefix("127.0.0.0/8") }, []string{"ipv4"}},
		{"link-local", func(c *vm.NetworkConfig) { c.IPv4 = prefix("169.254.0.0/16") }, []string{"ipv4"}},
		{"multicast", func(c *vm.NetworkConfig) { c.IPv4 = prefix("224.0.0.0/8") }, []string{"ipv4"}},
		{"this network", func(c *vm.NetworkConfig) { c.IPv4 = prefix("0.0.0.0/8") }, []string{"ipv4"}},
		{"guest elsewhere", func(c *vm.NetworkConfig) { c.Guest = addr("10.0.3.15") }, []string{"guest"}},
		{"guest at the broadcast address", func(c *vm.NetworkConfig) { c.Guest = addr("10.0.2.255") }, []string{"guest"}},
		{"gateway at the network's address", func(c *vm.NetworkConfig) { c.Gateway = addr("10.0.2.0") }, []string{"gateway"}},
		{"both IPv6", func(c *vm.NetworkConfig) { c.Guest, c.Gateway = addr("fd00::1"), addr("fd00::2") }, []string{"guest", "gateway"}},
		{"one address for both", func(c *vm.NetworkConfig) { c.Guest = addr("10.0.2.2") }, []string{"guest"}},
		{"IPv6 off and on", func(c *vm.NetworkConfig) { c.NoIPv6, c.IPv6 = true, prefix("fd00::/64") }, []string{"ipv6"}},
		{"IPv6 of 48 bits", func(c *vm.NetworkConfig) { c.IPv6 = prefix("fd00::/48") }, []string{"ipv6"}},
		{"IPv6 that is IPv4", func(c *vm.NetworkConfig) { c.IPv6 = prefix("10.0.0.0/8") }, []string{"ipv6"}},
		{"IPv6 link-local", func(c *vm.NetworkConfig) { c.IPv6 = prefix("fe80::/64") }, []string{"ipv6"}},
		{"hostname of two labels", func(c *vm.NetworkConfig) { c.Hostname = "a.b" }, []string{"hostname"}},
		{"hostname with a space", func(c *vm.NetworkConfig) { c.Hostname = "a b" }, []string{"hostname"}},
		{"long hostname", func(c *vm.NetworkConfig) { c.Hostname = strings.Repeat("x", 64) }, []string{"hostname"}},
		{"servers", func(c *vm.NetworkConfig) { c.DNS = make([]netip.AddrPort, 2) }, []string{"dns[0]", "dns[1]"}},
		{"many servers", func(c *vm.NetworkConfig) {
			for range vm.MaxDNSServers + 1 {
				c.DNS = append(c.DNS, addrPort("192.0.2.1:53"))
			}
		}, []string{"dns"}},
		{"search domains", func(c *vm.NetworkConfig) { c.Search = []string{"", "a..b", strings.Repeat("x", 64)} },
			[]string{"search[0]", "search[1]", "search[2]"}},
		{"many search domains", func(c *vm.NetworkConfig) {
			for range vm.MaxSearchDomains + 1 {
				c.Search = append(c.Search, "a")
			}
		}, []string{"search"}},
		{"long search domains", func(c *vm.NetworkConfig) {
			long := strings.Repeat(strings.Repeat("x", 60)+".", 4)
			c.Search = []string{long, long}
		}, []string{"search"}},
		{"name of nothing", hosts(vm.HostName{Name: "a b"}), []string{"hosts[0].name"}},
		{"name of the host", hosts(vm.HostName{Name: "Host.capsa.internal."}), []string{"hosts[0].name"}},
		{"name given twice", hosts(vm.HostName{Name: "a.b"}, vm.HostName{Name: "A.b."}), []string{"hosts[1].name"}},
		{"addresses of names", hosts(vm.HostName{Name: "a", Addrs: []netip.Addr{addr("fe80::1%eth0"), {}}}),
			[]string{"hosts[0].addresses[0]", "hosts[0].addresses[1]"}},
		{"many addresses", hosts(vm.HostName{Name: "a", Addrs: slices1(vm.MaxHostAddrs+1, addr("::1"))}), []string{"hosts[0].addresses"}},
		{"many names", hosts(make([]vm.HostName, vm.MaxHosts+1)...), []string{"hosts"}},
		{"empty policy", func(c *vm.NetworkConfig) { c.Policy = json.RawMessage{} }, []string{"policy"}},
		{"policy that is a list", func(c *vm.NetworkConfig) { c.Policy = json.RawMessage(" []") }, []string{"policy"}},
		{"policy that is cut off", func(c *vm.NetworkConfig) { c.Policy = json.RawMessage("{") }, []string{"policy"}},
		{"long policy", func(c *vm.NetworkConfig) { c.Policy = make(json.RawMessage, vm.MaxPolicySize+1) }, []string{"policy"}},
		{"forward of nothing", forward(vm.Forward{}), []string{"forwards[0].protocol", "forwards[0].guest_port"}},
		{"forward with a zone", forward(vm.Forward{Protocol: "tcp", Guest: 1, Host: netip.AddrPortFrom(addr("fe80::1%lo"), 1)}),
			[]string{"forwards[0].host"}},
		{"forward at two places", forward(vm.Forward{Protocol: "tcp", Guest: 1, Host: addrPort("127.0.0.1:1"), Path: "/x"}), []string{"forwards[0].host"}},
		{"path of datagrams", forward(vm.Forward{Protocol: "udp", Guest: 1, Path: "/x"}), []string{"forwards[0].path"}},
		{"long path", forward(vm.Forward{Protocol: "tcp", Guest: 1, Path: strings.Repeat("x", 108)}), []string{"forwards[0].path"}},
		{"name without a file", forward(vm.Forward{Protocol: "tcp", Guest: 1, Path: "@x"}), []string{"forwards[0].path"}},
		{"one place twice", func(c *vm.NetworkConfig) {
			c.Forwards = []vm.Forward{tcp("127.0.0.1:80"), tcp("127.0.0.1:80"), {Protocol: "tcp", Guest: 1, Path: "/x"}, {Protocol: "tcp", Guest: 2, Path: "/./x"}}
		}, []string{"forwards[1]", "forwards[3]"}},
		{"many forwards", func(c *vm.NetworkConfig) { c.Forwards = make([]vm.Forward, vm.MaxForwards+1) }, []string{"forwards"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			c := valid()
			c.Network.Mode = vm.NetworkUser
			test.change(&c.Network)
			err := c.Validate()
			require.ErrorIs(t, err, vm.KindConfig)
			var got []string
			for _, f := range fields(t, err) {
				got = append(got, strings.TrimPrefix(f, "network."))
			}
			require.Equal(t, test.want, got, "%v", err)
		})
	}
}

func slices1(n int, a netip.Addr) (list []netip.Addr) {
	for range n {
		list = append(list, a)
	}
	return list
}

func TestNetworkDefaults(t *testing.T) {
	t.Parallel()
	c := vm.NetworkConfig{Mode: vm.NetworkUser, Forwards: []vm.Forward{{Protocol: vm.ForwardTCP, Guest: 1}, {Path: "/x"}}}.WithDefaults()
	require.Equal(t, 1500, c.MTU)
	require.Equal(t, "10.0.2.0/24 10.0.2.15 10.0.2.2 fd6c:6962:6361::/64",
		strings.Join([]string{c.IPv4.String(), c.Guest.String(), c.Gateway.String(), c.IPv6.String()}, " "))
	require.Equal(t, "127.0.0.1:0", c.Forwards[0].Host.String())
	require.False(t, c.Forwards[1].Host.IsValid())
	require.Empty(t, c.MAC, "the backend's to choose")

	for network, want := range map[string]string{"192.168.1.4/30": "192.168.1.6 192.168.1.5", "172.16.0.0/27": "172.16.0.15 172.16.0.2"} {
		c := vm.NetworkConfig{Mode: vm.NetworkUser, IPv4: prefix(network), NoIPv6: true}.WithDefaults()
		require.Equal(t, want, c.Guest.String()+" "+c.Gateway.String(), network)
		require.False(t, c.IPv6.IsValid())
	}
	require.Equal(t, vm.NetworkConfig{}, vm.NetworkConfig{}.WithDefaults())
}

// A copy shares nothing.
func TestNetworkClone(t *testing.T) {
	t.Parallel()
	c := fullConfig()
	d := c.Clone()
	d.Network.Policy[0], d.Network.Search[0], d.Network.Forwards[0].Guest = 'x', "x", 9
	d.Network.DNS[0], d.Network.Hosts[0].Addrs[0] = addrPort("1.1.1.1:1"), addr("1.1.1.1")
	require.Equal(t, fullConfig(), c)
}

func TestNeedsNetwork(t *testing.T) {
	t.Parallel()
	c := valid()
	require.ErrorIs(t, c.CheckNetwork("set link"), vm.KindUnsupported)
	c.Network.Mode = vm.NetworkUser
	require.Contains(t, c.Needs(), vm.FeatureNetwork)
	require.NoError(t, c.CheckNetwork("set link"))
	c.Network.Mode = vm.NetworkNAT
	require.Contains(t, c.Needs(), vm.FeatureNetworkNAT)
	require.NotContains(t, c.Needs(), vm.FeatureNetwork)
	require.ErrorIs(t, c.CheckNetwork("set link"), vm.KindUnsupported)
	err := vm.Capabilities{Features: map[vm.Feature]bool{vm.FeatureBootLinux: true, vm.FeatureNetwork: true}}.Lacks(c, "build", "kvm")
	require.ErrorIs(t, err, vm.KindUnsupported)
	require.ErrorContains(t, err, `"network-nat"`)
}

func TestNetworkJSON(t *testing.T) {
	t.Parallel()
	read := func(text string) (vm.NetworkConfig, error) {
		var c vm.Config
		err := json.Unmarshal([]byte(`{"network": `+text+`}`), &c)
		return c.Network, err
	}
	c, err := read(`{"mode": "none", "ipv6": "off", "dns": ["192.0.2.1", "2001:db8::1", "[2001:db8::2]", "[2001:db8::3]:5353"]}`)
	require.NoError(t, err)
	require.Equal(t, vm.NetworkConfig{NoIPv6: true, DNS: []netip.AddrPort{
		addrPort("192.0.2.1:53"), addrPort("[2001:db8::1]:53"), addrPort("[2001:db8::2]:53"), addrPort("[2001:db8::3]:5353"),
	}}, c)
	c, err = read(`{"mode": "user", "policy": null}`)
	require.NoError(t, err)
	require.Nil(t, c.Policy)
	_, err = read(`{"ipv4": "10.0.2.0", "guest": "x", "gateway": "", "ipv6": "fd00::", "dns": ["x"], "hosts": [{"name": "a", "addresses": ["x"]}],
		"forwards": [{"protocol": "tcp", "host": "localhost:80", "guest_port": 1}]}`)
	require.ErrorIs(t, err, vm.KindConfig)
	require.Equal(t, []string{"network.ipv4", "network.guest", "network.gateway", "network.ipv6", "network.dns[0]",
		"network.hosts[0].addresses[0]", "network.forwards[0].host"}, fields(t, err), "all at once")
	for _, text := range []string{`{"modus": 1}`, `{"mode": 1}`, `{"forwards": [{"port": 1}]}`, `{"forwards": [{"guest_port": 65536}]}`, `[]`} {
		_, err := read(text)
		require.ErrorIs(t, err, vm.KindConfig, text)
	}
	// What JSON cannot say is an error and no nonsense.
	for _, bad := range []vm.NetworkConfig{
		{Policy: json.RawMessage("{")}, {Hostname: "\xff"}, {Forwards: []vm.Forward{{Path: "\xff"}}}, {Search: []string{"\xff"}},
	} {
		c := valid()
		c.Network = bad
		_, err := json.Marshal(c)
		require.Error(t, err)
	}
	text, err := json.Marshal(vm.Forward{ID: 3, Protocol: vm.ForwardUDP, Host: addrPort("127.0.0.1:9"), Guest: 53})
	require.NoError(t, err)
	require.JSONEq(t, `{"id": 3, "protocol": "udp", "host": "127.0.0.1:9", "guest_port": 53}`, string(text))
}
