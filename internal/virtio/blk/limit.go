package blk

import (
	"sync"
	"sync/atomic"
	"time"
)

// Limit bounds the rate of a disk's requests. The zero value bounds nothing.
type Limit struct {
	IOPS      uint64 // requests of any kind per second; 0: no bound
	IOPSBurst uint64 // requests at once after a pause; 0: a tenth of a second's
	Bandwidth uint64 // bytes read and written per second; 0: no bound
	Burst     uint64 // bytes at once after a pause; 0: a tenth of a second's
}

// defaultBurst is the part of a second whose requests may come at once: what
// QEMU allows when it is told nothing (util/throttle.c, bucket of avg/10).
const defaultBurst = 10

// bucket is a token bucket that is looked at only when tokens are taken: it
// needs no timer. Its level may go below zero, which is a debt that later
// requests wait for, so that a request larger than the burst passes, too.
type bucket struct {
	rate  float64 // tokens per second, 0: no bound
	burst float64
	level float64
	at    time.Duration // when level was right
}

func newBucket(rate, burst uint64, now time.Duration) bucket {
	if burst == 0 {
		burst = max(rate/defaultBurst, 1)
	}
	return bucket{rate: float64(rate), burst: float64(burst), level: float64(burst), at: now}
}

// take takes n tokens and returns how long the taker has to wait for them.
func (b *bucket) take(n float64, now time.Duration) time.Duration {
	if b.rate == 0 || n == 0 {
		return 0
	}
	b.level = min(b.burst, b.level+b.rate*(now-b.at).Seconds())
	b.at = now
	b.level -= n
	if b.level >= 0 {
		return 0
	}
	wait := -b.level / b.rate * float64(time.Second)
	return time.Duration(min(wait, float64(maxWait)))
}

// maxWait keeps a debt within what a time.Duration holds. Nobody waits so
// long: a reset and a new limit end every wait.
const maxWait = 365 * 24 * time.Hour

// limiter is a disk's limit, shared by its queues.
type limiter struct {
	start time.Time   // of the clock
	bound atomic.Bool // there is a limit

	mu      sync.Mutex
	ops     bucket        // guarded by mu
	bytes   bucket        // guarded by mu
	changed chan struct{} // closed by the next set; guarded by mu
}

func newLimiter(l Limit) *limiter {
	x := &limiter{start: time.Now()}
	x.set(l)
	return x
}

// set puts a new limit in force and ends the waits for the old one.
func (x *limiter) set(l Limit) {
	x.mu.Lock()
	defer x.mu.Unlock()
	now := time.Since(x.start)
	x.ops = newBucket(l.IOPS, l.IOPSBurst, now)
	x.bytes = newBucket(l.Bandwidth, l.Burst, now)
	x.bound.Store(l.IOPS != 0 || l.Bandwidth != 0)
	if x.changed != nil {
		close(x.changed)
	}
	x.changed = make(chan struct{})
}

// bounds says whether there is a limit.
func (x *limiter) bounds() bool { return x.bound.Load() }

// charge takes the tokens of a request that moves n bytes and returns how long
// it has to wait. changed ends the wait.
func (x *limiter) charge(n uint64) (wait time.Duration, changed <-chan struct{}) {
	if !x.bounds() {
		return 0, nil
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	now := time.Since(x.start)
	return max(x.ops.take(1, now), x.bytes.take(float64(n), now)), x.changed
}
