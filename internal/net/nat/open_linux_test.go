package nat

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"

	"github.com/libcapsa/libcapsa/internal/net/frame"
	"github.com/libcapsa/libcapsa/internal/net/policy"
)

// withDial replaces the host's side.
func withDial(dial func(ctx context.Context, dst netip.AddrPort) (net.Conn, error)) option {
	return func(c *Config, _ *guest) { c.Dial = dial }
}

// leadTo leads every destination to one server.
func leadTo(to netip.AddrPort) option {
	return withDial(func(ctx context.Context, _ netip.AddrPort) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "tcp", netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), to.Port()).String())
	})
}

// taps collects frames to the guest.
type taps struct {
	mu     sync.Mutex
	frames [][]byte
}

func (tp *taps) option(_ *Config, g *guest) {
	g.tap = func(b []byte) {
		tp.mu.Lock()
		defer tp.mu.Unlock()
		tp.frames = append(tp.frames, append([]byte(nil), b...))
	}
}

// find returns the frames that match, whose payload is after an IPv4 header.
func (tp *taps) find(match func(p *frame.Packet) bool) (out [][]byte) {
	tp.mu.Lock()
	defer tp.mu.Unlock()
	for _, b := range tp.frames {
		var p frame.Packet
		f := oneFrame(b)
		if p.Parse(&f) == frame.OK && match(&p) {
			out = append(out, b)
		}
	}
	return out
}

func TestRefused(t *testing.T) {
	var ev events
	r := newRig(t, ev.option)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	to := atGateway(l.Addr())
	require.NoError(t, l.Close())
	_, err = r.dial(to)
	require.ErrorContains(t, err, "refused")
	assert.Equal(t, uint64(1), r.e.Stats().TCP.Failed)
	require.Eventually(t, func() bool { return len(ev.kinds()) > 0 }, tooLong, tick)
	assert.Equal(t, []string{"failed"}, ev.kinds())
}

// An unreachable host is an ICMP error that quotes the SYN.
func TestUnreachable(t *testing.T) {
	for name, c := range map[string]struct {
		err    syscall.Errno
		dst    string
		proto  uint8
		kind   [2]byte
		header int
	}{
		"host":            {syscall.EHOSTUNREACH, "192.0.2.1:80", frame.ICMPv4, [2]byte{3, 1}, 20},
		"network":         {syscall.ENETUNREACH, "192.0.2.1:80", frame.ICMPv4, [2]byte{3, 0}, 20},
		"by a firewall":   {syscall.EACCES, "192.0.2.1:80", frame.ICMPv4, [2]byte{3, 13}, 20},
		"network over v6": {syscall.ENETUNREACH, "[2001:db8::1]:80", frame.ICMPv6, [2]byte{1, 0}, 40},
		"host over v6":    {syscall.EHOSTUNREACH, "[2001:db8::1]:80", frame.ICMPv6, [2]byte{1, 3}, 40},
	} {
		t.Run(name, func(t *testing.T) {
			var tap taps
			r := newRig(t, tap.option, withDial(func(context.Context, netip.AddrPort) (net.Conn, error) {
				return nil, &net.OpError{Op: "dial", Err: c.err}
			}))
			ctx, cancel := context.WithCancel(t.Context())
			var wg sync.WaitGroup
			wg.Go(func() { _, _ = r.dialContext(ctx, netip.MustParseAddrPort(c.dst)) })
			var got [][]byte
			require.Eventually(t, func() bool {
				got = tap.find(func(p *frame.Packet) bool { return p.Proto == c.proto && p.Type == c.kind[0] })
				return len(got) > 0
			}, tooLong, tick)
			cancel()
			wg.Wait()
			b := got[0][frame.EtherSize+c.header:]
			assert.Equal(t, c.kind, [2]byte(b[:2]))
			quoted := b[8+c.header:]
			require.Len(t, quoted, 8)
			assert.Equal(t, uint16(80), binary.BigEndian.Uint16(quoted[2:]))
			var p frame.Packet
			f := oneFrame(got[0])
			require.Equal(t, frame.OK, p.Parse(&f))
			assert.True(t, p.Valid(&f))
		})
	}
}

