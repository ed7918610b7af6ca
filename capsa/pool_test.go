package capsa_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/libcapsa/libcapsa/capsa"
	"github.com/libcapsa/libcapsa/internal/vmtest"
)

// newPool makes a pool of guests of a fake backend, which the test closes.
func newPool(t *testing.T, fake *vmtest.Fake, cfg capsa.PoolConfig) *capsa.Pool {
	t.Helper()
	vmtest.CheckLeaks(t)
	p, err := capsa.NewPool(builder(t, fake, vmtest.KernelSpin), cfg)
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, p.Close())
		require.Zero(t, fake.Live(), "no machine is left")
	})
	return p
}

// becomes waits until the pool's counters are as wished for.
func becomes(t *testing.T, p *capsa.Pool, good func(capsa.PoolStats) bool) {
	t.Helper()
	require.Eventually(t, func() bool { return good(p.Stats()) }, patience, 1, "%+v", p.Stats())
}

func idle(n int) func(capsa.PoolStats) bool {
	return func(s capsa.PoolStats) bool { return s.Idle == n && s.Making == 0 }
}

func acquire(t *testing.T, p *capsa.Pool) *capsa.Member {
	t.Helper()
	m, err := p.Acquire(bounded(t))
	require.NoError(t, err)
	return m
}

func TestPoolFillsItself(t *testing.T) {
	fake := vmtest.NewFake()
	p := newPool(t, fake, capsa.PoolConfig{Min: 2, Max: 4})
	becomes(t, p, idle(2))
	first := acquire(t, p)
	becomes(t, p, idle(2))
	second, third := acquire(t, p), acquire(t, p)
	becomes(t, p, idle(1)) // four are the most
	require.Equal(t, 4, fake.Live())
	require.NoError(t, first.Release())
	require.NoError(t, first.Release())
	require.Equal(t, capsa.StateStopped, first.State(), "a machine is used once")
	becomes(t, p, idle(2))
	require.NoError(t, second.Release())
	require.NoError(t, third.Release())
	s := p.Stats()
	require.EqualValues(t, 3, s.Served)
	require.Zero(t, s.Acquired)
	require.Zero(t, s.Failed)
}

func TestPoolWaitersTakeTurns(t *testing.T) {
	p := newPool(t, vmtest.NewFake(), capsa.PoolConfig{Max: 1})
	held := acquire(t, p)
	order := make(chan int, 8)
	var wait sync.WaitGroup
	for i := range 8 {
		wait.Go(func() {
			m, err := p.Acquire(bounded(t))
			if err != nil {
				t.Error(err)
				return
			}
			order <- i
			if err := m.Release(); err != nil {
				t.Error(err)
			}
		})
		becomes(t, p, func(s capsa.PoolStats) bool { return s.Waiting == i+1 })
	}
	require.NoError(t, held.Release())
	for i := range 8 {
		require.Equal(t, i, <-order)
	}
	wait.Wait()
	require.Zero(t, p.Stats().Idle, "none is kept that nobody asked for")
}

func TestPoolAcquireEnds(t *testing.T) {
	p := newPool(t, vmtest.NewFake(), capsa.PoolConfig{Min: 1, Max: 1})
	held := acquire(t, p)
	_, err := p.Acquire(expired())
	require.ErrorIs(t, err, capsa.KindTimeout)
	require.Zero(t, p.Stats().Waiting)
	failed := make(chan error, 1)
	go func() {
		_, err := p.Acquire(context.Background())
		failed <- err
	}()
	becomes(t, p, func(s capsa.PoolStats) bool { return s.Waiting == 1 })
	require.NoError(t, p.Close())
	require.ErrorIs(t, <-failed, capsa.KindClosed)
	_, err = p.Acquire(bounded(t))
	require.ErrorIs(t, err, capsa.KindClosed)
	require.False(t, held.State().Final(), "who has a machine keeps it")
	require.NoError(t, held.Release())
}

