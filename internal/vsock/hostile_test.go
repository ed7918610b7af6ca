//go:build linux

package vsock

import (
	"io"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/libcapsa/libcapsa/internal/vsock/packet"
)

// outcome is what a bad packet leads to.
type outcome struct {
	answered bool // with a reset, else with nothing
	survives bool // the connection it is about goes on
}

var (
	dropped = outcome{answered: false, survives: true}
	refused = outcome{answered: true, survives: true} // there is no connection, or it is not meant
	resets  = outcome{answered: true, survives: false}
)

// Group E of the catalogue of bad inputs, E1 and E2: one packet, after an
// established connection from port 100 of the guest to port 1 of the host has
// sent 10 bytes and received 10.
func TestHostilePackets(t *testing.T) {
	change := func(op packet.Op, fn func(h *packet.Header)) packet.Header {
		hdr := header(op, 1, 100)
		hdr.FwdCnt = 10
		if fn != nil {
			fn(&hdr)
		}
		return hdr
	}
	payload := make([]byte, 100)
	for _, tt := range []struct {
		name    string
		hdr     packet.Header
		payload []byte
		want    outcome
	}{
		{"E1 len above the chain", change(packet.OpData, func(h *packet.Header) { h.Len = 101 }), payload, resets},
		{"E1 len below the chain", change(packet.OpData, func(h *packet.Header) { h.Len = 99 }), payload, resets},
		{"E1 len 2^32-1", change(packet.OpData, func(h *packet.Header) { h.Len = 1<<32 - 1 }), payload, resets},
		{"E1 len above 64 KiB", change(packet.OpData, func(h *packet.Header) { h.Len = packet.MaxPayload + 1 }), make([]byte, packet.MaxPayload+1), resets},
		{"E1 len without data", change(packet.OpCreditUpdate, func(h *packet.Header) { h.Len = 100 }), payload, resets},
		{"E1 payload without len", change(packet.OpCreditUpdate, nil), payload, resets},
		{"E1 type 0", change(packet.OpData, func(h *packet.Header) { h.Type = 0 }), nil, resets},
		{"E1 type 3", change(packet.OpData, func(h *packet.Header) { h.Type = 3 }), nil, resets},
		{"E1 type of another socket", change(packet.OpData, func(h *packet.Header) { h.Type = packet.SeqPacket }), nil, resets},
		{"E1 op 0", change(packet.OpInvalid, nil), nil, resets},
		{"E1 op 8", change(packet.NumOps, nil), nil, resets},
		{"E1 op 65535", change(65535, nil), nil, resets},
		{"E1 source is the host", change(packet.OpData, func(h *packet.Header) { h.SrcCID = packet.HostCID }), nil, dropped},
		{"E1 source is another guest", change(packet.OpReset, func(h *packet.Header) { h.SrcCID = testCID + 1 }), nil, dropped},
		{"E1 source has upper bits", change(packet.OpReset, func(h *packet.Header) { h.SrcCID |= 1 << 32 }), nil, dropped},
		{"E1 destination is another guest", change(packet.OpData, func(h *packet.Header) { h.DstCID = testCID + 1 }), nil, refused},
		{"E1 destination has upper bits", change(packet.OpRequest, func(h *packet.Header) { h.DstCID |= 1 << 32 }), nil, refused},
		{"E1 reset to another guest", change(packet.OpReset, func(h *packet.Header) { h.DstCID = 3 }), nil, dropped},
		{"E1 port 2^32-1 of the host", change(packet.OpRequest, func(h *packet.Header) { h.DstPort = packet.PortAny }), nil, refused},
		{"E1 port 2^32-1 of the guest", change(packet.OpRequest, func(h *packet.Header) { h.SrcPort = packet.PortAny }), nil, refused},

		{"E2 data of no connection", change(packet.OpData, func(h *packet.Header) { h.SrcPort = 101 }), nil, refused},
		{"E2 shutdown of no connection", change(packet.OpShutdown, func(h *packet.Header) { h.SrcPort = 101 }), nil, refused},
		{"E2 credit of no connection", change(packet.OpCreditRequest, func(h *packet.Header) { h.SrcPort = 101 }), nil, refused},
		{"E2 reset of no connection", change(packet.OpReset, func(h *packet.Header) { h.SrcPort = 101 }), nil, dropped},
		{"E2 request of a connection", change(packet.OpRequest, nil), nil, resets},
		{"E2 response nobody asked for", change(packet.OpResponse, nil), nil, resets},
		{"E2 response of no connection", change(packet.OpResponse, func(h *packet.Header) { h.SrcPort = 101 }), nil, refused},
		{"E2 request without a listener", change(packet.OpRequest, func(h *packet.Header) { h.SrcPort, h.DstPort = 101, 2 }), nil, refused},
		{"E2 fwd_cnt ahead of what was sent", change(packet.OpCreditUpdate, func(h *packet.Header) { h.FwdCnt = 11 }), nil, resets},
		{"E2 fwd_cnt far ahead", change(packet.OpCreditUpdate, func(h *packet.Header) { h.FwdCnt = 1<<31 - 1 }), nil, resets},
		// Packets of two threads of a correct guest may overtake each other.
		{"E2 fwd_cnt goes back", change(packet.OpCreditUpdate, func(h *packet.Header) { h.FwdCnt = 3 }), nil, dropped},
		{"E2 buf_alloc 0", change(packet.OpCreditUpdate, func(h *packet.Header) { h.BufAlloc = 0 }), nil, dropped},
		{"E2 buf_alloc 2^32-1", change(packet.OpCreditUpdate, func(h *packet.Header) { h.BufAlloc = 1<<32 - 1 }), nil, dropped},
		{"E2 shutdown of nothing", change(packet.OpShutdown, nil), nil, dropped},
		{"E2 shutdown with unknown flags", change(packet.OpShutdown, func(h *packet.Header) { h.Flags = 1<<32 - 4 }), nil, dropped},
	} {
		t.Run(tt.name, func(t *testing.T) {
			g := newGuest(t, nil)
			user := g.connected(packet.Stream, 1, 100)
			g.data(1, 100, make([]byte, 10))
			_, err := user.Write(make([]byte, 10))
			require.NoError(t, err)
			g.expect(packet.OpData, 1, 100)
			g.send(change(packet.OpCreditUpdate, nil))

			g.send(tt.hdr, tt.payload)
			g.fetch()
			if tt.want.answered {
				require.Len(t, g.queue, 1)
				require.Equal(t, packet.OpReset, g.queue[0].Op)
				require.Equal(t, [2]uint32{tt.hdr.DstPort, tt.hdr.SrcPort}, [2]uint32{g.queue[0].SrcPort, g.queue[0].DstPort})
				g.queue = nil
			}
			g.quiet()
			goesOn(t, g, user, tt.want.survives)
		})
	}
}

