//go:build linux

package kvm

import (
	"context"
	"encoding/binary"
	"maps"
	"os"
	"slices"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

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

// irqLine is an edge-triggered interrupt line: an eventfd that KVM listens to.
type irqLine struct{ fd int }

// newIRQLine makes a line to a GSI.
func newIRQLine(v *kvmsys.VM, gsi uint32) (*irqLine, error) {
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return nil, os.NewSyscallError("eventfd2", err)
	}
	if err := v.AssignIRQFD(fd, gsi); err != nil {
		_ = unix.Close(fd)
		return nil, err
	}
	return &irqLine{fd: fd}, nil
}

// pulse raises the interrupt. It does not block: KVM takes the count at once.
//
// Preconditions: close has not been called.
func (l *irqLine) pulse() {
	var one [8]byte
	binary.NativeEndian.PutUint64(one[:], 1)
	for {
		// EAGAIN: the count is at its maximum, so an edge is pending, as asked.
		if _, err := unix.Write(l.fd, one[:]); err != unix.EINTR {
			return
		}
	}
}

// close takes the line away. KVM lets go of an eventfd that is closed, by itself
// (virt/kvm/eventfd.c, irqfd_wakeup); asked to, it would make us wait for a grace
// period.
//
// Preconditions: nobody pulses it any more.
func (l *irqLine) close() error { return os.NewSyscallError("close", unix.Close(l.fd)) }

// queueKick is a queue's kick: KVM signals an eventfd when the driver writes the
// queue's number to QueueNotify. It also knows whether the queue's worker has
// looked at the ring since a given moment, for drain.
type queueKick struct {
	*virtio.EventFD
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

func newQueueKick(v *kvmsys.VM, base uint64, queue int, slot *transportSlot) (*queueKick, error) {
	fd, err := virtio.NewEventFD()
	if err != nil {
		return nil, err
	}
	match := uint64(queue)
	k := &queueKick{
		EventFD: fd,
		vm:      v,
		event:   kvmsys.IOEvent{Addr: base + mmio.NotifyOffset, Len: 4, Match: &match},
		slot:    slot,
		changed: make(chan struct{}),
	}
	if err := v.AssignIOEvent(k.event, fd.FD()); err != nil {
		fd.Stop()
		return nil, err
	}
	return k, nil
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
	err := k.EventFD.Wait()
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
		if !k.slot.final.Load() {
			_ = k.vm.DeassignIOEvent(k.event, k.FD()) // fails only for one never assigned
		}
		k.EventFD.Stop()
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
	k, err := newQueueKick(s.vm, s.place.Addr(), queue, s)
	if err != nil {
		return nil, err
	}
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
