//go:build linux

package vsock

import (
	"bytes"
	"io"
	"os"
	"runtime"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/libcapsa/libcapsa/internal/vsock/packet"
)

// window is the guest's window in header.
const window = 64 << 10

// ack is a credit update of the guest.
func ack(host, port uint32, alloc, fwd uint32) packet.Header {
	hdr := header(packet.OpCreditUpdate, host, port)
	hdr.BufAlloc, hdr.FwdCnt = alloc, fwd
	return hdr
}

// The guest's credit is never exceeded, and what it has no room for stays in the
// host's socket.
func TestGuestThatDoesNotRead(t *testing.T) {
	g := newGuest(t, nil)
	user := g.connected(packet.Stream, 1, 100)
	sent := pattern(3*window + 17)
	var wrote = make(chan error, 1)
	go func() {
		_, err := user.Write(sent)
		wrote <- err
	}()
	var got []byte
	collect := func(upTo int) {
		g.until("data", func() bool {
			for _, p := range g.queue {
				require.Equal(t, packet.OpData, p.Op)
				got = append(got, p.payload...)
			}
			g.queue = nil
			return len(got) >= upTo
		})
	}
	collect(window)
	require.Len(t, got, window)
	g.quiet()
	g.send(ack(1, 100, window, 1)) // one byte
	collect(window + 1)
	require.Len(t, got, window+1)
	g.quiet()
	g.send(ack(1, 100, 0, window+1)) // no buffer at all
	g.quiet()
	g.send(ack(1, 100, 1<<32-1, window+1)) // the largest
	collect(len(sent))
	require.NoError(t, <-wrote)
	require.True(t, bytes.Equal(sent, got))
	require.EqualValues(t, len(sent), g.h.Stats().ToGuest)
}

// A host that does not read is waited for at the cost of the guest's credit, and
// at no more. Then everything arrives in order.
func TestHostThatDoesNotRead(t *testing.T) {
	for _, size := range []int{1, 100, 4096, 40 << 10, 64 << 10} {
		g := newGuest(t, nil)
		user := g.connected(packet.Stream, 1, 100)
		c := g.h.table[tuple{1, 100}]
		var sent []byte
		for n := 0; ; n++ {
			free := int(c.receive.size - (c.receive.received - c.receive.forwarded))
			if free < size || size == 1 && n == 100_000 {
				break
			}
			b := pattern(size)
			b[0] = byte(n)
			g.data(1, 100, b)
			sent = append(sent, b...)
		}
		require.LessOrEqual(t, g.kept, 8, "packets that are kept")
		require.LessOrEqual(t, owed(c), int(c.receive.size))
		got := make([]byte, len(sent))
		read := make(chan error, 1)
		go func() {
			_, err := io.ReadFull(user, got)
			read <- err
		}()
		require.NoError(t, <-read)
		require.True(t, bytes.Equal(sent, got), "size %d", size)
		g.until("kept packets", func() bool { return g.kept == 0 })
		require.Zero(t, owed(c))
		last := uint32(0)
		for _, p := range g.queue {
			require.Equal(t, packet.OpCreditUpdate, p.Op)
			last = p.FwdCnt
		}
		require.Less(t, len(sent)-int(last), int(c.receive.size), "the guest could go on")
		require.LessOrEqual(t, len(g.queue), 2*len(sent)/int(c.receive.size)+1, "credit updates are rare")
	}
}

// owed is how much of the guest's data is in memory of ours.
func owed(c *conn) (n int) {
	c.out.mu.Lock()
	defer c.out.mu.Unlock()
	for i := range c.out.pending {
		n += c.out.pending[i].size() - c.out.pending[i].off
	}
	return n + len(c.out.message)
}

func TestCreditIsEnforced(t *testing.T) {
	g := newGuest(t, nil)
	user := g.connected(packet.Stream, 1, 100)
	size := int(g.h.table[tuple{1, 100}].receive.size)
	sent := 0
	for range 100 {
		g.data(1, 100, make([]byte, packet.MaxPayload))
		if sent += packet.MaxPayload; g.h.Stats().Connections == 0 {
			break
		}
	}
	require.Zero(t, g.h.Stats().Connections, "the guest sent beyond its window")
	require.LessOrEqual(t, sent, size+500<<10, "window and socket")
	g.until("the reset", func() bool {
		return len(g.queue) > 0 && g.queue[len(g.queue)-1].Op == packet.OpReset
	})
	_, err := io.Copy(io.Discard, user)
	require.NoError(t, err, "the host's user reads the end")
	require.Zero(t, g.kept)
}

