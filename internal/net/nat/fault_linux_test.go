package nat

import (
	"io"
	"net"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// withoutDescriptors runs fn while the process gets no new descriptors.
func withoutDescriptors(t *testing.T, fn func()) {
	t.Helper()
	var old unix.Rlimit
	require.NoError(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &old))
	require.NoError(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 3, Max: old.Max}))
	defer func() { require.NoError(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &old)) }()
	fn()
}

// Without descriptors nothing breaks for good: connections wait, datagrams are lost,
// and all goes on once there are some.
func TestNoDescriptors(t *testing.T) {
	r := newRig(t)
	to, udp := server(t, "tcp", echo), udpEcho(t)
	r.listen(netip.AddrPortFrom(guest4.Addr(), 80))
	f, err := r.e.Forward(ForwardConfig{Network: "tcp", Host: anyLoopback, Guest: 80})
	require.NoError(t, err)
	client, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	require.NoError(t, err)
	defer func() { _ = unix.Close(client) }()

	dialled := make(chan error, 1)
	withoutDescriptors(t, func() {
		go func() {
			c, err := r.dial(to)
			if err == nil {
				err = c.Close()
			}
			dialled <- err
		}()
		r.send(udpFrame(udp, 5000, []byte("lost")))
		require.NoError(t, unix.Connect(client, sockaddr(f.Addr().(*net.TCPAddr).AddrPort())))
		require.Eventually(t, func() bool { s := r.e.Stats(); return s.TCP.Failed > 0 && s.UDP.Failed > 0 }, tooLong, tick)
		_, err := r.e.Forward(ForwardConfig{Network: "udp", Host: anyLoopback, Guest: 80})
		assert.ErrorContains(t, err, "too many open files")
	})
	require.NoError(t, <-dialled, "the guest's second SYN")
	c := r.dialUDP(udp)
	_, err = c.Write([]byte("x"))
	require.NoError(t, err)
	_, err = c.Read(make([]byte, 10))
	require.NoError(t, err)
	_, err = unix.Write(client, []byte("there and back"))
	require.NoError(t, err)
	require.NoError(t, unix.Shutdown(client, unix.SHUT_WR))
	b := make([]byte, 100)
	n, err := io.ReadFull(fdReader(client), b[:14])
	require.NoError(t, err)
	assert.Equal(t, "there and back", string(b[:n]))
}

// fdReader reads a blocking descriptor.
type fdReader int

func (fd fdReader) Read(b []byte) (int, error) { return unix.Read(int(fd), b) }
