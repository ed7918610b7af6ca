//go:build linux

package kvm

import (
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestGateOrders(t *testing.T) {
	t.Parallel()
	var g gate
	g.init()
	require.True(t, g.open())
	require.True(t, g.set(orderPause))
	require.False(t, g.open())
	require.True(t, g.set(orderRun))
	enter, waited := g.pass()
	require.True(t, enter)
	require.False(t, waited)
	require.True(t, g.set(orderStop))
	require.False(t, g.set(orderRun), "stop is final")
	enter, _ = g.pass()
	require.False(t, enter)
	require.False(t, g.waitParked())
}

// Workers stand for vCPUs: whenever the gate says that all are parked, none is
// at work.
func TestGateHammer(t *testing.T) {
	t.Parallel()
	const workers, rounds = 4, 200
	var g gate
	g.init()
	g.enter(workers)
	var all sync.WaitGroup
	var last atomic.Int32
	var mu sync.Mutex
	working := 0
	step := func(d int) {
		mu.Lock()
		working += d
		mu.Unlock()
	}
	for range workers {
		all.Go(func() {
			defer func() {
				if g.leave() {
					last.Add(1)
				}
			}()
			for {
				if !g.open() {
					if enter, _ := g.pass(); !enter {
						return
					}
				}
				step(1)
				step(-1)
			}
		})
	}
	for range rounds {
		g.set(orderPause)
		require.True(t, g.waitParked())
		mu.Lock()
		require.Zero(t, working)
		mu.Unlock()
		g.set(orderRun)
	}
	g.set(orderStop)
	all.Wait()
	require.EqualValues(t, 1, last.Load())
}

func TestGateStopWhilePausing(t *testing.T) {
	t.Parallel()
	var g gate
	g.init()
	g.enter(1) // a vCPU that never looks
	g.set(orderPause)
	parked := make(chan bool)
	go func() { parked <- g.waitParked() }()
	g.set(orderStop)
	require.False(t, <-parked)
	require.True(t, g.leave())
}
