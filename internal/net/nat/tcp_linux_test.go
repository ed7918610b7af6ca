package nat

import (
	"bytes"
	"crypto/sha256"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/libcapsa/libcapsa/internal/net/link"
)

// A server that sends as much as it gets, at the same time.
func TestBulkBothWays(t *testing.T) {
	const size = 64 << 20
	for name, c := range map[string]struct {
		network string
		options []option
		size    int
	}{
		"offloaded":              {"tcp4", nil, size},
		"offloaded, IPv6":        {"tcp6", nil, size},
		"checksums only":         {"tcp4", []option{withOffloads(link.Offloads{Checksum: true})}, size / 16},
		"nothing":                {"tcp4", []option{withOffloads(link.Offloads{})}, size / 16},
		"nothing, IPv6":          {"tcp6", []option{withOffloads(link.Offloads{})}, size / 16},
		"one in 700 lost":        {"tcp4", []option{withLoss(701), withOffloads(link.Offloads{})}, size / 64},
		"ring of 8":              {"tcp4", []option{withRing(8)}, size / 16},
		"ring of 16 without any": {"tcp6", []option{withRing(16), withOffloads(link.Offloads{})}, size / 16},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, c.options...)
			var key [32]byte
			down := make([]byte, c.size)
			_, _ = rand.NewChaCha8(key).Read(down)
			key[0] = 1
			up := make([]byte, c.size)
			_, _ = rand.NewChaCha8(key).Read(up)
			got := make(chan [32]byte, 1)
			conn := r.mustDial(server(t, c.network, func(c *net.TCPConn) {
				var wg sync.WaitGroup
				wg.Go(func() {
					_, _ = c.Write(down)
					_ = c.CloseWrite()
				})
				h := sha256.New()
				_, _ = io.Copy(h, c)
				got <- [32]byte(h.Sum(nil))
				wg.Wait()
			}))
			var wg sync.WaitGroup
			wg.Go(func() {
				_, err := conn.Write(up)
				assert.NoError(t, err)
				assert.NoError(t, conn.CloseWrite())
			})
			h := sha256.New()
			n, err := io.Copy(h, conn)
			require.NoError(t, err)
			wg.Wait()
			assert.Equal(t, int64(c.size), n)
			assert.Equal(t, sha256.Sum256(down), [32]byte(h.Sum(nil)))
			assert.Equal(t, sha256.Sum256(up), <-got)
		})
	}
}

// The guest and the host each may end their direction first.
func TestHalfClose(t *testing.T) {
	r := newRig(t)
	t.Run("guest first", func(t *testing.T) {
		conn := r.mustDial(server(t, "tcp", func(c *net.TCPConn) {
			all, _ := io.ReadAll(c)
			_, _ = c.Write(append([]byte("got "), all...))
		}))
		_, err := conn.Write([]byte("question"))
		require.NoError(t, err)
		require.NoError(t, conn.CloseWrite())
		all, err := io.ReadAll(conn)
		require.NoError(t, err)
		assert.Equal(t, "got question", string(all))
	})
	t.Run("host first", func(t *testing.T) {
		got := make(chan string, 1)
		conn := r.mustDial(server(t, "tcp", func(c *net.TCPConn) {
			_, _ = c.Write([]byte("banner"))
			_ = c.CloseWrite()
			all, _ := io.ReadAll(c)
			got <- string(all)
		}))
		all, err := io.ReadAll(conn)
		require.NoError(t, err)
		assert.Equal(t, "banner", string(all))
		_, err = conn.Write([]byte("late"))
		require.NoError(t, err)
		require.NoError(t, conn.CloseWrite())
		assert.Equal(t, "late", <-got)
	})
	t.Run("both at once", func(t *testing.T) {
		conn := r.mustDial(server(t, "tcp", func(c *net.TCPConn) { _ = c.CloseWrite(); _, _ = io.ReadAll(c) }))
		require.NoError(t, conn.CloseWrite())
		all, err := io.ReadAll(conn)
		require.NoError(t, err)
		assert.Empty(t, all)
	})
}

func TestResets(t *testing.T) {
	r := newRig(t)
	t.Run("of the host", func(t *testing.T) {
		conn := r.mustDial(server(t, "tcp", func(c *net.TCPConn) {
			_, _ = io.ReadFull(c, make([]byte, 1))
			_ = c.SetLinger(0)
		}))
		_, err := conn.Write([]byte("x"))
		require.NoError(t, err)
		_, err = io.ReadAll(conn)
		assert.ErrorContains(t, err, "reset")
	})
	t.Run("of the guest", func(t *testing.T) {
		got := make(chan error, 1)
		conn := r.mustDial(server(t, "tcp", func(c *net.TCPConn) {
			_, err := io.ReadAll(c)
			got <- err
		}))
		_, err := conn.Write([]byte("x"))
		require.NoError(t, err)
		r.reset()
		assert.ErrorContains(t, <-got, "reset")
	})
	t.Run("of the guest, while the host does not read", func(t *testing.T) {
		proceed, got := make(chan bool), make(chan error, 1)
		conn := r.mustDial(server(t, "tcp", func(c *net.TCPConn) {
			<-proceed
			_, err := io.Copy(io.Discard, c)
			got <- err
		}))
		go func() { _, _ = conn.Write(make([]byte, 64<<20)) }()
		require.Eventually(t, func() bool { return r.inFlight() > 64<<10 }, tooLong, tick)
		r.reset()
		require.Eventually(t, func() bool { return r.e.Stats().TCP.Open == 0 }, tooLong, tick)
		close(proceed)
		assert.ErrorContains(t, <-got, "reset")
	})
}

// reset has the guest reset all its connections.
func (r *rig) reset() {
	for _, ep := range r.stack.RegisteredEndpoints() {
		ep.Abort()
	}
}

// inFlight is how many bytes of the guest open flows have carried.
func (r *rig) inFlight() (n uint64) {
	for _, f := range r.e.tcp.all() {
		n += f.fromGuest.Load()
	}
	return n
}

func TestManyConnections(t *testing.T) {
	const many = 1000
	r := newRig(t)
	to := server(t, "tcp", echo)
	var wg sync.WaitGroup
	gate := make(chan bool, 100)
	for i := range many {
		wg.Go(func() {
			gate <- true
			conn, err := r.dial(to)
			<-gate
			if !assert.NoError(t, err) {
				return
			}
			defer func() { _ = conn.Close() }()
			want := bytes.Repeat([]byte{byte(i), byte(i >> 8)}, 2000)
			go func() {
				_, _ = conn.Write(want)
				_ = conn.CloseWrite()
			}()
			got, err := io.ReadAll(conn)
			assert.NoError(t, err)
			assert.True(t, bytes.Equal(want, got))
		})
	}
	wg.Wait()
	require.Eventually(t, func() bool { return r.e.Stats().TCP.Open == 0 }, tooLong, tick)
	s := r.e.Stats().TCP
	assert.Equal(t, uint64(many), s.Opened)
	assert.Equal(t, uint64(many*4000), s.FromGuest)
	assert.Equal(t, uint64(many*4000), s.ToGuest)
	assert.Zero(t, s.Failed+s.Denied+s.Limited)
}
