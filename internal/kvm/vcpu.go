//go:build linux

package kvm

import (
	"os"
	"runtime"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/libcapsa/libcapsa/internal/kvm/kvmsys"
)

// vcpu is one processor and, from Start to the machine's end, its thread.
type vcpu struct {
	m   *machine
	kvm *kvmsys.VCPU

	// exits counts returns from KVM_RUN by reason; the last one those with a
	// reason that has no name here.
	exits [kvmsys.ExitReasonCount + 1]atomic.Uint64

	mu  sync.Mutex
	tid int // of the thread that runs the vCPU, 0 when there is none; guarded by mu
}

// kickSignal makes KVM_RUN return. The Go runtime has a handler for it in every
// build mode (it uses it to preempt goroutines) and expects it out of the blue.
const kickSignal = unix.SIGURG

// kick makes the vCPU look at the gate soon, wherever it is. A vCPU without a
// thread will look before it enters the guest.
func (c *vcpu) kick() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.tid == 0 {
		return
	}
	c.kvm.Shared().SetImmediateExit(true)
	// It cannot fail: the thread exists, as it clears tid before it goes away.
	_ = unix.Tgkill(os.Getpid(), c.tid, kickSignal)
}

func (c *vcpu) setThread(tid int) {
	c.mu.Lock()
	c.tid = tid
	c.mu.Unlock()
}

// run is the vCPU's life on its thread: it enters the guest until the gate says
// to leave.
func (c *vcpu) run() {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	restore := unblockKick()
	defer restore()
	c.setThread(unix.Gettid())
	defer c.setThread(0)

	shared := c.kvm.Shared()
	shared.SetImmediateExit(false)
	if c.m.gate.open() {
		c.m.timeline.firstInstruction.mark(c.m.born)
	}
	for {
		if !c.m.gate.open() && !c.waitAtGate() {
			return
		}
		switch err := c.kvm.Run(); err {
		case nil:
			c.exit(shared.Reason())
		case unix.EINTR:
			// Before the gate is looked at: see gate.
			shared.SetImmediateExit(false)
		case unix.EAGAIN:
			// A processor that waited for its start was woken.
		default:
			c.runFailed(err)
		}
	}
}

// waitAtGate parks while the machine is paused, and returns whether to go on.
func (c *vcpu) waitAtGate() bool {
	enter, waited := c.m.gate.pass()
	if enter && waited && c.m.clockCtrl {
		// EINVAL: the guest does not use kvm-clock. Its watchdogs are its own.
		_ = c.kvm.KVMClockCtrl()
	}
	return enter
}

// unblockKick lets the kick signal through on this thread, which may have
// inherited the mask of a thread of the embedding program.
//
// Preconditions: the goroutine is locked to its thread.
func unblockKick() (restore func()) {
	var set, old unix.Sigset_t
	set.Val[0] = 1 << (kickSignal - 1)
	if unix.PthreadSigmask(unix.SIG_UNBLOCK, &set, &old) != nil || old.Val[0]&set.Val[0] == 0 {
		return func() {}
	}
	return func() { _ = unix.PthreadSigmask(unix.SIG_SETMASK, &old, nil) }
}

// count adds one exit.
func (c *vcpu) count(r kvmsys.ExitReason) {
	c.exits[min(r, kvmsys.ExitReasonCount)].Add(1)
}
