package dns_test

import (
	"context"
	"encoding/binary"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/dns/dnsmessage"

	"github.com/libcapsa/libcapsa/internal/net/dns"
)

const (
	soon  = 50 * time.Millisecond // where nobody will answer
	later = time.Second           // where somebody will not, and the next one will
	never = time.Minute           // where the test decides when
)

func silent(dnsmessage.Message, bool) [][]byte { return nil }

func failing(code dnsmessage.RCode) handler {
	return func(q dnsmessage.Message, _ bool) [][]byte {
		return [][]byte{reply(q, func(m *dnsmessage.Message) { m.RCode = code })}
	}
}

var example = zone(a("example.com.", 300, "192.0.2.1"), a("other.example.", 300, "192.0.2.2"), a("third.example.", 300, "192.0.2.3"))

// unreachable is a port of the loopback that nobody listens on.
func unreachable(t *testing.T) *server {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { _ = conn.Close() }()
	return &server{addr: netip.MustParseAddrPort(conn.LocalAddr().String())}
}

// TestDeadFirst: the first query finds out, the others do not wait for it any more.
func TestDeadFirst(t *testing.T) {
	t.Parallel()
	dead, live := serve(t, silent), serve(t, example)
	now := newClock()
	p := proxy(t, "", func(c *dns.Config) { c.Now = now.Now }, dead, live)
	p.SetTiming(later, later)
	for _, name := range []string{"example.com.", "other.example."} {
		m := ask(t, p, query(name, dnsmessage.TypeA, edns{}), dns.UDP)
		require.Len(t, addrs(m), 1)
		require.EqualValues(t, 1, dead.udp.Load())
	}
	require.EqualValues(t, 1, p.Stats().Timeouts)
	// After a while it gets another chance.
	now.forward(31 * time.Second)
	require.Len(t, addrs(ask(t, p, query("third.example.", dnsmessage.TypeA, edns{}), dns.UDP)), 1)
	require.EqualValues(t, 2, dead.udp.Load())
}

// TestOnceSilent: a server that has answered does not come last at its first silence.
func TestOnceSilent(t *testing.T) {
	t.Parallel()
	first := serve(t, func(q dnsmessage.Message, tcp bool) [][]byte {
		if strings.HasPrefix(strings.ToLower(q.Questions[0].Name.String()), "slow") {
			return nil
		}
		return example(q, tcp)
	})
	second := serve(t, zone(a("slow.example.", 60, "192.0.2.9")))
	p := proxy(t, "", nil, first, second)
	p.SetTiming(later, later)
	require.Len(t, addrs(ask(t, p, query("example.com.", dnsmessage.TypeA, edns{}), dns.UDP)), 1)
	require.Len(t, addrs(ask(t, p, query("slow.example.", dnsmessage.TypeA, edns{}), dns.UDP)), 1)
	require.Len(t, addrs(ask(t, p, query("other.example.", dnsmessage.TypeA, edns{}), dns.UDP)), 1)
	require.EqualValues(t, 3, first.udp.Load())
	require.EqualValues(t, 1, second.udp.Load())
}

// TestNobodyAnswers: an error, of every kind of failure, and no silence.
func TestNobodyAnswers(t *testing.T) {
	t.Parallel()
	garbage := func(dnsmessage.Message, bool) [][]byte { return [][]byte{[]byte("no DNS at all, but long enough")} }
	for _, tt := range []struct {
		name    string
		servers []*server
		asked   int64 // each of them
	}{
		{"nobody listens", []*server{unreachable(t), unreachable(t)}, 0},
		{"all refuse", []*server{serve(t, failing(dnsmessage.RCodeRefused)), serve(t, failing(dnsmessage.RCodeRefused))}, 1},
		{"all fail", []*server{serve(t, failing(dnsmessage.RCodeServerFailure)), serve(t, failing(dnsmessage.RCodeServerFailure))}, 1},
		{"EDNS or not", []*server{serve(t, failing(dnsmessage.RCodeFormatError))}, 2},
		{"silence, twice", []*server{serve(t, silent), serve(t, silent)}, 2},
		{"garbage, twice", []*server{serve(t, garbage)}, 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var seen events
			p := proxy(t, "", func(c *dns.Config) { c.Observe = seen.add }, tt.servers...)
			p.SetTiming(soon, soon)
			m := ask(t, p, query("example.com.", dnsmessage.TypeA, edns{size: 1232}), dns.UDP)
			require.Equal(t, dnsmessage.RCodeServerFailure, m.RCode)
			require.Equal(t, 22, extended(m))
			for _, s := range tt.servers {
				require.Eventually(t, func() bool { return s.udp.Load() == tt.asked }, never, time.Millisecond)
			}
			require.EqualValues(t, dnsmessage.RCodeServerFailure, seen.last(t).RCode)
			require.EqualValues(t, 1, p.Stats().Failed)
		})
	}
}

