package nat

import (
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// sourceOf is the port that the next datagram comes from.
func sourceOf(t *testing.T, c *net.UDPConn) int {
	t.Helper()
	require.NoError(t, c.SetReadDeadline(time.Now().Add(tooLong)))
	_, from, err := c.ReadFromUDPAddrPort(make([]byte, 100))
	require.NoError(t, err)
	return int(from.Port())
}

// A port of the guest is one of the host, whomever it talks to: its own number where
// that is free, else another one.
func TestPortMapping(t *testing.T) {
	for _, host := range []string{"127.0.0.1", "::1"} {
		for name, busy := range map[string]bool{"free": false, "taken": true} {
			t.Run(fmt.Sprint(host, " ", name), func(t *testing.T) {
				r := newRig(t)
				a, _ := collect(t, host)
				b, _ := collect(t, host)
				other, _ := collect(t, host) // a port that is free, or not, as it closes or stays
				port := uint16(other.LocalAddr().(*net.UDPAddr).Port)
				if !busy {
					require.NoError(t, other.Close())
				}
				for i, c := range []*net.UDPConn{a, b, a} {
					to := c.LocalAddr().(*net.UDPAddr).AddrPort()
					r.send(udpFrame(netip.AddrPortFrom(to.Addr().Unmap(), to.Port()), port, []byte{byte(i)}))
				}
				first := sourceOf(t, a)
				assert.Equal(t, !busy, first == int(port), "%d as %d", port, first)
				assert.Equal(t, first, sourceOf(t, b))
				assert.Equal(t, first, sourceOf(t, a))
				r.e.datagrams.mu.Lock()
				assert.Len(t, r.e.datagrams.mappings, 1)
				r.e.datagrams.mu.Unlock()
				r.e.datagrams.endAll()
				r.e.datagrams.mu.Lock()
				assert.Empty(t, r.e.datagrams.mappings)
				r.e.datagrams.mu.Unlock()
			})
		}
	}
}

// Ports that the host gives to nobody who does not ask for them stay the host's.
func TestPortOfService(t *testing.T) {
	r := newRig(t)
	a, _ := collect(t, "127.0.0.1")
	low := ownPorts()[0] - 1
	require.Positive(t, low)
	to := a.LocalAddr().(*net.UDPAddr).AddrPort()
	r.send(udpFrame(to, uint16(low), []byte("x")))
	assert.GreaterOrEqual(t, sourceOf(t, a), ownPorts()[0])
}

// What came to a port before it was a flow's is no answer of the flow's other side.
func TestStrangers(t *testing.T) {
	other, _ := collect(t, "127.0.0.1")
	fd, err := openSocket(false, unix.IPPROTO_UDP)
	require.NoError(t, err)
	defer func() { _ = unix.Close(fd) }()
	m := &mapping{guest: netip.MustParseAddrPort("10.0.2.15:1")}
	require.NoError(t, m.bind(fd, false))
	require.NotZero(t, m.port)
	for range 3 {
		_, err = other.WriteToUDPAddrPort([]byte("forged"), netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), m.port))
		require.NoError(t, err)
	}
	forgetStrangers(fd)
	_, _, err = unix.Recvfrom(fd, make([]byte, 10), unix.MSG_DONTWAIT)
	assert.Equal(t, unix.EAGAIN, err)
}
