package shaper

import (
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestWait(t *testing.T) {
	const ms = time.Millisecond
	for _, tt := range []struct {
		name  string
		rate  Rate
		taken uint64        // at 0
		after time.Duration // how much later
		n     uint64
		want  time.Duration
	}{
		{"no bound", Rate{}, 1 << 40, 0, 1 << 40, 0},
		{"no bound, but a burst", Rate{Burst: 5}, 1 << 40, 0, 1 << 40, 0},
		{"full", Rate{1000, 10}, 0, 0, 10, 0},
		{"nothing", Rate{1000, 10}, 10, 0, 0, 0},
		{"one token", Rate{1000, 10}, 10, 0, 1, ms},
		{"several", Rate{1000, 10}, 10, 0, 7, 7 * ms},
		{"some are left", Rate{1000, 10}, 4, 0, 7, ms},
		{"some time has passed", Rate{1000, 10}, 10, 5 * ms, 7, 2 * ms},
		{"enough time has passed", Rate{1000, 10}, 10, 7 * ms, 7, 0},
		{"a nanosecond is missing", Rate{1000, 10}, 10, 7*ms - 1, 7, 1},
		{"no more than the burst", Rate{1000, 10}, 10, time.Hour, 11, 0},
		{"more than the burst", Rate{1000, 10}, 1, 0, 500, ms},
		{"a debt", Rate{1000, 10}, 500, 0, 1, 491 * ms},
		{"default burst", Rate{1000, 0}, 100, 0, 1, ms},
		{"default burst of a low rate", Rate{3, 0}, 1, 0, 1, 333333334},
		{"a high rate", Rate{12_500_000_000, 1}, 1, 0, 1, 1},
		{"the highest rate", Rate{math.MaxUint64, math.MaxUint64}, 1 << 60, 0, 1 << 60, 1024 * time.Second},
		{"all at once", Rate{1, 1}, math.MaxUint64, 0, 1, Forever},
		{"later than time", Rate{1, math.MaxUint64}, math.MaxUint64, 0, math.MaxUint64, Forever},
		{"after a very long time", Rate{1 << 50, 1 << 60}, 1 << 60, math.MaxInt64, 1 << 60, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBucket(tt.rate, 0)
			require.Zero(t, b.wait(tt.taken))
			b.take(tt.taken)
			b.fill(tt.after)
			require.Equal(t, tt.want, b.wait(tt.n))
		})
	}
}

// A clock that goes back stands.
func TestClockGoesBack(t *testing.T) {
	b := newBucket(Rate{1000, 10}, time.Second)
	b.take(10)
	for _, now := range []time.Duration{0, math.MinInt64, time.Second} {
		b.fill(now)
		require.Equal(t, time.Millisecond, b.wait(1))
	}
	b.fill(time.Second + time.Millisecond)
	require.Zero(t, b.wait(1))
}

// model is a bucket by its definition, with fractions of any size.
type model struct {
	rate, burst, level *big.Rat
	at                 time.Duration
}

func newModel(r Rate) *model {
	burst := r.Burst
	if burst == 0 {
		burst = max(r.PerSecond/10, 1)
	}
	m := &model{rate: new(big.Rat).SetUint64(r.PerSecond), burst: new(big.Rat).SetUint64(burst)}
	m.level = new(big.Rat).Set(m.burst)
	return m
}

func (m *model) fill(now time.Duration) {
	add := new(big.Rat).SetFrac64(int64(now-m.at), int64(time.Second))
	m.level.Add(m.level, add.Mul(add, m.rate))
	if m.level.Cmp(m.burst) > 0 {
		m.level.Set(m.burst)
	}
	m.at = now
}

func (m *model) wait(n uint64) time.Duration {
	need := new(big.Rat).SetUint64(n)
	if need.Cmp(m.burst) > 0 {
		need.Set(m.burst)
	}
	need.Sub(need, m.level)
	if n == 0 || need.Sign() <= 0 {
		return 0
	}
	need.Quo(need, m.rate).Mul(need, new(big.Rat).SetInt64(int64(time.Second)))
	up := new(big.Int).Add(need.Num(), new(big.Int).Sub(need.Denom(), big.NewInt(1)))
	return time.Duration(up.Quo(up, need.Denom()).Int64())
}

func (m *model) take(n uint64) { m.level.Sub(m.level, new(big.Rat).SetUint64(n)) }