// goesOn requires that a connection from port 100 to port 1 works, or that it
// has ended and its user knows.
func goesOn(t *testing.T, g *guest, user *os.File, survives bool) {
	t.Helper()
	buf := make([]byte, 64)
	n, err := user.Read(buf[:10])
	require.NoError(t, err)
	require.Equal(t, 10, n)
	if !survives {
		_, err := user.Read(buf)
		require.ErrorIs(t, err, io.EOF)
		require.Equal(t, Stats{}, present(g.h))
		return
	}
	require.Equal(t, Stats{Connections: 1, Sockets: 1}, present(g.h))
	g.data(1, 100, []byte("still"))
	n, err = user.Read(buf)
	require.NoError(t, err)
	require.Equal(t, "still", string(buf[:n]))
}

// E2: after a shutdown.
func TestHostileShutdown(t *testing.T) {
	down := func(g *guest, flags uint32) {
		hdr := header(packet.OpShutdown, 1, 100)
		hdr.Flags = flags
		g.send(hdr)
	}
	t.Run("data after it", func(t *testing.T) {
		g := newGuest(t, nil)
		user := g.connected(packet.Stream, 1, 100)
		down(g, packet.ShutdownSend)
		g.data(1, 100, []byte("more"))
		g.expect(packet.OpReset, 1, 100)
		n, err := user.Read(make([]byte, 8))
		require.Zero(t, n)
		require.ErrorIs(t, err, io.EOF)
		require.Equal(t, Stats{}, present(g.h))
	})
	t.Run("twice", func(t *testing.T) {
		g := newGuest(t, nil)
		g.connected(packet.Stream, 1, 100)
		down(g, packet.ShutdownSend)
		down(g, packet.ShutdownSend)
		down(g, 0) // takes nothing back
		g.quiet()
		down(g, packet.ShutdownReceive)
		g.expect(packet.OpReset, 1, 100)
		down(g, packet.ShutdownBoth) // of no connection
		g.expect(packet.OpReset, 1, 100)
		require.Equal(t, Stats{}, present(g.h))
	})
}

