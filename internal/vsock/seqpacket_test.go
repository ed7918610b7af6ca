//go:build linux

package vsock

import (
	"bytes"
	"io"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/libcapsa/libcapsa/internal/vsock/packet"
)

// piece sends a piece of a message.
func (g *guest) piece(host, port uint32, b []byte, flags uint32) (kept bool) {
	hdr := header(packet.OpData, host, port)
	hdr.Type, hdr.Flags, hdr.Len = packet.SeqPacket, flags, uint32(len(b))
	half := len(b) / 2
	return g.send(hdr, b[:half], b[half:])
}

// message reads one message for the guest.
func (g *guest) message() (b []byte, packets int) {
	for {
		p := g.next()
		require.Equal(g.t, packet.OpData, p.Op)
		require.Equal(g.t, packet.SeqPacket, p.Type)
		b = append(b, p.payload...)
		packets++
		if p.Flags&packet.EndOfMessage != 0 {
			return b, packets
		}
	}
}

func TestMessagesFromTheGuest(t *testing.T) {
	g := newGuest(t, nil)
	user := g.connected(packet.SeqPacket, 1, 100)
	buf := make([]byte, 300<<10)
	read := func() []byte {
		n, err := user.Read(buf)
		require.NoError(t, err)
		return buf[:n]
	}
	g.piece(1, 100, []byte("one"), packet.EndOfMessage)
	g.piece(1, 100, []byte("two"), packet.EndOfMessage|packet.EndOfRecord)
	require.Equal(t, "one", string(read()))
	require.Equal(t, "two", string(read()))

	g.piece(1, 100, []byte("th"), 0)
	g.piece(1, 100, nil, 0)
	g.piece(1, 100, []byte("re"), 0)
	g.piece(1, 100, []byte("e"), packet.EndOfMessage)
	require.Equal(t, "three", string(read()))

	g.piece(1, 100, nil, packet.EndOfMessage) // empty: would look like the end
	g.piece(1, 100, []byte("four"), packet.EndOfMessage)
	require.Equal(t, "four", string(read()))

	size := int(g.h.table[tuple{1, 100}].receive.size)
	require.Equal(t, maxMessageCredit, size)
	large := pattern(size)
	for off := 0; off < size; off += packet.MaxPayload {
		flags := uint32(0)
		if off+packet.MaxPayload == size {
			flags = packet.EndOfMessage
		}
		g.piece(1, 100, large[off:off+packet.MaxPayload], flags)
	}
	require.True(t, bytes.Equal(large, read()), "the largest message")
}

// Messages that wait for the host's user keep their borders, kept or copied.
func TestMessagesWait(t *testing.T) {
	g := newGuest(t, nil)
	user := g.connected(packet.SeqPacket, 1, 100)
	c := g.h.table[tuple{1, 100}]
	var sent [][]byte
	for n := 0; ; n++ {
		b := bytes.Repeat([]byte{byte(n)}, []int{3, 20_000, 5000, 64 << 10, 1}[n%5])
		if len(b) > int(c.receive.size-(c.receive.received-c.receive.forwarded)) {
			break
		}
		if n%5 == 2 {
			g.piece(1, 100, b[:100], 0)
			g.piece(1, 100, b[100:], packet.EndOfMessage)
		} else {
			g.piece(1, 100, b, packet.EndOfMessage)
		}
		sent = append(sent, b)
	}
	require.NotZero(t, g.kept)
	hdr := header(packet.OpShutdown, 1, 100)
	hdr.Type, hdr.Flags = packet.SeqPacket, packet.ShutdownSend
	g.send(hdr)
	buf := make([]byte, 100<<10)
	for _, want := range sent {
		n, err := user.Read(buf)
		require.NoError(t, err)
		require.True(t, bytes.Equal(want, buf[:n]))
	}
	n, _ := user.Read(buf)
	require.Zero(t, n, "the end")
	g.until("kept packets", func() bool { return g.kept == 0 })
}

