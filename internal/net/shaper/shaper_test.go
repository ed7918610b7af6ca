package shaper

import (
	"math"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// clock is set by hand.
type clock struct{ at atomic.Int64 }

func (c *clock) now() time.Duration       { return time.Duration(c.at.Load()) }
func (c *clock) advance(by time.Duration) { c.at.Add(int64(by)) }

const ms = time.Millisecond

// Both buckets let pass, or nothing is charged.
func TestPass(t *testing.T) {
	c := &clock{}
	s := New(Limits{Bytes: Rate{1_000_000, 3000}, Packets: Rate{1000, 2}}, c.now)
	require.True(t, s.Bound())
	require.Zero(t, s.Pass(1, 1500))
	require.Equal(t, 500*time.Microsecond, s.Pass(1, 2000), "bytes")
	require.Zero(t, s.Pass(1, 500), "the packet before was not charged")
	require.Equal(t, ms, s.Pass(1, 10), "packets")
	require.Equal(t, ms, s.Until(1, 10))
	c.advance(ms)
	require.Zero(t, s.Until(1, 2000), "the bytes before were not charged")
	require.Zero(t, s.Until(1, 2000))
	require.Zero(t, s.Pass(1, 2000))
	require.Equal(t, Stats{Bytes: 4000, Packets: 3, Held: 2}, s.Stats())
}

// A long frame is as many packets as it becomes, and passes though it is more
// than a burst.
func TestPassLongFrame(t *testing.T) {
	c := &clock{}
	s := New(Limits{Bytes: Rate{1_000_000, 1500}}, c.now)
	require.Zero(t, s.Pass(46, 65536))
	require.Equal(t, 64036*time.Microsecond+1500*time.Microsecond, s.Pass(1, 1500))
	c.advance(65536 * time.Microsecond)
	require.Zero(t, s.Pass(1, 1500))
}

func TestConnect(t *testing.T) {
	c := &clock{}
	s := New(Limits{Connections: Rate{10, 3}}, c.now)
	for range 3 {
		require.Zero(t, s.Connect())
	}
	require.Equal(t, 100*ms, s.Connect())
	require.Zero(t, s.Pass(1000, 1<<40), "the others have no bound")
	c.advance(100*ms - 1)
	require.Equal(t, time.Duration(1), s.Connect())
	c.advance(1)
	require.Zero(t, s.Connect())
	require.EqualValues(t, 4, s.Stats().Connections)
}

func TestBudget(t *testing.T) {
	c := &clock{}
	s := New(Limits{Bytes: Rate{1000, 100}}, c.now)
	packets, bytes := s.Budget()
	require.EqualValues(t, uint64(math.MaxUint64), packets)
	require.EqualValues(t, 100, bytes)
	require.Zero(t, s.Pass(1, 150))
	_, bytes = s.Budget()
	require.Zero(t, bytes)
	c.advance(60 * ms)
	_, bytes = s.Budget()
	require.EqualValues(t, 10, bytes)
}

func TestSet(t *testing.T) {
	c := &clock{}
	s := New(Limits{}, c.now)
	require.False(t, s.Bound())
	require.Zero(t, s.Pass(1<<40, 1<<40))
	require.Zero(t, s.Connect())
	require.Zero(t, s.Until(1, 1))
	require.Zero(t, s.Stats())

	s.Set(Limits{Bytes: Rate{1000, 100}})
	require.Zero(t, s.Pass(1, 100))
	require.Equal(t, 10*ms, s.Pass(1, 10))
	c.advance(5 * ms)
	s.Set(Limits{Bytes: Rate{10_000, 1000}})
	require.Equal(t, 500*time.Microsecond, s.Pass(1, 10), "5 are there, and come faster now")
	s.Set(Limits{Bytes: Rate{10, 2}})
	require.Zero(t, s.Pass(1, 2), "as much as the new burst")
	require.Equal(t, 200*ms, s.Pass(1, 2))
	s.Set(Limits{})
	require.Zero(t, s.Pass(1, 1<<40))
	s.Set(Limits{Bytes: Rate{10, 2}})
	require.Zero(t, s.Pass(1, 2), "a bound that is new begins with a burst")
}

// Many goroutines: together they get what the bucket has.
func TestHammer(t *testing.T) {
	c := &clock{}
	s := New(Limits{Bytes: Rate{1_000_000, 10_000}, Packets: Rate{1_000_000, 1_000_000}}, c.now)
	var passed atomic.Int64
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 5000 {
				if s.Pass(1, 10) == 0 {
					passed.Add(1)
				}
				s.Budget()
			}
		})
	}
	wg.Wait()
	require.EqualValues(t, 1000, passed.Load())
	require.Equal(t, Stats{Bytes: 10_000, Packets: 1000, Held: 19_000}, s.Stats())
}

// The machine's clock goes on.
func TestSince(t *testing.T) {
	now := Since()
	a := now()
	require.GreaterOrEqual(t, a, time.Duration(0))
	require.GreaterOrEqual(t, now(), a)
	require.Zero(t, New(Limits{Packets: Rate{1, 1}}, nil).Pass(1, 1))
}

func TestPassDoesNotAllocate(t *testing.T) {
	s := New(Limits{Bytes: Rate{1 << 40, 1 << 30}, Packets: Rate{1 << 40, 1 << 30}}, nil)
	require.Zero(t, testing.AllocsPerRun(100, func() { s.Pass(1, 1500) }))
}

func BenchmarkPass(b *testing.B) {
	for name, l := range map[string]Limits{
		"bound":    {Bytes: Rate{1 << 45, 1 << 40}, Packets: Rate{1 << 45, 1 << 40}},
		"no bound": {},
	} {
		b.Run(name, func(b *testing.B) {
			s := New(l, nil)
			for range b.N {
				s.Pass(1, 1500)
			}
		})
	}
}
