//go:build linux

package vsock

import (
	"bytes"
	"context"
	"fmt"
	"hash/crc64"
	"io"
	"math/rand/v2"
	"os"
	"runtime"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/libcapsa/libcapsa/internal/virtio/virtiotest"
	hostside "github.com/libcapsa/libcapsa/internal/vsock"
	"github.com/libcapsa/libcapsa/internal/vsock/packet"
)

func shutdown(t testing.TB, f *os.File, how int) {
	raw, err := f.SyscallConn()
	require.NoError(t, err)
	require.NoError(t, raw.Control(func(fd uintptr) { require.NoError(t, unix.Shutdown(int(fd), how)) }))
}

// connectFrom has the host connect to a port of the guest.
func (p *peer) connectFrom(typ packet.Type, port uint32) (*socket, *os.File) {
	p.t.Helper()
	p.listens[port] = typ
	type result struct {
		fd  int
		err error
	}
	c := make(chan result, 1)
	go func() {
		fd, err := p.host.Connect(context.Background(), typ, port)
		c <- result{fd, err}
	}()
	s := p.accept()
	r := <-c
	require.NoError(p.t, r.err)
	return s, userFile(p.t, r.fd)
}

// Both directions at once, both ways of connecting, with and without what rings
// may have.
func TestEcho(t *testing.T) {
	for _, ring := range []uint64{0, virtiotest.FeatureIndirect, virtiotest.FeatureEventIdx, ringFeatures} {
		for _, fromHost := range []bool{false, true} {
			t.Run(fmt.Sprintf("ring %#x from host %v", ring, fromHost), func(t *testing.T) {
				p := newPeer(t, nil)
				p.boot(FeatureStream | ring)
				var s *socket
				var user *os.File
				if fromHost {
					s, user = p.connectFrom(packet.Stream, 77)
				} else {
					s, user = p.pair(packet.Stream, 77)
				}
				echo := make(chan error, 1)
				go func() {
					_, err := io.Copy(user, user)
					shutdown(t, user, unix.SHUT_WR)
					echo <- err
				}()
				sent := pattern(1 << 20)
				var got []byte
				for off := 0; off < len(sent); off += 100_000 {
					end := min(off+100_000, len(sent))
					s.write(sent[off:end], 0)
					got = append(got, s.read(end-off)...)
				}
				s.shutdown(packet.ShutdownSend)
				require.Empty(t, s.read(1), "the end")
				require.True(t, bytes.Equal(sent, got))
				require.NoError(t, <-echo)
				require.NoError(t, user.Close())
				p.until("the end", func() bool { return s.reset || s.done == packet.ShutdownBoth })
			})
		}
	}
}

// One gigabyte would be the same; this is what a unit test has time for: more
// than all windows, rings and sockets together, with a reader that is slow.
func TestBulk(t *testing.T) {
	const size = 24 << 20
	p := startPeer(t)
	t.Run("guest to host", func(t *testing.T) {
		s, user := p.pair(packet.Stream, 1)
		sum := make(chan uint64, 1)
		go func() {
			h := crc64.New(crc64.MakeTable(crc64.ISO))
			buf := make([]byte, 10_000)
			for {
				n, err := user.Read(buf)
				h.Write(buf[:n])
				if err != nil {
					break
				}
				runtime.Gosched()
			}
			sum <- h.Sum64()
		}()
		want := crc64.New(crc64.MakeTable(crc64.ISO))
		part := pattern(1<<20 + 3)
		for sent := 0; sent < size; sent += len(part) {
			part[0] = byte(sent)
			want.Write(part)
			s.write(part, 0)
		}
		s.close()
		require.Equal(t, want.Sum64(), <-sum)
	})
	t.Run("host to guest", func(t *testing.T) {
		s, user := p.pair(packet.Stream, 1)
		want := make(chan uint64, 1)
		go func() {
			h := crc64.New(crc64.MakeTable(crc64.ISO))
			part := pattern(1<<18 + 5)
			for sent := 0; sent < size; sent += len(part) {
				part[0] = byte(sent >> 8)
				h.Write(part)
				if _, err := user.Write(part); err != nil {
					break
				}
			}
			_ = user.Close()
			want <- h.Sum64()
		}()
		h := crc64.New(crc64.MakeTable(crc64.ISO))
		for {
			b := s.read(50_000)
			if len(b) == 0 {
				break
			}
			h.Write(b)
		}
		require.Equal(t, <-want, h.Sum64())
		p.until("the end", func() bool { return s.reset || s.done == packet.ShutdownBoth })
		s.close()
	})
}