// Either side shuts down one direction, and the other goes on.
func TestHalfClose(t *testing.T) {
	t.Run("guest first", func(t *testing.T) {
		g := newGuest(t, nil)
		user := g.connected(packet.Stream, 1, 100)
		g.data(1, 100, []byte("last words"))
		hdr := header(packet.OpShutdown, 1, 100)
		hdr.Flags = packet.ShutdownSend
		g.send(hdr)
		b, err := io.ReadAll(user)
		require.NoError(t, err)
		require.Equal(t, "last words", string(b))
		g.quiet()

		_, err = user.WriteString("answer")
		require.NoError(t, err)
		require.Equal(t, "answer", string(g.expect(packet.OpData, 1, 100).payload))
		require.NoError(t, user.Close())
		p := g.expect(packet.OpShutdown, 1, 100)
		require.NotZero(t, p.Flags&packet.ShutdownSend)
		if p.Flags != packet.ShutdownBoth {
			require.Equal(t, packet.ShutdownBoth, g.expect(packet.OpShutdown, 1, 100).Flags)
		}
		g.send(header(packet.OpReset, 1, 100))
		require.Zero(t, g.h.Stats().Connections)
	})
	t.Run("host first", func(t *testing.T) {
		g := newGuest(t, nil)
		user := g.connected(packet.Stream, 1, 100)
		_, err := user.WriteString("last words")
		require.NoError(t, err)
		shutdown(t, user, unix.SHUT_WR)
		require.Equal(t, "last words", string(g.expect(packet.OpData, 1, 100).payload))
		require.Equal(t, packet.ShutdownSend, g.expect(packet.OpShutdown, 1, 100).Flags)
		g.data(1, 100, []byte("answer"))
		b := make([]byte, 16)
		n, err := user.Read(b)
		require.NoError(t, err)
		require.Equal(t, "answer", string(b[:n]))

		hdr := header(packet.OpShutdown, 1, 100)
		hdr.Flags = packet.ShutdownBoth
		g.send(hdr)
		g.expect(packet.OpReset, 1, 100)
		_, err = user.Read(b)
		require.ErrorIs(t, err, io.EOF)
		require.Zero(t, g.h.Stats().Connections)
	})
	t.Run("both have sent everything", func(t *testing.T) {
		g := newGuest(t, nil)
		user := g.connected(packet.Stream, 1, 100)
		shutdown(t, user, unix.SHUT_WR)
		require.Equal(t, packet.ShutdownSend, g.expect(packet.OpShutdown, 1, 100).Flags)
		hdr := header(packet.OpShutdown, 1, 100)
		hdr.Flags = packet.ShutdownSend
		g.send(hdr)
		require.Equal(t, packet.ShutdownBoth, g.expect(packet.OpShutdown, 1, 100).Flags)
		_, err := user.Read(make([]byte, 1))
		require.ErrorIs(t, err, io.EOF)
		g.until("the socket to be closed", func() bool { return g.h.Stats().Sockets == 0 })
		g.send(header(packet.OpReset, 1, 100))
		require.Zero(t, g.h.Stats().Connections)
	})
	t.Run("guest does not read any more", func(t *testing.T) {
		g := newGuest(t, nil)
		user := g.connected(packet.Stream, 1, 100)
		hdr := header(packet.OpShutdown, 1, 100)
		hdr.Flags = packet.ShutdownReceive
		g.send(hdr)
		_, err := user.WriteString("x")
		require.ErrorIs(t, err, syscall.EPIPE)
		g.data(1, 100, []byte("still there"))
		b := make([]byte, 16)
		n, err := user.Read(b)
		require.NoError(t, err)
		require.Equal(t, "still there", string(b[:n]))
	})
	t.Run("host does not read any more", func(t *testing.T) {
		g := newGuest(t, nil)
		user := g.connected(packet.Stream, 1, 100)
		shutdown(t, user, unix.SHUT_RD)
		g.data(1, 100, []byte("x"))
		require.Equal(t, packet.ShutdownReceive, g.expect(packet.OpShutdown, 1, 100).Flags)
		g.data(1, 100, make([]byte, packet.MaxPayload)) // was under way
		require.EqualValues(t, packet.MaxPayload+1, g.h.Stats().Dropped)
		_, err := user.WriteString("still there")
		require.NoError(t, err)
		require.Equal(t, "still there", string(g.expect(packet.OpData, 1, 100).payload))
	})
}

