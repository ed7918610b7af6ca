package policy

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestCanonical(t *testing.T) {
	t.Parallel()
	label := strings.Repeat("a", 63)
	long := strings.Repeat(label+".", 3) + strings.Repeat("b", 61)
	for in, want := range map[string]string{
		"example.com": "example.com", "EXAMPLE.Com.": "example.com", "xn--BCHER-kva.example": "xn--bcher-kva.example",
		"_dmarc.x": "_dmarc.x", "localhost": "localhost", "1.com": "1.com", label: label, long: long, long + ".": long,
		"1.0.0.127.in-addr.arpa": "1.0.0.127.in-addr.arpa", "0xg": "0xg",
		"": "", ".": "", "..": "", "a..b": "", ".a": "", "a..": "", "a b": "", "a\x00b": "", "a\\.b": "", "bücher.example": "",
		"ａ.com": "", "\u212a.com": "", "*.a": "", "a/b": "", "a:80": "", "a@b": "", "[::1]": "", "::1": "", label + "a": "", long + "b": "",
		"127.0.0.1": "", "127.1": "", "2130706433": "", "0x7f.1": "", "a.0x7F": "", "0x": "", "1.2.3.4.": "", "a。b": "",
	} {
		got, ok := Canonical(in)
		require.Equal(t, want, got, "%q", in)
		require.Equal(t, want != "", ok, "%q", in)
	}
}

func TestPatterns(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ pattern, yes, no string }{
		{"Example.com.", "example.com", "www.example.com com xample.com example.com.evil.org"},
		{"*.example.com", "www.example.com a.b.example.com", "example.com wwwexample.com com example.com.evil.org"},
		{".example.com", "example.com a.b.example.com", "wwwexample.com com myexample.com"},
		{"*.com", "a.com b.a.com", "com a.com.org"},
		{"xn--bcher-kva.example", "xn--bcher-kva.example", "bcher.example"},
	} {
		name, kind, reason := pattern(test.pattern)
		require.Empty(t, reason)
		set := nameSet{name: kind}
		for _, name := range strings.Fields(test.yes) {
			require.True(t, set.has(name), "%s of %s", name, test.pattern)
		}
		for _, name := range strings.Fields(test.no) {
			require.False(t, set.has(name), "%s of %s", name, test.pattern)
		}
	}
	for _, bad := range []string{"", "*", "*.", ".", "*.*.com", "a.*.com", "w*.com", "*com", "..com", "bücher.de", "10.0.0.1", "*.1", "a b"} {
		_, _, reason := pattern(bad)
		require.NotEmpty(t, reason, "%q", bad)
	}
}

// learnt: 9.9.9.9 is good.com, 9.9.9.8 both good.com and evil.com, 9.9.9.7 evil.com.
func learnt(t testing.TB, policy string) *Engine {
	e := compiledFrom(t, policy)
	at := func(text ...string) (out []netip.Addr) {
		for _, s := range text {
			out = append(out, netip.MustParseAddr(s))
		}
		return out
	}
	e.Learn("Good.com.", at("9.9.9.9", "::ffff:9.9.9.8", "10.0.0.7"), time.Minute, epoch)
	e.Learn("evil.com", at("9.9.9.8", "9.9.9.7"), time.Minute, epoch)
	return e
}