func TestPoolReplacesTheDead(t *testing.T) {
	fake := vmtest.NewFake()
	var mu sync.Mutex
	var made []*capsa.VM
	p := newPool(t, fake, capsa.PoolConfig{Min: 2, Max: 2, Prepare: func(_ context.Context, v *capsa.VM) error {
		mu.Lock()
		defer mu.Unlock()
		made = append(made, v)
		return nil
	}})
	becomes(t, p, idle(2))
	mu.Lock()
	victim := made[0]
	mu.Unlock()
	require.NoError(t, victim.Kill())
	becomes(t, p, func(s capsa.PoolStats) bool { return s.Died == 1 && s.Idle == 2 && s.Acquired == 0 })
	m := acquire(t, p)
	require.False(t, m.State().Final())
	require.NoError(t, m.Release())
}

func TestPoolRefusesTheSick(t *testing.T) {
	var mu sync.Mutex
	sick := 3
	p := newPool(t, vmtest.NewFake(), capsa.PoolConfig{Min: 2, Max: 2, Check: func(context.Context, *capsa.VM) error {
		mu.Lock()
		defer mu.Unlock()
		if sick--; sick >= 0 {
			return errors.New("not well")
		}
		return nil
	}})
	m := acquire(t, p)
	s := p.Stats()
	require.EqualValues(t, 3, s.Refused)
	require.Equal(t, "not well", s.LastError)
	require.NoError(t, m.Release())
}

// TestPoolCheckIsCutShort: a machine that could not be asked in time stays in the pool.
func TestPoolCheckIsCutShort(t *testing.T) {
	p := newPool(t, vmtest.NewFake(), capsa.PoolConfig{Min: 1, Max: 1, Check: func(ctx context.Context, _ *capsa.VM) error {
		return ctx.Err()
	}})
	becomes(t, p, idle(1))
	_, err := p.Acquire(cancelled())
	require.ErrorIs(t, err, capsa.KindCancelled)
	becomes(t, p, idle(1))
	require.EqualValues(t, 1, p.Stats().Made)
	require.NoError(t, acquire(t, p).Release())
}

func TestPoolTellsWhy(t *testing.T) {
	fake := vmtest.NewFake()
	fake.NewErr = errors.New("no more machines")
	p := newPool(t, fake, capsa.PoolConfig{Min: 1, Max: 2})
	becomes(t, p, func(s capsa.PoolStats) bool { return s.Failed == 1 && s.Making == 0 })
	_, err := p.Acquire(bounded(t))
	require.ErrorContains(t, err, "no more machines")
	require.Contains(t, p.Stats().LastError, "no more machines")

	broken := newPool(t, vmtest.NewFake(), capsa.PoolConfig{Max: 1, Prepare: func(context.Context, *capsa.VM) error {
		return errors.New("not ready")
	}})
	_, err = broken.Acquire(bounded(t))
	require.ErrorContains(t, err, "not ready")
}

func TestPoolConfigs(t *testing.T) {
	t.Parallel()
	for _, cfg := range []capsa.PoolConfig{{}, {Min: -1, Max: 1}, {Min: 2, Max: 1}} {
		_, err := capsa.NewPool(capsa.NewBuilder(), cfg)
		require.ErrorIs(t, err, capsa.KindInvalidArg)
	}
}

// TestPoolHammer: many who acquire, give up, release and kill at once.
func TestPoolHammer(t *testing.T) {
	fake := vmtest.NewFake()
	b := builder(t, fake, vmtest.KernelSpin)
	require.NoError(t, b.SetName("hammer"))
	vmtest.CheckLeaks(t)
	p, err := capsa.NewPool(b, capsa.PoolConfig{Min: 2, Max: 5})
	require.NoError(t, err)
	var wait sync.WaitGroup
	names := sync.Map{}
	for worker := range 8 {
		wait.Go(func() {
			for i := range 40 {
				ctx := bounded(t)
				if (worker+i)%5 == 0 {
					ctx = expired()
				}
				m, err := p.Acquire(ctx)
				if err != nil {
					if !errors.Is(err, capsa.KindTimeout) {
						t.Error(err)
					}
					continue
				}
				if _, twice := names.LoadOrStore(m.Config().Name, true); twice {
					t.Error(fmt.Errorf("%s was handed out twice", m.Config().Name))
				}
				if i%3 == 0 {
					_ = m.Kill()
				}
				if err := m.Release(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wait.Wait()
	require.LessOrEqual(t, fake.Live(), 5)
	require.NoError(t, p.Close())
	require.Zero(t, fake.Live())
}
