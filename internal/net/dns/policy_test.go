package dns_test

import (
	"encoding/binary"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/dns/dnsmessage"

	"github.com/libcapsa/libcapsa/internal/net/dns"
	"github.com/libcapsa/libcapsa/internal/net/policy"
)

// onlyExample allows one name and denies one that others may lead to.
const onlyExample = `{"default": "deny-all", "rules": [
	{"action": "deny", "domains": [".evil.example"]},
	{"action": "allow", "domains": [".example.com", "deep.example"]}
]}`

// flow asks whether the machine may connect, as far as addresses go.
func flow(e *policy.Engine, addr string, now time.Time) policy.Decision {
	return e.Flow(policy.Flow{
		Protocol: policy.TCP, Src: netip.MustParseAddrPort("10.0.2.15:40000"),
		Dst: netip.AddrPortFrom(ip(addr), 22), Now: now,
	}).Action
}

// TestRefused: what the policy is against is sent nowhere.
func TestRefused(t *testing.T) {
	s := serve(t, example)
	var seen events
	p := proxy(t, onlyExample, func(c *dns.Config) { c.Observe = seen.add }, s)
	for _, tt := range []struct {
		name string
		kind dnsmessage.Type
		rule int
	}{
		{"secret.attacker.net.", dnsmessage.TypeA, policy.RuleDefault},
		{"secret.attacker.net.", dnsmessage.TypeTXT, policy.RuleDefault},
		{"EVIL.example.", dnsmessage.TypeA, 0},
		{"example.com.", dnsmessage.TypeAXFR, policy.RuleInvalid},
		{"a b.example.com.", dnsmessage.TypeA, policy.RuleInvalid},
		{".", dnsmessage.TypeNS, policy.RuleDefault},
		{"1.0.0.10.in-addr.arpa.", dnsmessage.TypePTR, policy.RuleDefault},
	} {
		m := ask(t, p, query(tt.name, tt.kind, edns{size: 1232}), dns.UDP)
		require.Equal(t, dnsmessage.RCodeRefused, m.RCode, tt.name)
		require.Equal(t, 15, extended(m), tt.name)
		e := seen.last(t)
		require.Equal(t, tt.rule, e.Verdict.Rule, tt.name)
		require.Equal(t, dns.Nowhere, e.Source)
	}
	require.Zero(t, s.udp.Load())
	require.EqualValues(t, 7, p.Stats().Refused)
}

// TestPins: the name that was asked for is pinned to what it led to, for as long as
// the answer says, and several names to one address.
func TestPins(t *testing.T) {
	s := serve(t, zone(
		cname("www.example.com.", 600, "cdn.example.net."), a("cdn.example.net.", 5, "93.184.216.34"),
		a("deep.example.", 90000, "93.184.216.34"),
	))
	now := newClock()
	e := engine(t, onlyExample)
	p := proxy(t, "", func(c *dns.Config) { c.Now, c.Policy = now.Now, e }, s)
	require.NotEqual(t, policy.Allow, flow(e, "93.184.216.34", now.Now()))

	m := ask(t, p, query("www.example.com.", dnsmessage.TypeA, edns{}), dns.UDP)
	require.Equal(t, map[string]uint32{"93.184.216.34": 30}, addrs(m))
	require.EqualValues(t, 30, m.Answers[0].Header.TTL, "all of the answer ends together")
	require.Equal(t, policy.Allow, flow(e, "93.184.216.34", now.Now().Add(59*time.Second)))
	require.NotEqual(t, policy.Allow, flow(e, "93.184.216.34", now.Now().Add(61*time.Second)))

	// An answer out of the cache is pinned as well, for what is left of it.
	m = ask(t, p, query("deep.example.", dnsmessage.TypeA, edns{}), dns.UDP)
	require.Equal(t, map[string]uint32{"93.184.216.34": 3600}, addrs(m))
	now.forward(23 * time.Hour)
	require.NotEqual(t, policy.Allow, flow(e, "93.184.216.34", now.Now()))
	m = ask(t, p, query("deep.example.", dnsmessage.TypeA, edns{}), dns.UDP)
	require.Equal(t, map[string]uint32{"93.184.216.34": 3600}, addrs(m))
	require.Equal(t, policy.Allow, flow(e, "93.184.216.34", now.Now().Add(time.Hour)))
	require.EqualValues(t, 1, p.Stats().Hits)

	// Each name is a pin of its own.
	names := e.Flow(policy.Flow{
		Protocol: policy.TCP, Src: netip.MustParseAddrPort("10.0.2.15:40000"),
		Dst: netip.MustParseAddrPort("93.184.216.34:443"), Now: now.Now(),
	}).Names
	require.Equal(t, []string{"deep.example"}, names)
	ask(t, p, query("www.example.com.", dnsmessage.TypeA, edns{}), dns.UDP)
	names = e.Flow(policy.Flow{
		Protocol: policy.TCP, Src: netip.MustParseAddrPort("10.0.2.15:40000"),
		Dst: netip.MustParseAddrPort("93.184.216.34:443"), Now: now.Now(),
	}).Names
	require.ElementsMatch(t, []string{"deep.example", "www.example.com"}, names)
}

