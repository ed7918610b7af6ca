//go:build linux

package kvm

import (
	"sync"
	"sync/atomic"
)

// order is what the vCPUs are told to do.
type order int32

const (
	orderRun   order = iota
	orderPause       // park at the gate
	orderStop        // leave; final
)

// gate is where vCPU threads look between two entries to the guest.
//
// The protocol with kicks: whoever changes the order stores it first, then sets
// immediate exit and signals. A vCPU clears immediate exit first, then loads
// the order. Either the vCPU sees the new order, or its next KVM_RUN returns at
// once; both sides use sequentially consistent operations.
type gate struct {
	now atomic.Int32 // an order; written with mu held

	mu     sync.Mutex
	cond   sync.Cond // of mu: the order changed, or a vCPU parked or left
	inside int       // vCPUs that have not left; guarded by mu
	parked int       // vCPUs waiting in pass; guarded by mu
}

func (g *gate) init() { g.cond.L = &g.mu }

// enter says that n vCPUs are about to run.
func (g *gate) enter(n int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.inside += n
}

// set gives an order; false after orderStop, which is final.
func (g *gate) set(o order) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if order(g.now.Load()) == orderStop {
		return false
	}
	g.now.Store(int32(o))
	g.cond.Broadcast()
	return true
}

// open says, without waiting, whether the vCPU may enter the guest.
func (g *gate) open() bool { return order(g.now.Load()) == orderRun }

// pass waits while the order is to pause. It returns whether the vCPU may
// enter the guest, as opposed to leave, and whether it had to wait.
func (g *gate) pass() (enter, waited bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for order(g.now.Load()) == orderPause {
		waited = true
		g.parked++
		g.cond.Broadcast()
		g.cond.Wait()
		g.parked--
	}
	return order(g.now.Load()) == orderRun, waited
}

// leave says that a vCPU has left for good, and returns whether it was the last.
func (g *gate) leave() (last bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.inside--
	g.cond.Broadcast()
	return g.inside == 0
}

// waitParked waits until every vCPU is parked; false when the order changed
// meanwhile.
func (g *gate) waitParked() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	for order(g.now.Load()) == orderPause {
		if g.parked == g.inside && g.inside > 0 {
			return true
		}
		g.cond.Wait()
	}
	return false
}
