package mmio

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/libcapsa/libcapsa/internal/guestmem"
	"github.com/libcapsa/libcapsa/internal/virtio"
)

// A9 and A10: queues that a driver cannot have meant refuse the activation.
func TestActivationRefused(t *testing.T) {
	tests := []struct {
		name   string
		change func(q *queueRegisters)
	}{
		{"size 0", func(q *queueRegisters) { q.num = 0 }},
		{"size 3", func(q *queueRegisters) { q.num = 3 }},
		{"size above the device's", func(q *queueRegisters) { q.num = 16 }},
		{"size 65536", func(q *queueRegisters) { q.num = 1 << 16 }},
		{"size whose low half is valid", func(q *queueRegisters) { q.num = 1<<16 | 8 }},
		{"size 2^32-1", func(q *queueRegisters) { q.num = 1<<32 - 1 }},
		{"descriptors misaligned", func(q *queueRegisters) { q.desc += 8 }},
		{"available ring misaligned", func(q *queueRegisters) { q.driver++ }},
		{"used ring misaligned", func(q *queueRegisters) { q.device += 2 }},
		{"descriptors above RAM", func(q *queueRegisters) { q.desc = ramSize }},
		{"descriptors over the end of RAM", func(q *queueRegisters) { q.desc = ramSize - 16 }},
		{"available ring over the end of RAM", func(q *queueRegisters) { q.driver = ramSize - 4 }},
		{"used ring over the end of RAM", func(q *queueRegisters) { q.device = ramSize - 4 }},
		{"descriptors in the MMIO window", func(q *queueRegisters) { q.desc = 0xd000_0000 }},
		{"used ring wraps", func(q *queueRegisters) { q.device = ^uint64(0) - 3 }},
		{"available ring in the descriptors", func(q *queueRegisters) { q.driver = q.desc + 16 }},
		{"used ring on the available ring", func(q *queueRegisters) { q.device = q.driver }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t)
			r.negotiate()
			q := queueAddrs(0)
			tt.change(&q)
			r.setQueue(1, queueAddrs(1))
			r.setQueue(0, q)
			r.setStatus(stepRunning)

			require.Equal(t, stepRunning|virtio.StatusNeedsReset, r.getStatus())
			require.Equal(t, interruptConfig, r.get(regInterruptStatus))
			require.Equal(t, int64(1), r.backing.interrupts.Load())
			require.Empty(t, r.dev.activations)
			require.Zero(t, r.backing.live.Load())
			require.Equal(t, uint64(1), r.Stats().Faults)
			r.set(regQueueNotify, 0)

			r.setStatus(0)
			r.start()
			require.Equal(t, stepRunning, r.getStatus(), "a reset recovers the device")
		})
	}
}

func TestActivationAtTheEndOfRAM(t *testing.T) {
	r := newRig(t)
	r.negotiate()
	q := queueAddrs(0)
	q.device = ramSize - 76 // 6 + 8*8 bytes, rounded up to what 4-byte alignment leaves
	r.setQueue(0, q)
	r.setStatus(stepRunning)
	require.Equal(t, stepRunning, r.getStatus())
}

// Descriptors, memory or the device itself can refuse too; nothing is left
// over, and the next driver gets what it needs.
func TestActivationHostFaults(t *testing.T) {
	tests := []struct {
		name       string
		spoil, fix func(r *rig)
	}{
		{"no descriptor for the first kick", func(r *rig) { r.backing.failKick = 0 }, func(r *rig) { r.backing.failKick = -1 }},
		{"no descriptor for the second kick", func(r *rig) { r.backing.failKick = 1 }, func(r *rig) { r.backing.failKick = -1 }},
		{"device refuses", func(r *rig) { r.dev.activateErr = errors.New("no") }, func(r *rig) { r.dev.activateErr = nil }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t)
			tt.spoil(r)
			r.start()
			require.Equal(t, stepRunning|virtio.StatusNeedsReset, r.getStatus())
			require.Equal(t, interruptConfig, r.get(regInterruptStatus))
			require.Zero(t, r.backing.live.Load())
			tt.fix(r)
			r.setStatus(0)
			r.start()
			require.Equal(t, stepRunning, r.getStatus())
		})
	}
}

func TestActivationAfterMemoryIsClosed(t *testing.T) {
	mem, err := guestmem.Heap(guestmem.Span{Size: ramSize})
	require.NoError(t, err)
	r := newRig(t)
	r.Transport.mem = mem
	require.NoError(t, mem.Close())
	r.start()
	require.Equal(t, stepRunning|virtio.StatusNeedsReset, r.getStatus())
	r.setStatus(0)
	require.Zero(t, r.getStatus())
}

