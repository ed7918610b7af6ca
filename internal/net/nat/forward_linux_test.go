package nat

import (
	"context"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"

	"github.com/libcapsa/libcapsa/internal/net/policy"
)

// listen has the guest echo on a port; from gets who connected.
func (r *rig) listen(a netip.AddrPort) (from chan netip.AddrPort) {
	r.t.Helper()
	l, err := gonet.ListenTCP(r.stack, fullAddress(a), protocolOf(a.Addr()))
	require.NoError(r.t, err)
	from = make(chan netip.AddrPort, 100)
	done := make(chan bool)
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			from <- c.RemoteAddr().(*net.TCPAddr).AddrPort()
			go func() {
				_, _ = io.Copy(c, c)
				_ = c.(*gonet.TCPConn).CloseWrite()
			}()
		}
	}()
	r.t.Cleanup(func() { l.Shutdown(); _ = l.Close(); <-done })
	return from
}

// roundTrip writes, ends its direction, and reads what comes back.
func roundTrip(t *testing.T, c net.Conn) {
	t.Helper()
	defer c.Close()
	_, err := c.Write([]byte("there and back"))
	require.NoError(t, err)
	require.NoError(t, c.(interface{ CloseWrite() error }).CloseWrite())
	all, err := io.ReadAll(c)
	require.NoError(t, err)
	assert.Equal(t, "there and back", string(all))
}

var anyLoopback = netip.MustParseAddrPort("127.0.0.1:0")

func TestForward(t *testing.T) {
	r := newRig(t)
	from4 := r.listen(netip.AddrPortFrom(guest4.Addr(), 80))
	from6 := r.listen(netip.AddrPortFrom(guest6, 80))
	path := filepath.Join(t.TempDir(), "port.sock")
	for name, c := range map[string]struct {
		cfg  ForwardConfig
		from chan netip.AddrPort
		gw   netip.Addr
	}{
		"tcp":       {ForwardConfig{Network: "tcp", Host: anyLoopback, Guest: 80}, from4, gateway4},
		"tcp to v6": {ForwardConfig{Network: "tcp", Host: netip.MustParseAddrPort("[::1]:0"), Guest: 80, IPv6: true}, from6, gateway6},
		"unix":      {ForwardConfig{Network: "unix", Path: path, Guest: 80}, from4, gateway4},
	} {
		t.Run(name, func(t *testing.T) {
			f, err := r.e.Forward(c.cfg)
			require.NoError(t, err)
			for range 3 {
				conn, err := net.Dial(f.Addr().Network(), f.Addr().String())
				require.NoError(t, err)
				roundTrip(t, conn)
				assert.Equal(t, c.gw, (<-c.from).Addr())
			}
			require.NoError(t, f.Close())
			require.NoError(t, f.Close())
			_, err = net.Dial(f.Addr().Network(), f.Addr().String())
			assert.Error(t, err)
		})
	}
	_, err := os.Stat(path)
	assert.ErrorIs(t, err, os.ErrNotExist)
	require.Eventually(t, func() bool { return r.e.Stats().Inbound.Open == 0 }, tooLong, tick)
	assert.Equal(t, uint64(9), r.e.Stats().Inbound.Opened)
}

// connect connects and reads to the end. A reset may come at any time.
func connect(a net.Addr) error {
	conn, err := net.Dial(a.Network(), a.String())
	if err != nil {
		return err
	}
	defer conn.Close()
	_, err = io.ReadAll(conn)
	return err
}

// A port that the guest does not listen on is a reset; services at the gateway go
// on beside forwarded ports.
func TestForwardRefused(t *testing.T) {
	r := newRig(t)
	f, err := r.e.Forward(ForwardConfig{Network: "tcp", Host: anyLoopback, Guest: 81})
	require.NoError(t, err)
	assert.ErrorContains(t, connect(f.Addr()), "reset")
	assert.Equal(t, uint64(1), r.e.Stats().Inbound.Failed)
	c := r.mustDial(server(t, "tcp", echo))
	require.NoError(t, c.CloseWrite())
}

func TestForwardPolicy(t *testing.T) {
	var ev events
	r := newRig(t, ev.option, withPolicy(policy.Policy{Default: policy.AllowAll, Inbound: policy.ActionReject}))
	r.listen(netip.AddrPortFrom(guest4.Addr(), 80))
	for _, network := range []string{"tcp", "udp"} {
		f, err := r.e.Forward(ForwardConfig{Network: network, Host: anyLoopback, Guest: 80})
		require.NoError(t, err)
		if network == "tcp" {
			assert.ErrorContains(t, connect(f.Addr()), "reset")
			continue
		}
		conn, err := net.Dial(network, f.Addr().String())
		require.NoError(t, err)
		_, err = conn.Write([]byte("x"))
		require.NoError(t, err)
		require.NoError(t, conn.Close())
	}
	require.Eventually(t, func() bool { return len(ev.kinds()) == 2 }, tooLong, tick)
	assert.Equal(t, []string{"denied", "denied"}, ev.kinds())
	assert.Zero(t, r.e.Stats().Inbound.Open)
}