// TestFailover: an error of the first server is not the last word.
func TestFailover(t *testing.T) {
	for _, first := range []*server{unreachable(t), serve(t, failing(dnsmessage.RCodeServerFailure)), serve(t, failing(dnsmessage.RCodeRefused))} {
		p := proxy(t, "", nil, first, serve(t, example))
		m := ask(t, p, query("example.com.", dnsmessage.TypeA, edns{}), dns.UDP)
		require.Equal(t, map[string]uint32{"192.0.2.1": 300}, addrs(m))
		require.EqualValues(t, 1, p.Stats().Unusable)
	}
}

// TestWithoutEDNS: servers that do not know it, and may not even repeat the question.
func TestWithoutEDNS(t *testing.T) {
	for _, question := range []bool{true, false} {
		s := serve(t, func(q dnsmessage.Message, tcp bool) [][]byte {
			if len(q.Additionals) == 0 {
				return example(q, tcp)
			}
			return [][]byte{reply(q, func(m *dnsmessage.Message) {
				m.RCode = dnsmessage.RCodeFormatError
				if !question {
					m.Questions = nil
				}
			})}
		})
		p := proxy(t, "", nil, s)
		require.Len(t, addrs(ask(t, p, query("example.com.", dnsmessage.TypeA, edns{size: 1232}), dns.UDP)), 1)
		require.EqualValues(t, 2, s.udp.Load())
	}
}

// big is an answer of more than 4 KiB.
func big() []dnsmessage.Resource {
	var out []dnsmessage.Resource
	for i := range 250 {
		out = append(out, a("big.example.", 60, netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}).String()))
	}
	return out
}

func TestTruncated(t *testing.T) {
	s := serve(t, func(q dnsmessage.Message, tcp bool) [][]byte {
		return [][]byte{reply(q, func(m *dnsmessage.Message) {
			if m.Truncated = !tcp; tcp {
				m.Answers = big()
			}
		})}
	})
	p := proxy(t, "", nil, s)
	for _, tt := range []struct {
		e     edns
		whole bool
		via   dns.Transport
	}{
		{edns{}, false, dns.UDP}, {edns{size: 65535}, false, dns.UDP}, {edns{size: 4}, false, dns.UDP},
		{edns{}, true, dns.TCP}, {edns{size: 512}, true, dns.TCP},
	} {
		m := ask(t, p, query("big.example.", dnsmessage.TypeA, tt.e), tt.via)
		require.Equal(t, !tt.whole, m.Truncated)
		if tt.whole {
			require.Len(t, m.Answers, 250)
		} else {
			require.Empty(t, m.Answers)
		}
	}
	require.EqualValues(t, 1, s.udp.Load())
	require.EqualValues(t, 1, s.tcp.Load())
	require.EqualValues(t, 1, p.Stats().OverTCP)
}

// TestLimits: what fits into what the machine takes is not cut, up to 1232 bytes.
func TestLimits(t *testing.T) {
	text := strings.Repeat("x", 200)
	s := serve(t, zone(
		record("small.example.", 60, &dnsmessage.TXTResource{TXT: []string{text, text}}),
		record("middle.example.", 60, &dnsmessage.TXTResource{TXT: []string{text, text, text, text}}),
		record("large.example.", 60, &dnsmessage.TXTResource{TXT: []string{text, text, text, text, text, text}}),
	))
	p := proxy(t, "", nil, s)
	for _, tt := range []struct {
		name string
		e    edns
		cut  bool
	}{
		{"small.example.", edns{}, false}, {"middle.example.", edns{}, true},
		{"middle.example.", edns{size: 512}, true}, {"middle.example.", edns{size: 1232}, false},
		{"large.example.", edns{size: 1232}, true}, {"large.example.", edns{size: 4096}, true},
	} {
		sent := query(tt.name, dnsmessage.TypeTXT, tt.e)
		got, err := p.Exchange(context.Background(), sent, dns.UDP)
		require.NoError(t, err)
		require.Equal(t, tt.cut, read(t, sent, got).Truncated, tt)
		require.LessOrEqual(t, len(got), max(tt.e.size, 512))
	}
}

// TestBigDatagram: an answer of 4 KiB over UDP, though that was not asked for.
func TestBigDatagram(t *testing.T) {
	s := serve(t, zone(big()...))
	p := proxy(t, "", nil, s)
	require.Len(t, ask(t, p, query("big.example.", dnsmessage.TypeA, edns{}), dns.TCP).Answers, 250)
}

