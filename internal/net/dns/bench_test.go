package dns_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/dns/dnsmessage"

	"github.com/libcapsa/libcapsa/internal/net/dns"
)

// BenchmarkCached is a query that the cache answers, pins included.
func BenchmarkCached(b *testing.B) {
	p := proxy(b, onlyExample, nil, &server{})
	sent := query("www.example.com.", dnsmessage.TypeA, edns{size: 1232})
	var q dnsmessage.Message
	require.NoError(b, q.Unpack(sent))
	require.NotNil(b, p.Digest(reply(q, func(m *dnsmessage.Message) {
		m.Answers = []dnsmessage.Resource{
			cname("www.example.com.", 3600, "cdn.example.net."),
			a("cdn.example.net.", 3600, "93.184.216.34"), a("cdn.example.net.", 3600, "93.184.216.35"),
		}
	}), sent))
	b.ReportAllocs()
	for b.Loop() {
		if got, err := p.Local(sent, dns.UDP); got == nil || err != nil {
			b.Fatal(got, err)
		}
	}
}

// TestCachedAllocates one thing: the answer.
func TestCachedAllocates(t *testing.T) {
	p := proxy(t, "", nil, &server{})
	sent := query("www.example.com.", dnsmessage.TypeA, edns{size: 1232})
	require.NotNil(t, p.Digest(nothing(sent), sent))
	require.EqualValues(t, 1, testing.AllocsPerRun(100, func() { _, _ = p.Local(sent, dns.UDP) }))
}
