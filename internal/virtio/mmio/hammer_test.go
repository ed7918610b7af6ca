package mmio

import (
	"errors"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// A12: vCPUs that reset, start, kick and read at the same time, while the
// device signals and its queues have traffic. Run it with -race.
func TestHammer(t *testing.T) {
	const rounds = 300
	before := runtime.NumGoroutine()
	r := newRig(t)
	var wg sync.WaitGroup
	vcpu := func(step func(rng *rand.Rand)) {
		seed := rand.Uint64()
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(seed, 0))
			for range rounds {
				step(rng)
			}
		})
	}
	driver := func(*rand.Rand) {
		r.setStatus(stepAcknowledged)
		r.setStatus(stepDriver)
		r.setFeatures(allFeatures)
		r.setStatus(stepFeatures)
		r.setQueue(0, queueAddrs(0))
		r.setQueue(1, queueAddrs(1))
		r.setStatus(stepRunning)
		for i := range uint16(8) {
			r.offer(0, i)
			r.set(regQueueNotify, 0)
		}
		r.setStatus(0)
	}
	vcpu(driver)
	vcpu(driver)
	vcpu(func(rng *rand.Rand) {
		for range 16 {
			r.set(regQueueNotify, rng.Uint32N(4))
			r.set(uint64(rng.Uint32N(regConfig/4)*4), rng.Uint32N(16))
			r.get(uint64(rng.Uint32N(regConfig/4) * 4))
		}
	})
	vcpu(func(rng *rand.Rand) { // the host's side: signals of whatever activation there is
		r.dev.mu.Lock()
		n := len(r.dev.activations)
		if n == 0 {
			r.dev.mu.Unlock()
			return
		}
		signal := r.dev.activations[rng.IntN(n)].Signal
		r.dev.mu.Unlock()
		signal.Queue(0)
		signal.Config()
		if rng.IntN(8) == 0 {
			signal.Fail(errors.New("hammer"))
		}
	})
	wg.Wait()

	r.setStatus(0)
	require.NoError(t, r.mem.Store16(queueAddrs(0).driver+2, 0))
	require.NoError(t, r.mem.Store16(queueAddrs(1).driver+2, 0))
	r.start()
	require.Equal(t, stepRunning, r.getStatus(), "the device still works")
	r.Close()
	require.Zero(t, r.backing.live.Load())
	requireGoroutines(t, before)
}

// A reset storm leaves nothing behind, and each activation serves.
func TestResetStorm(t *testing.T) {
	before := runtime.NumGoroutine()
	r := newRig(t)
	for range 2000 {
		require.NoError(t, r.mem.Store16(queueAddrs(0).driver+2, 0))
		r.start()
		r.offer(0, 0)
		r.set(regQueueNotify, 0)
		r.setStatus(0)
	}
	for range 100_000 {
		r.setStatus(0)
	}
	require.Equal(t, uint64(2000), r.Stats().Resets)
	require.Zero(t, r.backing.live.Load())
	requireGoroutines(t, before)
}

// requireGoroutines wants no more goroutines than there were. One that has
// been joined has said so, and may need a turn to be gone.
func requireGoroutines(t *testing.T, before int) {
	for range 1_000_000 {
		if runtime.NumGoroutine() <= before {
			return
		}
		runtime.Gosched()
	}
	require.LessOrEqual(t, runtime.NumGoroutine(), before, "a worker has not been joined")
}