func TestNames(t *testing.T) {
	t.Parallel()
	const (
		allow    = `{"default":"deny-all","rules":[{"action":"allow","domains":["good.com","*.good.com"]}]}`
		deny     = `{"default":"allow-all","rules":[{"action":"drop","domains":[".evil.com"]}]}`
		narrow   = `{"default":"deny-all","rules":[{"action":"allow","all":[{"domains":["*.com",".com"]},{"domains":["good.com"]}],"ports":[443]}]}`
		internal = `{"default":"deny-all","rules":[{"action":"allow","domains":["good.com"],"groups":["private"]}]}`
		trap     = `{"default":"deny-all","rules":[{"action":"allow","addresses":["10.0.0.0/24"],"ports":[22]},{"action":"allow","domains":["good.com"]}]}`
	)
	for _, test := range []struct{ name, policy, flow, said, want string }{
		{"pinned, web", allow, "tcp 9.9.9.9:443", "?", "allow by rule 0, needs name"},
		{"pinned, mapped", allow, "tcp [::ffff:9.9.9.9]:443", "?", "allow by rule 0, needs name"},
		{"pinned, said", allow, "tcp 9.9.9.9:443", "GOOD.com.", "allow by rule 0"},
		{"pinned, another said", allow, "tcp 9.9.9.9:443", "evil.com", "reject by default"},
		{"pinned, allowed name of elsewhere said", allow, "tcp 9.9.9.9:443", "www.good.com", "reject by default"},
		{"pinned, no name said", allow, "tcp 9.9.9.9:443", "-", "reject by default"},
		{"pinned, garbage said", allow, "tcp 9.9.9.9:443", "good.com\x00evil.com", "reject by default"},
		{"pinned, ssh", allow, "tcp 9.9.9.9:22", "?", "allow by rule 0, wants name"},
		{"pinned, ssh began", allow, "tcp 9.9.9.9:22", "-", "allow by rule 0"},
		{"pinned, TLS elsewhere", allow, "tcp 9.9.9.9:993", "evil.com", "reject by default"},
		{"pinned, udp", allow, "udp 9.9.9.9:500", "?", "allow by rule 0"},
		{"pinned, ping", allow, "icmp 9.9.9.9:0", "?", "allow by rule 0"},
		{"pinned, QUIC", allow, "udp 9.9.9.9:443", "?", "reject by default, hidden"},
		{"not pinned", allow, "tcp 9.9.9.7:443", "?", "reject by default"},
		{"not pinned, said", allow, "tcp 9.9.9.7:443", "good.com", "reject by default"},
		{"shared address, said", allow, "tcp 9.9.9.8:443", "good.com", "allow by rule 0"},
		{"shared address, the other said", allow, "tcp 9.9.9.8:443", "evil.com", "reject by default"},
		{"name of a private address", allow, "tcp 10.0.0.7:22", "?", "reject by default"},
		{"private by name and group", internal, "tcp 10.0.0.7:22", "?", "allow by rule 0, wants name"},
		{"name at a private address that another rule has", trap, "tcp 10.0.0.7:443", "good.com", "reject by default"},
		{"names of two lists", narrow, "tcp 9.9.9.9:443", "good.com", "allow by rule 0"},
		{"name at another port", narrow, "tcp 9.9.9.9:80", "good.com", "reject by default"},

		{"denied, open", deny, "tcp 9.9.9.7:443", "?", "drop by rule 0"},
		{"denied, shared, open", deny, "tcp 9.9.9.8:443", "?", "allow by default, needs name"},
		{"denied, shared, said", deny, "tcp 9.9.9.8:443", "evil.com", "drop by rule 0"},
		{"denied, shared, the other said", deny, "tcp 9.9.9.8:443", "good.com", "allow by default"},
		{"denied, shared, none said", deny, "tcp 9.9.9.8:443", "-", "drop by rule 0"},
		{"denied, shared, a name of elsewhere said", deny, "tcp 9.9.9.8:443", "other.com", "drop by rule 0"},
		{"denied, shared, ssh", deny, "tcp 9.9.9.8:22", "?", "drop by rule 0"},
		{"denied, not pinned, open", deny, "tcp 1.1.1.1:443", "?", "allow by default, needs name"},
		{"denied, not pinned, said", deny, "tcp 1.1.1.1:443", "www.EVIL.com", "drop by rule 0"},
		{"denied, not pinned, other said", deny, "tcp 1.1.1.1:443", "notevil.com", "allow by default"},
		{"denied, QUIC", deny, "udp 1.1.1.1:443", "?", "reject by rule 0, hidden"},
		{"denied, other port", deny, "tcp 1.1.1.1:2222", "?", "allow by default, wants name"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			f := to(t, test.flow)
			switch test.said {
			case "?":
			case "-":
				f.Said = SaidNone
			default:
				f.Said, f.Name = SaidName, test.said
			}
			e := learnt(t, test.policy)
			if strings.HasPrefix(test.name, "private by") {
				e.Learn("good.com", []netip.Addr{netip.MustParseAddr("10.0.0.7")}, time.Minute, epoch)
			}
			require.Equal(t, test.want, full(e.Flow(f)))
		})
	}
}

func full(v Verdict) string {
	s := v.String()
	for text, is := range map[string]bool{", needs name": v.NeedName, ", wants name": v.WantName, ", hidden": v.Hidden} {
		if is {
			s += text
		}
	}
	return s
}

func TestPinsEndAndSurvive(t *testing.T) {
	t.Parallel()
	const text = `{"default":"deny-all","rules":[{"action":"allow","domains":["good.com"]}]}`
	e := learnt(t, text)
	f := to(t, "tcp 9.9.9.9:22")
	first := e.Flow(f)
	require.Equal(t, []string{"good.com"}, first.Names)
	f.Now = epoch.Add(time.Minute + Grace - 1)
	require.Equal(t, Allow, e.Flow(f).Action)
	f.Now = epoch.Add(time.Minute + Grace)
	require.Equal(t, Reject, e.Flow(f).Action)
	f.Names = first.Names
	require.Equal(t, Allow, e.Flow(f).Action, "a flow keeps its pins")
	f.Names, f.Now = nil, epoch
	p, err := Parse([]byte(text))
	require.NoError(t, err)
	require.NoError(t, e.Swap(p))
	require.Equal(t, Allow, e.Flow(f).Action, "pins are no part of the policy")
}

func TestLoggedOnceNameIsKnown(t *testing.T) {
	t.Parallel()
	e := learnt(t, `{"default":"allow-all","rules":[{"action":"log","domains":["good.com"]}]}`)
	f := to(t, "tcp 9.9.9.9:443")
	v := e.Flow(f)
	require.True(t, v.NeedName)
	require.Empty(t, v.Logged)
	f.Said, f.Name = SaidName, "good.com"
	require.Equal(t, []int{0}, e.Flow(f).Logged)
}

