package blk

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/libcapsa/libcapsa/internal/virtio/virtiotest"
)

// The bubble's clock moves only while everybody waits: these times are exact.
func TestRateLimit(t *testing.T) {
	for _, c := range []struct {
		name  string
		limit Limit
		n     int // requests
		size  int // bytes of each
		want  time.Duration
	}{
		{"none", Limit{}, 100, 4096, 0},
		{"requests after a burst", Limit{IOPS: 100, IOPSBurst: 50}, 250, 512, 2 * time.Second},
		{"default burst", Limit{IOPS: 100}, 110, 512, time.Second},
		{"less than ten a second", Limit{IOPS: 2}, 11, 512, 5 * time.Second},
		{"bytes after a burst", Limit{Bandwidth: 1 << 20, Burst: 1 << 19}, 96, 16384, time.Second},
		{"requests larger than the burst", Limit{Bandwidth: 1 << 20, Burst: 1}, 8, 1 << 18, 2 * time.Second},
		{"the tighter of both", Limit{IOPS: 1000, Bandwidth: 1 << 18, Burst: 1}, 64, 4096, time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, newFakeDisk(1024), Config{Limit: c.limit}).start(allFeatures)
				began := time.Now()
				for range c.n {
					r.ok(typeIn, 0, nil, c.size)
				}
				require.InDelta(t, c.want, time.Since(began), float64(time.Millisecond))
				require.Equal(t, c.want != 0, r.dev.Stats().Throttled != 0)
				// A pause brings back the burst, and no more.
				time.Sleep(time.Hour)
				began = time.Now()
				for range c.n {
					r.ok(typeIn, 0, nil, c.size)
				}
				require.InDelta(t, c.want, time.Since(began), float64(time.Millisecond))
				r.transport.Close()
			})
		})
	}
}

// At depth too, and over all queues together.
func TestRateLimitOfAllQueues(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, newFakeDisk(8), Config{Queues: 4, Limit: Limit{IOPS: 1000, IOPSBurst: 1}})
		r.Start(allFeatures)
		began := time.Now()
		for i := range 200 {
			r.Queue(i%4).Post(header(typeIn, 0), 513)
		}
		for i := range 200 {
			require.Len(t, r.Queue(i%4).Wait().Data, 513)
		}
		require.InDelta(t, 199*time.Millisecond, time.Since(began), float64(5*time.Millisecond))
		r.transport.Close()
	})
}

// Flushes count as requests and move nothing.
func TestRateLimitOfFlushes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, newFakeDisk(8), Config{Limit: Limit{IOPS: 100, IOPSBurst: 1, Bandwidth: 1, Burst: 1}}).start(allFeatures)
		began := time.Now()
		for range 101 {
			r.ok(typeFlush, 0, nil, 0)
		}
		require.InDelta(t, time.Second, time.Since(began), float64(time.Millisecond))
		r.transport.Close()
	})
}

// A request that would wait for years ends with a reset, and with a new limit.
func TestRateLimitEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tiny := Limit{Bandwidth: 1, Burst: 1}
		r := newRig(t, newFakeDisk(1024), Config{Limit: tiny}).start(allFeatures)
		p := r.post(typeIn, 0, nil, 1<<19)
		synctest.Wait()
		require.False(t, p.done)
		r.dev.SetLimit(Limit{})
		require.EqualValues(t, statusOK, r.wait(p).code)
		r.dev.SetLimit(tiny)
		r.post(typeIn, 0, nil, 1<<19)
		synctest.Wait()
		began := time.Now()
		r.SetReg(virtiotest.RegStatus, 0)
		require.Zero(t, time.Since(began))
		r.transport.Close()
	})
}

func TestBucketNeverOverflows(t *testing.T) {
	b := newBucket(1, 1, 0)
	for range 1000 {
		require.LessOrEqual(t, b.take(1<<62, 0), maxWait)
	}
	b = newBucket(1<<63, 1<<63, 0)
	require.Zero(t, b.take(1<<32, 1<<62))
}
