package nat

import (
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/libcapsa/libcapsa/internal/net/frame"
	"github.com/libcapsa/libcapsa/internal/net/link"
)

func TestDNSService(t *testing.T) {
	r := newRig(t, func(c *Config, _ *guest) {
		c.InterceptDNS = true
		c.Services.DNS = func(q []byte, _, to netip.AddrPort, reply func([]byte)) {
			reply([]byte("to " + to.String() + ": " + string(q)))
		}
		c.Services.DNSConn = func(conn net.Conn) {
			all, _ := io.ReadAll(conn)
			_, _ = conn.Write([]byte(conn.LocalAddr().String() + string(all)))
		}
	})
	for _, to := range []string{"10.0.2.2:53", "8.8.8.8:53", "[2001:db8::53]:53"} {
		c := r.dialUDP(netip.MustParseAddrPort(to))
		_, err := c.Write([]byte("query"))
		require.NoError(t, err)
		b := make([]byte, 100)
		n, err := c.Read(b)
		require.NoError(t, err)
		assert.Equal(t, "to "+to+": query", string(b[:n]))

		tc := r.mustDial(netip.MustParseAddrPort(to))
		_, err = tc.Write([]byte("q"))
		require.NoError(t, err)
		require.NoError(t, tc.CloseWrite())
		all, err := io.ReadAll(tc)
		require.NoError(t, err)
		assert.Equal(t, to+"q", string(all))
	}
	assert.Zero(t, r.e.Stats().UDP.Opened)
}

// A service's connection that nobody ends is ended by Close.
func TestServiceHangs(t *testing.T) {
	r := newRig(t, func(c *Config, _ *guest) {
		c.Services.DNSConn = func(conn net.Conn) { _, _ = io.ReadAll(conn) }
	})
	r.mustDial(netip.AddrPortFrom(gateway4, 53))
	require.Eventually(t, func() bool { return r.e.Stats().TCP.Open == 1 }, tooLong, tick)
}

func TestDHCPService(t *testing.T) {
	var tap taps
	r := newRig(t, tap.option, func(c *Config, _ *guest) {
		c.Services.DHCP4 = func(q []byte, from netip.AddrPort, reply func([]byte, netip.AddrPort)) {
			assert.Equal(t, "0.0.0.0:68", from.String())
			reply([]byte("all"), netip.AddrPortFrom(limitedBroadcast, 68))
			reply(append([]byte("you"), q...), netip.MustParseAddrPort("10.0.2.15:68"))
		}
		c.Services.DHCP6 = func(_ []byte, _, to netip.AddrPort, reply func([]byte)) { reply([]byte(to.String())) }
	})
	f := rawFrame(netip.IPv4Unspecified(), limitedBroadcast, frame.UDP, udpPayload(68, 67, []byte("discover")), 6)
	copy(f.Data[0], frame.Broadcast[:])
	r.send(f)
	f = rawFrame(netip.MustParseAddr("fe80::15"), netip.MustParseAddr("ff02::1:2"), frame.UDP, udpPayload(546, 547, nil), 6)
	copy(f.Data[0], []byte{0x33, 0x33, 0, 1, 0, 2})
	r.send(f)
	var got [][]byte
	require.Eventually(t, func() bool {
		got = tap.find(func(p *frame.Packet) bool { return p.Proto == frame.UDP })
		return len(got) == 3
	}, tooLong, tick)
	assert.Equal(t, frame.Broadcast, frame.MAC(got[0][:6]))
	assert.Equal(t, "all", string(got[0][42:]))
	assert.Equal(t, guestMAC, frame.MAC(got[1][:6]))
	assert.Equal(t, "youdiscover", string(got[1][42:]))
	assert.Equal(t, "[fe80::5054:ff:fe00:1]:547", string(got[2][62:]))
}

// The gateway answers for itself, and for nobody else.
func TestGatewayPing(t *testing.T) {
	var tap taps
	r := newRig(t, tap.option)
	r.send(echoFrame(gateway4, 0x1234))
	r.send(echoFrame(gateway6, 0x1234))
	var got [][]byte
	require.Eventually(t, func() bool {
		got = tap.find(func(p *frame.Packet) bool { return p.Proto == frame.ICMPv4 || p.Proto == frame.ICMPv6 && p.Type == 129 })
		return len(got) == 2
	}, tooLong, tick)
	for i, b := range got {
		var p frame.Packet
		f := oneFrame(b)
		require.Equal(t, frame.OK, p.Parse(&f))
		assert.True(t, p.Valid(&f))
		assert.Equal(t, []uint8{0, 129}[i], p.Type)
		assert.Equal(t, "\x12\x34\x00\x01ping", string(b[p.L4+4:]))
	}
}

// Pings of others go out where the host allows it, and are counted where not.
func TestPing(t *testing.T) {
	var tap taps
	r := newRig(t, tap.option)
	lo := netip.MustParseAddr("127.0.0.1")
	r.send(echoFrame(lo, 0x1234))
	replies := func() [][]byte {
		return tap.find(func(p *frame.Packet) bool { return p.Proto == frame.ICMPv4 && p.Type == 0 })
	}
	if !canPing() {
		require.Eventually(t, func() bool { return r.e.Stats().NoPing == 1 }, tooLong, tick)
		assert.Empty(t, replies())
		return
	}
	require.Eventually(t, func() bool { return len(replies()) == 1 }, tooLong, tick)
	b := replies()[0]
	assert.Equal(t, "\x12\x34\x00\x01ping", string(b[38:]))
	assert.Equal(t, 1, r.e.Stats().Ping.Open)
}

func TestNeighborService(t *testing.T) {
	var got []byte
	done := make(chan bool, 1)
	var tap taps
	r := newRig(t, tap.option, func(c *Config, _ *guest) {
		c.Services.Neighbor = func(f []byte, reply func([]byte)) {
			if f[12] != 8 || f[13] != 6 {
				return
			}
			got = f
			reply([]byte(strings.Repeat("r", 60)))
			done <- true
		}
	})
	arp := append(append(append([]byte(nil), frame.Broadcast[:]...), guestMAC[:]...), 8, 6, 0, 1, 8, 0, 6, 4, 0, 1)
	r.send(link.Frame{Data: [][]byte{arp}})
	<-done
	assert.Equal(t, arp, got)
}

// Who has no address yet may look whether it is taken.
func TestDuplicateAddressDetection(t *testing.T) {
	var tap taps
	r := newRig(t, tap.option)
	l4 := make([]byte, 24)
	l4[0] = 135
	a := gateway6.As16()
	copy(l4[8:], a[:])
	f := rawFrame(netip.IPv6Unspecified(), netip.MustParseAddr("ff02::1:ff00:2"), frame.ICMPv6, l4, 2)
	b := f.Data[0]
	b[21] = 255
	copy(b, []byte{0x33, 0x33, 0xff, 0, 0, 2})
	r.send(f)
	require.Eventually(t, func() bool {
		return len(tap.find(func(p *frame.Packet) bool { return p.Proto == frame.ICMPv6 && p.Type == 136 && p.Dst == allNodes })) == 1
	}, tooLong, tick)
}

func TestCanPing(t *testing.T) {
	b, err := os.ReadFile("/proc/sys/net/ipv4/ping_group_range")
	require.NoError(t, err)
	if strings.Fields(string(b))[0] == "1" {
		assert.False(t, canPing(), "group range 1 0 is nobody's")
	}
}
