package dns_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/dns/dnsmessage"

	"github.com/libcapsa/libcapsa/internal/net/dns"
	"github.com/libcapsa/libcapsa/internal/net/policy"
)

// of makes a record of any type.
func of(name string, kind dnsmessage.Type, body dnsmessage.ResourceBody) dnsmessage.Resource {
	r := record(name, 60, body)
	r.Header.Type = kind
	return r
}

// raw is one of bytes.
func raw(name string, kind dnsmessage.Type, data string) dnsmessage.Resource {
	return of(name, kind, &dnsmessage.UnknownResource{Type: kind, Data: []byte(data)})
}

// saying answers every query with these records.
func saying(answers, authorities []dnsmessage.Resource) handler {
	return func(q dnsmessage.Message, _ bool) [][]byte {
		return [][]byte{reply(q, func(m *dnsmessage.Message) { m.Answers, m.Authorities = answers, authorities })}
	}
}

// TestTypes: records that nobody judges come through, with their names spelt out
// anew; those whose names cannot be read do not.
func TestTypes(t *testing.T) {
	target := dnsmessage.MustNewName("target.example.com.")
	for _, tt := range []struct {
		name string
		have dnsmessage.Resource
		gone bool
	}{
		{"NS", of("example.com.", dnsmessage.TypeNS, &dnsmessage.NSResource{NS: target}), false},
		{"PTR", of("example.com.", dnsmessage.TypePTR, &dnsmessage.PTRResource{PTR: target}), false},
		{"MX", of("example.com.", dnsmessage.TypeMX, &dnsmessage.MXResource{Pref: 1, MX: target}), false},
		{"SRV", of("example.com.", dnsmessage.TypeSRV, &dnsmessage.SRVResource{Port: 443, Target: target}), false},
		{"SOA", soa("example.com.", 60, 60), false},
		{"SVCB", of("example.com.", dnsmessage.TypeSVCB, &dnsmessage.SVCBResource{Priority: 1, Target: target, Params: []dnsmessage.SVCParam{}}), false},
		{"CAA", raw("example.com.", 257, "\x00\x05issueca.example"), false},
		{"DNSKEY", raw("example.com.", 48, "\x01\x00\x03\x08key"), false},
		{"DNAME", raw("example.com.", 39, "\x03www\x07example\x00"), false},
		{"RP", raw("example.com.", 17, "\xc0\x0c\xc0\x0c"), true},
		{"OPT", raw("example.com.", dnsmessage.TypeOPT, ""), true},
		{"SVCB that cannot be read", raw("example.com.", dnsmessage.TypeSVCB, "\x00\x01\x07"), true},
		{"HTTPS that cannot be read", raw("example.com.", dnsmessage.TypeHTTPS, "\x00"), true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := proxy(t, `{"default": "allow-all"}`, nil, serve(t, saying([]dnsmessage.Resource{tt.have}, nil)))
			m := ask(t, p, query("example.com.", tt.have.Header.Type, edns{}), dns.UDP)
			if tt.gone {
				require.Empty(t, m.Answers)
				return
			}
			require.Len(t, m.Answers, 1)
			require.Equal(t, tt.have.Body, m.Answers[0].Body)
			require.EqualValues(t, 60, m.Answers[0].Header.TTL)
		})
	}
}

// TestUnreadable: answers that make no sense count as none.
func TestUnreadable(t *testing.T) {
	cut := func(q dnsmessage.Message, tcp bool) [][]byte {
		b := example(q, tcp)[0]
		return [][]byte{b[:len(b)-2]}
	}
	for name, h := range map[string]handler{
		"cut":                 cut,
		"address of 5 bytes":  saying([]dnsmessage.Resource{raw("example.com.", dnsmessage.TypeA, "12345")}, nil),
		"address of 4 bytes":  saying([]dnsmessage.Resource{raw("example.com.", dnsmessage.TypeAAAA, "1234")}, nil),
		"alias without name":  saying([]dnsmessage.Resource{raw("example.com.", dnsmessage.TypeCNAME, "\xff")}, nil),
		"authority with less": saying(nil, []dnsmessage.Resource{raw("com.", dnsmessage.TypeSOA, "\x00")}),
	} {
		t.Run(name, func(t *testing.T) {
			p := proxy(t, "", nil, serve(t, h))
			require.Equal(t, dnsmessage.RCodeServerFailure, ask(t, p, query("example.com.", dnsmessage.TypeA, edns{}), dns.UDP).RCode)
			require.EqualValues(t, 1, p.Stats().Unusable)
		})
	}
}

