package nat

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/libcapsa/libcapsa/internal/net/policy"
)

// named allows one name.
var named = policy.Policy{Default: policy.DenyAll, Rules: []policy.Rule{
	{Action: policy.ActionAllow, Match: policy.Match{Domains: []string{"good.example"}}},
}}

var goodAddr = netip.MustParseAddr("93.184.216.34")

// pinned makes a rig whose machine has resolved good.example.
func pinned(t *testing.T, to netip.AddrPort, options ...option) *rig {
	r := newRig(t, append([]option{withPolicy(named), leadTo(to)}, options...)...)
	r.pol.Learn("good.example", []netip.Addr{goodAddr}, time.Hour, time.Now())
	return r
}

// The first flight reaches the server only if the name in it is allowed.
func TestFirstFlight(t *testing.T) {
	for name, c := range map[string]struct {
		flight string
		want   bool
	}{
		"good":        {"GET / HTTP/1.1\r\nHost: good.example\r\n\r\n", true},
		"bad":         {"GET / HTTP/1.1\r\nHost: bad.example\r\n\r\n", false},
		"two":         {"GET / HTTP/1.1\r\nHost: good.example\r\nHost: bad.example\r\n\r\n", false},
		"none":        {"SSH-2.0-x\r\n", false},
		"cut off":     {"GET / HTTP/1.1\r\nHost: goo", false},
		"beyond 16 K": {"GET / HTTP/1.1\r\nX: " + string(make([]byte, 20<<10)), false},
	} {
		t.Run(name, func(t *testing.T) {
			got := make(chan string, 1)
			var ev events
			r := pinned(t, server(t, "tcp", func(c *net.TCPConn) {
				all, _ := io.ReadAll(c)
				got <- string(all)
				_, _ = c.Write([]byte("answer"))
			}), ev.option)
			conn := r.mustDial(netip.AddrPortFrom(goodAddr, 80))
			for i := range len(c.flight) { // byte by byte, which is what is hardest
				if len(c.flight) > 1000 {
					_, _ = conn.Write([]byte(c.flight))
					break
				}
				if _, err := conn.Write([]byte(c.flight[i : i+1])); err != nil {
					break
				}
			}
			_ = conn.CloseWrite()
			answer, err := io.ReadAll(conn)
			if c.want {
				require.NoError(t, err)
				assert.Equal(t, "answer", string(answer))
				assert.Equal(t, c.flight, <-got)
				return
			}
			assert.ErrorContains(t, err, "reset")
			assert.Empty(t, <-got)
			assert.Equal(t, uint64(1), r.e.Stats().TCP.Denied)
			require.Eventually(t, func() bool { return len(ev.kinds()) == 3 }, tooLong, tick)
			assert.Equal(t, []string{"opened", "denied", "closed"}, ev.kinds())
		})
	}
}

// A server that speaks first is not held up where names are only wanted.
func TestWantedName(t *testing.T) {
	r := pinned(t, server(t, "tcp", func(c *net.TCPConn) {
		_, _ = c.Write([]byte("220 hello\r\n"))
		_, _ = io.Copy(c, c)
	}))
	conn := r.mustDial(netip.AddrPortFrom(goodAddr, 25))
	b := make([]byte, 11)
	_, err := io.ReadFull(conn, b)
	require.NoError(t, err)
	_, err = conn.Write([]byte("EHLO x\r\n"))
	require.NoError(t, err)
	_, err = io.ReadFull(conn, b[:8])
	require.NoError(t, err)
	assert.Equal(t, "EHLO x\r\n", string(b[:8]))

	conn = r.mustDial(netip.AddrPortFrom(goodAddr, 25))
	_, err = io.ReadFull(conn, b)
	require.NoError(t, err)
	c := tls.Client(conn, &tls.Config{ServerName: "bad.example", InsecureSkipVerify: true})
	assert.ErrorContains(t, c.Handshake(), "reset")
}

func TestUnpinned(t *testing.T) {
	r := pinned(t, server(t, "tcp", echo))
	_, err := r.dial(netip.MustParseAddrPort("93.184.216.35:80"))
	assert.ErrorContains(t, err, "refused")
}