// A destination that does not answer holds up nobody else, and is no error.
func TestBlackHole(t *testing.T) {
	hole := netip.MustParseAddrPort("192.0.2.66:80")
	asked := make(chan bool, 1)
	fast := server(t, "tcp", echo)
	r := newRig(t, withDial(func(ctx context.Context, dst netip.AddrPort) (net.Conn, error) {
		if dst == hole {
			asked <- true
			<-ctx.Done()
			return nil, ctx.Err()
		}
		var d net.Dialer
		return d.DialContext(ctx, "tcp", netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), fast.Port()).String())
	}))
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { _, err := r.dialContext(ctx, hole); assert.ErrorContains(t, err, "cancel") })
	<-asked
	for range 50 {
		c := r.mustDial(netip.MustParseAddrPort("192.0.2.1:80"))
		_, err := c.Write([]byte("x"))
		require.NoError(t, err)
		_, err = io.ReadFull(c, make([]byte, 1))
		require.NoError(t, err)
		require.NoError(t, c.Close())
	}
	assert.Equal(t, 1, len(r.e.tcp.pending))
	cancel()
	wg.Wait()
}

// Connections that are not established are bounded.
func TestConnectingLimit(t *testing.T) {
	r := newRig(t, withDial(func(ctx context.Context, _ netip.AddrPort) (net.Conn, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}), func(c *Config, _ *guest) { c.Limits.Connecting = 10 })
	for i := range 100 {
		r.send(synFrame(uint16(1000 + i)))
	}
	require.Eventually(t, func() bool { return r.e.Stats().TCP.Limited == 90 }, tooLong, tick)
	assert.Equal(t, 10, r.e.Stats().TCP.Open)
	for i := range 100 { // SYNs that come again open nothing
		r.send(synFrame(uint16(1000 + i)))
	}
	require.Eventually(t, func() bool { return r.e.Stats().TCP.Limited == 180 }, tooLong, tick)
	assert.Equal(t, 10, r.e.Stats().TCP.Open)
}

// Under deny-all nothing leaves, by whatever protocol.
func TestDenyAll(t *testing.T) {
	for name, action := range map[string]policy.Action{"reject": policy.ActionReject, "drop": policy.ActionDrop} {
		t.Run(name, func(t *testing.T) {
			var ev events
			var tap taps
			r := newRig(t, ev.option, tap.option, withPolicy(policy.Policy{Default: policy.DenyAll, Deny: action}),
				withDial(func(context.Context, netip.AddrPort) (net.Conn, error) {
					t.Error("a connection left")
					return nil, io.EOF
				}))
			for _, dst := range []string{"192.0.2.1:80", "10.0.2.2:22", "169.254.169.254:80", "[2001:db8::1]:443", "127.0.0.1:80"} {
				a := netip.MustParseAddrPort(dst)
				r.send(tcpFrame(a, 4000, frame.FlagSYN))
				r.send(udpFrame(a, 4000, []byte("out")))
				r.send(echoFrame(a.Addr(), 7))
			}
			// Pings of the gateway are its own business.
			require.Eventually(t, func() bool {
				s := r.e.Stats()
				return s.TCP.Denied == 5 && s.UDP.Denied == 5 && s.Ping.Denied == 4
			}, tooLong, tick)
			s := r.e.Stats()
			assert.Zero(t, s.TCP.Open+s.UDP.Open+s.Ping.Open)
			resets := tap.find(func(p *frame.Packet) bool { return p.Proto == frame.TCP && p.Flags&frame.FlagRST != 0 })
			errors := tap.find(func(p *frame.Packet) bool {
				return p.Proto == frame.ICMPv4 && p.Type == 3 || p.Proto == frame.ICMPv6 && p.Type == 1
			})
			if action == policy.ActionDrop {
				assert.Empty(t, resets)
				assert.Empty(t, errors)
			} else {
				require.Eventually(t, func() bool {
					return len(tap.find(func(p *frame.Packet) bool { return p.Proto == frame.TCP && p.Flags&frame.FlagRST != 0 })) == 5
				}, tooLong, tick)
				require.Eventually(t, func() bool {
					return len(tap.find(func(p *frame.Packet) bool {
						return p.Proto == frame.ICMPv4 && p.Type == 3 || p.Proto == frame.ICMPv6 && p.Type == 1
					})) == 9
				}, tooLong, tick)
			}
			require.Eventually(t, func() bool { return len(ev.kinds()) == 14 }, tooLong, tick)
			assert.NotContains(t, ev.kinds(), "opened")
		})
	}
}