// The host's user closes: what it had sent arrives before the guest is told, and
// what the guest sends meanwhile is dropped.
func TestHostCloses(t *testing.T) {
	g := newGuest(t, nil)
	user := g.connected(packet.Stream, 1, 100)
	_, err := user.Write(pattern(10_000))
	require.NoError(t, err)
	g.data(1, 100, []byte("never read"))
	require.NoError(t, user.Close())
	var got []byte
	for {
		p := g.next()
		if p.Op == packet.OpShutdown {
			if p.Flags == packet.ShutdownBoth {
				break
			}
			continue
		}
		require.Equal(t, packet.OpData, p.Op)
		got = append(got, p.payload...)
	}
	require.Equal(t, pattern(10_000), got)
	for range 100 { // it may send as long as it likes
		g.data(1, 100, make([]byte, packet.MaxPayload))
		g.fetch()
	}
	require.Equal(t, 1, g.h.Stats().Connections)
	hdr := header(packet.OpShutdown, 1, 100)
	hdr.Flags = packet.ShutdownBoth
	g.queue = nil
	g.send(hdr)
	g.expect(packet.OpReset, 1, 100)
	require.Zero(t, g.h.Stats().Connections)
}

// The guest closes while the host does not read: it may use its port again at
// once, and the host's user still gets everything and then the end.
func TestGuestClosesWithDataUnderWay(t *testing.T) {
	for _, op := range []packet.Op{packet.OpShutdown, packet.OpReset} {
		g := newGuest(t, nil)
		user := g.connected(packet.Stream, 1, 100)
		size := int(g.h.table[tuple{1, 100}].receive.size)
		sent := pattern(size)
		for off := 0; off < size; off += packet.MaxPayload {
			g.data(1, 100, sent[off:off+packet.MaxPayload])
		}
		_, err := user.WriteString("never read")
		require.NoError(t, err)
		hdr := header(op, 1, 100)
		hdr.Flags = packet.ShutdownBoth
		g.send(hdr)
		g.fetch()
		g.queue = nil
		require.Equal(t, Stats{Connections: 1, Sockets: 1}, present(g.h))
		again := g.connected(packet.Stream, 1, 100)
		got, err := io.ReadAll(user)
		require.NoError(t, err)
		require.True(t, bytes.Equal(sent, got))
		_, err = user.WriteString("x")
		require.ErrorIs(t, err, syscall.EPIPE)
		g.until("kept packets", func() bool { return g.kept == 0 })
		_, err = again.WriteString("other")
		require.NoError(t, err)
		g.until("data", func() bool { return len(g.queue) > 0 && string(g.queue[len(g.queue)-1].payload) == "other" })
	}
}

// present is what there is now.
func present(h *Host) Stats {
	s := h.Stats()
	return Stats{Connections: s.Connections, Sockets: s.Sockets}
}

// A connection with a little to send is not held up by one with a lot.
func TestTurns(t *testing.T) {
	g := newGuest(t, nil)
	big := g.connected(packet.Stream, 1, 100)
	small := g.connected(packet.Stream, 1, 101)
	g.send(ack(1, 100, 1<<30, 0))
	_, err := big.Write(make([]byte, 150<<10))
	require.NoError(t, err)
	_, err = small.WriteString("small")
	require.NoError(t, err)
	ready := func(port uint32) bool {
		g.h.mu.Lock()
		defer g.h.mu.Unlock()
		return g.h.table[tuple{1, port}].ready
	}
	for !ready(100) || !ready(101) {
		<-g.wake
	}
	before := 0
	for {
		p := g.next()
		if p.DstPort == 101 {
			break
		}
		before += len(p.payload)
	}
	require.LessOrEqual(t, before, 2*turn)
}

// Descriptors and urgent bytes that a host's user sends do not get through, and
// stop nothing.
func TestOddSends(t *testing.T) {
	g := newGuest(t, nil)
	user := g.connected(packet.Stream, 1, 100)
	null, err := os.Open(os.DevNull)
	require.NoError(t, err)
	defer null.Close()
	control(t, user, func(fd int) {
		require.NoError(t, unix.Sendmsg(fd, []byte("a"), unix.UnixRights(int(null.Fd())), nil, 0))
		require.NoError(t, unix.Sendmsg(fd, []byte("b"), nil, nil, 0))
		_ = unix.Sendmsg(fd, []byte("c"), nil, nil, unix.MSG_OOB) // not in every kernel
		require.NoError(t, unix.Sendmsg(fd, []byte("d"), nil, nil, 0))
	})
	var got string
	g.until("all of it", func() bool {
		for _, p := range g.queue {
			got += string(p.payload)
		}
		g.queue = nil
		return len(got) > 0 && got[len(got)-1] == 'd'
	})
	require.Contains(t, got, "ab")
}

