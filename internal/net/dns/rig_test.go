package dns_test

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/dns/dnsmessage"

	"github.com/libcapsa/libcapsa/internal/net/dns"
	"github.com/libcapsa/libcapsa/internal/net/policy"
)

func ip(s string) netip.Addr { return netip.MustParseAddr(s) }

// clock stands until it is moved.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) forward(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// handler returns the messages to send for a query.
type handler func(q dnsmessage.Message, tcp bool) [][]byte

// server is a name server on the loopback, over UDP and TCP.
type server struct {
	addr     netip.AddrPort
	udp, tcp atomic.Int64 // queries
	handle   handler
	joined   sync.WaitGroup
	from     sync.Map // where UDP queries came from
}

// ports is how many ports UDP queries came from.
func (s *server) ports() (n int) {
	s.from.Range(func(any, any) bool { n++; return true })
	return n
}

func serve(t testing.TB, handle handler) *server {
	t.Helper()
	s := &server{handle: handle}
	var listener net.Listener
	var packets net.PacketConn
	for range 20 { // until a port is free for both
		var err error
		packets, err = net.ListenPacket("udp", "127.0.0.1:0")
		require.NoError(t, err)
		if listener, err = net.Listen("tcp", packets.LocalAddr().String()); err == nil {
			break
		}
		_ = packets.Close()
	}
	require.NotNil(t, listener)
	s.addr = netip.MustParseAddrPort(packets.LocalAddr().String())
	s.joined.Go(func() { s.overUDP(packets) })
	s.joined.Go(func() { s.overTCP(listener) })
	t.Cleanup(func() {
		_ = packets.Close()
		listener.Close()
		s.joined.Wait()
	})
	return s
}

func (s *server) answers(b []byte, tcp bool) [][]byte {
	var q dnsmessage.Message
	if q.Unpack(b) != nil {
		return nil
	}
	return s.handle(q, tcp)
}

func (s *server) overUDP(conn net.PacketConn) {
	b := make([]byte, 65536)
	for {
		n, from, err := conn.ReadFrom(b)
		if err != nil {
			return
		}
		s.udp.Add(1)
		s.from.Store(from.String(), true)
		query := append([]byte(nil), b[:n]...)
		s.joined.Go(func() {
			for _, reply := range s.answers(query, false) {
				_, _ = conn.WriteTo(reply, from)
			}
		})
	}
}

func (s *server) overTCP(listener net.Listener) {
	for {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		s.tcp.Add(1)
		s.joined.Go(func() {
			defer conn.Close()
			var head [2]byte
			if _, err := io.ReadFull(conn, head[:]); err != nil {
				return
			}
			b := make([]byte, binary.BigEndian.Uint16(head[:]))
			if _, err := io.ReadFull(conn, b); err != nil {
				return
			}
			for _, reply := range s.answers(b, true) {
				_, _ = conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(reply))), reply...))
			}
		})
	}
}

// reply is an answer to a query, which edit completes.
func reply(q dnsmessage.Message, edit func(*dnsmessage.Message)) []byte {
	m := dnsmessage.Message{Header: dnsmessage.Header{ID: q.ID, Response: true, RecursionDesired: true}, Questions: q.Questions}
	if edit != nil {
		edit(&m)
	}
	b, err := m.Pack()
	if err != nil {
		panic(err)
	}
	return b
}

// zone answers by name and type; what it does not know does not exist.
func zone(records ...dnsmessage.Resource) handler {
	return func(q dnsmessage.Message, _ bool) [][]byte {
		return [][]byte{reply(q, func(m *dnsmessage.Message) {
			name, known := strings.ToLower(q.Questions[0].Name.String()), false
			for range 8 {
				next := ""
				for _, r := range records {
					if r.Header.Name.String() != name {
						continue
					}
					known = true
					if c, is := r.Body.(*dnsmessage.CNAMEResource); is {
						next = c.CNAME.String()
						m.Answers = append(m.Answers, r)
					} else if r.Header.Type == q.Questions[0].Type {
						m.Answers = append(m.Answers, r)
					}
				}
				if name = next; name == "" {
					break
				}
			}
			if !known {
				m.RCode = dnsmessage.RCodeNameError
			}
		})}
	}
}

func record(name string, ttl uint32, body dnsmessage.ResourceBody) dnsmessage.Resource {
	h := dnsmessage.ResourceHeader{Name: dnsmessage.MustNewName(name), Class: dnsmessage.ClassINET, TTL: ttl}
	switch body.(type) {
	case *dnsmessage.AResource:
		h.Type = dnsmessage.TypeA
	case *dnsmessage.AAAAResource:
		h.Type = dnsmessage.TypeAAAA
	case *dnsmessage.CNAMEResource:
		h.Type = dnsmessage.TypeCNAME
	case *dnsmessage.SOAResource:
		h.Type = dnsmessage.TypeSOA
	case *dnsmessage.TXTResource:
		h.Type = dnsmessage.TypeTXT
	case *dnsmessage.HTTPSResource:
		h.Type = dnsmessage.TypeHTTPS
	case *dnsmessage.MXResource:
		h.Type = dnsmessage.TypeMX
	}
	return dnsmessage.Resource{Header: h, Body: body}
}

