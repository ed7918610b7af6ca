package nat

import (
	"encoding/binary"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/libcapsa/libcapsa/internal/net/frame"
	"github.com/libcapsa/libcapsa/internal/net/link"
)

// withTTL changes how far a frame goes.
func withTTL(f link.Frame, ttl byte) link.Frame {
	b := f.Data[0]
	if b[frame.EtherSize]>>4 == 4 {
		b[frame.EtherSize+8] = ttl
		checksum4(b[frame.EtherSize : frame.EtherSize+20])
	} else {
		b[frame.EtherSize+7] = ttl
	}
	return f
}

// exceededIn returns whose error came about a packet to dst, and the transport's
// header that it quotes.
func (tp *taps) exceededIn(t *testing.T, dst netip.Addr) (from netip.Addr, l4 []byte) {
	t.Helper()
	require.Eventually(t, func() bool {
		for _, b := range tp.find(func(p *frame.Packet) bool {
			return p.Proto == frame.ICMPv4 && p.Type == 11 && p.Code == 0 || p.Proto == frame.ICMPv6 && p.Type == 3 && p.Code == 0
		}) {
			var p frame.Packet
			f := oneFrame(b)
			p.Parse(&f)
			inner := append(b[p.L4+8:], make([]byte, 40)...)
			to, n := netip.AddrFrom16([16]byte(inner[24:])), 40
			if inner[0]>>4 == 4 {
				to, n = netip.AddrFrom4([4]byte(inner[16:])), 20
			}
			if to == dst {
				from, l4 = p.Src, inner[n:]
				return true
			}
		}
		return false
	}, tooLong, tick)
	return from, l4
}

// The gateway is a hop itself.
func TestFirstHop(t *testing.T) {
	var tap taps
	r := newRig(t, tap.option)
	for _, a := range []string{"192.0.2.7", "2001:db8::7"} {
		dst := netip.MustParseAddr(a)
		want := r.e.gateway(dst)
		for _, f := range []link.Frame{udpFrame(netip.AddrPortFrom(dst, 33434), 5000, []byte("probe")), echoFrame(dst, 7), tcpFrame(netip.AddrPortFrom(dst, 80), 5000, frame.FlagSYN)} {
			tap.mu.Lock()
			tap.frames = nil
			tap.mu.Unlock()
			r.send(withTTL(f, 1))
			from, _ := tap.exceededIn(t, dst)
			assert.Equal(t, want, from)
		}
	}
	s := r.e.Stats()
	assert.Zero(t, s.UDP.Opened+s.Ping.Opened+s.TCP.Opened+s.TCP.Failed)
	r.send(withTTL(echoFrame(gateway4, 9), 1))
	require.Eventually(t, func() bool {
		return len(tap.find(func(p *frame.Packet) bool { return p.Proto == frame.ICMPv4 && p.Type == 0 })) == 1
	}, tooLong, tick, "the gateway itself is near enough")
}

// What a probe has left arrives, less one; other packets go as far as the host's.
func TestHopsLeft(t *testing.T) {
	for _, host := range []string{"127.0.0.1", "::1"} {
		r := newRig(t)
		c, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.ParseIP(host)})
		require.NoError(t, err)
		raw, err := c.SyscallConn()
		require.NoError(t, err)
		usual := 64
		require.NoError(t, raw.Control(func(fd uintptr) {
			if host == "::1" {
				err = unix.SetsockoptInt(int(fd), unix.SOL_IPV6, unix.IPV6_RECVHOPLIMIT, 1)
				usual, _ = unix.GetsockoptInt(int(fd), unix.SOL_IPV6, unix.IPV6_UNICAST_HOPS)
			} else {
				err = unix.SetsockoptInt(int(fd), unix.SOL_IP, unix.IP_RECVTTL, 1)
				usual, _ = unix.GetsockoptInt(int(fd), unix.SOL_IP, unix.IP_TTL)
			}
		}))
		require.NoError(t, err)
		to := atGateway(c.LocalAddr())
		// To the gateway itself there is no hop before it.
		for _, ttl := range []byte{64, 5, 5, 9, 32, 33, 255, 2} {
			r.send(withTTL(udpFrame(to, 5000, []byte{ttl}), ttl))
		}
		for _, want := range []int{usual, 4, 4, 8, 31, usual, usual, 1} {
			require.NoError(t, c.SetReadDeadline(time.Now().Add(tooLong)))
			oob := make([]byte, 64)
			_, n, _, _, err := c.ReadMsgUDP(make([]byte, 10), oob)
			require.NoError(t, err)
			m, err := unix.ParseSocketControlMessage(oob[:n])
			require.NoError(t, err)
			require.Len(t, m, 1)
			assert.Equal(t, want, int(binary.NativeEndian.Uint32(m[0].Data)))
		}
		_ = c.Close()
	}
}