func TestMessages(t *testing.T) {
	p := startPeer(t)
	s, user := p.pair(packet.SeqPacket, 5)
	rng := rand.New(rand.NewPCG(1, 2))
	var messages [][]byte
	for range 200 {
		messages = append(messages, pattern(1+rng.IntN(1<<(1+rng.IntN(17)))))
	}
	echo := make(chan error, 1)
	go func() {
		buf := make([]byte, 300<<10)
		for range messages {
			n, err := user.Read(buf)
			if err == nil {
				_, err = user.Write(buf[:n])
			}
			if err != nil {
				echo <- err
				return
			}
		}
		echo <- nil
	}()
	for i, m := range messages {
		s.write(m, packet.EndOfMessage)
		if i%3 == 2 { // a few are under way at once
			for _, want := range messages[i-2 : i+1] {
				require.True(t, bytes.Equal(want, s.message()))
			}
		}
	}
	for _, want := range messages[len(messages)-len(messages)%3:] {
		require.True(t, bytes.Equal(want, s.message()))
	}
	require.NoError(t, <-echo)
	require.NoError(t, user.Close())
	require.Nil(t, s.message())
}

// A thousand connections at once, 64 of them busy.
func TestManyConnections(t *testing.T) {
	const all, busy, size = 1000, 64, 200_000
	p := startPeer(t)
	fd, err := p.host.Listen(packet.Stream, 9, all)
	require.NoError(t, err)
	defer unix.Close(fd)
	users := make(chan []*os.File, 1)
	go func() {
		var files []*os.File
		for range all {
			n, _, err := unix.Accept4(fd, unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK)
			if err != nil {
				break
			}
			files = append(files, os.NewFile(uintptr(n), "user"))
		}
		users <- files
	}()
	socks := make([]*socket, all)
	for i := range socks {
		socks[i] = p.connectSoon(packet.Stream, 9)
	}
	p.until("all connections", func() bool {
		for _, s := range socks {
			if !s.connected {
				require.False(t, s.reset)
				return false
			}
		}
		return true
	})
	files := <-users
	require.Len(t, files, all)
	require.Equal(t, all, p.host.Stats().Connections)

	var echoes sync.WaitGroup
	for _, f := range files {
		echoes.Go(func() {
			_, _ = io.Copy(f, f)
			_ = f.Close()
		})
	}
	sent := pattern(size)
	got := make([][]byte, all)
	for off := 0; off < size; off += 50_000 {
		for i, s := range socks[:busy] {
			s.write(sent[off:off+50_000], 0)
			got[i] = append(got[i], s.in.Next(s.in.Len())...)
		}
		for i, s := range socks[:busy] {
			for len(got[i]) < off+50_000 {
				got[i] = append(got[i], s.read(off+50_000-len(got[i]))...)
			}
			s.fwd = uint32(len(got[i]))
			p.send(s, packet.OpCreditUpdate, 0, nil)
		}
	}
	for i := range busy {
		require.True(t, bytes.Equal(sent, got[i]), "connection %d", i)
	}
	for _, s := range socks[busy:] { // the others still work
		s.write([]byte("x"), 0)
		require.Equal(t, []byte("x"), s.read(1))
	}
	for _, s := range socks {
		s.shutdown(packet.ShutdownBoth)
	}
	p.until("all to be closed", func() bool { return p.host.Stats().Connections == 0 && len(p.socks) == 0 })
	echoes.Wait()
}

// E3: one connection whose host does not read does not hold up the others, and
// costs its window at most; however small the ring is.
func TestStuckConnection(t *testing.T) {
	for _, ring := range []uint16{2, 4, 8, queueSize} {
		for _, features := range []uint64{FeatureStream, FeatureStream | ringFeatures} {
			t.Run(fmt.Sprintf("ring of %d features %#x", ring, features), func(t *testing.T) {
				p := newPeer(t, nil)
				p.boot(features, 0, ring)
				stuck, slow := p.pair(packet.Stream, 1)
				other, user := p.pair(packet.Stream, 2)
				var sent int
				for stuck.free() > 0 {
					n := min(stuck.free(), 1000+sent%60_000)
					stuck.write(pattern(n), 0)
					sent += n
					// Whatever room there is, is told by the time this has come back.
					other.write([]byte("ping"), 0)
					_, err := io.ReadFull(user, make([]byte, 4))
					require.NoError(t, err)
					_, err = user.WriteString("pong")
					require.NoError(t, err)
					require.Equal(t, "pong", string(other.read(4)))
				}
				_, err := io.ReadFull(slow, make([]byte, sent))
				require.NoError(t, err)
				stuck.write([]byte("more"), 0)
				_, err = io.ReadFull(slow, make([]byte, 4))
				require.NoError(t, err)
			})
		}
	}
}

// E3: a guest that posts no receive buffers holds back its host, and gets
// everything later.
func TestStarvedReceive(t *testing.T) {
	p := newPeer(t, nil)
	p.boot(FeatureStream)
	s, user := p.pair(packet.Stream, 1)
	for p.rx.Free() < queueSize { // take all buffers away: let them be filled, and post none
		_, err := user.Write(make([]byte, 1))
		require.NoError(t, err)
		u := p.rx.Wait()
		p.taken[0]++
		s.received += len(u.Data) - packet.HeaderSize
	}
	sent := pattern(100_000)
	wrote := make(chan error, 1)
	go func() {
		_, err := user.Write(sent)
		wrote <- err
	}()
	require.NoError(t, <-wrote) // the socket has room for this much
	require.Zero(t, p.rx.Raw.UsedIdx()-p.taken[0])
	for p.rx.Free() > 0 {
		p.rx.Add(nil, packet.HeaderSize+bufferSize)
	}
	p.rx.Kick()
	require.True(t, bytes.Equal(sent, s.read(len(sent))))
}

