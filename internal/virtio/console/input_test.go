package console

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"
)

func TestInput(t *testing.T) {
	for _, features := range []uint64{0, ringFeatures} {
		t.Run(fmt.Sprintf("features %#x", features), func(t *testing.T) {
			r := newRig(t, nil)
			r.in.put([]byte("before the driver")) // bytes first
			r.Start(features)
			require.Equal(t, "before the driver", r.receive(4096))

			q := r.Queue(queueReceive) // buffers first
			for range 10 {
				q.Post(nil, 64)
			}
			for i := range 100 {
				text := fmt.Sprintf("line %d\n", i)
				r.in.put([]byte(text))
				require.Equal(t, text, string(q.Wait().Data))
				q.Post(nil, 64)
			}
		})
	}
}

// A15: buffers of one byte, and buffers of several pieces.
func TestInputBufferShapes(t *testing.T) {
	r := startRig(t, nil)
	text := strings.Repeat("abcdefghij", 20)
	r.in.put([]byte(text))
	var got strings.Builder
	q := r.Queue(queueReceive)
	for got.Len() < 100 {
		got.WriteString(r.receive(1))
	}
	for got.Len() < len(text) {
		q.Add(nil, 1, 2, 3)
		q.Kick()
		got.Write(q.Wait().Data)
	}
	require.Equal(t, text, got.String())
}

// Every byte arrives, in order, through resets at any moment; the bytes a
// guest had buffers for when it reset are the guest's to lose.
func TestInputSurvivesReset(t *testing.T) {
	r := newRig(t, nil)
	var want, got strings.Builder
	for i := range 300 {
		text := fmt.Sprintf("%d,", i)
		want.WriteString(text)
		r.in.put([]byte(text))
		r.Start(FeatureSize)
		got.WriteString(r.receive(1 + i%3))
	}
	for got.Len() < want.Len() {
		got.WriteString(r.receive(16))
	}
	require.Equal(t, want.String(), got.String())
}

// G2, CVE-2020-27174: a host that floods a guest that never makes room. The
// device takes what it stages and leaves the rest where it is bounded. Nothing
// spins: the bubble's Wait returns only when every goroutine is blocked.
func TestInputBackPressure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startRig(t, nil)
		for range 1000 {
			r.in.put(bytes.Repeat([]byte{'x'}, 1000))
			synctest.Wait()
		}
		calls, taken := r.in.counts()
		require.LessOrEqual(t, taken, stagedSize)
		require.LessOrEqual(t, calls, 3)

		for range 5 { // room for a little, and again for nothing
			require.Len(t, r.receive(10), 10)
			synctest.Wait()
		}
		_, taken = r.in.counts()
		require.LessOrEqual(t, taken, stagedSize)
		r.transport.Close()
	})
}

// A driver that has buffers but a host that has no bytes: no wake-ups.
func TestInputIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startRig(t, nil)
		q := r.Queue(queueReceive)
		for range 10 {
			q.Post(nil, 64)
			synctest.Wait()
		}
		kicks := r.transport.Stats().Kicks
		calls, _ := r.in.counts()
		require.LessOrEqual(t, kicks, uint64(11))
		require.LessOrEqual(t, calls, 13)
		r.in.put([]byte("hello"))
		require.Equal(t, "hello", string(q.Wait().Data))
		r.transport.Close()
	})
}

func TestNoInput(t *testing.T) {
	r := startRig(t, func(c *Config) { c.Input = nil })
	r.Queue(queueReceive).Post(nil, 64)
	r.send(t, "output works")
	_, ok := r.Queue(queueReceive).Reap()
	require.False(t, ok)
}
