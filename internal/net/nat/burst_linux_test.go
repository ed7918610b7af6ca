package nat

import (
	"bytes"
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/libcapsa/libcapsa/internal/net/frame"
	"github.com/libcapsa/libcapsa/internal/net/link"
)

// collect is a UDP socket of the host, and what it gets.
func collect(t *testing.T, host string) (*net.UDPConn, func() []byte) {
	t.Helper()
	c, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.ParseIP(host)})
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	b := make([]byte, 65536)
	return c, func() []byte {
		require.NoError(t, c.SetReadDeadline(time.Now().Add(tooLong)))
		n, err := c.Read(b)
		require.NoError(t, err)
		return bytes.Clone(b[:n])
	}
}

// datagramsOf makes one of each size, no two alike.
func datagramsOf(sizes ...int) (out [][]byte) {
	for i, n := range sizes {
		out = append(out, bytes.Repeat([]byte{byte(i), byte(n)}, n/2+1)[:n])
	}
	return out
}

// mixed are sizes of datagrams that are sent at once: runs, their shorter ends, none
// at all, and some that are too long to be sent together.
var mixed = []int{100, 100, 100, 40, 100, 0, 0, 7, 7, 8, 1232, 1232, 1233, 1233, 1400, 1400, 1, 1, 1}

// What the guest sends at once arrives one by one, in order, of one flow or more.
func TestBurst(t *testing.T) {
	r := newRig(t)
	a, nextA := collect(t, "127.0.0.1")
	b, nextB := collect(t, "127.0.0.1")
	var frames []link.Frame
	want := datagramsOf(mixed...)
	for i, d := range want {
		frames = append(frames, udpFrame(atGateway(a.LocalAddr()), 5000, d))
		if i%4 == 0 {
			frames = append(frames, udpFrame(atGateway(b.LocalAddr()), 5000, d))
		}
	}
	r.sendAll(frames...)
	for i, d := range want {
		require.Equal(t, d, append([]byte{}, nextA()...), i)
		if i%4 == 0 {
			require.Equal(t, d, append([]byte{}, nextB()...), i)
		}
	}
	assert.Equal(t, uint64(2), r.e.Stats().UDP.Opened)
}

// A run is sent by one system call, or by many where the kernel does not do that.
// Datagrams and the pieces that guests lay them in have other borders.
func TestRuns(t *testing.T) {
	for _, apart := range []bool{false, true} {
		for _, piece := range []int{1, 3, 100, 1000} {
			t.Run(fmt.Sprintf("apart %v, pieces of %d", apart, piece), func(t *testing.T) {
				c, next := collect(t, "127.0.0.1")
				sock, err := dialSocket(frame.UDP, nil, c.LocalAddr().(*net.UDPAddr).AddrPort())
				require.NoError(t, err)
				defer func() { _ = sock.file.Close() }()
				s := &session{sock: sock, apart: apart}
				s.sending = s.trySend
				var b burst
				b.to(s)
				total := 0
				for _, d := range datagramsOf(mixed...) {
					from := len(b.pieces)
					for rest := d; len(rest) > 0; rest = rest[min(piece, len(rest)):] {
						b.pieces = append(b.pieces, rest[:min(piece, len(rest))])
					}
					b.add(from, len(d), len(d))
					total += len(d)
				}
				long := bytes.Repeat([]byte("0123456789"), 55) // as of a long frame of the guest
				b.pieces = append(b.pieces, long)
				b.add(len(b.pieces)-1, len(long), 100)
				b.flush()
				for i, d := range datagramsOf(mixed...) {
					require.Equal(t, d, append([]byte{}, next()...), i)
				}
				for len(long) > 0 {
					n := min(100, len(long))
					require.Equal(t, long[:n], next())
					long = long[n:]
				}
				assert.Equal(t, uint64(total+550), s.fromGuest.Load())
				assert.Equal(t, apart, s.apart, "the loopback takes runs")
				assert.Empty(t, b.runs)
			})
		}
	}
}

