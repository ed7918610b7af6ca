package dns_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/dns/dnsmessage"

	"github.com/libcapsa/libcapsa/internal/net/dns"
)

// TestHostile: messages that are no proper queries.
func TestHostile(t *testing.T) {
	good := func() []byte { return query("example.com.", dnsmessage.TypeA, edns{size: 1232}) }
	plain := func() []byte { return query("example.com.", dnsmessage.TypeA, edns{}) }
	edit := func(b []byte, at int, v ...byte) []byte { copy(b[at:], v); return b }
	opt := []byte{0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0}
	const drop = dnsmessage.RCode(999)
	for _, tt := range []struct {
		name string
		b    []byte
		code dnsmessage.RCode
	}{
		{"empty", nil, drop},
		{"short", good()[:11], drop},
		{"an answer", edit(good(), 2, 0x80), drop},
		{"header alone", good()[:12], dnsmessage.RCodeFormatError},
		{"update", edit(good(), 2, 5<<3), dnsmessage.RCodeNotImplemented},
		{"no question", edit(good(), 4, 0, 0), dnsmessage.RCodeFormatError},
		{"two questions", edit(good(), 4, 0, 2), dnsmessage.RCodeFormatError},
		{"with answers", edit(good(), 6, 0, 1), dnsmessage.RCodeFormatError},
		{"with authorities", edit(good(), 8, 0, 1), dnsmessage.RCodeFormatError},
		{"65535 additional records", edit(good(), 10, 0xff, 0xff), dnsmessage.RCodeFormatError},
		{"cut name", good()[:15], dnsmessage.RCodeFormatError},
		{"cut question", good()[:26], dnsmessage.RCodeFormatError},
		{"name that points to itself", edit(plain(), 12, 0xc0, 12), dnsmessage.RCodeFormatError},
		{"name that points to the header", edit(plain(), 12, 0xc0, 0), dnsmessage.RCodeFormatError},
		{"reserved label", edit(plain(), 12, 0x40), dnsmessage.RCodeFormatError},
		{"dot in a label", edit(plain(), 14, '.'), dnsmessage.RCodeFormatError},
		{"long name", append(append(good()[:12], bytes.Repeat([]byte("\x3f"+string(bytes.Repeat([]byte{'a'}, 63))), 4)...), 0, 0, 1, 0, 1), dnsmessage.RCodeFormatError},
		{"long message", append(good(), make([]byte, dns.MaxQuery)...), dnsmessage.RCodeFormatError},
		{"EDNS twice", append(edit(good(), 10, 0, 2), opt...), dnsmessage.RCodeFormatError},
		{"EDNS with a name", append(edit(plain(), 10, 0, 1), append([]byte{1, 'x'}, opt...)...), dnsmessage.RCodeFormatError},
		{"cut EDNS", good()[:len(good())-3], dnsmessage.RCodeFormatError},
		{"class CHAOS", edit(plain(), 27, 0, 3), dnsmessage.RCodeRefused},
		{"class ANY", edit(plain(), 27, 0, 255), dnsmessage.RCodeRefused},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := proxy(t, "", nil, unreachable(t))
			got, err := p.Exchange(context.Background(), tt.b, dns.UDP)
			require.EqualValues(t, 1, p.Stats().Malformed)
			if tt.code == drop {
				require.ErrorIs(t, err, dns.ErrNotQuery)
				require.Nil(t, got)
				return
			}
			require.NoError(t, err)
			var m dnsmessage.Message
			require.NoError(t, m.Unpack(got))
			require.True(t, m.Response)
			require.Equal(t, tt.code, m.RCode)
			require.EqualValues(t, 0xcafe, m.ID)
			require.LessOrEqual(t, len(got), 512)
		})
	}
}

// TestBadVersion: a later EDNS (RFC 6891 section 6.1.3).
func TestBadVersion(t *testing.T) {
	p := proxy(t, "", nil, unreachable(t))
	sent := query("example.com.", dnsmessage.TypeA, edns{size: 1232})
	sent[len(sent)-5] = 1
	m := ask(t, p, sent, dns.UDP)
	require.EqualValues(t, 16, m.Additionals[0].Header.ExtendedRCode(m.RCode))
}

// TestCacheLimits: a machine that asks for much does not make the host keep all of it.
func TestCacheLimits(t *testing.T) {
	s := serve(t, func(q dnsmessage.Message, _ bool) [][]byte {
		return [][]byte{reply(q, func(m *dnsmessage.Message) {
			m.Answers = []dnsmessage.Resource{record(q.Questions[0].Name.String(), 60, &dnsmessage.UnknownResource{Type: 65280, Data: make([]byte, 3000)})}
			m.Answers[0].Header.Type = 65280
		})}
	})
	p := proxy(t, "", nil, s)
	for i := range 1500 {
		m := ask(t, p, query(fmt.Sprintf("n%d.example.", i), 65280, edns{}), dns.TCP)
		require.Len(t, m.Answers, 1)
	}
	answers, size := p.Cached()
	require.LessOrEqual(t, size, dns.MaxCacheSize)
	require.Greater(t, answers, 1000)
	require.Less(t, answers, 1500)
	for i := range dns.MaxCached {
		sent := query(fmt.Sprintf("m%d.example.", i), dnsmessage.TypeA, edns{})
		require.NotNil(t, p.Digest(nothing(sent), sent))
	}
	answers, size = p.Cached()
	require.Equal(t, dns.MaxCached, answers)
	require.Less(t, size, dns.MaxCacheSize)
	for i := range dns.MaxCached {
		sent := query(fmt.Sprintf("m%d.example.", i), dnsmessage.TypeA, edns{size: 1232, do: true})
		require.NotNil(t, p.Digest(nothing(sent), sent))
	}
	answers, _ = p.Cached()
	require.Equal(t, dns.MaxCached, answers)
}

