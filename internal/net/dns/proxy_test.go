package dns_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/dns/dnsmessage"

	"github.com/libcapsa/libcapsa/internal/net/dns"
)

func TestAnswer(t *testing.T) {
	s := serve(t, zone(a("example.com.", 300, "192.0.2.1"), aaaa("example.com.", 300, "2001:db8::1")))
	var seen events
	p := proxy(t, "", func(c *dns.Config) { c.Observe = seen.add }, s)
	m := ask(t, p, query("eXample.COM.", dnsmessage.TypeA, edns{}), dns.UDP)
	require.Equal(t, dnsmessage.RCodeSuccess, m.RCode)
	require.Equal(t, map[string]uint32{"192.0.2.1": 300}, addrs(m))
	require.Equal(t, "eXample.COM.", m.Answers[0].Header.Name.String())
	e := seen.last(t)
	require.Equal(t, "example.com", e.Name)
	require.EqualValues(t, dnsmessage.TypeA, e.Type)
	require.Equal(t, dns.Upstream, e.Source)

	m = ask(t, p, query("example.com.", dnsmessage.TypeAAAA, edns{size: 4096}), dns.TCP)
	require.Equal(t, map[string]uint32{"2001:db8::1": 300}, addrs(m))
	require.EqualValues(t, 2, s.udp.Load())
}

func TestCache(t *testing.T) {
	s := serve(t, zone(a("example.com.", 300, "192.0.2.1")))
	now := newClock()
	var seen events
	p := proxy(t, "", func(c *dns.Config) { c.Now, c.Observe = now.Now, seen.add }, s)
	q := query("example.com.", dnsmessage.TypeA, edns{})
	ask(t, p, q, dns.UDP)
	now.forward(100 * time.Second)
	local, err := p.Local(query("EXAMPLE.com.", dnsmessage.TypeA, edns{size: 1232}), dns.UDP)
	require.NoError(t, err)
	m := read(t, query("EXAMPLE.com.", dnsmessage.TypeA, edns{size: 1232}), local)
	require.Equal(t, map[string]uint32{"192.0.2.1": 200}, addrs(m))
	require.Equal(t, dns.Cache, seen.last(t).Source)
	require.EqualValues(t, 1, s.udp.Load())
	now.forward(200 * time.Second)
	local, err = p.Local(q, dns.UDP)
	require.NoError(t, err)
	require.Nil(t, local)
	require.Equal(t, map[string]uint32{"192.0.2.1": 300}, addrs(ask(t, p, q, dns.UDP)))
	require.EqualValues(t, 2, s.udp.Load())
	require.EqualValues(t, 1, p.Stats().Hits)
}

// TestNegativeCache is RFC 2308: as long as the SOA record says, and not at all
// without one.
func TestNegativeCache(t *testing.T) {
	for _, tt := range []struct {
		name     string
		code     dnsmessage.RCode
		records  []dnsmessage.Resource
		lasts    time.Duration
		negative uint64
	}{
		{"no such name", dnsmessage.RCodeNameError, []dnsmessage.Resource{soa("com.", 900, 60)}, time.Minute, 1},
		{"the record's own TTL", dnsmessage.RCodeNameError, []dnsmessage.Resource{soa("com.", 30, 60)}, 30 * time.Second, 1},
		{"no such type", dnsmessage.RCodeSuccess, []dnsmessage.Resource{soa("com.", 900, 60)}, time.Minute, 1},
		{"at most an hour", dnsmessage.RCodeNameError, []dnsmessage.Resource{soa("com.", 90000, 90000)}, time.Hour, 1},
		{"no SOA record", dnsmessage.RCodeNameError, nil, 0, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := serve(t, func(q dnsmessage.Message, _ bool) [][]byte {
				return [][]byte{reply(q, func(m *dnsmessage.Message) { m.RCode, m.Authorities = tt.code, tt.records })}
			})
			now := newClock()
			p := proxy(t, "", func(c *dns.Config) { c.Now = now.Now }, s)
			q := query("nothing.example.com.", dnsmessage.TypeA, edns{})
			for range 2 {
				m := ask(t, p, q, dns.UDP)
				require.Equal(t, tt.code, m.RCode)
				require.Len(t, m.Authorities, len(tt.records))
				now.forward(tt.lasts - time.Second)
			}
			now.forward(2 * time.Second)
			want := int64(2)
			if tt.lasts != 0 {
				require.EqualValues(t, 1, s.udp.Load())
			}
			if tt.lasts == 0 {
				want = 3
			}
			now.forward(tt.lasts)
			ask(t, p, q, dns.UDP)
			require.Equal(t, want, s.udp.Load())
			require.Equal(t, tt.negative, p.Stats().Negative)
		})
	}
}

