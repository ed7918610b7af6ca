package nat

import (
	"bytes"
	"encoding/binary"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"

	"github.com/libcapsa/libcapsa/internal/net/frame"
	"github.com/libcapsa/libcapsa/internal/net/link"
)

// udpEcho is a server on the host's loopback.
func udpEcho(t testing.TB) netip.AddrPort {
	t.Helper()
	c, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	require.NoError(t, err)
	done := make(chan bool)
	go func() {
		defer close(done)
		b := make([]byte, 65536)
		for {
			n, from, err := c.ReadFromUDPAddrPort(b)
			if err != nil {
				return
			}
			_, _ = c.WriteToUDPAddrPort(b[:n], from)
		}
	}()
	t.Cleanup(func() { _ = c.Close(); <-done })
	return atGateway(c.LocalAddr())
}

func (r *rig) dialUDP(to netip.AddrPort) *gonet.UDPConn {
	r.t.Helper()
	remote := fullAddress(to)
	c, err := gonet.DialUDP(r.stack, nil, &remote, protocolOf(to.Addr()))
	require.NoError(r.t, err)
	r.t.Cleanup(func() { _ = c.Close() })
	return c
}

// Datagrams of every size come back whole: within a frame, in fragments, empty.
func TestUDPEcho(t *testing.T) {
	for name, off := range map[string]link.Offloads{"offloaded": offloaded, "nothing": {}} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, withOffloads(off))
			c := r.dialUDP(udpEcho(t))
			for _, size := range []int{1, 0, 2, 1471, 1472, 1473, 4000, 9000, 32000, 65507} {
				want := bytes.Repeat([]byte{byte(size), 7, 9}, size/3+1)[:size]
				_, err := c.Write(want)
				require.NoError(t, err, size)
				got := make([]byte, 65536)
				require.NoError(t, c.SetReadDeadline(time.Now().Add(tooLong)))
				n, err := c.Read(got)
				require.NoError(t, err, size)
				require.True(t, bytes.Equal(want, got[:n]), "%d of %d bytes", n, size)
			}
			s := r.e.Stats()
			assert.Equal(t, []any{1, uint64(1)}, []any{s.UDP.Open, s.UDP.Opened})
			assert.Zero(t, s.FragmentsLost+s.BadChecksum+s.Malformed[frame.BadFragment])
		})
	}
}

// The kernel lets only the flow's other side answer.
func TestUDPFiltered(t *testing.T) {
	c, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	require.NoError(t, err)
	defer func() { _ = c.Close() }()
	other, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	require.NoError(t, err)
	defer func() { _ = other.Close() }()
	r := newRig(t)
	g := r.dialUDP(atGateway(c.LocalAddr()))
	_, err = g.Write([]byte("q"))
	require.NoError(t, err)
	b := make([]byte, 100)
	_, from, err := c.ReadFromUDPAddrPort(b)
	require.NoError(t, err)
	_, err = other.WriteToUDPAddrPort([]byte("forged"), from)
	require.NoError(t, err)
	_, err = c.WriteToUDPAddrPort([]byte("true"), from)
	require.NoError(t, err)
	n, err := g.Read(b)
	require.NoError(t, err)
	assert.Equal(t, "true", string(b[:n]))
}

func TestUDPRefused(t *testing.T) {
	c, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	require.NoError(t, err)
	to := atGateway(c.LocalAddr())
	require.NoError(t, c.Close())
	var tap taps
	r := newRig(t, tap.option)
	r.send(udpFrame(to, 5000, []byte("anybody?")))
	var got [][]byte
	require.Eventually(t, func() bool {
		got = tap.find(func(p *frame.Packet) bool { return p.Proto == frame.ICMPv4 && p.Type == 3 })
		return len(got) > 0
	}, tooLong, tick)
	b := got[0][34:]
	assert.Equal(t, []byte{3, 3}, b[:2])
	assert.Equal(t, []uint16{5000, to.Port()}, []uint16{binary.BigEndian.Uint16(b[28:]), binary.BigEndian.Uint16(b[30:])})
}

// One frame with several datagrams (USO).
func TestUSO(t *testing.T) {
	r := newRig(t)
	c, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	require.NoError(t, err)
	defer func() { _ = c.Close() }()
	f := udpFrame(atGateway(c.LocalAddr()), 5000, bytes.Repeat([]byte("0123456789"), 25))
	f.Header = link.Header{Flags: link.NeedsChecksum, CSumStart: 34, CSumOffset: 6, GSOType: link.GSOUDPL4, GSOSize: 100}
	r.send(f)
	b := make([]byte, 1000)
	for _, want := range []int{100, 100, 50} {
		n, _, err := c.ReadFromUDPAddrPort(b)
		require.NoError(t, err)
		assert.Equal(t, want, n)
	}
}

// Sessions are bounded: the oldest without an answer make room.
func TestUDPLimit(t *testing.T) {
	r := newRig(t, func(c *Config, _ *guest) { c.Limits.Datagrams = 20 })
	c := r.dialUDP(udpEcho(t))
	_, err := c.Write([]byte("x"))
	require.NoError(t, err)
	_, err = c.Read(make([]byte, 10))
	require.NoError(t, err)
	for i := range 200 {
		r.send(udpFrame(netip.AddrPortFrom(gateway4, uint16(2000+i)), 6000, []byte("flood")))
	}
	require.Eventually(t, func() bool { return r.e.Stats().UDP.Opened == 201 }, tooLong, tick)
	s := r.e.Stats()
	assert.LessOrEqual(t, s.UDP.Open, 20)
	_, err = c.Write([]byte("still here"))
	require.NoError(t, err)
	_, err = c.Read(make([]byte, 10))
	require.NoError(t, err)
	assert.Equal(t, uint64(201), r.e.Stats().UDP.Opened, "the answered session has lived on")
}