// nothing is an answer that there is no such name, to a query.
func nothing(sent []byte) []byte {
	var q dnsmessage.Message
	if err := q.Unpack(sent); err != nil {
		panic(err)
	}
	return reply(q, func(m *dnsmessage.Message) {
		m.RCode, m.Authorities = dnsmessage.RCodeNameError, []dnsmessage.Resource{soa("example.", 60, 60)}
	})
}

func FuzzQuery(f *testing.F) {
	f.Add(query("example.com.", dnsmessage.TypeA, edns{}), true)
	f.Add(query("HOST.capsa.internal.", dnsmessage.TypeAAAA, edns{size: 4096, do: true}), false)
	f.Add(query("20.2.0.10.in-addr.arpa.", dnsmessage.TypePTR, edns{size: 512}), false)
	f.Add(query("evil.example.", dnsmessage.TypeALL, edns{size: 1232}), true)
	p := proxy(f, onlyExample, known, &server{})
	f.Fuzz(func(t *testing.T, sent []byte, tcp bool) {
		transport := dns.UDP
		if tcp {
			transport = dns.TCP
		}
		before := bytes.Clone(sent)
		got, err := p.Local(sent, transport)
		require.Equal(t, before, sent)
		if err != nil {
			require.ErrorIs(t, err, dns.ErrNotQuery)
			return
		}
		if got == nil { // a name server would be asked
			return
		}
		require.Equal(t, sent[:2], got[:2])
		require.NotZero(t, got[2]&0x80)
		var m dnsmessage.Message
		require.NoError(t, m.Unpack(got))
		require.LessOrEqual(t, len(got), 1232)
		if binary.BigEndian.Uint16(sent[10:]) == 0 {
			require.Empty(t, m.Additionals)
		}
	})
}

// FuzzAnswer: whatever a name server says, what the machine gets is well-formed and
// obeys the policy.
func FuzzAnswer(f *testing.F) {
	sent := query("www.example.com.", dnsmessage.TypeA, edns{size: 1232, do: true})
	var q dnsmessage.Message
	require.NoError(f, q.Unpack(sent))
	add := func(edit func(*dnsmessage.Message)) { f.Add(reply(q, edit)) }
	add(nil)
	add(func(m *dnsmessage.Message) {
		m.Answers = []dnsmessage.Resource{
			cname("www.example.com.", 60, "cdn.example.net."), a("cdn.example.net.", 60, "93.184.216.34"), a("cdn.example.net.", 60, "10.0.0.1"),
		}
	})
	add(func(m *dnsmessage.Message) {
		m.Answers = []dnsmessage.Resource{record("www.example.com.", 60, &dnsmessage.HTTPSResource{SVCBResource: dnsmessage.SVCBResource{
			Priority: 1, Target: dnsmessage.MustNewName("x.example."),
			Params: []dnsmessage.SVCParam{{Key: 0, Value: []byte{0, 5}}, {Key: 4, Value: []byte{10, 0, 0, 1}}, {Key: 5, Value: []byte{1}}},
		}})}
	})
	add(func(m *dnsmessage.Message) {
		m.RCode, m.Authorities = dnsmessage.RCodeNameError, []dnsmessage.Resource{soa("com.", 60, 60)}
	})
	e := engine(f, onlyExample)
	p := proxy(f, "", func(c *dns.Config) { c.Policy = e }, &server{})
	f.Fuzz(func(t *testing.T, message []byte) {
		got := p.Digest(message, sent)
		if got == nil {
			return
		}
		m := read(t, sent, got)
		for _, r := range append(m.Answers, m.Authorities...) {
			switch b := r.Body.(type) {
			case *dnsmessage.HTTPSResource:
				_, there := b.GetParam(dnsmessage.SVCParamECH)
				require.False(t, there)
			case *dnsmessage.SVCBResource:
				_, there := b.GetParam(dnsmessage.SVCParamECH)
				require.False(t, there)
			}
		}
		for addr, ttl := range addrs(m) {
			require.True(t, e.Answer("www.example.com", ip(addr)).Action.String() == "allow", addr)
			require.GreaterOrEqual(t, ttl, uint32(30))
			require.LessOrEqual(t, ttl, uint32(3600))
		}
	})
}
