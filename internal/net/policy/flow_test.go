package policy

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var epoch = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func compiledFrom(t testing.TB, text string) *Engine {
	t.Helper()
	p, err := Parse([]byte(text))
	require.NoError(t, err)
	e, err := Compile(p)
	require.NoError(t, err)
	e.SetEnv(Env{
		Host:   []netip.Prefix{netip.MustParsePrefix("8.7.6.5/32"), netip.MustParsePrefix("192.168.1.2/32"), netip.MustParsePrefix("2600::5/128")},
		Closed: []netip.Prefix{netip.MustParsePrefix("10.99.0.0/16")},
		NAT64:  []netip.Prefix{netip.MustParsePrefix("2a00:64::/32"), netip.MustParsePrefix("64:ff9b:1::/48")},
	})
	return e
}

// to is an outbound flow: "tcp 1.2.3.4:443".
func to(t testing.TB, text string) Flow {
	t.Helper()
	var proto, dst string
	_, err := fmt.Sscan(text, &proto, &dst)
	require.NoError(t, err)
	return Flow{
		Protocol: Protocol(proto), Dst: netip.MustParseAddrPort(dst), Now: epoch,
		Src: netip.MustParseAddrPort("10.0.2.15:40000"),
	}
}

func TestRules(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ name, policy, flow, want string }{
		{"allow-all", `{"default":"allow-all"}`, "tcp 9.9.9.9:1", "allow by default"},
		{"allow-all and private", `{"default":"allow-all"}`, "tcp 10.1.1.1:1", "allow by default"},
		{"deny-all", `{"default":"deny-all"}`, "tcp 9.9.9.9:1", "reject by default"},
		{"deny-all, dropping", `{"default":"deny-all","deny":"drop"}`, "icmp 9.9.9.9:0", "drop by default"},
		{"public-only", `{"default":"public-only"}`, "udp 9.9.9.9:53", "allow by default"},
		{"public-only, v6", `{"default":"public-only"}`, "udp [2a00::1]:53", "allow by default"},
		{"public-only and private", `{"default":"public-only"}`, "tcp 172.31.0.1:80", "reject by default"},
		{"public-only and carrier's", `{"default":"public-only"}`, "tcp 100.64.0.1:80", "reject by default"},
		{"public-only and ULA", `{"default":"public-only"}`, "tcp [fd00::1]:80", "reject by default"},
		{"public-only and documentation", `{"default":"public-only"}`, "tcp [2001:db8::1]:80", "reject by default"},
		{"public-only and unassigned", `{"default":"public-only"}`, "tcp [4000::1]:80", "reject by default"},
		{"public-only and mapped private", `{"default":"public-only"}`, "tcp [::ffff:10.0.0.1]:80", "reject by default"},
		{"public-only and NAT64 of private", `{"default":"public-only"}`, "tcp [64:ff9b::10.0.0.1]:80", "reject by default"},
		{"public-only and NAT64 of public", `{"default":"public-only"}`, "tcp [64:ff9b::9.9.9.9]:80", "allow by default"},
		{"public-only, unlocked host's public address", `{"default":"public-only","unlock":["host"]}`, "tcp 8.7.6.5:80", "reject by default"},

		{"any", `{"default":"deny-all","rules":[{"action":"allow","any":true}]}`, "tcp 9.9.9.9:1", "allow by rule 0"},
		{"first match", `{"default":"deny-all","rules":[{"action":"drop","ports":[25]},{"action":"allow","any":true}]}`, "tcp 9.9.9.9:25", "drop by rule 0"},
		{"second match", `{"default":"deny-all","rules":[{"action":"drop","ports":[25]},{"action":"allow","any":true}]}`, "tcp 9.9.9.9:26", "allow by rule 1"},
		{"deny is reject", `{"default":"allow-all","rules":[{"action":"deny","ports":[25]}]}`, "tcp 9.9.9.9:25", "reject by rule 0"},
		{"ports are not ICMP's", `{"default":"deny-all","rules":[{"action":"allow","ports":["1-65535"]}]}`, "icmp 9.9.9.9:8", "reject by default"},
		{"range, first", `{"default":"deny-all","rules":[{"action":"allow","ports":["100-200"]}]}`, "udp 9.9.9.9:100", "allow by rule 0"},
		{"range, last", `{"default":"deny-all","rules":[{"action":"allow","ports":[7,"100-150","140-200",9]}]}`, "udp 9.9.9.9:200", "allow by rule 0"},
		{"range, beyond", `{"default":"deny-all","rules":[{"action":"allow","ports":[7,"100-200",9]}]}`, "udp 9.9.9.9:201", "reject by default"},
		{"last port", `{"default":"deny-all","rules":[{"action":"allow","ports":[65535]}]}`, "udp 9.9.9.9:65535", "allow by rule 0"},
		{"protocol", `{"default":"deny-all","rules":[{"action":"allow","protocols":["icmp","udp"]}]}`, "icmp [2a00::1]:0", "allow by rule 0"},
		{"other protocol", `{"default":"deny-all","rules":[{"action":"allow","protocols":["icmp","udp"]}]}`, "tcp [2a00::1]:5", "reject by default"},
		{"network", `{"default":"deny-all","rules":[{"action":"allow","addresses":["10.0.0.0/8","9.9.0.0/16","9.9.9.9"]}]}`, "tcp 9.9.9.8:5", "allow by rule 0"},
		{"outside of networks", `{"default":"deny-all","rules":[{"action":"allow","addresses":["10.0.0.0/8","9.9.9.0/24"]}]}`, "tcp 9.9.10.0:5", "reject by default"},
		{"v6 network", `{"default":"deny-all","rules":[{"action":"allow","addresses":["2a00::/16","2a01::7"]}]}`, "tcp [2a01::7]:5", "allow by rule 0"},
		{"all v4 is not v6", `{"default":"deny-all","rules":[{"action":"allow","addresses":["0.0.0.0/0"]}]}`, "tcp [2a01::7]:5", "reject by default"},
		{"all v6 is not mapped", `{"default":"deny-all","rules":[{"action":"allow","addresses":["::/0"]}]}`, "tcp [::ffff:9.9.9.9]:5", "reject by default"},
		{"denied v4, mapped", `{"default":"allow-all","rules":[{"action":"drop","addresses":["9.9.9.9"]}]}`, "tcp [::ffff:9.9.9.9]:5", "drop by rule 0"},
		{"denied v4 by NAT64", `{"default":"allow-all","rules":[{"action":"drop","addresses":["9.9.9.9"]}]}`, "tcp [64:ff9b::9.9.9.9]:5", "drop by rule 0"},
		{"denied v4 by the host's NAT64", `{"default":"allow-all","rules":[{"action":"drop","addresses":["9.9.9.9"]}]}`, "tcp [2a00:64:909:909::]:5", "drop by rule 0"},
		{"denied NAT64 prefix", `{"default":"allow-all","rules":[{"action":"drop","addresses":["64:ff9b::/96"]}]}`, "tcp [64:ff9b::9.9.9.9]:5", "drop by rule 0"},
		{"allowed NAT64 prefix opens nothing", `{"default":"deny-all","rules":[{"action":"allow","addresses":["64:ff9b::/96"]}]}`, "tcp [64:ff9b::9.9.9.9]:5", "reject by default"},

		{"group private", `{"default":"deny-all","rules":[{"action":"allow","groups":["private"]}]}`, "tcp 192.168.7.7:5", "allow by rule 0"},
		{"group public", `{"default":"deny-all","rules":[{"action":"allow","groups":["private","public"]}]}`, "tcp 9.9.9.9:5", "allow by rule 0"},
		{"private is not the host", `{"default":"deny-all","unlock":["host"],"rules":[{"action":"allow","groups":["private"]}]}`, "tcp 192.168.1.2:5", "reject by default"},
		{"denied private is the host too", `{"default":"allow-all","unlock":["host"],"rules":[{"action":"deny","groups":["private"]}]}`, "tcp 192.168.1.2:5", "reject by rule 0"},
		{"host", `{"default":"deny-all","unlock":["host"],"rules":[{"action":"allow","groups":["host"]}]}`, "tcp 192.168.1.2:5", "allow by rule 0"},
		{"private is not metadata", `{"default":"deny-all","unlock":["metadata"],"rules":[{"action":"allow","groups":["private"]}]}`, "tcp 100.100.100.200:80", "reject by default"},

		{"all of", `{"default":"deny-all","rules":[{"action":"allow","all":[{"addresses":["9.9.9.0/24"]},{"ports":[5]},{"all":[{"protocols":["tcp"]},{"ports":["1-9"]}]}]}]}`, "tcp 9.9.9.9:5", "allow by rule 0"},
		{"all of, one is not", `{"default":"deny-all","rules":[{"action":"allow","all":[{"addresses":["9.9.9.0/24"]},{"ports":[5]},{"all":[{"protocols":["tcp"]},{"ports":["1-4"]}]}]}]}`, "tcp 9.9.9.9:5", "reject by default"},
		{"inbound rules are not for outbound", `{"default":"deny-all","rules":[{"action":"allow","direction":"inbound","any":true}]}`, "tcp 9.9.9.9:5", "reject by default"},
		{"both", `{"default":"deny-all","rules":[{"action":"allow","direction":"both","any":true}]}`, "tcp 9.9.9.9:5", "allow by rule 0"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, test.want, compiledFrom(t, test.policy).Flow(to(t, test.flow)).String())
		})
	}
}