// TestAuthority: with DO there are signatures, without there is nothing but who says
// no.
func TestAuthority(t *testing.T) {
	signature := raw("example.com.", 46, "\x00\x01signature")
	s := serve(t, saying(
		[]dnsmessage.Resource{a("example.com.", 60, "93.184.216.34"), signature},
		[]dnsmessage.Resource{soa("com.", 60, 60), signature, a("ns.example.com.", 60, "10.0.0.1")},
	))
	p := proxy(t, "", nil, s)
	m := ask(t, p, query("example.com.", dnsmessage.TypeA, edns{size: 1232, do: true}), dns.UDP)
	require.Len(t, m.Answers, 2)
	require.Len(t, m.Authorities, 2)
	m = ask(t, p, query("example.com.", dnsmessage.TypeA, edns{size: 1232}), dns.UDP)
	require.Len(t, m.Answers, 2)
	require.Empty(t, m.Authorities)
	unchecked := query("example.com.", dnsmessage.TypeA, edns{size: 1232})
	unchecked[3] |= 0x10
	require.True(t, ask(t, p, unchecked, dns.UDP).CheckingDisabled)
	require.EqualValues(t, 3, s.udp.Load(), "three different questions")
}

// TestOverTCP: what may go wrong there is no answer either.
func TestOverTCP(t *testing.T) {
	for name, after := range map[string]func(q dnsmessage.Message) [][]byte{
		"closed": func(dnsmessage.Message) [][]byte { return nil },
		"empty":  func(dnsmessage.Message) [][]byte { return [][]byte{{}} },
		"truncated": func(q dnsmessage.Message) [][]byte {
			return [][]byte{reply(q, func(m *dnsmessage.Message) { m.Truncated = true })}
		},
		"error": func(q dnsmessage.Message) [][]byte { return failing(dnsmessage.RCodeServerFailure)(q, true) },
		"complaint": func(q dnsmessage.Message) [][]byte {
			return [][]byte{reply(q, func(m *dnsmessage.Message) { m.Questions, m.RCode = nil, dnsmessage.RCodeRefused })}
		},
		"another's": func(q dnsmessage.Message) [][]byte {
			b := example(q, true)[0]
			binary.BigEndian.PutUint16(b, q.ID+1)
			return [][]byte{b}
		},
	} {
		t.Run(name, func(t *testing.T) {
			first := serve(t, func(q dnsmessage.Message, tcp bool) [][]byte {
				if tcp {
					return after(q)
				}
				return [][]byte{reply(q, func(m *dnsmessage.Message) { m.Truncated = true })}
			})
			p := proxy(t, "", nil, first, serve(t, example))
			require.Len(t, addrs(ask(t, p, query("example.com.", dnsmessage.TypeA, edns{}), dns.UDP)), 1)
			require.EqualValues(t, 1, first.tcp.Load())
			require.EqualValues(t, 1, p.Stats().Unusable)
		})
	}
}

// TestSwapInFlight: a policy that came while a name server was asked counts.
func TestSwapInFlight(t *testing.T) {
	e := engine(t, onlyExample)
	s := serve(t, func(q dnsmessage.Message, tcp bool) [][]byte {
		if err := e.Swap(policy.Policy{Default: policy.DenyAll}); err != nil {
			return nil
		}
		return zone(a("www.example.com.", 600, "93.184.216.34"))(q, tcp)
	})
	p := proxy(t, "", func(c *dns.Config) { c.Policy = e }, s)
	m := ask(t, p, query("www.example.com.", dnsmessage.TypeA, edns{size: 1232}), dns.UDP)
	require.Equal(t, dnsmessage.RCodeRefused, m.RCode)
	require.Equal(t, 15, extended(m))
	require.EqualValues(t, 1, p.Stats().Refused)
}

// TestNotKept: neither the query nor the answer is the proxy's after the call.
func TestNotKept(t *testing.T) {
	p := proxy(t, "", func(c *dns.Config) { c.Now = newClock().Now }, serve(t, example))
	sent := query("example.com.", dnsmessage.TypeA, edns{})
	want, err := p.Exchange(context.Background(), bytes.Clone(sent), dns.UDP)
	require.NoError(t, err)
	for range 2 {
		mine := bytes.Clone(sent)
		got, err := p.Local(mine, dns.UDP)
		require.NoError(t, err)
		require.Equal(t, want, got)
		clear(mine)
		clear(got)
	}
}