// A10: what is written after DRIVER_OK changes nothing (CVE-2026-5747).
func TestQueueIsLatched(t *testing.T) {
	r := newRig(t)
	r.start()
	for i := range uint32(2) {
		r.set(regQueueSel, i)
		r.set(regQueueReady, 0)
		require.Equal(t, uint32(1), r.get(regQueueReady))
		r.setQueue(i, queueRegisters{num: 256, desc: 0x1000, driver: 0x2000, device: 0x3000})
		require.Equal(t, queueAddrs(i).num, r.queues[i].num)
	}
	a := r.dev.last(t)
	require.Equal(t, uint16(8), a.Queues[0].Config().Size)
	require.Equal(t, queueAddrs(0).desc, a.Queues[0].Config().Desc)
}

func TestQueueRegistersOutsideTheirTime(t *testing.T) {
	r := newRig(t)
	early := func() {
		r.setQueue(0, queueAddrs(0))
		require.Zero(t, r.get(regQueueReady))
	}
	early()
	r.setStatus(stepAcknowledged)
	early()
	r.setStatus(stepDriver)
	early()
	r.setFeatures(allFeatures)
	r.setStatus(stepFeatures)

	q := queueAddrs(0)
	r.setQueue(0, q)
	require.Equal(t, uint32(1), r.get(regQueueReady))
	r.setQueue(0, queueAddrs(1)) // a queue that is ready keeps its addresses
	require.Equal(t, q.desc, r.queues[0].desc)
	r.set(regQueueReady, 0) // and may be taken back
	require.Zero(t, r.get(regQueueReady))
	r.set(regQueueReady, 0xffff_ffff)
	require.Zero(t, r.get(regQueueReady))
	r.setQueue(0, queueAddrs(1))
	require.Equal(t, queueAddrs(1).desc, r.queues[0].desc)
}

// A12: kicks nobody is there for.
func TestKickIgnored(t *testing.T) {
	r := newRig(t)
	irq := make(chan struct{}, 16)
	r.line.raise = func() { irq <- struct{}{} }
	kicks := func() {
		for _, q := range []uint32{0, 1, 2, 3, 0x1_0000, 0x8000_0000, 0xffff_ffff} {
			r.set(regQueueNotify, q)
		}
	}
	kicks()
	r.negotiate()
	r.setQueue(0, queueAddrs(0))
	kicks()
	r.offer(0, 0)
	require.Zero(t, r.dev.served.Load())
	r.setStatus(stepRunning)
	<-irq
	kicks()
	r.setStatus(0)
	kicks()
	require.Equal(t, int64(1), r.dev.served.Load(), "what was offered before DRIVER_OK is served, without a kick")
}

// The whole way of a request, with the interrupt at its end.
func TestRequest(t *testing.T) {
	r := newRig(t)
	irq := make(chan struct{}, 16)
	r.line.raise = func() { irq <- struct{}{} }
	r.start()
	for i := range uint16(20) {
		require.NoError(t, r.mem.Store16(queueAddrs(1).driver+4+2*8, i)) // used_event: the next one
		r.offer(1, i)
		r.set(regQueueNotify, 1)
		<-irq
		require.Equal(t, interruptUsed, r.get(regInterruptStatus))
		r.set(regInterruptACK, interruptUsed)
		used, err := r.mem.Load16(queueAddrs(1).device + 2)
		require.NoError(t, err)
		require.Equal(t, i+1, used)
	}
	require.Zero(t, r.get(regInterruptStatus))
	require.NotZero(t, r.Stats().Kicks)
	require.Equal(t, uint64(20), r.Stats().Interrupts)
}

// A fault of one queue: NEEDS_RESET and one interrupt; a reset recovers.
func TestQueueFault(t *testing.T) {
	r := newRig(t)
	irq := make(chan struct{}, 16)
	r.line.raise = func() { irq <- struct{}{} }
	r.start()
	require.NoError(t, r.mem.Store16(queueAddrs(0).driver+2, 9)) // more than the queue has
	r.set(regQueueNotify, 0)
	<-irq
	require.Equal(t, stepRunning|virtio.StatusNeedsReset, r.getStatus())
	require.Equal(t, interruptConfig, r.get(regInterruptStatus))
	r.set(regQueueNotify, 0)
	r.setStatus(0)
	require.NoError(t, r.mem.Store16(queueAddrs(0).driver+2, 0))
	r.start()
	r.offer(0, 0)
	r.set(regQueueNotify, 0)
	<-irq
	require.Equal(t, stepRunning, r.getStatus())
}