func randomRate(r *rand.Rand) Rate {
	return Rate{PerSecond: 1 + r.Uint64N(1<<r.IntN(40)), Burst: r.Uint64N(1 << r.IntN(30))}
}

// Random takers at random times: never a difference from the model, so no drift,
// and the time that is told is the first at which the taker may.
func TestBucketIsExact(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 60 {
		rate := randomRate(r)
		b, m := newBucket(rate, 0), newModel(rate)
		now := time.Duration(0)
		for range 100 {
			now += time.Duration(r.Int64N(1 << r.IntN(36)))
			n := r.Uint64N(1 << r.IntN(24))
			b.fill(now)
			m.fill(now)
			wait := b.wait(n)
			require.Equal(t, m.wait(n), wait, "%+v, %d tokens", rate, n)
			if wait > time.Hour {
				continue
			}
			if wait > 0 {
				early := b
				early.fill(now + wait - 1)
				require.NotZero(t, early.wait(n), "%+v, %d tokens: too late", rate, n)
				now += wait
				b.fill(now)
				m.fill(now)
			}
			require.Zero(t, b.wait(n))
			b.take(n)
			m.take(n)
			exact := new(big.Rat).SetFrac64(int64(b.part), int64(second))
			exact.Add(exact, new(big.Rat).SetInt64(b.level))
			require.Zero(t, exact.Cmp(m.level), "%+v: the level has drifted", rate)
		}
	}
}

// Whoever takes as soon as it may gets the rate, no less and no more than the
// burst above it, over every interval.
func TestBucketHoldsTheRate(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for i := range 50 {
		rate := Rate{PerSecond: 1 + r.Uint64N(1<<30), Burst: 1 + r.Uint64N(1<<20)}
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			b := newBucket(rate, 0)
			type event struct {
				at    time.Duration
				total uint64
			}
			var events []event
			now, total, most := time.Duration(0), uint64(0), uint64(0)
			for range 300 {
				n := 1 + r.Uint64N(1<<r.IntN(22))
				most = max(most, n)
				b.fill(now)
				if w := b.wait(n); w > 0 {
					now += w
					b.fill(now)
				}
				require.Zero(t, b.wait(n))
				b.take(n)
				total += n
				events = append(events, event{now, total})
			}
			over := max(most, rate.Burst) // what passes at once
			for k := 0; k < len(events); k += 7 {
				before := uint64(0)
				if k > 0 {
					before = events[k-1].total
				}
				for _, e := range events[k:] {
					earned := float64(rate.PerSecond) * (e.at - events[k].at).Seconds()
					if got := float64(e.total - before); got > float64(over)+earned+float64(most)+1 {
						t.Fatalf("%v tokens in %v", got, e.at-events[k].at)
					}
				}
			}
			earned := float64(rate.PerSecond) * now.Seconds()
			require.LessOrEqual(t, float64(total), float64(rate.Burst)+earned+float64(most)+1)
			require.GreaterOrEqual(t, float64(total)+1, earned)
		})
	}
}

// FuzzBucket: nothing a caller gives leads to a panic, to a level above the
// burst, or to a wait after which there still is one.
func FuzzBucket(f *testing.F) {
	f.Add(uint64(1000), uint64(10), int64(5), uint64(20), int64(7), uint64(1))
	f.Add(uint64(math.MaxUint64), uint64(math.MaxUint64), int64(math.MaxInt64), uint64(math.MaxUint64), int64(math.MinInt64), uint64(math.MaxUint64))
	f.Add(uint64(1), uint64(0), int64(-1), uint64(math.MaxUint64), int64(math.MaxInt64), uint64(1))
	f.Fuzz(func(t *testing.T, rate, burst uint64, t0 int64, n0 uint64, t1 int64, n1 uint64) {
		b := newBucket(Rate{rate, burst}, 0)
		for _, step := range []struct {
			at int64
			n  uint64
		}{{t0, n0}, {t1, n1}, {t0, n1}} {
			b.fill(time.Duration(step.at))
			w := b.wait(step.n)
			require.GreaterOrEqual(t, w, time.Duration(0))
			if w == Forever || b.at > Forever-w {
				continue
			}
			b.fill(b.at + w)
			require.Zero(t, b.wait(step.n))
			b.take(step.n)
			require.LessOrEqual(t, b.level, b.burst)
			require.Less(t, b.part, second)
			b.left()
			b.change(Rate{burst, rate}, b.at)
			require.LessOrEqual(t, b.level, b.burst)
		}
	})
}