// namespaces makes this test's process run again in namespaces of its own: this host
// at 198.51.100.1 and fd01::1, and behind it a router. It is false in the process
// that has only waited for that.
func namespaces(t *testing.T) bool {
	t.Helper()
	const variable = "CAPSA_TEST_NAMESPACE"
	if os.Getenv(variable) != "" {
		return true
	}
	if out, err := exec.Command("unshare", "-Urnm", "ip", "link").CombinedOutput(); err != nil {
		if strings.Contains(os.Getenv("CAPSA_REQUIRE"), "namespaces") {
			t.Fatalf("no namespaces here: %v: %s", err, out)
		}
		t.Skipf("no namespaces here: %v: %s", err, out)
	}
	cmd := exec.Command("unshare", "-Urnm", "sh", "-ec", `
		mount -t tmpfs tmpfs /run; mkdir /run/netns
		sysctl -qw net.ipv4.ping_group_range='0 0'
		ip link set lo up; ip netns add r
		ip link add v0 type veth peer name v1 netns r
		ip addr add 198.51.100.1/24 dev v0; ip addr add fd01::1/64 dev v0 nodad; ip link set v0 up
		in="ip netns exec r"
		$in sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
		$in ip link set lo up; $in ip link add d0 type veth peer name d1; $in ip link set d1 up
		$in ip addr add 198.51.100.2/24 dev v1; $in ip addr add fd01::2/64 dev v1 nodad; $in ip link set v1 up
		$in ip addr add 203.0.113.1/24 dev d0; $in ip addr add 2001:db8::1/64 dev d0 nodad; $in ip link set d0 up
		ip route add default via 198.51.100.2; ip route add default via fd01::2
		exec "$@"`, "sh", os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), variable+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Contains(t, string(out), "--- PASS: "+t.Name())
	return false
}

// A router behind the host tells the guest, through a socket without privileges, that
// a probe has come as far as it: for UDP and for pings, as traceroute sends them.
func TestTraceroute(t *testing.T) {
	if !namespaces(t) {
		return
	}
	var tap taps
	r := newRig(t, tap.option)
	for _, c := range []struct{ dst, hop string }{{"203.0.113.9", "198.51.100.2"}, {"2001:db8::9", "fd01::2"}} {
		dst := netip.MustParseAddr(c.dst)
		r.send(withTTL(udpFrame(netip.AddrPortFrom(dst, 33435), 5000, []byte("probe")), 2))
		from, l4 := tap.exceededIn(t, dst)
		assert.Equal(t, c.hop, from.String())
		assert.Equal(t, []uint16{5000, 33435}, []uint16{binary.BigEndian.Uint16(l4), binary.BigEndian.Uint16(l4[2:])})
		tap.mu.Lock()
		tap.frames = nil
		tap.mu.Unlock()
		r.send(withTTL(echoFrame(dst, 0x1234), 2))
		from, l4 = tap.exceededIn(t, dst)
		assert.Equal(t, c.hop, from.String())
		assert.Equal(t, []uint16{0x1234, 1}, []uint16{binary.BigEndian.Uint16(l4[4:]), binary.BigEndian.Uint16(l4[6:])})
	}
}