// TestTarget: a denied name does not become another by having an alias.
func TestTarget(t *testing.T) {
	dname := dnsmessage.Resource{
		Header: dnsmessage.ResourceHeader{Name: dnsmessage.MustNewName("zone.example."), Type: 39, Class: dnsmessage.ClassINET, TTL: 60},
		Body:   &dnsmessage.UnknownResource{Type: 39, Data: []byte("\x04evil\x07example\x00")},
	}
	service := func(target string) dnsmessage.Resource {
		return record("svc.example.", 60, &dnsmessage.HTTPSResource{SVCBResource: dnsmessage.SVCBResource{
			Priority: 1, Target: dnsmessage.MustNewName(target),
		}})
	}
	s := serve(t, func(q dnsmessage.Message, _ bool) [][]byte {
		return [][]byte{reply(q, func(m *dnsmessage.Message) {
			m.Answers = map[string][]dnsmessage.Resource{
				"alias.example.":  {cname("alias.example.", 60, "x.evil.example."), a("x.evil.example.", 60, "93.184.216.34")},
				"x.zone.example.": {dname, a("x.zone.example.", 60, "93.184.216.34")},
				"svc.example.":    {service("evil.example.")},
			}[lowerCase(q.Questions[0].Name)]
		})}
	})
	var seen events
	p := proxy(t, `{"default": "allow-all", "rules": [{"action": "deny", "domains": [".evil.example"]}]}`,
		func(c *dns.Config) { c.Observe = seen.add }, s)
	for name, kind := range map[string]dnsmessage.Type{
		"alias.example.": dnsmessage.TypeA, "x.zone.example.": dnsmessage.TypeA, "svc.example.": dnsmessage.TypeHTTPS,
	} {
		m := ask(t, p, query(name, kind, edns{size: 1232}), dns.UDP)
		require.Equal(t, dnsmessage.RCodeRefused, m.RCode, name)
		require.Equal(t, 15, extended(m), name)
		require.Empty(t, m.Answers)
		require.Zero(t, seen.last(t).Verdict.Rule)
	}
	require.EqualValues(t, 3, p.Stats().Refused)
}

func lowerCase(n dnsmessage.Name) string {
	b := n.Data[:n.Length]
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] += 'a' - 'A'
		}
	}
	return string(b)
}

// TestRebinding: names do not lead into the host's network.
func TestRebinding(t *testing.T) {
	s := serve(t, zone(
		a("mixed.example.com.", 60, "127.0.0.1"), a("mixed.example.com.", 60, "10.0.0.1"), a("mixed.example.com.", 60, "93.184.216.34"),
		a("mixed.example.com.", 60, "169.254.169.254"), a("only.example.com.", 60, "192.168.1.1"),
		aaaa("only.example.com.", 60, "::ffff:10.0.0.1"), aaaa("only.example.com.", 60, "fd00::1"),
	))
	var seen events
	e := engine(t, onlyExample)
	p := proxy(t, "", func(c *dns.Config) { c.Observe, c.Policy = seen.add, e }, s)
	m := ask(t, p, query("mixed.example.com.", dnsmessage.TypeA, edns{size: 1232}), dns.UDP)
	require.Equal(t, map[string]uint32{"93.184.216.34": 60}, addrs(m))
	require.Zero(t, extended(m))
	require.Equal(t, 3, seen.last(t).Dropped)
	for _, kind := range []dnsmessage.Type{dnsmessage.TypeA, dnsmessage.TypeAAAA} {
		m = ask(t, p, query("only.example.com.", kind, edns{size: 1232}), dns.UDP)
		require.Equal(t, dnsmessage.RCodeSuccess, m.RCode)
		require.Empty(t, m.Answers)
		require.Equal(t, 15, extended(m))
	}
	require.EqualValues(t, 6, p.Stats().Rebound)
}

