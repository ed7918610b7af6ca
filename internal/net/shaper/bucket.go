package shaper

import (
	"math"
	"math/bits"
	"time"
)

// Rate is a bound. The zero value bounds nothing.
type Rate struct {
	PerSecond uint64 // tokens per second in the long run; 0: no bound
	Burst     uint64 // tokens at once after a pause; 0: a tenth of a second's
}

// defaultBurst is the part of a second whose tokens may come at once, as disks
// have it.
const defaultBurst = 10

// Bounds of what callers give. Levels and debts then fit into an int64.
const (
	maxRate  = 1 << 50 // tokens per second
	maxBurst = 1 << 60
	maxTake  = 1 << 61 // tokens at once
)

const second = uint64(time.Second)

// Forever is longer than anybody waits.
const Forever = time.Duration(math.MaxInt64)

// bucket is a token bucket that is looked at only when it is asked. Its level
// goes below zero when more than the burst is taken at once, which a full bucket
// allows: later takers wait for that debt, so that the rate holds.
type bucket struct {
	rate  uint64 // tokens per second; 0: no bound
	burst int64
	level int64         // tokens; at most burst
	part  uint64        // of a token, in 10^-9; 0 when full
	at    time.Duration // when level was right
}

// newBucket is a full bucket.
func newBucket(r Rate, now time.Duration) bucket {
	rate := min(r.PerSecond, maxRate)
	burst := min(r.Burst, maxBurst)
	if burst == 0 {
		burst = max(rate/defaultBurst, 1)
	}
	return bucket{rate: rate, burst: int64(burst), level: int64(burst), at: now}
}

// change puts a new rate in force from now on. A debt stays, and so does what
// has been saved, up to the new burst.
func (b *bucket) change(r Rate, now time.Duration) {
	b.fill(now)
	next := newBucket(r, now)
	if b.rate != 0 && b.level < next.level {
		next.level, next.part = b.level, b.part
	}
	*b = next
}

// fill adds the tokens of the time that has passed. A clock that went back adds
// nothing until it has caught up.
func (b *bucket) fill(now time.Duration) {
	if now <= b.at {
		return
	}
	hi, lo := bits.Mul64(b.rate, uint64(now-b.at))
	b.at = now
	lo, carry := bits.Add64(lo, b.part, 0)
	hi += carry
	if hi >= second { // more than 2^64 tokens
		b.level, b.part = b.burst, 0
		return
	}
	tokens, part := bits.Div64(hi, lo, second)
	if tokens >= uint64(b.burst-b.level) { // the difference is below 2^62
		b.level, b.part = b.burst, 0
		return
	}
	b.level, b.part = b.level+int64(tokens), part
}

// wait says how long it is from the last fill until n tokens may be taken.
func (b *bucket) wait(n uint64) time.Duration {
	if b.rate == 0 || n == 0 {
		return 0
	}
	need := int64(min(n, uint64(b.burst))) // more than a burst needs a full bucket
	if b.level >= need {
		return 0
	}
	hi, lo := bits.Mul64(uint64(need-b.level), second)
	lo, borrow := bits.Sub64(lo, b.part, 0)
	hi -= borrow
	lo, carry := bits.Add64(lo, b.rate-1, 0) // rounds up
	hi += carry
	if hi >= b.rate {
		return Forever
	}
	ns, _ := bits.Div64(hi, lo, b.rate)
	return time.Duration(min(ns, uint64(Forever)))
}

// take takes n tokens. Preconditions: wait(n) is 0.
func (b *bucket) take(n uint64) {
	if b.rate != 0 {
		b.level -= int64(min(n, maxTake))
	}
}

// left is how many tokens may be taken without a debt.
func (b *bucket) left() uint64 {
	if b.rate == 0 {
		return math.MaxUint64
	}
	return uint64(max(b.level, 0))
}