func TestSessionsEnd(t *testing.T) {
	r := newRig(t)
	c := r.dialUDP(udpEcho(t))
	_, err := c.Write([]byte("x"))
	require.NoError(t, err)
	_, err = c.Read(make([]byte, 10))
	require.NoError(t, err)
	d := &r.e.datagrams
	d.sweep()
	assert.Equal(t, 1, r.e.Stats().UDP.Open)
	d.mu.Lock()
	for _, s := range d.sessions {
		s.used.Add(-int64(2 * repliedTimeout))
	}
	d.mu.Unlock()
	d.sweep()
	assert.Zero(t, r.e.Stats().UDP.Open)
	d.mu.Lock()
	assert.Nil(t, d.timer, "no timer without sessions")
	d.mu.Unlock()
}

// struct sock_extended_err, as the kernel queues it.
func TestParseError(t *testing.T) {
	for name, c := range map[string]struct {
		errno syscall.Errno
		want  sentError
		ok    bool
	}{
		"port":    {syscall.ECONNREFUSED, sentError{why: noPort}, true},
		"size":    {syscall.EMSGSIZE, sentError{why: tooBig, mtu: 1400}, true},
		"host":    {syscall.EHOSTUNREACH, sentError{why: noHost}, true},
		"network": {syscall.ENETUNREACH, sentError{why: noNetwork}, true},
		"filter":  {syscall.EACCES, sentError{why: prohibited}, true},
		"other":   {syscall.EINVAL, sentError{}, false},
	} {
		b := make([]byte, 16)
		binary.NativeEndian.PutUint32(b, uint32(c.errno))
		binary.NativeEndian.PutUint32(b[8:], 1400)
		got, ok := parseError(b)
		assert.Equal(t, c.ok, ok, name)
		assert.Equal(t, c.want, got, name)
	}
	for _, c := range []struct {
		origin, typ, code byte
		from              []byte
		want              sentError
	}{
		{2, 11, 0, []byte{2, 0, 0, 0, 192, 0, 2, 9, 0, 0, 0, 0, 0, 0, 0, 0}, sentError{why: exceeded, hop: netip.MustParseAddr("192.0.2.9")}},
		{2, 11, 1, nil, sentError{why: noHost}},
		{2, 3, 1, []byte{2, 0, 0}, sentError{why: noHost}},
		{3, 3, 0, append([]byte{10, 0, 0, 0, 0, 0, 0, 0, 0x20, 1, 0xd, 0xb8}, make([]byte, 16)...), sentError{why: exceeded, hop: netip.MustParseAddr("2001:db8::")}},
		{1, 11, 0, make([]byte, 16), sentError{why: noHost}},
	} {
		b := make([]byte, 16)
		binary.NativeEndian.PutUint32(b, uint32(syscall.EHOSTUNREACH))
		b[4], b[5], b[6] = c.origin, c.typ, c.code
		got, ok := parseError(append(b, c.from...))
		assert.True(t, ok)
		assert.Equal(t, c.want, got)
	}
	_, ok := parseError(make([]byte, 15))
	assert.False(t, ok)
}

func TestSessionTimeouts(t *testing.T) {
	remote := func(port uint16) netip.AddrPort { return netip.AddrPortFrom(gateway4, port) }
	for _, c := range []struct {
		key     sessionKey
		replied bool
		want    time.Duration
	}{
		{sessionKey{proto: frame.UDP, remote: remote(443)}, false, unrepliedTimeout},
		{sessionKey{proto: frame.UDP, remote: remote(443)}, true, repliedTimeout},
		{sessionKey{proto: frame.UDP, remote: remote(53)}, true, dnsTimeout},
		{sessionKey{proto: frame.ICMPv4, remote: remote(0)}, true, pingTimeout},
	} {
		s := &session{key: c.key}
		s.replied.Store(c.replied)
		assert.Equal(t, c.want, s.timeout())
	}
}

// Echo replies get the guest's identifier back; nothing else gets through.
func TestEchoDelivered(t *testing.T) {
	var tap taps
	r := newRig(t, tap.option)
	for _, a := range []struct {
		proto uint8
		from  netip.Addr
		kind  byte
	}{{frame.ICMPv4, gateway4, 0}, {frame.ICMPv6, gateway6, 129}} {
		s := &session{e: r.e, counts: &r.e.counts.ping}
		s.key = sessionKey{a.proto, netip.AddrPortFrom(sourceFor(a.from), 0x1234), netip.AddrPortFrom(a.from, 0)}
		in := incomings.Get().(*incoming)
		for i, kind := range []byte{a.kind, 3} {
			in.size[i] = headroom + copy(in.buf[i][headroom:], []byte{kind, 0, 0, 0, 9, 9, 0, 1, 'x'})
		}
		in.n = 2
		s.deliver(in)
		incomings.Put(in)
		got := tap.find(func(p *frame.Packet) bool { return p.Proto == a.proto && p.Type == a.kind })
		require.Len(t, got, 1)
		assert.Equal(t, "\x12\x34\x00\x01x", string(got[0][len(got[0])-5:]))
	}
}