func TestFloor(t *testing.T) {
	t.Parallel()
	everything := `"default":"allow-all","rules":[{"action":"allow","any":true}]`
	for _, test := range []struct{ flow, group string }{
		{"tcp 127.0.0.1:80", "loopback"}, {"tcp 127.255.255.255:80", "loopback"}, {"tcp [::1]:80", "loopback"},
		{"tcp [::ffff:127.0.0.1]:80", "loopback"}, {"tcp [64:ff9b::7f00:1]:80", "loopback"},
		{"tcp [2a00:64:7f00:1::]:80", "loopback"}, {"tcp [64:ff9b:1:7f00:0:100::]:80", "loopback"},
		{"tcp 169.254.1.1:80", "linklocal"}, {"tcp [fe80::1%eth0]:80", "linklocal"},
		{"tcp 169.254.169.254:80", "metadata"}, {"tcp [::ffff:169.254.169.254]:80", "metadata"},
		{"tcp [fd00:ec2::254]:80", "metadata"}, {"tcp 100.100.100.200:80", "metadata"}, {"tcp 168.63.129.16:80", "metadata"},
		{"udp 224.0.0.251:5353", "multicast"}, {"udp [ff02::fb]:5353", "multicast"},
		{"tcp 8.7.6.5:22", "host"}, {"tcp [2600::5]:22", "host"}, {"tcp [::ffff:8.7.6.5]:22", "host"},
		{"tcp 0.0.0.0:80", "reserved"}, {"tcp 0.1.2.3:80", "reserved"}, {"udp 255.255.255.255:67", "reserved"},
		{"tcp 240.0.0.1:80", "reserved"}, {"tcp [::]:80", "reserved"}, {"tcp [::7f00:1]:80", "reserved"},
		{"tcp [::ffff:0:7f00:1]:80", "reserved"}, {"tcp [2002:7f00:1::]:80", "reserved"}, {"tcp [2001::1]:80", "reserved"},
		{"tcp 10.99.3.4:80", "reserved"}, {"tcp [64:ff9b::10.99.3.4]:80", "reserved"},
	} {
		t.Run(test.flow, func(t *testing.T) {
			t.Parallel()
			v := compiledFrom(t, `{`+everything+`}`).Flow(to(t, test.flow))
			require.Equal(t, "reject by floor ("+test.group+")", v.String())
			require.EqualValues(t, test.group, v.Floor)

			var others string
			for g, bit := range groupBits {
				if bit&behindFloor != 0 && string(g) != test.group {
					others += fmt.Sprintf(",%q", g)
				}
			}
			v = compiledFrom(t, `{"unlock":[`+others[1:]+`],`+everything+`}`).Flow(to(t, test.flow))
			require.Equal(t, RuleFloor, v.Rule, "unlocking other groups")
			if test.group != "reserved" {
				v = compiledFrom(t, `{"unlock":["`+test.group+`"],`+everything+`}`).Flow(to(t, test.flow))
				require.Equal(t, "allow by rule 0", v.String())
			}
		})
	}
}