// A guest that waits within a message is told of room as soon as there is some.
func TestCreditWithinAMessage(t *testing.T) {
	g := newGuest(t, nil)
	user := g.connected(packet.SeqPacket, 1, 100)
	size := int(g.h.table[tuple{1, 100}].receive.size)
	g.piece(1, 100, make([]byte, 60_000), packet.EndOfMessage)
	_, err := user.Read(make([]byte, 64<<10))
	require.NoError(t, err)
	g.quiet()
	for left := size - 60_000; left > 0; {
		n := min(left, packet.MaxPayload)
		g.piece(1, 100, make([]byte, n), 0)
		left -= n
	}
	p := g.expect(packet.OpCreditUpdate, 1, 100)
	require.EqualValues(t, 60_000, p.FwdCnt)
	g.piece(1, 100, make([]byte, 60_000), packet.EndOfMessage)
	b := make([]byte, 300<<10)
	n, err := user.Read(b)
	require.NoError(t, err)
	require.Equal(t, size, n)
}

func TestMessagesToTheGuest(t *testing.T) {
	g := newGuest(t, nil)
	user := g.connected(packet.SeqPacket, 1, 100)
	write := func(b []byte) {
		_, err := user.Write(b)
		require.NoError(t, err)
	}
	write([]byte("one"))
	write([]byte("two"))
	b, n := g.message()
	require.Equal(t, "one", string(b))
	require.Equal(t, 1, n)
	b, _ = g.message()
	require.Equal(t, "two", string(b))

	write(pattern(20_000))
	b, n = g.message()
	require.True(t, bytes.Equal(pattern(20_000), b))
	require.Equal(t, 5, n, "of 4 KiB")

	write(pattern(4096))
	_, n = g.message()
	require.Equal(t, 1, n, "a buffer that is full and a message that is complete")

	control(t, user, func(fd int) { require.NoError(t, unix.Sendmsg(fd, nil, nil, nil, 0)) }) // empty
	write([]byte("after it"))
	b, _ = g.message()
	require.Equal(t, "after it", string(b))

	// Empty ones, and then the end.
	control(t, user, func(fd int) {
		for range 3 {
			require.NoError(t, unix.Sendmsg(fd, nil, nil, nil, 0))
		}
	})
	write([]byte("last"))
	require.NoError(t, user.Close())
	b, _ = g.message()
	require.Equal(t, "last", string(b))
	require.Equal(t, packet.OpShutdown, g.next().Op)
}

// A message is delivered piece by piece as the guest makes room, and one that it
// can never take ends the connection.
func TestMessageAndWindow(t *testing.T) {
	g := newGuest(t, nil)
	user := g.connected(packet.SeqPacket, 1, 100)
	hdr := ack(1, 100, 100_000, 0)
	hdr.Type = packet.SeqPacket
	g.send(hdr)
	sent := pattern(80_000)
	for range 2 {
		_, err := user.Write(sent)
		require.NoError(t, err)
	}
	b, _ := g.message()
	require.True(t, bytes.Equal(sent, b))
	g.fetch()
	var got []byte
	for _, p := range g.queue {
		require.Zero(t, p.Flags)
		got = append(got, p.payload...)
	}
	require.Len(t, got, 20_000)
	g.queue = nil
	hdr.FwdCnt = 80_000
	g.send(hdr)
	b, _ = g.message()
	require.True(t, bytes.Equal(sent, append(got, b...)))

	hdr.BufAlloc, hdr.FwdCnt = 1000, 160_000
	g.send(hdr)
	_, err := user.Write(make([]byte, 1001))
	require.NoError(t, err)
	g.expect(packet.OpReset, 1, 100)
	n, err := user.Read(make([]byte, 1))
	require.Zero(t, n)
	require.True(t, err == nil || err == io.EOF)
}

// A user that closes with messages unread: what it sent before still arrives.
func TestMessagesAndClose(t *testing.T) {
	g := newGuest(t, nil)
	user := g.connected(packet.SeqPacket, 1, 100)
	g.piece(1, 100, []byte("never read"), packet.EndOfMessage)
	for _, s := range []string{"a", "b"} {
		_, err := user.WriteString(s)
		require.NoError(t, err)
	}
	require.NoError(t, user.Close())
	for _, want := range []string{"a", "b"} {
		b, _ := g.message()
		require.Equal(t, want, string(b))
	}
	p := g.next()
	require.Equal(t, packet.OpShutdown, p.Op)
}
