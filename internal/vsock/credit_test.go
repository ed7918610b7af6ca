package vsock

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/libcapsa/libcapsa/internal/vsock/packet"
)

func TestReceiveWindow(t *testing.T) {
	w := receiveWindow{size: 100, received: 1<<32 - 30, forwarded: 1<<32 - 30, told: 1<<32 - 30}
	require.EqualValues(t, 100, w.visible())
	require.True(t, w.take(60))
	require.False(t, w.take(41))
	require.True(t, w.take(40), "all of it, over the end of the numbers")
	require.Zero(t, w.visible())
	require.False(t, w.take(1))
	w.forward(49)
	require.False(t, w.due(false), "not half yet")
	require.True(t, w.due(true))
	w.forward(1)
	require.True(t, w.due(false))
	alloc, fwd := w.tell()
	require.EqualValues(t, 100, alloc)
	require.EqualValues(t, 20, fwd)
	require.False(t, w.due(false))
	require.False(t, w.due(true))
	require.EqualValues(t, 50, w.visible())
}

func TestSendWindow(t *testing.T) {
	w := sendWindow{}
	require.Zero(t, w.free())
	require.True(t, w.update(1000, 0))
	require.EqualValues(t, 1000, w.free())
	w.send(600)
	require.EqualValues(t, 400, w.free())
	require.False(t, w.update(1000, 601), "more than was sent")
	require.True(t, w.update(1000, 600))
	require.EqualValues(t, 1000, w.free())
	require.True(t, w.update(5, 599), "went back")
	require.EqualValues(t, 1000, w.free(), "nothing of it counts")
	w.send(1000)
	require.True(t, w.update(10, 700))
	require.Zero(t, w.free(), "the window became smaller than what is under way")
	require.True(t, w.update(1<<32-1, 1600))
	require.EqualValues(t, 1<<32-1, w.free())
	w.send(1<<32 - 1)
	require.Zero(t, w.free())
	require.True(t, w.update(1<<32-1, 1599), "everything is on its way, over the end of the numbers")
}

// Two ends that follow the rules never deadlock and never exceed the window,
// whatever the sizes.
func TestWindowsTogether(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		start := rng.Uint32()
		size := 1 + rng.Uint32N(1<<20)
		in := receiveWindow{size: size, received: start, forwarded: start, told: start}
		out := sendWindow{size: size, acked: start, sent: start}
		for range 1000 {
			n := min(out.free(), rng.Uint32N(128<<10))
			out.send(n)
			require.True(t, in.take(n))
			in.forward(rng.Uint32N(in.received - in.forwarded + 1))
			if out.free() == 0 {
				in.forward(in.received - in.forwarded) // the reader goes on
				require.True(t, in.due(false), "the sender waits and would not be told")
			}
			if in.due(false) {
				require.True(t, out.update(in.tell()))
			}
		}
	}
}

func TestBudgetTiers(t *testing.T) {
	for _, typ := range []packet.Type{packet.Stream, packet.SeqPacket} {
		var b budget
		var credits []uint32
		for {
			c := b.take(typ)
			if c == 0 {
				break
			}
			credits = append(credits, c)
			require.LessOrEqual(t, b.given, uint32(Budget))
		}
		require.GreaterOrEqual(t, len(credits), 1000, typ)
		if typ == packet.Stream {
			require.GreaterOrEqual(t, len(credits), 1900)
			require.EqualValues(t, 512<<10, credits[63])
		} else {
			require.GreaterOrEqual(t, credits[len(credits)-1], uint32(packet.MaxPayload))
		}
		for _, c := range credits {
			b.put(c)
		}
		require.Zero(t, b.given)
	}
}

func TestMoves(t *testing.T) {
	for s := range numStates {
		require.NotEmpty(t, s.String())
		require.False(t, s.can(s))
		require.Equal(t, s != closed, s.can(closed), "%v", s)
		require.False(t, s.can(requested))
	}
	require.True(t, requested.can(established))
	require.False(t, requested.can(lingering))
}

func TestFIFO(t *testing.T) {
	var f fifo[int]
	_, ok := f.pop()
	require.False(t, ok)
	in, out := 0, 0
	rng := rand.New(rand.NewPCG(3, 4))
	for range 10_000 {
		for range rng.IntN(5) {
			f.push(in)
			in++
		}
		for range rng.IntN(5) {
			v, ok := f.pop()
			require.Equal(t, out < in, ok)
			if ok {
				require.Equal(t, out, v)
				out++
			}
		}
		require.Equal(t, in-out, f.len())
		require.LessOrEqual(t, cap(f.items), 4*max(in-out, 64))
	}
	f.clear()
	require.Zero(t, f.len())
}