func TestInvalidFlows(t *testing.T) {
	t.Parallel()
	e := compiledFrom(t, `{"default":"allow-all"}`)
	good := to(t, "tcp 9.9.9.9:1")
	for name, spoil := range map[string]func(*Flow){
		"port 0":       func(f *Flow) { f.Dst = netip.MustParseAddrPort("9.9.9.9:0") },
		"source 0":     func(f *Flow) { f.Src = netip.MustParseAddrPort("10.0.2.15:0") },
		"no address":   func(f *Flow) { f.Dst = netip.AddrPort{} },
		"no source":    func(f *Flow) { f.Src = netip.AddrPort{} },
		"protocol":     func(f *Flow) { f.Protocol = "sctp" },
		"no protocol":  func(f *Flow) { f.Protocol = "" },
		"no direction": func(f *Flow) { f.Direction = Both },
	} {
		f := good
		spoil(&f)
		require.Equal(t, "drop by invalid", e.Flow(f).String(), name)
	}
	require.Equal(t, "allow by default", e.Flow(good).String())
}

func TestInbound(t *testing.T) {
	t.Parallel()
	const rules = `"rules":[{"action":"drop","direction":"inbound","addresses":["203.0.113.0/24"]},
		{"action":"allow","direction":"both","ports":[22]},{"action":"deny","any":true}]`
	in := func(src, dst string) Flow {
		return Flow{Direction: Inbound, Protocol: TCP, Src: netip.MustParseAddrPort(src), Dst: netip.MustParseAddrPort(dst)}
	}
	e := compiledFrom(t, `{"default":"deny-all",`+rules+`}`)
	require.Equal(t, "allow by default", e.Flow(in("127.0.0.1:5", "10.0.2.15:80")).String())
	require.Equal(t, "allow by rule 1", e.Flow(in("9.9.9.9:5", "10.0.2.15:22")).String())
	require.Equal(t, "drop by rule 0", e.Flow(in("203.0.113.7:5", "10.0.2.15:22")).String())
	require.Equal(t, "drop by rule 0", e.Flow(in("[::ffff:203.0.113.7]:5", "10.0.2.15:22")).String())
	e = compiledFrom(t, `{"default":"allow-all","inbound":"drop",`+rules+`}`)
	require.Equal(t, "drop by default", e.Flow(in("127.0.0.1:5", "10.0.2.15:80")).String())
}