func TestDisconnect(t *testing.T) {
	g := newGuest(t, nil)
	user := g.connected(packet.Stream, 1, 100)
	_, result := g.connecting(t.Context(), packet.Stream, 9)
	fd, err := g.h.Listen(packet.Stream, 2, 1)
	require.NoError(t, err)
	defer unix.Close(fd)
	g.h.Disconnect()
	<-g.reset
	_, err = user.Read(make([]byte, 1))
	require.ErrorIs(t, err, io.EOF)
	require.ErrorIs(t, (<-result).err, syscall.ECONNRESET)
	g.quiet()
	require.Equal(t, Stats{}, present(g.h))
	g.send(header(packet.OpRequest, 2, 100))
	g.expect(packet.OpResponse, 2, 100)
}

// The driver goes away: host's users get what had come for them and the end,
// and the next driver finds the ports as they were.
func TestDetach(t *testing.T) {
	g := newGuest(t, nil)
	idle := g.connected(packet.Stream, 1, 100)
	busy := g.connected(packet.Stream, 1, 101)
	left := g.connected(packet.Stream, 1, 102)
	require.NoError(t, left.Close())
	g.next()
	size := int(g.h.table[tuple{1, 101}].receive.size)
	payload := make([]byte, packet.MaxPayload)
	for range size / packet.MaxPayload {
		copy(payload, pattern(packet.MaxPayload))
		g.data(1, 101, payload)
	}
	require.NotZero(t, g.kept)
	fd, err := g.h.Listen(packet.Stream, 2, 1)
	require.NoError(t, err)
	defer unix.Close(fd)

	g.h.Detach()
	clear(payload) // the guest's memory is somebody else's now
	// The socket of left goes in its own time.
	require.Equal(t, 1, present(g.h).Connections, "the one that is read slowly")
	g.attach()
	_, err = idle.Read(make([]byte, 1))
	require.ErrorIs(t, err, io.EOF)
	got, err := io.ReadAll(busy)
	require.NoError(t, err)
	require.True(t, bytes.Equal(bytes.Repeat(pattern(packet.MaxPayload), size/packet.MaxPayload), got))
	g.send(header(packet.OpRequest, 2, 100))
	g.expect(packet.OpResponse, 2, 100)
	require.Nil(t, g.h.Finished(), "packets of the driver before")
}

// At the end the host's users get what their sockets have room for.
func TestClose(t *testing.T) {
	noLeak(t, func() {
		g := newGuest(t, nil)
		user := g.connected(packet.Stream, 1, 100)
		door, err := g.h.Bind(packet.Stream, 3, "", ModeListen)
		require.NoError(t, err)
		sent := pattern(256 << 10)
		for off := 0; off < len(sent); off += packet.MaxPayload {
			g.data(1, 100, sent[off:off+packet.MaxPayload])
		}
		require.NoError(t, g.h.Close())
		require.NoError(t, g.h.Close())
		require.NoFileExists(t, door)
		got, err := io.ReadAll(user)
		require.NoError(t, err)
		require.True(t, bytes.HasPrefix(sent, got))
		require.GreaterOrEqual(t, len(got), 150<<10)
		require.NoError(t, user.Close())

		// What comes after is harmless.
		g.send(header(packet.OpRequest, 1, 100))
		g.data(1, 100, []byte("x"))
		g.h.Detach()
		require.Zero(t, present(g.h).Connections)
	})
}

// A socket that waits for the guest, or for its own user, wakes nobody.
func TestNobodySpins(t *testing.T) {
	g := newGuest(t, nil)
	blocked := g.connected(packet.Stream, 1, 100) // has more than the guest takes
	g.connected(packet.Stream, 1, 101)            // gets more than its user reads
	half := g.connected(packet.Stream, 1, 102)
	shutdown(t, half, unix.SHUT_WR)
	_, err := blocked.Write(make([]byte, window+10_000))
	require.NoError(t, err)
	for range 6 {
		g.data(1, 101, make([]byte, packet.MaxPayload))
	}
	g.until("the window to be full", func() bool { return g.h.Stats().ToGuest == window })
	settle := func() { // lets whoever is awake run
		for range 20_000 {
			runtime.Gosched()
			g.fetch()
		}
	}
	settle()
	before := g.delivers.Load()
	settle()
	require.Equal(t, before, g.delivers.Load())
	require.LessOrEqual(t, before, int64(50))
}