// TestSwap: an answer of another policy is not given.
func TestSwap(t *testing.T) {
	s := serve(t, zone(a("www.example.com.", 600, "93.184.216.34")))
	e := engine(t, onlyExample)
	p := proxy(t, "", func(c *dns.Config) { c.Policy = e }, s)
	q := query("www.example.com.", dnsmessage.TypeA, edns{})
	require.Len(t, addrs(ask(t, p, q, dns.UDP)), 1)
	require.NoError(t, e.Swap(policy.Policy{Default: policy.DenyAll}))
	require.Equal(t, dnsmessage.RCodeRefused, ask(t, p, q, dns.UDP).RCode)
	require.NoError(t, e.Swap(policy.Policy{Default: policy.AllowAll}))
	require.Len(t, addrs(ask(t, p, q, dns.UDP)), 1)
	require.EqualValues(t, 2, s.udp.Load())
}

// TestService: keys for hiding names go, and addresses that are refused.
func TestService(t *testing.T) {
	https := func(params ...dnsmessage.SVCParam) dnsmessage.Resource {
		return record("www.example.com.", 300, &dnsmessage.HTTPSResource{SVCBResource: dnsmessage.SVCBResource{
			Priority: 1, Target: dnsmessage.MustNewName("."), Params: params,
		}})
	}
	param := func(key dnsmessage.SVCParamKey, value ...byte) dnsmessage.SVCParam {
		return dnsmessage.SVCParam{Key: key, Value: value}
	}
	good4, bad4 := []byte{93, 184, 216, 34}, []byte{10, 0, 0, 1}
	for _, tt := range []struct {
		name      string
		have, get []dnsmessage.SVCParam
		pinned    bool
	}{
		{
			"Encrypted ClientHello",
			[]dnsmessage.SVCParam{param(dnsmessage.SVCParamALPN, 2, 'h', '2'), param(dnsmessage.SVCParamECH, 1, 2, 3)},
			[]dnsmessage.SVCParam{param(dnsmessage.SVCParamALPN, 2, 'h', '2')}, false,
		},
		{
			"mandatory",
			[]dnsmessage.SVCParam{param(dnsmessage.SVCParamMandatory, 0, 1, 0, 5), param(dnsmessage.SVCParamALPN, 2, 'h', '2'), param(dnsmessage.SVCParamECH, 1)},
			[]dnsmessage.SVCParam{param(dnsmessage.SVCParamMandatory, 0, 1), param(dnsmessage.SVCParamALPN, 2, 'h', '2')}, false,
		},
		{
			"mandatory alone",
			[]dnsmessage.SVCParam{param(dnsmessage.SVCParamMandatory, 0, 5), param(dnsmessage.SVCParamECH, 1)}, []dnsmessage.SVCParam{}, false,
		},
		{
			"hints",
			[]dnsmessage.SVCParam{
				param(dnsmessage.SVCParamIPv4Hint, append(append([]byte(nil), good4...), bad4...)...),
				param(dnsmessage.SVCParamIPv6Hint, ip("fd00::1").AsSlice()...),
			},
			[]dnsmessage.SVCParam{param(dnsmessage.SVCParamIPv4Hint, good4...)}, true,
		},
		{"broken hints", []dnsmessage.SVCParam{param(dnsmessage.SVCParamIPv4Hint, 1, 2, 3, 4, 5)}, []dnsmessage.SVCParam{}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e := engine(t, onlyExample)
			p := proxy(t, "", func(c *dns.Config) { c.Policy = e }, serve(t, zone(https(tt.have...))))
			m := ask(t, p, query("www.example.com.", dnsmessage.TypeHTTPS, edns{}), dns.UDP)
			require.Len(t, m.Answers, 1)
			require.Equal(t, tt.get, m.Answers[0].Body.(*dnsmessage.HTTPSResource).Params)
			require.Equal(t, tt.pinned, flow(e, "93.184.216.34", time.Now()) == policy.Allow)
		})
	}
}

// TestUnsigned: an answer that was changed is not called authentic.
func TestUnsigned(t *testing.T) {
	s := serve(t, func(q dnsmessage.Message, tcp bool) [][]byte {
		b := zone(a("www.example.com.", 60, "93.184.216.34"), a("x.example.com.", 60, "10.0.0.1"), a("x.example.com.", 60, "93.184.216.34"))(q, tcp)[0]
		b[3] |= 0x20
		return [][]byte{b}
	})
	p := proxy(t, onlyExample, nil, s)
	for name, want := range map[string]bool{"www.example.com.": true, "x.example.com.": false} {
		require.Equal(t, want, ask(t, p, query(name, dnsmessage.TypeA, edns{size: 1232, do: true}), dns.UDP).AuthenticData, name)
		plain := query(name, dnsmessage.TypeA, edns{})
		require.False(t, ask(t, p, plain, dns.UDP).AuthenticData, name)
		binary.BigEndian.PutUint16(plain[2:], binary.BigEndian.Uint16(plain[2:])|0x20)
		require.Equal(t, want, ask(t, p, plain, dns.UDP).AuthenticData, name)
	}
}