// More than one run holds: the bounds of the kernel are kept.
func TestRunBounds(t *testing.T) {
	c, next := collect(t, "127.0.0.1")
	require.NoError(t, c.SetReadBuffer(4<<20))
	sock, err := dialSocket(frame.UDP, nil, c.LocalAddr().(*net.UDPAddr).AddrPort())
	require.NoError(t, err)
	defer func() { _ = sock.file.Close() }()
	s := &session{sock: sock}
	s.sending = s.trySend
	var b burst
	b.to(s)
	d := bytes.Repeat([]byte("x"), 500)
	for range 3*maxRunSegments + 1 {
		b.pieces = append(b.pieces, d)
		b.add(len(b.pieces)-1, len(d), len(d))
	}
	require.Len(t, b.runs, 4)
	b.flush()
	for range 3*maxRunSegments + 1 {
		require.Equal(t, d, next())
	}
	assert.False(t, s.apart)
}

// A server's datagrams of one size, which the host's kernel hands over together, are
// one long frame for a guest that takes such, and come one by one for all others.
func TestUSOToGuest(t *testing.T) {
	uso := offloaded
	uso.USO4, uso.USO6 = true, true
	for name, c := range map[string]struct {
		off  link.Offloads
		host string
		each int
		long bool
	}{
		"taken":             {uso, "127.0.0.1", 1000, true},
		"taken, IPv6":       {uso, "::1", 1000, true},
		"not taken":         {offloaded, "127.0.0.1", 1000, false},
		"longer than a MTU": {uso, "127.0.0.1", 2000, false},
		"nothing taken":     {link.Offloads{}, "::1", 700, false},
	} {
		t.Run(name, func(t *testing.T) {
			var tap taps
			r := newRig(t, withOffloads(c.off), tap.option)
			server, _ := collect(t, c.host)
			guest := r.dialUDP(atGateway(server.LocalAddr()))
			_, err := guest.Write([]byte("begin"))
			require.NoError(t, err)
			raw, err := server.SyscallConn()
			require.NoError(t, err)
			var from netip.AddrPort
			b := make([]byte, 65536)
			require.NoError(t, server.SetReadDeadline(time.Now().Add(tooLong)))
			_, from, err = server.ReadFromUDPAddrPort(b)
			require.NoError(t, err)
			from = netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
			want := bytes.Repeat([]byte("0123456789abcdefg"), 600)[:5*c.each-77]
			control := newSegmentControl(uint16(c.each))
			require.NoError(t, raw.Control(func(fd uintptr) {
				err = unix.Sendmsg(int(fd), want, control[:], sockaddr(from), 0)
			}))
			require.NoError(t, err)
			for len(want) > 0 {
				require.NoError(t, guest.SetReadDeadline(time.Now().Add(tooLong)))
				n, err := guest.Read(b)
				require.NoError(t, err)
				require.Equal(t, min(c.each, len(want)), n)
				require.True(t, bytes.Equal(want[:n], b[:n]))
				want = want[n:]
			}
			long := tap.find(func(p *frame.Packet) bool { return p.Proto == frame.UDP && p.Size > 1514 })
			assert.Equal(t, c.long, len(long) == 1, "%d long frames", len(long))
		})
	}
}

// Messages that are received one by one are put together, too: what may be.
func TestAlike(t *testing.T) {
	for _, c := range []struct {
		sizes, each []int
		want        int
	}{
		{[]int{100, 100, 100}, nil, 3},
		{[]int{100, 100, 40, 100}, nil, 3},
		{[]int{100, 101}, nil, 1},
		{[]int{100, 0, 100}, nil, 1},
		{[]int{0, 0}, nil, 1},
		{[]int{300, 100, 200}, []int{100, 0, 100}, 3},
		{[]int{250, 100}, []int{100, 0}, 1},
		{[]int{300, 150}, []int{100, 50}, 1},
		{[]int{300, 50, 50}, []int{100, 0, 0}, 2},
		{[]int{40000, 40000}, []int{1000, 1000}, 1},
		{[]int{6300, 100, 100}, []int{100, 0, 0}, 2},
	} {
		in := new(incoming)
		in.n = len(c.sizes)
		for i, n := range c.sizes {
			in.size[i] = udpRoom + n
			if c.each != nil {
				in.each[i] = c.each[i]
			}
		}
		if in.each[0] == 0 {
			in.each[0] = c.sizes[0]
		}
		n, size := new(session).alike(in, 0)
		total := 0
		for _, v := range c.sizes[:n] {
			total += v
		}
		assert.Equal(t, []int{c.want, total}, []int{n, size}, "%v", c)
	}
}