// TestForged: only the answer to what was asked counts.
func TestForged(t *testing.T) {
	lie := func(q dnsmessage.Message, edit func(*dnsmessage.Message)) []byte {
		return reply(q, func(m *dnsmessage.Message) {
			m.Answers = []dnsmessage.Resource{a("example.com.", 300, "192.0.2.66")}
			m.Questions = append([]dnsmessage.Question(nil), q.Questions...)
			edit(m)
		})
	}
	for name, edit := range map[string]func(*dnsmessage.Message){
		"ID":       func(m *dnsmessage.Message) { m.ID++ },
		"name":     func(m *dnsmessage.Message) { m.Questions[0].Name = dnsmessage.MustNewName("example.net.") },
		"type":     func(m *dnsmessage.Message) { m.Questions[0].Type = dnsmessage.TypeAAAA },
		"class":    func(m *dnsmessage.Message) { m.Questions[0].Class = dnsmessage.ClassCHAOS },
		"query":    func(m *dnsmessage.Message) { m.Response = false },
		"opcode":   func(m *dnsmessage.Message) { m.OpCode = 4 },
		"none":     func(m *dnsmessage.Message) { m.Questions = nil },
		"two":      func(m *dnsmessage.Message) { m.Questions = append(m.Questions, m.Questions[0]) },
		"absence":  func(m *dnsmessage.Message) { m.Questions, m.RCode = nil, dnsmessage.RCodeNameError },
		"the case": func(m *dnsmessage.Message) { m.Questions[0].Name = swap(m.Questions[0].Name) },
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, func(q dnsmessage.Message, tcp bool) [][]byte {
				truth := example(q, tcp)[0]
				if tcp {
					return [][]byte{truth}
				}
				return [][]byte{{1, 2, 3}, lie(q, edit), truth}
			})
			p := proxy(t, "", nil, s)
			m := ask(t, p, query("example.com.", dnsmessage.TypeA, edns{}), dns.UDP)
			require.Equal(t, map[string]uint32{"192.0.2.1": 300}, addrs(m))
			require.EqualValues(t, 2, p.Stats().Mismatched)
		})
	}
}

// swap changes the case of the first letter.
func swap(n dnsmessage.Name) dnsmessage.Name {
	n.Data[0] ^= 0x20
	return n
}

// TestFlood: somebody who sends many wrong answers is left behind.
func TestFlood(t *testing.T) {
	s := serve(t, func(q dnsmessage.Message, tcp bool) [][]byte {
		if tcp {
			return example(q, tcp)
		}
		var out [][]byte
		for i := range uint16(40) {
			b := example(q, tcp)[0]
			binary.BigEndian.PutUint16(b, q.ID+1+i)
			out = append(out, b)
		}
		return out
	})
	p := proxy(t, "", nil, s)
	require.Len(t, addrs(ask(t, p, query("example.com.", dnsmessage.TypeA, edns{}), dns.UDP)), 1)
	require.EqualValues(t, 1, s.tcp.Load())
}

// TestUnpredictable: the ID, the port and the case of letters are another each time.
func TestUnpredictable(t *testing.T) {
	var mu sync.Mutex
	ids, names := map[uint16]bool{}, map[string]bool{}
	s := serve(t, func(q dnsmessage.Message, _ bool) [][]byte {
		mu.Lock()
		defer mu.Unlock()
		ids[q.ID], names[q.Questions[0].Name.String()] = true, true
		return [][]byte{reply(q, nil)}
	})
	p := proxy(t, "", nil, s)
	for range 32 {
		ask(t, p, query("a-name-of-many-letters.example.", dnsmessage.TypeA, edns{}), dns.UDP)
	}
	mu.Lock()
	defer mu.Unlock()
	require.Greater(t, len(ids), 28)
	require.Greater(t, len(names), 28)
	require.Greater(t, s.ports(), 28)
}

// TestSingleFlight: who asks what is being asked waits for that.
func TestSingleFlight(t *testing.T) {
	open := make(chan struct{})
	s := serve(t, func(q dnsmessage.Message, tcp bool) [][]byte {
		<-open
		return example(q, tcp)
	})
	p := proxy(t, "", nil, s)
	p.SetTiming(never, never)
	const n = 50
	done := make(chan []byte, n)
	sent := query("example.com.", dnsmessage.TypeA, edns{})
	for range n {
		go exchange(context.Background(), p, sent, done)
	}
	require.Eventually(t, func() bool { return p.Stats().Joined == n-1 }, never, time.Millisecond)
	close(open)
	for range n {
		require.Equal(t, map[string]uint32{"192.0.2.1": 300}, addrs(read(t, sent, <-done)))
	}
	require.EqualValues(t, 1, s.udp.Load())
}