func a(name string, ttl uint32, addr string) dnsmessage.Resource {
	return record(name, ttl, &dnsmessage.AResource{A: ip(addr).As4()})
}

func aaaa(name string, ttl uint32, addr string) dnsmessage.Resource {
	return record(name, ttl, &dnsmessage.AAAAResource{AAAA: ip(addr).As16()})
}

func cname(name string, ttl uint32, to string) dnsmessage.Resource {
	return record(name, ttl, &dnsmessage.CNAMEResource{CNAME: dnsmessage.MustNewName(to)})
}

func soa(name string, ttl, least uint32) dnsmessage.Resource {
	n := dnsmessage.MustNewName(name)
	return record(name, ttl, &dnsmessage.SOAResource{NS: n, MBox: n, MinTTL: least})
}

// proxy is one in front of servers, with a policy or without ("").
func proxy(t testing.TB, rules string, change func(*dns.Config), servers ...*server) *dns.Proxy {
	t.Helper()
	config := dns.Config{ResolvConf: "/nonexistent"}
	for _, s := range servers {
		addr := s.addr
		if !addr.IsValid() { // nobody is asked
			addr = netip.MustParseAddrPort("127.0.0.1:1")
		}
		config.Servers = append(config.Servers, addr)
	}
	if rules != "" {
		config.Policy = engine(t, rules)
	}
	if change != nil {
		change(&config)
	}
	p, err := dns.New(config)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, p.Close()) })
	return p
}

func engine(t testing.TB, rules string) *policy.Engine {
	t.Helper()
	parsed, err := policy.Parse([]byte(rules))
	require.NoError(t, err)
	e, err := policy.Compile(parsed)
	require.NoError(t, err)
	return e
}

// edns is what a query says about its sender; the zero value says nothing.
type edns struct {
	size int
	do   bool
}

func query(name string, kind dnsmessage.Type, e edns) []byte {
	m := dnsmessage.Message{
		Header:    dnsmessage.Header{ID: 0xcafe, RecursionDesired: true},
		Questions: []dnsmessage.Question{{Name: dnsmessage.MustNewName(name), Type: kind, Class: dnsmessage.ClassINET}},
	}
	if e.size != 0 {
		var h dnsmessage.ResourceHeader
		if err := h.SetEDNS0(e.size, 0, e.do); err != nil {
			panic(err)
		}
		m.Additionals = []dnsmessage.Resource{{Header: h, Body: &dnsmessage.OPTResource{}}}
	}
	b, err := m.Pack()
	if err != nil {
		panic(err)
	}
	return b
}

// ask requires a well-formed answer to the question, and no other additional record
// than EDNS, there if the query had it.
func ask(t testing.TB, p *dns.Proxy, sent []byte, transport dns.Transport) dnsmessage.Message {
	t.Helper()
	got, err := p.Exchange(context.Background(), sent, transport)
	require.NoError(t, err)
	return read(t, sent, got)
}

func read(t testing.TB, sent, got []byte) dnsmessage.Message {
	t.Helper()
	var q, m dnsmessage.Message
	require.NoError(t, q.Unpack(sent))
	require.NoError(t, m.Unpack(got))
	require.Equal(t, q.ID, m.ID)
	require.True(t, m.Response)
	require.True(t, m.RecursionAvailable)
	require.Equal(t, q.RecursionDesired, m.RecursionDesired)
	require.Equal(t, q.Questions, m.Questions)
	require.Len(t, m.Additionals, len(q.Additionals))
	for _, r := range m.Additionals {
		require.Equal(t, dnsmessage.TypeOPT, r.Header.Type)
		require.EqualValues(t, 1232, r.Header.Class)
	}
	return m
}

// extended is the extended error of an answer, 0: none.
func extended(m dnsmessage.Message) int {
	for _, r := range m.Additionals {
		for _, o := range r.Body.(*dnsmessage.OPTResource).Options {
			if o.Code == 15 {
				return int(binary.BigEndian.Uint16(o.Data))
			}
		}
	}
	return 0
}

// addrs are those of an answer, with their TTLs.
func addrs(m dnsmessage.Message) map[string]uint32 {
	out := map[string]uint32{}
	for _, r := range m.Answers {
		switch b := r.Body.(type) {
		case *dnsmessage.AResource:
			out[netip.AddrFrom4(b.A).String()] = r.Header.TTL
		case *dnsmessage.AAAAResource:
			out[netip.AddrFrom16(b.AAAA).String()] = r.Header.TTL
		}
	}
	return out
}

// events collects what is observed.
type events struct {
	mu   sync.Mutex
	list []dns.Event
}

func (e *events) add(event dns.Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.list = append(e.list, event)
}

func (e *events) last(t *testing.T) dns.Event {
	t.Helper()
	e.mu.Lock()
	defer e.mu.Unlock()
	require.NotEmpty(t, e.list)
	return e.list[len(e.list)-1]
}
