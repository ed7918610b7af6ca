//go:build linux

package kvm

import (
	"context"
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/libcapsa/libcapsa/internal/kvm/kvmsys"
	"github.com/libcapsa/libcapsa/internal/kvm/layout"
	"github.com/libcapsa/libcapsa/internal/virtio"
	"github.com/libcapsa/libcapsa/internal/virtio/mmio"
)

// routes is the GSI table: each pin of the IOAPIC, and nothing else. The PICs
// of KVM stay unconnected: on a hardware-reduced machine Linux neither masks
// them nor sets their vectors, and a device's interrupt would come out of them
// a second time, with the vector of an exception. withPIT adds GSI 0 to the
// master PIC, for guests that look for the timer there.
func routes(withPIT bool) []kvmsys.Route {
	t := make([]kvmsys.Route, 0, layout.IOAPICPins+1)
	for pin := range uint32(layout.IOAPICPins) {
		t = append(t, kvmsys.Route{GSI: pin, Chip: kvmsys.ChipIOAPIC, Pin: pin})
	}
	if withPIT {
		t = append(t, kvmsys.Route{GSI: 0, Chip: kvmsys.ChipPICMaster, Pin: 0})
	}
	return t
}

// irqLine is an edge-triggered interrupt line of a device.
//
// It is no irqfd: for a pin of the IOAPIC, KVM leaves an irqfd to a kernel thread
// (virt/kvm/eventfd.c, irqfd_wakeup), which has to wake up first, and taking one
// away waits for a grace period.
type irqLine struct {
	gsi uint32

	mu sync.Mutex // held from up to down: what comes between would not be an edge
	vm *kvmsys.VM // nil: closed; guarded by mu
}

// pulse raises the interrupt, unless the line is closed. It does not block.
func (l *irqLine) pulse() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.vm == nil {
		return
	}
	// It fails only for a VM without interrupt controllers.
	_ = l.vm.IRQLine(l.gsi, true)
	_ = l.vm.IRQLine(l.gsi, false)
}

// close lets go of the VM, which is about to be closed.
func (l *irqLine) close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.vm = nil
	return nil
}

// queueKick is a queue's kick: KVM signals an eventfd when the driver writes the
// queue's number to QueueNotify. Where the host has no eventfd left, the write
// exits to the transport, which pokes the kick: slower, but the guest's device
// works, whose driver has no way to try again. It also knows whether the queue's worker has
// looked at the ring since a given moment, for drain.
type queueKick struct {
	virtio.StoppableKick
	fd    int // the eventfd, lent to KVM; -1: there is none
	vm    *kvmsys.VM
	event kvmsys.IOEvent
	slot  *transportSlot
	once  sync.Once

	mu      sync.Mutex
	changed chan struct{} // closed and replaced whenever the fields below change; guarded by mu
	wakes   uint64        // times Wait returned; guarded by mu
	idle    bool          // the worker is in Wait; guarded by mu
	stopped bool          // guarded by mu
}

func newQueueKick(v *kvmsys.VM, base uint64, queue int, slot *transportSlot) *queueKick {
	match := uint64(queue)
	k := &queueKick{
		fd:      -1,
		vm:      v,
		event:   kvmsys.IOEvent{Addr: base + mmio.NotifyOffset, Len: 4, Match: &match},
		slot:    slot,
		changed: make(chan struct{}),
	}
	if e, err := virtio.NewEventFD(); err == nil {
		if err = v.AssignIOEvent(k.event, e.FD()); err == nil {
			k.StoppableKick, k.fd = e, e.FD()
			return k
		}
		e.Stop()
	}
	k.StoppableKick = virtio.NewLocalKick()
	return k
}

// note changes the fields under mu and wakes drain.
func (k *queueKick) note(change func()) {
	k.mu.Lock()
	defer k.mu.Unlock()
	change()
	close(k.changed)
	k.changed = make(chan struct{})
}

// Wait implements virtio.Kick.
func (k *queueKick) Wait() error {
	k.note(func() { k.idle = true })
	err := k.StoppableKick.Wait()
	k.note(func() { k.idle = false; k.wakes++ })
	return err
}

// Stop implements virtio.StoppableKick. The ioeventfd goes first, so that the
// next driver can have one of its own. When the machine has ended no guest is
// left to write there: the VM takes it along, as waiting for KVM's grace period
// costs milliseconds.
func (k *queueKick) Stop() {
	k.once.Do(func() {
		k.slot.remove(k)
		if k.fd >= 0 && !k.slot.final.Load() {
			_ = k.vm.DeassignIOEvent(k.event, k.fd) // fails only for one never assigned
		}
		k.StoppableKick.Stop()
		k.note(func() { k.stopped = true })
	})
}

// poke makes the worker look at the ring. The result is for served.
func (k *queueKick) poke() (target uint64) {
	k.mu.Lock()
	target = k.wakes + 1
	k.mu.Unlock()
	// The worker returns from Wait after this, serves until the ring is empty,
	// and enters Wait again. If it had been woken before but not yet counted,
	// it serves after that too, and so sees all of the ring.
	k.Poke()
	return target
}

// served waits until the worker has served everything that was in the ring at the
// poke, or until ctx ends or the queue is stopped.
//
// Preconditions: the driver adds nothing any more.
func (k *queueKick) served(ctx context.Context, target uint64) {
	for {
		k.mu.Lock()
		done := k.stopped || (k.wakes >= target && k.idle)
		changed := k.changed
		k.mu.Unlock()
		if done {
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}

// transportSlot is what the machine lends one virtio device: its interrupt line
// and the kicks of its queues.
type transportSlot struct {
	vm    *kvmsys.VM
	place layout.Device
	line  *irqLine
	// activated is told whenever the driver gets a queue; nil: nobody is.
	activated func()
	final     atomic.Bool // no vCPU will run any more

	mu    sync.Mutex
	kicks map[*queueKick]struct{} // those not stopped; guarded by mu
}

var _ mmio.Backing = (*transportSlot)(nil)

// NewKick implements mmio.Backing.
func (s *transportSlot) NewKick(queue int) (virtio.StoppableKick, error) {
	k := newQueueKick(s.vm, s.place.Addr(), queue, s)
	s.mu.Lock()
	s.kicks[k] = struct{}{}
	s.mu.Unlock()
	if s.activated != nil {
		s.activated()
	}
	return k, nil
}

// Interrupt implements mmio.Backing.
func (s *transportSlot) Interrupt() { s.line.pulse() }

func (s *transportSlot) remove(k *queueKick) {
	s.mu.Lock()
	delete(s.kicks, k)
	s.mu.Unlock()
}

// last says that no vCPU will run any more, and returns the queues that are in use.
func (s *transportSlot) last() []*queueKick {
	s.final.Store(true)
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Keys(s.kicks))
}