// Each client of a forwarded UDP port is somebody else to the guest.
func TestForwardUDP(t *testing.T) {
	r := newRig(t)
	local := fullAddress(netip.AddrPortFrom(guest4.Addr(), 53))
	c, err := gonet.DialUDP(r.stack, &local, nil, protocolOf(guest4.Addr()))
	require.NoError(t, err)
	done := make(chan map[string]bool)
	go func() {
		seen := map[string]bool{}
		b := make([]byte, 65536)
		for {
			n, from, err := c.ReadFrom(b)
			if err != nil {
				done <- seen
				return
			}
			seen[from.String()] = true
			_, _ = c.WriteTo(b[:n], from)
		}
	}()
	f, err := r.e.Forward(ForwardConfig{Network: "udp", Host: anyLoopback, Guest: 53})
	require.NoError(t, err)
	var conns []net.Conn
	for range 5 {
		conn, err := net.Dial("udp", f.Addr().String())
		require.NoError(t, err)
		conns = append(conns, conn)
	}
	b := make([]byte, 65536)
	for round := range 3 {
		for i, conn := range conns {
			_, err := conn.Write(make([]byte, 10*i+round+1000*round))
			require.NoError(t, err)
			n, err := conn.Read(b)
			require.NoError(t, err)
			assert.Equal(t, 10*i+round+1000*round, n)
		}
	}
	assert.Equal(t, 5, r.e.Stats().Inbound.Open)
	require.NoError(t, f.Close())
	assert.Zero(t, r.e.Stats().Inbound.Open)
	for _, conn := range conns {
		_ = conn.Close()
	}
	_ = c.Close()
	assert.Len(t, <-done, 5)
}

func TestForwardErrors(t *testing.T) {
	r := newRig(t, func(c *Config, _ *guest) { c.Limits.Forwards = 1; c.Guest6 = netip.Addr{} })
	f, err := r.e.Forward(ForwardConfig{Network: "tcp", Host: anyLoopback, Guest: 80})
	require.NoError(t, err)
	taken := f.Addr().(*net.TCPAddr).AddrPort()
	for name, c := range map[string]struct {
		cfg  ForwardConfig
		want string
	}{
		"too many": {ForwardConfig{Network: "udp", Host: anyLoopback, Guest: 80}, "Limits.Forwards"},
		"taken":    {ForwardConfig{Network: "tcp", Host: taken, Guest: 80}, "address already in use"},
		"network":  {ForwardConfig{Network: "sctp", Host: anyLoopback, Guest: 80}, `"tcp", "udp" or "unix"`},
		"no port":  {ForwardConfig{Network: "tcp", Host: anyLoopback}, "a port from 1 on"},
		"no host":  {ForwardConfig{Network: "tcp", Guest: 1}, "127.0.0.1:0"},
		"no IPv6":  {ForwardConfig{Network: "tcp", Host: anyLoopback, Guest: 1, IPv6: true}, "Guest6"},
	} {
		_, err := r.e.Forward(c.cfg)
		assert.ErrorContains(t, err, c.want, name)
	}
}

func TestDial(t *testing.T) {
	r := newRig(t, withPolicy(policy.Policy{Default: policy.DenyAll, Inbound: policy.ActionReject}))
	r.listen(netip.AddrPortFrom(guest4.Addr(), 80))
	r.listen(netip.AddrPortFrom(guest6, 80))
	for _, a := range [][2]string{{"tcp", "80"}, {"tcp4", "10.0.2.15:80"}, {"tcp6", "80"}, {"tcp6", "[fd00::15]:80"}} {
		c, err := r.e.Dial(t.Context(), a[0], a[1])
		require.NoError(t, err)
		roundTrip(t, c)
	}
	c, err := r.e.Dial(t.Context(), "tcp", "81")
	assert.ErrorContains(t, err, "refused")
	assert.Nil(t, c)
	for _, a := range [][2]string{{"tcp", "0"}, {"tcp", "x"}, {"sctp", "80"}, {"tcp", "192.0.2.1:80"}} {
		_, err := r.e.Dial(t.Context(), a[0], a[1])
		assert.Error(t, err, a)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = r.e.Dial(ctx, "tcp", "80")
	assert.Error(t, err)

	local := fullAddress(netip.AddrPortFrom(guest4.Addr(), 53))
	g, err := gonet.DialUDP(r.stack, &local, nil, protocolOf(guest4.Addr()))
	require.NoError(t, err)
	defer func() { _ = g.Close() }()
	u, err := r.e.Dial(t.Context(), "udp", "53")
	require.NoError(t, err)
	defer func() { _ = u.Close() }()
	_, err = u.Write([]byte("question"))
	require.NoError(t, err)
	b := make([]byte, 100)
	n, from, err := g.ReadFrom(b)
	require.NoError(t, err)
	_, err = g.WriteTo(b[:n], from)
	require.NoError(t, err)
	n, err = u.Read(b)
	require.NoError(t, err)
	assert.Equal(t, "question", string(b[:n]))
}