// A panic ends its flow alone, and leaves nothing.
func TestPanic(t *testing.T) {
	to := server(t, "tcp", echo)
	first := true
	r := newRig(t, withDial(func(ctx context.Context, _ netip.AddrPort) (net.Conn, error) {
		if first {
			first = false
			panic("of a test")
		}
		var d net.Dialer
		return d.DialContext(ctx, "tcp", netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), to.Port()).String())
	}))
	local := fullAddress(netip.AddrPortFrom(guest4.Addr(), 4321))
	for _, want := range []string{"refused", ""} { // the same four-tuple twice
		c, err := gonet.DialTCPWithBind(t.Context(), r.stack, local, fullAddress(somewhere), protocolOf(somewhere.Addr()))
		if want != "" {
			require.ErrorContains(t, err, want)
			require.Eventually(t, func() bool { return r.e.Stats().TCP.Open == 0 }, tooLong, tick)
			continue
		}
		require.NoError(t, err)
		require.NoError(t, c.Close())
	}
}

// What the guest is told about each error of a connection.
func TestFailure(t *testing.T) {
	for _, c := range []struct {
		err   error
		reset bool
		why   unreachable
		told  bool
	}{
		{syscall.ECONNREFUSED, true, 0, false}, {io.EOF, true, 0, false},
		{syscall.ENETUNREACH, false, noNetwork, true}, {syscall.EHOSTUNREACH, false, noHost, true},
		{syscall.EHOSTDOWN, false, noHost, true}, {syscall.EPERM, false, prohibited, true},
		{syscall.ETIMEDOUT, false, 0, false}, {context.DeadlineExceeded, false, 0, false}, {syscall.EMFILE, false, 0, false},
	} {
		reset, why, told := failure(&net.OpError{Op: "dial", Err: c.err})
		assert.Equal(t, []any{c.reset, c.why, c.told}, []any{reset, why, told}, c.err)
	}
}

// A flow that ends while the guest's handshake is under way ends at once, at whatever
// moment: this guest answers nothing, as it has no room.
func TestEndInHandshake(t *testing.T) {
	r := newRig(t, withRing(0), leadTo(server(t, "tcp", echo)))
	for i := range 300 {
		r.send(synFrame(uint16(1000 + i)))
		if i%3 == 0 {
			runtime.Gosched()
		}
		r.e.tcp.endAll()
	}
	require.Eventually(t, func() bool {
		r.e.tcp.endAll()
		s := r.e.Stats()
		return s.FramesFromGuest == 300 && s.TCP.Open == 0
	}, tooLong, tick)
	r.send(synFrame(999)) // one that netstack waits for
	require.Eventually(t, func() bool { return r.e.Stats().TCP.Open == 1 && len(r.e.stack.RegisteredEndpoints()) > 0 }, tooLong, tick)
	r.e.tcp.endAll()
	require.Eventually(t, func() bool { return r.e.Stats().TCP.Open == 0 }, tooLong, tick)
}