func TestQuery(t *testing.T) {
	t.Parallel()
	const (
		names   = `{"default":"deny-all","rules":[{"action":"log","domains":[".com"]},{"action":"deny","domains":["bad.good.com"]},{"action":"allow","domains":[".good.com"],"ports":[443]}]}`
		nets    = `{"default":"deny-all","deny":"drop","rules":[{"action":"allow","addresses":["10.0.0.0/8"]},{"action":"allow","groups":["private"]}]}`
		web     = `{"default":"deny-all","rules":[{"action":"allow","ports":[443]}]}`
		allV4   = `{"default":"deny-all","rules":[{"action":"allow","addresses":["0.0.0.0/0"]}]}`
		block   = `{"default":"allow-all","rules":[{"action":"deny","domains":["evil.com"],"ports":[25]},{"action":"drop","domains":[".evil.com"]}]}`
		blocked = `{"default":"allow-all","rules":[{"action":"deny","addresses":["::/0","0.0.0.0/0"]}]}`
		inbound = `{"default":"deny-all","rules":[{"action":"allow","direction":"inbound","any":true}]}`
	)
	for _, test := range []struct{ policy, name, want string }{
		{names, "www.GOOD.com.", "allow by rule 2"}, {names, "bad.good.com", "reject by rule 1"},
		{names, "secret.evil.com", "reject by default"}, {names, "notgood.com", "reject by default"},
		{names, "good.com.evil.org", "reject by default"}, {names, ".", "reject by default"}, {names, "x.\x00good.com", "reject by invalid"},
		{nets, "x.com", "drop by default"}, {web, "x.com", "allow by rule 0"}, {web, ".", "allow by rule 0"}, {allV4, "x.com", "allow by rule 0"},
		{block, "x.com", "allow by default"}, {block, "evil.com", "drop by rule 1"}, {block, "a.b.evil.com", "drop by rule 1"},
		{blocked, "x.com", "reject by rule 0"}, {inbound, "x.com", "reject by default"},
		{`{"default":"public-only"}`, "x.com", "allow by default"}, {`{"default":"allow-all"}`, strings.Repeat("a", 64) + ".com", "reject by invalid"},
	} {
		require.Equal(t, test.want, compiledFrom(t, test.policy).Query(test.name, 1).String(), "%s under %s", test.name, test.policy)
	}
	require.Equal(t, []int{0}, compiledFrom(t, names).Query("x.com", 28).Logged)
	require.Equal(t, "reject by invalid", compiledFrom(t, web).Query("x.com", 252).String())

	e := compiledFrom(t, block)
	require.Equal(t, "drop by rule 1", e.Target("innocent.com", "tracker.evil.com").String())
	require.Equal(t, "allow by default", e.Target("innocent.com", "cdn.net").String())
	e = compiledFrom(t, names)
	require.Equal(t, Allow, e.Target("good.com", "bad.net").Action)
	require.Equal(t, "reject by rule 1", e.Target("x.good.com", "bad.good.com").String())
}

func TestAnswer(t *testing.T) {
	t.Parallel()
	const (
		byName = `{"default":"deny-all","rules":[{"action":"allow","domains":["good.com"]}]}`
		byNet  = `{"default":"deny-all","rules":[{"action":"allow","addresses":["10.1.0.0/16"],"ports":[22]},{"action":"allow","domains":["good.com"]}]}`
		denies = `{"default":"allow-all","rules":[{"action":"deny","groups":["private"]}]}`
		anyone = `{"default":"deny-all","rules":[{"action":"allow","any":true}]}`
	)
	for _, test := range []struct{ policy, addr, want string }{
		{byName, "9.9.9.9", "allow by default"}, {byName, "10.1.0.1", "reject by default"}, {byName, "::ffff:10.1.0.1", "reject by default"},
		{byName, "64:ff9b::10.1.0.1", "reject by default"}, {byName, "127.0.0.1", "reject by floor (loopback)"},
		{byName, "169.254.169.254", "reject by floor (metadata)"}, {byName, "8.7.6.5", "reject by floor (host)"}, {byName, "0.0.0.0", "reject by floor (reserved)"},
		{byNet, "10.1.0.1", "allow by rule 0"}, {byNet, "10.2.0.1", "reject by default"},
		{denies, "10.2.0.1", "reject by rule 0"}, {`{"default":"allow-all"}`, "10.2.0.1", "allow by default"},
		{`{"default":"public-only"}`, "fd00::1", "reject by default"}, {anyone, "10.2.0.1", "allow by rule 0"},
	} {
		require.Equal(t, test.want, compiledFrom(t, test.policy).Answer("good.com", netip.MustParseAddr(test.addr)).String(), "%s under %s", test.addr, test.policy)
	}
	e := compiledFrom(t, byName)
	require.Equal(t, RuleInvalid, e.Answer("good com", netip.MustParseAddr("9.9.9.9")).Rule)
	require.Equal(t, RuleInvalid, e.Answer("good.com", netip.Addr{}).Rule)
	many := slices.Repeat([]netip.Addr{{}}, 1000)
	e.Learn("good.com", many, time.Hour, epoch)
	require.Empty(t, e.pins.of)
}