// What a new policy denies ends at once, on both sides; the rest lives on.
func TestLiveCut(t *testing.T) {
	var ev events
	got := make(chan error, 2)
	to := server(t, "tcp", func(c *net.TCPConn) {
		_, err := io.Copy(c, c)
		got <- err
	})
	r := newRig(t, leadTo(to), ev.option)
	udp := udpEcho(t)
	doomed, safe := r.mustDial(netip.MustParseAddrPort("192.0.2.1:80")), r.mustDial(netip.MustParseAddrPort("192.0.2.2:80"))
	for _, c := range []net.Conn{doomed, safe} {
		_, err := c.Write([]byte("x"))
		require.NoError(t, err)
		_, err = io.ReadFull(c, make([]byte, 1))
		require.NoError(t, err)
	}
	r.send(udpFrame(udp, 5000, []byte("x")))
	require.Eventually(t, func() bool { return r.e.Stats().UDP.Open == 1 }, tooLong, tick)
	require.NoError(t, r.pol.Swap(policy.Policy{Default: policy.DenyAll, Rules: []policy.Rule{
		{Action: policy.ActionAllow, Match: policy.Match{Addresses: []string{"192.0.2.2"}}},
	}}))
	r.e.Reevaluate()
	_, err := io.ReadAll(doomed)
	assert.ErrorContains(t, err, "reset")
	assert.ErrorContains(t, <-got, "reset")
	_, err = safe.Write([]byte("y"))
	require.NoError(t, err)
	_, err = io.ReadFull(safe, make([]byte, 1))
	assert.NoError(t, err)
	s := r.e.Stats()
	assert.Equal(t, []uint64{1, 1}, []uint64{s.TCP.Denied, s.UDP.Denied})
	assert.Zero(t, s.UDP.Open)
	require.Eventually(t, func() bool { return len(ev.kinds()) == 7 }, tooLong, tick)
}

// Flows that are not established, and those whose first bytes are held, are cut too.
func TestCutEarly(t *testing.T) {
	deny := policy.Policy{Default: policy.DenyAll}
	t.Run("connecting", func(t *testing.T) {
		asked := make(chan bool, 1)
		r := newRig(t, withDial(func(ctx context.Context, _ netip.AddrPort) (net.Conn, error) {
			asked <- true
			<-ctx.Done()
			return nil, ctx.Err()
		}))
		var wg sync.WaitGroup
		wg.Go(func() {
			_, err := r.dial(somewhere)
			assert.ErrorContains(t, err, "refused")
		})
		<-asked
		require.NoError(t, r.pol.Swap(deny))
		r.e.Reevaluate()
		wg.Wait()
		assert.Equal(t, uint64(1), r.e.Stats().TCP.Denied)
		assert.Zero(t, r.e.Stats().TCP.Failed)
	})
	t.Run("held", func(t *testing.T) {
		got := make(chan string, 1)
		r := pinned(t, server(t, "tcp", func(c *net.TCPConn) {
			all, _ := io.ReadAll(c)
			got <- string(all)
		}))
		conn := r.mustDial(netip.AddrPortFrom(goodAddr, 80))
		_, err := conn.Write([]byte("GET / HTTP/1.1\r\nHost: go"))
		require.NoError(t, err)
		require.NoError(t, r.pol.Swap(deny))
		r.e.Reevaluate()
		_, err = io.ReadAll(conn)
		assert.ErrorContains(t, err, "reset")
		assert.Empty(t, <-got)
	})
	t.Run("allowed by name, then by nothing but another name", func(t *testing.T) {
		r := pinned(t, server(t, "tcp", echo))
		conn := r.mustDial(netip.AddrPortFrom(goodAddr, 80))
		_, err := conn.Write([]byte("GET / HTTP/1.1\r\nHost: good.example\r\n\r\n"))
		require.NoError(t, err)
		_, err = io.ReadFull(conn, make([]byte, 10))
		require.NoError(t, err)
		require.NoError(t, r.pol.Swap(named))
		r.e.Reevaluate()
		_, err = io.ReadFull(conn, make([]byte, 10))
		require.NoError(t, err, "the name it said is still allowed")
		other := named
		other.Rules = []policy.Rule{{Action: policy.ActionAllow, Match: policy.Match{Domains: []string{"other.example"}}}}
		require.NoError(t, r.pol.Swap(other))
		r.e.Reevaluate()
		_, err = io.ReadAll(conn)
		assert.ErrorContains(t, err, "reset")
	})
}
