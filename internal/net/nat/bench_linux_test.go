package nat

import (
	"io"
	"net"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/libcapsa/libcapsa/internal/net/link"
)

// The guest is netstack on the same processors, which takes half of the time.
func BenchmarkTCP(b *testing.B) {
	const size = 1 << 20
	for name, off := range map[string]link.Offloads{"offloaded": offloaded, "plain": {}} {
		b.Run("up/"+name, func(b *testing.B) {
			done := make(chan int64, 1)
			r := newRig(b, withOffloads(off))
			conn := r.mustDial(server(b, "tcp", func(c *net.TCPConn) {
				n, _ := io.Copy(io.Discard, c)
				done <- n
			}))
			data := make([]byte, size)
			b.SetBytes(size)
			b.ResetTimer()
			for range b.N {
				_, err := conn.Write(data)
				require.NoError(b, err)
			}
			require.NoError(b, conn.CloseWrite())
			require.Equal(b, int64(b.N*size), <-done)
		})
		b.Run("down/"+name, func(b *testing.B) {
			r := newRig(b, withOffloads(off))
			conn := r.mustDial(server(b, "tcp", func(c *net.TCPConn) {
				data := make([]byte, size)
				for range b.N {
					_, _ = c.Write(data)
				}
			}))
			b.SetBytes(size)
			b.ResetTimer()
			buf := make([]byte, 256<<10)
			var total int64
			for {
				n, err := conn.Read(buf)
				total += int64(n)
				if err != nil {
					break
				}
			}
			require.Equal(b, int64(b.N*size), total)
		})
	}
}

func BenchmarkConnect(b *testing.B) {
	r := newRig(b)
	to := server(b, "tcp", echo)
	var buf [1]byte
	b.ResetTimer()
	for range b.N {
		c, err := r.dial(to)
		require.NoError(b, err)
		_, err = c.Write(buf[:])
		require.NoError(b, err)
		_, err = io.ReadFull(c, buf[:])
		require.NoError(b, err)
		_ = c.Close()
	}
}

func BenchmarkUDP(b *testing.B) {
	r := newRig(b)
	c := r.dialUDP(udpEcho(b))
	var buf [64]byte
	b.ResetTimer()
	for range b.N {
		_, err := c.Write(buf[:])
		require.NoError(b, err)
		_, err = c.Read(buf[:])
		require.NoError(b, err)
	}
}