// E4: a reset with open connections, in all states.
func TestResetWithConnections(t *testing.T) {
	for _, how := range []string{"reset", "transport reset"} {
		t.Run(how, func(t *testing.T) {
			p := startPeer(t)
			_, idle := p.pair(packet.Stream, 1)
			full, slow := p.pair(packet.Stream, 2)
			for full.free() > 0 {
				full.write(make([]byte, min(full.free(), packet.MaxPayload)), 0)
			}
			full.write(nil, 0)
			writing, blocked := p.pair(packet.SeqPacket, 3)
			_ = writing
			wrote := make(chan error, 1)
			go func() {
				var err error
				for err == nil {
					_, err = blocked.Write(make([]byte, 10_000))
				}
				wrote <- err
			}()
			fd, err := p.host.Listen(packet.Stream, 4, 1)
			require.NoError(t, err)
			defer unix.Close(fd)
			if how == "reset" {
				p.boot(FeatureStream | FeatureSeqPacket)
			} else {
				p.host.Disconnect()
				p.until("the event", func() bool { return p.resets == 1 })
			}
			for _, f := range []*os.File{idle, slow} {
				_, err := io.Copy(io.Discard, f)
				require.NoError(t, err, "the end")
			}
			require.Error(t, <-wrote)
			s := p.connect(packet.Stream, 4)
			require.NotNil(t, s)
			user := acceptUser(t, fd)
			s.write([]byte("again"), 0)
			b := make([]byte, 5)
			_, err = io.ReadFull(user, b)
			require.NoError(t, err)
			require.Equal(t, "again", string(b))
		})
	}
}

// A12: resets at any moment of the traffic, from both sides. Run with -race.
func TestHammer(t *testing.T) {
	goroutines := runtime.NumGoroutine()
	p := newPeer(t, func(c *hostside.Config) { c.MaxConnections = 40 })
	path, err := p.host.Bind(packet.Stream, 50, "", hostside.ModeListen)
	require.NoError(t, err)
	fd, err := p.host.Listen(packet.Stream, 60, 10)
	require.NoError(t, err)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	host := func(step func()) {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					step()
					runtime.Gosched()
				}
			}
		})
	}
	ctx, cancel := context.WithCancel(context.Background())
	host(func() { // connects, writes and closes
		c, err := p.host.Connect(ctx, packet.Stream, 50)
		if err == nil {
			_, _ = unix.Write(c, make([]byte, 1000))
			_ = unix.Close(c)
		}
	})
	host(func() { // comes in through the door
		c, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK, 0)
		if err == nil {
			if unix.Connect(c, &unix.SockaddrUnix{Name: path}) == nil {
				_, _ = unix.Write(c, make([]byte, 5000))
			}
			_ = unix.Close(c)
		}
	})
	host(func() { p.host.Stats() })
	host(func() { // another vCPU
		var b [4]byte
		p.transport.Write(virtiotest.RegQueueNotify, b[:])
		p.transport.Read(virtiotest.RegStatus, b[:])
	})
	require.NoError(t, unix.SetNonblock(fd, true))
	host(func() { // takes and reads a little
		c, _, err := unix.Accept4(fd, unix.SOCK_NONBLOCK)
		if err == nil {
			_, _ = unix.Read(c, make([]byte, 3000))
			_ = unix.Close(c)
		}
	})
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range 100 {
		p.boot(FeatureStream | uint64(i%2)*ringFeatures)
		p.listens[50] = packet.Stream
		var socks []*socket
		for range 1 + rng.IntN(10) {
			socks = append(socks, p.connectSoon(packet.Stream, 60))
			p.pump()
		}
		for range rng.IntN(50) {
			s := socks[rng.IntN(len(socks))]
			p.pump()
			if n := min(s.free(), rng.IntN(packet.MaxPayload)); s.connected && !s.reset && s.done == 0 && n > 0 && p.tx.Free() > 4 {
				s.sent += uint32(n)
				p.send(s, packet.OpData, 0, make([]byte, n))
			}
		}
		if rng.IntN(10) == 0 {
			p.host.Disconnect()
		}
	}
	close(stop)
	cancel()
	p.Reset()
	wg.Wait()
	p.transport.Close()
	require.NoError(t, p.host.Close())
	_ = unix.Close(fd)
	for range 1_000_000 { // a goroutine that was joined may need a turn to be gone
		if runtime.NumGoroutine() <= goroutines {
			return
		}
		runtime.Gosched()
	}
	require.LessOrEqual(t, runtime.NumGoroutine(), goroutines)
}