// E3: 10^5 connects, with and without anybody who takes them. No more
// connections than allowed; the others are refused; answers that a guest does
// not take need no memory.
func TestHostileConnects(t *testing.T) {
	const connects = 100_000
	for _, takes := range []bool{true, false} {
		g := newGuest(t, func(c *Config) { c.MaxConnections = 50 })
		fd, err := g.h.Listen(packet.Stream, 1, 1000)
		require.NoError(t, err)
		open := fds(t)
		resets, responses := 0, 0
		for i := range uint32(connects) {
			g.send(header(packet.OpRequest, 1+i%2, 1000+i))
			if takes {
				g.fetch()
				for _, p := range g.queue {
					switch p.Op {
					case packet.OpReset:
						resets++
					case packet.OpResponse:
						responses++
					}
				}
				g.queue = nil
			}
		}
		s := g.h.Stats()
		require.Equal(t, 50, s.Connections)
		require.EqualValues(t, connects-50, s.Refused)
		require.Equal(t, open+50, fds(t))
		if takes {
			require.Equal(t, 50, responses)
			require.Equal(t, connects-50, resets)
		} else {
			require.EqualValues(t, connects-50-maxRefusals, s.Unanswered)
			require.Equal(t, maxRefusals, g.h.refusals.len())
		}
		require.NoError(t, unix.Close(fd))
		require.NoError(t, g.h.Close())
	}
}

// E3: a flood of packets of one byte, of answers, and of packets that ask for
// answers that nobody takes.
func TestHostileFloods(t *testing.T) {
	g := newGuest(t, nil)
	user := g.connected(packet.Stream, 1, 100)
	c := g.h.table[tuple{1, 100}]
	sent := 0
	for range 400_000 {
		g.data(1, 100, []byte{1})
		if g.h.Stats().Connections == 0 {
			break // beyond its window
		}
		sent++
	}
	require.Greater(t, sent, int(400_000)-1, "a window of half a megabyte")
	require.LessOrEqual(t, owed(c), int(c.receive.size))
	memory := 0
	for i := range c.out.pending {
		memory += cap(c.out.pending[i].copy)
	}
	require.LessOrEqual(t, memory, 2*int(c.receive.size))
	require.Zero(t, g.kept, "little packets are copied")
	for range 100_000 {
		g.send(header(packet.OpCreditRequest, 1, 100))
	}
	require.Equal(t, 1, g.h.Stats().Owed)
	got := make([]byte, sent)
	_, err := io.ReadFull(user, got)
	require.NoError(t, err)
}

// E3: half-open connections: a guest that never answers.
func TestHostileHalfOpen(t *testing.T) {
	g := newGuest(t, func(c *Config) { c.MaxConnections = 20 })
	path, err := g.h.Bind(packet.Stream, 9, "", ModeListen)
	require.NoError(t, err)
	var clients []*os.File
	for range 40 {
		fd, err := newSocket(packet.Stream, 0)
		require.NoError(t, err)
		require.NoError(t, unix.Connect(fd, &unix.SockaddrUnix{Name: path}))
		clients = append(clients, userFile(t, fd))
	}
	g.until("requests", func() bool { return len(g.queue) == 20 })
	require.Equal(t, 20, g.h.Stats().Connections)
	g.queue = nil
	for _, c := range clients {
		require.NoError(t, c.Close())
	}
	g.until("the others to come and go", func() bool {
		s := g.h.Stats()
		return s.Opened == 40 && s.Connections == 0
	})
}

// E3: a thousand connections whose host does not read: the sum of their credits
// is bounded, and so is what is in memory.
func TestBudget(t *testing.T) {
	g := newGuest(t, nil)
	fd, err := g.h.Listen(packet.Stream, 1, 4096)
	require.NoError(t, err)
	defer unix.Close(fd)
	for i := range uint32(DefaultMaxConnections + 100) {
		g.send(header(packet.OpRequest, 1, 1000+i))
		g.fetch()
		g.queue = nil
	}
	s := g.h.Stats()
	require.LessOrEqual(t, s.Credit, uint64(Budget))
	require.GreaterOrEqual(t, s.Connections, 1000)
}
