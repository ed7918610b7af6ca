package dns_test

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/dns/dnsmessage"

	"github.com/libcapsa/libcapsa/internal/net/dns"
	"github.com/libcapsa/libcapsa/internal/net/policy"
)

func known(c *dns.Config) {
	c.Host = []netip.Addr{ip("10.0.2.3"), ip("fd00:ca::3")}
	c.Hosts = map[string][]netip.Addr{"Registry.Example.": {ip("192.168.7.7")}, "nowhere.example": nil}
	c.Names = func(name string) ([]netip.Addr, bool) {
		return []netip.Addr{ip("10.0.2.20")}, name == "db.capsa.internal" || name == "db"
	}
	c.Reverse = func(a netip.Addr) (string, bool) { return "db.capsa.internal", a == ip("10.0.2.20") }
}

func TestStatic(t *testing.T) {
	s := serve(t, example)
	p := proxy(t, `{"default": "deny-all"}`, known, s)
	const ptr6 = "3.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.a.c.0.0.0.0.d.f.ip6.arpa."
	for _, tt := range []struct {
		name string
		kind dnsmessage.Type
		code dnsmessage.RCode
		want string
	}{
		{"host.capsa.internal.", dnsmessage.TypeA, 0, "10.0.2.3"},
		{"HOST.capsa.Internal.", dnsmessage.TypeAAAA, 0, "fd00:ca::3"},
		{"host.capsa.internal.", dnsmessage.TypeMX, 0, ""},
		{"registry.example.", dnsmessage.TypeA, 0, "192.168.7.7"},
		{"registry.example.", dnsmessage.TypeAAAA, 0, ""},
		{"nowhere.example.", dnsmessage.TypeA, 0, ""},
		{"db.capsa.internal.", dnsmessage.TypeA, 0, "10.0.2.20"},
		{"db.", dnsmessage.TypeA, 0, "10.0.2.20"},
		{"nobody.capsa.internal.", dnsmessage.TypeA, dnsmessage.RCodeNameError, ""},
		{"capsa.internal.", dnsmessage.TypeA, 0, ""},
		{"notcapsa.internal.", dnsmessage.TypeA, dnsmessage.RCodeRefused, ""},
		{"20.2.0.10.in-addr.arpa.", dnsmessage.TypePTR, 0, "db.capsa.internal."},
		{"3.2.0.10.in-addr.arpa.", dnsmessage.TypePTR, 0, "host.capsa.internal."},
		{"7.7.168.192.in-addr.arpa.", dnsmessage.TypePTR, 0, "registry.example."},
		{ptr6, dnsmessage.TypePTR, 0, "host.capsa.internal."},
		{ptr6, dnsmessage.TypeA, 0, ""},
		{"9.2.0.10.in-addr.arpa.", dnsmessage.TypePTR, dnsmessage.RCodeRefused, ""},
	} {
		sent := query(tt.name, tt.kind, edns{})
		got, err := p.Local(sent, dns.UDP)
		require.NoError(t, err)
		m := read(t, sent, got)
		require.Equal(t, tt.code, m.RCode, tt.name)
		require.Equal(t, tt.code != dnsmessage.RCodeRefused, m.Authoritative, tt.name)
		if tt.want == "" {
			require.Empty(t, m.Answers, tt.name)
			continue
		}
		require.Len(t, m.Answers, 1, tt.name)
		require.EqualValues(t, 30, m.Answers[0].Header.TTL)
		if r, is := m.Answers[0].Body.(*dnsmessage.PTRResource); is {
			require.Equal(t, tt.want, r.PTR.String())
		} else {
			require.Equal(t, map[string]uint32{tt.want: 30}, addrs(m))
		}
	}
	require.Zero(t, s.udp.Load())
}

// TestStaticPolicy: a rule that names a static name counts, and a pin is a pin.
func TestStaticPolicy(t *testing.T) {
	e := engine(t, `{"default": "deny-all", "rules": [
		{"action": "deny", "domains": ["db.capsa.internal"]},
		{"action": "allow", "domains": ["registry.example"], "addresses": ["192.168.0.0/16"]}
	]}`)
	p := proxy(t, "", func(c *dns.Config) { known(c); c.Policy = e })
	require.Equal(t, dnsmessage.RCodeRefused, ask(t, p, query("db.capsa.internal.", dnsmessage.TypeA, edns{}), dns.UDP).RCode)
	require.Equal(t, dnsmessage.RCodeSuccess, ask(t, p, query("db.", dnsmessage.TypeA, edns{}), dns.UDP).RCode)
	require.NotEqual(t, policy.Allow, flow(e, "192.168.7.7", time.Now()))
	require.Len(t, addrs(ask(t, p, query("registry.example.", dnsmessage.TypeA, edns{}), dns.UDP)), 1)
	require.Equal(t, policy.Allow, flow(e, "192.168.7.7", time.Now()))
}

func TestReversed(t *testing.T) {
	for _, name := range []string{
		"", "in-addr.arpa", "1.2.3.in-addr.arpa", "1.2.3.4.5.in-addr.arpa", "256.2.3.4.in-addr.arpa", "-1.2.3.4.in-addr.arpa", "x.2.3.4.in-addr.arpa",
		"ip6.arpa", "1.ip6.arpa", strings.Repeat("g.", 32) + "ip6.arpa", strings.Repeat("11", 32)[:63] + ".ip6.arpa",
	} {
		_, ok := dns.Reversed(name)
		require.False(t, ok, name)
	}
	got, ok := dns.Reversed("4.3.2.1.in-addr.arpa")
	require.True(t, ok)
	require.Equal(t, ip("1.2.3.4"), got)
}

func TestConfig(t *testing.T) {
	many := map[string][]netip.Addr{}
	for i := range 4097 {
		many[netip.AddrFrom4([4]byte{1, 0, byte(i >> 8), byte(i)}).String()+".example"] = nil
	}
	for _, tt := range []struct {
		config dns.Config
		want   string
	}{
		{dns.Config{Hosts: map[string][]netip.Addr{"a b": nil}}, "not a name"},
		{dns.Config{Hosts: map[string][]netip.Addr{"a": nil, "A": nil}}, "given twice"},
		{dns.Config{Hosts: map[string][]netip.Addr{"a": {{}}}}, "want one without a zone"},
		{dns.Config{Hosts: map[string][]netip.Addr{"a": make([]netip.Addr, 65)}}, "at most 64"},
		{dns.Config{Hosts: many}, "at most 4096"},
		{dns.Config{Host: []netip.Addr{ip("fe80::1%eth0")}}, "host.capsa.internal"},
		{dns.Config{Servers: make([]netip.AddrPort, 1)}, "want an address and a port"},
		{dns.Config{Servers: make([]netip.AddrPort, 9)}, "at most 8"},
	} {
		_, err := dns.New(tt.config)
		require.ErrorContains(t, err, tt.want)
	}
}