func TestLogGoesOn(t *testing.T) {
	t.Parallel()
	e := compiledFrom(t, `{"default":"deny-all","rules":[{"action":"log","any":true},{"action":"log","ports":[5]},
		{"action":"log","ports":[6]},{"action":"allow","protocols":["tcp"]},{"action":"log","any":true}]}`)
	v := e.Flow(to(t, "tcp 9.9.9.9:5"))
	require.Equal(t, []int{0, 1}, v.Logged)
	require.Equal(t, "allow by rule 3", v.String())
	v = e.Flow(to(t, "udp 9.9.9.9:6"))
	require.Equal(t, []int{0, 2, 4}, v.Logged)
	require.Equal(t, "reject by default", v.String())
}

func TestDialled(t *testing.T) {
	t.Parallel()
	e := compiledFrom(t, `{"default":"allow-all"}`)
	for from, want := range map[string]string{
		"tcp 9.9.9.9:5":              "9.9.9.9:5",
		"tcp [::ffff:9.9.9.9]:5":     "9.9.9.9:5",
		"tcp [64:ff9b::9.9.9.9]:5":   "[64:ff9b::909:909]:5",
		"tcp [2a00::1%anything]:443": "[2a00::1]:443",
	} {
		require.Equal(t, want, e.Flow(to(t, from)).Dst.String())
	}
}

func TestGeneration(t *testing.T) {
	t.Parallel()
	e, err := Compile(Policy{Default: AllowAll})
	require.NoError(t, err)
	first := e.Generation()
	require.Equal(t, first, e.Flow(to(t, "tcp 9.9.9.9:5")).Generation)
	require.NoError(t, e.Swap(Policy{Default: DenyAll}))
	require.Greater(t, e.Generation(), first)
	require.Equal(t, "reject by default", e.Flow(to(t, "tcp 9.9.9.9:5")).String())
	require.Error(t, e.Swap(Policy{}))
	require.Equal(t, first+1, e.Generation())
	env := Env{Host: []netip.Prefix{netip.MustParsePrefix("9.9.9.9/32"), netip.MustParsePrefix("::ffff:7.7.7.0/120"), {}}}
	e.SetEnv(env)
	e.SetEnv(env)
	require.Equal(t, first+2, e.Generation())
	require.Equal(t, "reject by floor (host)", e.Flow(to(t, "tcp 7.7.7.7:5")).String())
}

func BenchmarkFlow1000Rules(b *testing.B) {
	p := Policy{Default: DenyAll}
	for i := range 1000 {
		m := Match{Addresses: []string{fmt.Sprintf("20.%d.%d.0/24", i/250, i%250)}, Ports: []Ports{Port(443)}}
		if i%4 == 0 {
			m = Match{Domains: []string{fmt.Sprintf("*.host%d.example", i)}}
		}
		p.Rules = append(p.Rules, Rule{Action: ActionAllow, Match: m})
	}
	e, err := Compile(p)
	require.NoError(b, err)
	f := to(b, "tcp 9.9.9.9:443")
	e.Learn("www.host2000.example", []netip.Addr{f.Dst.Addr()}, time.Hour, epoch)
	require.Equal(b, RuleDefault, e.Flow(f).Rule)
	b.ReportAllocs()
	for b.Loop() {
		e.Flow(f)
	}
}
