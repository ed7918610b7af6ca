package console

import (
	"bytes"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/libcapsa/libcapsa/internal/virtio/virtiotest"
)

func TestOutput(t *testing.T) {
	for _, features := range []uint64{0, virtiotest.FeatureIndirect, virtiotest.FeatureEventIdx, ringFeatures} {
		t.Run(fmt.Sprintf("features %#x", features), func(t *testing.T) {
			r := newRig(t, nil)
			r.Start(features)
			q := r.Queue(queueTransmit)
			var want strings.Builder
			for i := range 500 {
				line := fmt.Sprintf("line %d\n", i)
				want.WriteString(line)
				add := q.Add
				if features&virtiotest.FeatureIndirect != 0 && i%2 == 0 {
					add = q.AddIndirect
				}
				add([][]byte{[]byte(line[:3]), []byte(line[3:])})
				q.Kick()
				require.Zero(t, q.Wait().Len)
			}
			require.Equal(t, want.String(), r.out.String())
			stats := r.transport.Stats()
			require.Equal(t, uint64(500), stats.Requests)
			require.Equal(t, uint64(want.Len()), stats.Bytes)
		})
	}
}

// A full queue at one kick, and a request of the most that is allowed.
func TestOutputInBulk(t *testing.T) {
	r := startRig(t, nil)
	q := r.Queue(queueTransmit)
	for i := range queueSize {
		q.Add([][]byte{{byte(i)}})
	}
	q.Kick()
	for range queueSize {
		q.Wait()
	}
	require.Len(t, r.out.String(), queueSize)

	q.Post(bytes.Repeat([]byte{7}, MaxTransmit), 0)
	q.Wait()
	require.Len(t, r.out.String(), queueSize+MaxTransmit)
}

func TestFirstOutput(t *testing.T) {
	calls, before := 0, ""
	var r *rig
	r = newRig(t, func(c *Config) {
		c.FirstOutput = func() { calls, before = calls+1, r.out.String() }
	})
	r.Start(0)
	require.Zero(t, calls)
	r.send(t, "first")
	r.send(t, "second")
	require.Equal(t, 1, calls)
	require.Empty(t, before)
	r.Start(0)
	r.send(t, "third")
	require.Equal(t, 1, calls, "once in the life of the device")
	require.Equal(t, "firstsecondthird", r.out.String())
}

// A host that refuses output costs the output, not the console.
func TestOutputRefused(t *testing.T) {
	r := startRig(t, nil)
	r.out.err = errors.New("closed")
	r.send(t, "lost")
	r.out.err = nil
	r.send(t, "kept")
	require.Equal(t, "kept", r.out.String())
	require.Equal(t, uint64(1), r.transport.Stats().Errors)
}

func TestNoOutput(t *testing.T) {
	r := startRig(t, func(c *Config) { c.Output = nil })
	r.send(t, "nobody")
}

// ring keeps the last bytes, like the host's console when nobody reads.
type ring struct {
	buf   [64 << 10]byte
	total uint64
}

func (w *ring) Write(p []byte) (int, error) {
	for rest := p; len(rest) > 0; {
		n := copy(w.buf[w.total%uint64(len(w.buf)):], rest)
		w.total, rest = w.total+uint64(n), rest[n:]
	}
	return len(p), nil
}

// G2: 10^9 bytes with nobody reading.
func TestOutputFlood(t *testing.T) {
	const total = 1_000_000_000
	sink := &ring{}
	r := startRig(t, func(c *Config) { c.Output = sink })
	q := r.Queue(queueTransmit)
	chunk := bytes.Repeat([]byte("0123456789abcde\n"), 62500) // 10^6 bytes
	q.Post(chunk, 0)
	q.Wait()

	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for sent := len(chunk); sent < total; sent += len(chunk) {
		q.Post(chunk, 0)
		q.Wait()
	}
	runtime.ReadMemStats(&after)
	require.Equal(t, uint64(total), sink.total)
	require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(16<<20), "bytes allocated, freed ones too")
}
