package console

import (
	"bytes"
	"context"
	"io"
	"math/rand/v2"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestRingAgainstModel compares the ring with a plain slice of everything
// written, for limits that are not multiples of anything.
func TestRingAgainstModel(t *testing.T) {
	t.Parallel()
	for _, limit := range []int{1, 7, 4096, 5000, 10000} {
		rnd := rand.New(rand.NewPCG(1, uint64(limit)))
		r := ring{limit: limit}
		var all []byte
		for range 300 {
			p := make([]byte, rnd.IntN(limit/2+3))
			if rnd.IntN(20) == 0 {
				p = make([]byte, limit*2+rnd.IntN(9))
			}
			for i := range p {
				p[i] = byte(rnd.Uint32())
			}
			require.True(t, r.write(p))
			all = append(all, p...)
			kept := all[max(0, len(all)-limit):]
			require.True(t, bytes.Equal(kept, r.tail(limit)))
			start, end := r.bounds()
			require.EqualValues(t, len(all), end)
			require.LessOrEqual(t, end-start, uint64(limit))

			at := uint64(rnd.IntN(len(all) + 1))
			got := make([]byte, rnd.IntN(limit+2))
			v := r.read(got, at)
			require.Equal(t, max(at, start), v.at)
			require.True(t, bytes.Equal(all[v.at:v.at+uint64(v.n)], got[:v.n]))
		}
	}
}

func TestTail(t *testing.T) {
	t.Parallel()
	c := New(Config{RingSize: 8})
	require.Empty(t, c.Tail(5))
	_, _ = c.Write([]byte("0123456789"))
	require.Equal(t, "789", string(c.Tail(3)))
	require.Equal(t, "23456789", string(c.Tail(100)))
	require.Empty(t, c.Tail(0))
	require.Empty(t, c.Tail(-1))
}

// TestUnreadOutputIsBounded writes 100 MB that nobody takes: a forgotten
// reader, an open descriptor and a waiting Expect hold no more than their
// bounds, and every Write succeeds.
func TestUnreadOutputIsBounded(t *testing.T) {
	c := New(Config{Input: &fakeInput{}})
	forgotten := c.NewReader()
	fd := openFD(t, c)
	found := make(chan Match, 1)
	go func() {
		m, _ := c.NewReader().Expect(context.Background(), []Pattern{Literal("never"), MustRegexp(`the end[.!]`)})
		found <- m
	}()
	before := heap()
	line := bytes.Repeat([]byte("0123456789abcde\n"), 64)
	for range 100 << 20 / len(line) {
		_, err := c.Write(line)
		require.NoError(t, err)
	}
	require.Less(t, heap()-before, int64(8<<20))
	_, _ = c.Write([]byte("the end."))
	m := <-found
	require.Equal(t, "the end.", string(m.Text))

	p := make([]byte, 16)
	n, err := forgotten.Read(context.Background(), p)
	require.NoError(t, err)
	require.EqualValues(t, 100<<20+8-DefaultRingSize, forgotten.Lost())
	require.Equal(t, string(line[8:16]), string(p[:n])[:8])
	require.NoError(t, c.Close())
	_, err = io.Copy(io.Discard, fd)
	require.NoError(t, err)
}

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