// TestNotCached: what has a TTL of 0, and what is asked otherwise.
func TestNotCached(t *testing.T) {
	s := serve(t, zone(a("zero.example.", 0, "192.0.2.1"), a("huge.example.", 1<<31, "192.0.2.1"), a("long.example.", 1<<30, "192.0.2.1")))
	p := proxy(t, "", nil, s)
	for _, name := range []string{"zero.example.", "huge.example."} {
		for range 2 {
			require.Equal(t, map[string]uint32{"192.0.2.1": 0}, addrs(ask(t, p, query(name, dnsmessage.TypeA, edns{}), dns.UDP)))
		}
	}
	require.EqualValues(t, 4, s.udp.Load())
	long := ask(t, p, query("long.example.", dnsmessage.TypeA, edns{}), dns.UDP)
	require.Equal(t, map[string]uint32{"192.0.2.1": 24 * 3600}, addrs(long))
	ask(t, p, query("long.example.", dnsmessage.TypeA, edns{size: 1232, do: true}), dns.UDP)
	require.EqualValues(t, 6, s.udp.Load(), "with signatures it is another answer")
}

func TestChain(t *testing.T) {
	s := serve(t, zone(
		cname("www.example.com.", 600, "cdn.example.net."), cname("cdn.example.net.", 60, "edge.example.org."),
		a("edge.example.org.", 3600, "192.0.2.1"), a("edge.example.org.", 3600, "192.0.2.2"),
	))
	p := proxy(t, "", nil, s)
	m := ask(t, p, query("www.example.com.", dnsmessage.TypeA, edns{}), dns.UDP)
	require.Len(t, m.Answers, 4)
	require.Equal(t, map[string]uint32{"192.0.2.1": 3600, "192.0.2.2": 3600}, addrs(m))
	require.EqualValues(t, 60, m.Answers[1].Header.TTL)
}

// TestStrangers: records of other names than those asked for are no part of the
// answer.
func TestStrangers(t *testing.T) {
	s := serve(t, func(q dnsmessage.Message, _ bool) [][]byte {
		return [][]byte{reply(q, func(m *dnsmessage.Message) {
			m.Answers = []dnsmessage.Resource{a("bank.example.", 60, "192.0.2.66"), a("example.com.", 60, "192.0.2.1")}
			m.Authorities = []dnsmessage.Resource{a("bank.example.", 60, "192.0.2.66")}
			m.Additionals = []dnsmessage.Resource{a("bank.example.", 60, "192.0.2.66")}
		})}
	})
	p := proxy(t, "", nil, s)
	m := ask(t, p, query("example.com.", dnsmessage.TypeA, edns{size: 1232, do: true}), dns.UDP)
	require.Equal(t, map[string]uint32{"192.0.2.1": 60}, addrs(m))
	require.Len(t, m.Answers, 1)
	require.Empty(t, m.Authorities)
}

func TestEndlessChain(t *testing.T) {
	s := serve(t, func(q dnsmessage.Message, _ bool) [][]byte {
		return [][]byte{reply(q, func(m *dnsmessage.Message) {
			for range 20 {
				m.Answers = append(m.Answers, cname("a.example.", 60, "a.example."))
			}
		})}
	})
	p := proxy(t, "", nil, s)
	require.Equal(t, dnsmessage.RCodeServerFailure, ask(t, p, query("a.example.", dnsmessage.TypeA, edns{}), dns.UDP).RCode)
}

// TestOtherTypes come through as they are, names in them included.
func TestOtherTypes(t *testing.T) {
	mail := dnsmessage.MustNewName("mail.example.com.")
	s := serve(t, zone(
		record("example.com.", 60, &dnsmessage.MXResource{Pref: 10, MX: mail}),
		record("example.com.", 60, &dnsmessage.TXTResource{TXT: []string{"v=spf1 -all", "x"}}),
		record("unknown.example.", 60, &dnsmessage.TXTResource{TXT: []string{"x"}}),
	))
	p := proxy(t, `{"default":"allow-all"}`, nil, s)
	m := ask(t, p, query("example.com.", dnsmessage.TypeMX, edns{}), dns.UDP)
	require.Equal(t, &dnsmessage.MXResource{Pref: 10, MX: mail}, m.Answers[0].Body)
	require.EqualValues(t, 60, m.Answers[0].Header.TTL)
	m = ask(t, p, query("example.com.", dnsmessage.TypeTXT, edns{}), dns.UDP)
	require.Equal(t, &dnsmessage.TXTResource{TXT: []string{"v=spf1 -all", "x"}}, m.Answers[0].Body)
}

func TestNoIPv6(t *testing.T) {
	s := serve(t, zone(aaaa("example.com.", 60, "2001:db8::1")))
	p := proxy(t, "", func(c *dns.Config) { c.IPv6 = func() bool { return false } }, s)
	m := ask(t, p, query("example.com.", dnsmessage.TypeAAAA, edns{size: 1232}), dns.UDP)
	require.Equal(t, dnsmessage.RCodeSuccess, m.RCode)
	require.Empty(t, m.Answers)
	require.Zero(t, s.udp.Load())
}