// exchange is for goroutines: nil where there was no answer.
func exchange(ctx context.Context, p *dns.Proxy, sent []byte, done chan<- []byte) {
	got, err := p.Exchange(ctx, sent, dns.UDP)
	if err != nil {
		got = nil
	}
	done <- got
}

// TestOverload: one query too many gets an error at once, and Close frees the others.
func TestOverload(t *testing.T) {
	s := serve(t, silent)
	p := proxy(t, "", nil, s)
	p.SetTiming(never, never)
	done := make(chan []byte, dns.MaxInFlight)
	for i := range dns.MaxInFlight {
		name := netip.AddrFrom4([4]byte{1, 0, 0, byte(i)}).String() + ".example."
		go exchange(context.Background(), p, query(name, dnsmessage.TypeA, edns{}), done)
	}
	require.Eventually(t, func() bool { return p.Waiting() == dns.MaxInFlight }, never, time.Millisecond)
	require.Equal(t, dnsmessage.RCodeServerFailure, ask(t, p, query("one.more.example.", dnsmessage.TypeA, edns{}), dns.UDP).RCode)
	require.NotZero(t, p.Stats().Overloaded)
	require.NoError(t, p.Close())
	for range dns.MaxInFlight {
		got := <-done
		require.Greater(t, len(got), 12)
		require.EqualValues(t, dnsmessage.RCodeServerFailure, got[3]&0xf)
	}
	require.Equal(t, dnsmessage.RCodeServerFailure, ask(t, p, query("late.example.", dnsmessage.TypeA, edns{}), dns.UDP).RCode)
}

// TestGivenUp: who does not want to wait any longer does not end the question.
func TestGivenUp(t *testing.T) {
	open := make(chan struct{})
	s := serve(t, func(q dnsmessage.Message, tcp bool) [][]byte {
		<-open
		return example(q, tcp)
	})
	p := proxy(t, "", nil, s)
	p.SetTiming(never, never)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan []byte)
	go exchange(ctx, p, query("example.com.", dnsmessage.TypeA, edns{}), done)
	require.Eventually(t, func() bool { return s.udp.Load() == 1 }, never, time.Millisecond)
	cancel()
	require.Nil(t, <-done)
	close(open)
	require.Len(t, addrs(ask(t, p, query("example.com.", dnsmessage.TypeA, edns{}), dns.UDP)), 1)
	require.EqualValues(t, 1, s.udp.Load())
}

func TestParseServers(t *testing.T) {
	got, err := dns.ParseServers("# generated\nsearch example.com\nnameserver 192.0.2.1\n\tnameserver\t2001:db8::1 # here\n" +
		"nameserver\nnameserver nonsense\nnameserverx 192.0.2.9\noptions rotate\nnameserver fe80::1%eth0\nnameserver 127.0.0.53\n" +
		strings.Repeat("nameserver 192.0.2.7\n", 20))
	require.NoError(t, err)
	require.Len(t, got, 8)
	require.Equal(t, []netip.AddrPort{
		netip.MustParseAddrPort("192.0.2.1:53"), netip.MustParseAddrPort("[2001:db8::1]:53"),
		netip.MustParseAddrPort("[fe80::1%eth0]:53"), netip.MustParseAddrPort("127.0.0.53:53"),
	}, got[:4])
}

func TestResolvConf(t *testing.T) {
	path := filepath.Join(t.TempDir(), "resolv.conf")
	p := proxy(t, "", func(c *dns.Config) { c.ResolvConf = path })
	server := func(s string) []netip.AddrPort { return []netip.AddrPort{netip.MustParseAddrPort(s)} }
	require.Equal(t, server("127.0.0.1:53"), p.Nameservers(), "as in the C library")
	require.NoError(t, os.WriteFile(path, []byte("nameserver 192.0.2.1\n"), 0o600))
	require.Equal(t, server("192.0.2.1:53"), p.Nameservers())
	require.Equal(t, server("192.0.2.1:53"), p.Nameservers())
	// In place, and replaced as a whole.
	require.NoError(t, os.WriteFile(path, []byte("nameserver 192.0.2.22\n"), 0o600))
	require.Equal(t, server("192.0.2.22:53"), p.Nameservers())
	require.NoError(t, os.WriteFile(path+".new", []byte("nameserver 192.0.2.33\n"), 0o600))
	require.NoError(t, os.Rename(path+".new", path))
	require.Equal(t, server("192.0.2.33:53"), p.Nameservers())
	require.NoError(t, os.Remove(path))
	require.Equal(t, server("192.0.2.33:53"), p.Nameservers(), "it may be being replaced")
}
