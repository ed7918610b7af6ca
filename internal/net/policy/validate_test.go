package policy

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestProblems(t *testing.T) {
	t.Parallel()
	rule := func(text string) string { return `{"default":"deny-all","rules":[` + text + `]}` }
	for _, test := range []struct{ text, want string }{
		{`{}`, "default: no default is given"},
		{`{"default":"Allow-all"}`, `default: "Allow-all" is not known`},
		{`{"default":"deny-all","deny":"allow"}`, `deny: "allow" is not possible`},
		{`{"default":"deny-all","inbound":"log"}`, `inbound: "log" is not possible`},
		{`{"default":"deny-all","unlock":["public"]}`, `unlock[0]: "public" is not behind the floor`},
		{`{"default":"deny-all","unlock":["host","host"]}`, `unlock[1]: "host" is given twice`},
		{rule(`{"any":true}`), `rules[0].action: "" is not known`},
		{rule(`{"action":"allow"}`), "rules[0]: has no condition"},
		{rule(`{"action":"allow","any":false}`), "rules[0]: has no condition"},
		{rule(`{"action":"allow","any":true,"ports":[1]}`), "rules[0].any: there are conditions too"},
		{rule(`{"action":"allow","all":[]}`), "rules[0].all: is empty"},
		{rule(`{"action":"allow","all":[{"any":true},{}]}`), "rules[0].all[1]: has no condition"},
		{rule(`{"action":"allow","all":[{"ports":[]}]}`), "rules[0].all[0].ports: is empty"},
		{rule(`{"action":"allow","domains":[]}`), "rules[0].domains: is empty"},
		{rule(`{"action":"allow","addresses":[]}`), "rules[0].addresses: is empty"},
		{rule(`{"action":"allow","addresses":["10.0.0.1/8"]}`), `did you mean "10.0.0.0/8"`},
		{rule(`{"action":"allow","addresses":["::ffff:10.0.0.1"]}`), "IPv4 address in IPv6 clothes"},
		{rule(`{"action":"allow","addresses":["::ffff:10.0.0.0/104"]}`), "IPv4 address in IPv6 clothes"},
		{rule(`{"action":"allow","addresses":["fe80::1%eth0"]}`), "has a zone"},
		{rule(`{"action":"allow","addresses":["010.0.0.1"]}`), "neither an address"},
		{rule(`{"action":"allow","addresses":["example.com"]}`), "neither an address"},
		{rule(`{"action":"allow","groups":["Private"]}`), `"Private" is not known`},
		{rule(`{"action":"allow","groups":["loopback"]}`), "the floor denies all of it"},
		{rule(`{"action":"allow","ports":[0]}`), "0-0 is not within 1 to 65535"},
		{rule(`{"action":"allow","ports":["9-3"]}`), "the wrong way round"},
		{rule(`{"action":"allow","ports":[65536]}`), "not within 1 to 65535"},
		{rule(`{"action":"allow","ports":[-1]}`), "not within 1 to 65535"},
		{rule(`{"action":"allow","ports":["0-65535"]}`), "not within 1 to 65535"},
		{rule(`{"action":"allow","ports":[5],"protocols":["icmp"]}`), "no protocol that has ports"},
		{rule(`{"action":"allow","all":[{"protocols":["tcp"]},{"protocols":["udp"]}]}`), "no protocol is in all"},
		{rule(`{"action":"allow","protocols":["sctp"]}`), `"sctp" is not known`},
		{rule(`{"action":"allow","domains":["bücher.example"]}`), "punycode"},
		{rule(`{"action":"allow","domains":["*"]}`), `use "any"`},
		{rule(`{"action":"allow","domains":["10.0.0.1"]}`), "is not a name"},
		{rule(`{"action":"allow","direction":"inbound","domains":["a.com"]}`), "has no name"},
		{rule(`{"action":"allow","direction":"in","any":true}`), `"in" is not known`},
		{rule(`{"action":"allow","any":true,"note":"a\u202eb"}`), "cannot be printed"},
		{rule(`{"action":"allow","any":true,"note":"` + strings.Repeat("n", MaxNote+1) + `"}`), "at most 256"},
		{rule(`{"action":"allow"` + strings.Repeat(`,"all":[{"ports":[1]`, MaxDepth+1) + strings.Repeat(`}]`, MaxDepth+1) + `}`), "nested more than 4 deep"},
		// The form.
		{``, "EOF"}, {`[]`, "not wanted"}, {`1`, "a policy is an object"}, {`null`, "null"}, {`{"default":"deny-all"} {}`, "after the policy"},
		{`{"Default":"deny-all"}`, `"Default": is not known`},
		{`{"default":"deny-all","default":"allow-all"}`, "default: is given twice"},
		{`{"default":"deny-all","rules":null}`, "rules: is null"},
		{rule(`{"action":"allow","any":true,"match":{}}`), `rules[0]."match": is not known`},
		{rule(`{"action":"allow","Match":{"any":true}}`), `rules[0]."Match": is not known`},
		{rule(`{"action":"allow","ports":[1.5]}`), "is wanted"}, {rule(`{"action":"allow","ports":["+1"]}`), "is wanted"},
		{rule(`{"action":"allow","ports":["1-"]}`), "is wanted"}, {rule(`{"action":"allow","ports":{"First":1}}`), "not wanted"},
		{rule(`{"action":"allow","ports":[{"First":1}]}`), "not wanted"}, {rule(`{"action":"allow","any":"yes"}`), "is a string"},
		{strings.Repeat(`{"rules":[`, 10000), "rules[0]"}, {"{\"default\":\"\xff\"}", "UTF-8"}, {strings.Repeat(" ", MaxJSON+1), "at most"},
		{rule(strings.Repeat(`{"action":"allow","any":true},`, MaxRules) + `{"action":"allow","any":true}`), "4097 are too many"},
		{rule(`{"action":"allow","ports":[` + strings.Repeat("1,", MaxEntries) + `1]}`), "too many entries"},
	} {
		_, err := Parse([]byte(test.text))
		var problems *Error
		require.ErrorAs(t, err, &problems, "%.200s", test.text)
		require.Contains(t, err.Error(), test.want, "%.200s", test.text)
		require.Less(t, len(err.Error()), 64<<10)
	}
}

func TestEveryProblemAtOnce(t *testing.T) {
	t.Parallel()
	_, err := Parse([]byte(`{"default":"x","unlock":["y"],"rules":[{"action":"z","ports":[0,70000],"domains":["a b"]},{"action":"allow"}]}`))
	var all *Error
	require.ErrorAs(t, err, &all)
	var fields []string
	for _, p := range all.Problems {
		fields = append(fields, p.Field)
	}
	require.Equal(t, []string{"default", "unlock[0]", "rules[0].action", "rules[0].ports[0]", "rules[0].ports[1]", "rules[0].domains[0]", "rules[1]"}, fields)

	p := Policy{Default: DenyAll, Rules: make([]Rule, MaxRules)}
	require.True(t, errors.As(p.Validate(), &all))
	require.Len(t, all.Problems, MaxProblems)
	require.Equal(t, 2*MaxRules-MaxProblems, all.More)
}

func TestFailedDecodeChangesNothing(t *testing.T) {
	t.Parallel()
	p := Policy{Default: DenyAll}
	require.Error(t, json.Unmarshal([]byte(`{"default":"allow-all","rules":[{"ports":["x"]}]}`), &p))
	require.Equal(t, Policy{Default: DenyAll}, p)
}

// FuzzPolicy: what is accepted survives its own JSON form, and decides: a flow that
// is refused when it opens is refused whatever name is said, and one that needs no
// name is decided alike with all of them.
func FuzzPolicy(f *testing.F) {
	for _, seed := range []string{
		`{"default":"allow-all"}`,
		`{"default":"deny-all","unlock":["host"],"rules":[{"action":"allow","domains":["good.com","*.evil.com"],"ports":[443,"1-80"]}]}`,
		`{"default":"public-only","deny":"drop","rules":[{"action":"log","any":true},{"action":"drop","domains":[".evil.com"]}]}`,
		`{"default":"deny-all","rules":[{"action":"allow","all":[{"addresses":["9.9.0.0/16","::/0"]},{"protocols":["tcp"]}]}]}`,
		`{"default":"allow-all","rules":[{"action":"drop","domains":["good.com"]},{"action":"allow","domains":["evil.com"]},{"action":"deny","groups":["public"]}]}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := Parse(data)
		if err != nil {
			return
		}
		text, err := json.Marshal(p)
		require.NoError(t, err)
		p.Unlock, p.Rules = append([]Group(nil), p.Unlock...), append([]Rule(nil), p.Rules...) // none is nil
		again, err := Parse(text)
		require.NoError(t, err, "%s", text)
		require.Equal(t, p, again)
		e := learnt(t, string(text))
		for _, flow := range []string{"tcp 9.9.9.9:443", "tcp 9.9.9.8:80", "tcp 9.9.9.7:8443", "tcp 1.1.1.1:443", "tcp 10.0.0.7:80"} {
			checkNames(t, e, to(t, flow))
		}
		for _, addr := range []string{"127.0.0.1", "::ffff:127.0.0.1", "169.254.169.254", "0.0.0.0", "64:ff9b::7f00:1"} {
			v := e.Flow(to(t, "tcp "+netip.AddrPortFrom(netip.MustParseAddr(addr), 80).String()))
			require.True(t, v.Action != Allow || len(p.Unlock) > 0)
		}
	})
}

func checkNames(t *testing.T, e *Engine, f Flow) {
	open := e.Flow(f)
	for _, name := range []string{"", "good.com", "evil.com", "x.evil.com", "other.org", "\x00"} {
		f.Said, f.Name = SaidName, name
		if name == "" {
			f.Said = SaidNone
		}
		said := e.Flow(f)
		require.False(t, said.NeedName)
		require.False(t, open.Action != Allow && said.Action == Allow, "%v refused, but allowed with %q", f, name)
		if open.Action == Allow && !open.NeedName {
			require.Equal(t, open.Action, said.Action, "%v needs no name, but with %q", f, name)
		}
	}
}

func Example() {
	p, err := Parse([]byte(`{
		"default": "deny-all",
		"rules": [
			{"action": "allow", "domains": [".debian.org"], "ports": [80, 443]},
			{"action": "allow", "addresses": ["192.168.7.0/24"], "protocols": ["tcp"], "ports": [5432], "note": "database"}
		]
	}`))
	if err != nil {
		fmt.Println(err)
		return
	}
	e, _ := Compile(p)
	fmt.Println(e.Query("deb.debian.org", 1))
	fmt.Println(e.Query("data.collector.example", 1))
	fmt.Println(e.Flow(Flow{
		Protocol: TCP, Src: netip.MustParseAddrPort("10.0.2.15:40000"), Dst: netip.MustParseAddrPort("192.168.7.1:5432"),
	}))
	// Output:
	// allow by rule 0
	// reject by default
	// allow by rule 1
}
