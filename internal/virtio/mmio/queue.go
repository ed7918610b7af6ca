package mmio

import (
	"errors"
	"fmt"

	"github.com/libcapsa/libcapsa/internal/virtio"
	"github.com/libcapsa/libcapsa/internal/virtio/virtq"
)

// errMemoryClosed is why a device cannot be activated once the machine is
// being torn down.
var errMemoryClosed = errors.New("guest memory is closed")

// queueRegisters is what a driver wrote about one queue, unchecked. It is
// looked at once, at DRIVER_OK; the data path has a copy that was checked.
type queueRegisters struct {
	num    uint32 // descriptors; 32 bits, so that 0x10080 is not taken for 0x80
	ready  bool
	desc   uint64 // guest-physical addresses of the three areas
	driver uint64
	device uint64
}

// selectedQueue returns the registers of the queue in QueueSel, nil where
// there is no such queue. Preconditions: mu is held.
func (t *Transport) selectedQueue() *queueRegisters {
	if t.queueSel >= uint32(len(t.queues)) {
		return nil
	}
	return &t.queues[t.queueSel]
}

// writeQueue changes a register of the selected queue. Only the time between
// FEATURES_OK and DRIVER_OK is for that, and only QueueReady may be written
// while the queue is ready (virtio 1.2 sections 3.1.1 and 4.2.2.2); every other
// write is ignored. Preconditions: mu is held.
func (t *Transport) writeQueue(offset uint64, v uint32) {
	q := t.selectedQueue()
	if q == nil || t.status != stepFeatures || (q.ready && offset != regQueueReady) {
		t.line.log.printf("ignored %#x to register %#x of queue %d at status %#x", v, offset, t.queueSel, uint32(t.status))
		return
	}
	switch offset {
	case regQueueNum:
		q.num = v
	case regQueueReady:
		q.ready = v == 1
	case regQueueDescLow:
		setLow(&q.desc, v)
	case regQueueDescHigh:
		setHigh(&q.desc, v)
	case regQueueDriverLow:
		setLow(&q.driver, v)
	case regQueueDriverHigh:
		setHigh(&q.driver, v)
	case regQueueDeviceLow:
		setLow(&q.device, v)
	case regQueueDeviceHigh:
		setHigh(&q.device, v)
	}
}

func setLow(addr *uint64, v uint32)  { *addr = *addr&^0xffff_ffff | uint64(v) }
func setHigh(addr *uint64, v uint32) { *addr = *addr&0xffff_ffff | uint64(v)<<32 }

// notify passes a kick on that reached the register: machines without
// ioeventfd, and drivers that kick a queue there is none of. Preconditions: mu
// is held.
func (t *Transport) notify(queue uint32) {
	if queue >= uint32(len(t.kicks)) || t.kicks[queue] == nil {
		t.line.log.printf("ignored a kick of queue %d at status %#x", queue, uint32(t.status))
		return
	}
	t.kicks[queue].Poke()
}

// activate checks what the driver wrote, makes the queues and their kicks and
// hands them to the device. After an error nothing is left of them.
// Preconditions: mu is held, and the device is not active.
func (t *Transport) activate() error {
	signal := t.line.open()
	if !t.mem.Acquire() {
		return errMemoryClosed
	}
	// From here on deactivate gives everything back, at the next reset or now.
	t.kicks = make([]virtio.StoppableKick, len(t.queues))
	a := virtio.Activation{
		Mem:      t.mem,
		Features: t.driverFeatures,
		Queues:   make([]*virtq.Queue, len(t.queues)),
		Kicks:    make([]virtio.Kick, len(t.queues)),
		Signal:   signal,
		Counters: &t.counters,
	}
	err := t.makeQueues(&a)
	if err == nil {
		err = t.dev.Activate(a)
	}
	if err != nil {
		t.releaseQueues()
	}
	return err
}

// makeQueues fills in the queues that are ready, and their kicks.
// Preconditions: mu is held.
func (t *Transport) makeQueues(a *virtio.Activation) error {
	for i, q := range t.queues {
		if !q.ready {
			continue
		}
		if q.num > uint32(t.sizes[i]) {
			return fmt.Errorf("queue %d: %d descriptors, %d are allowed", i, q.num, t.sizes[i])
		}
		queue, err := virtq.New(t.mem, virtq.Config{
			Size:     uint16(q.num),
			Desc:     q.desc,
			Avail:    q.driver,
			Used:     q.device,
			Indirect: t.driverFeatures&virtio.FeatureRingIndirectDesc != 0,
			EventIdx: t.driverFeatures&virtio.FeatureRingEventIdx != 0,
		})
		if err != nil {
			return fmt.Errorf("queue %d: %w", i, err)
		}
		kick, err := t.backing.NewKick(i)
		if err != nil {
			return fmt.Errorf("queue %d: kick: %w", i, err)
		}
		t.kicks[i] = kick
		a.Queues[i], a.Kicks[i] = queue, kick
	}
	return nil
}

// deactivate ends an activation, if there is one. The line is shut first, so
// that a completion that comes late is dropped. Preconditions: mu is held.
// Postconditions: the device's workers have ended.
func (t *Transport) deactivate() {
	t.line.shut()
	t.dev.Reset()
	t.releaseQueues()
}

// releaseQueues stops the kicks and gives guest memory back. Idempotent.
// Preconditions: mu is held; no worker of the device runs.
func (t *Transport) releaseQueues() {
	if t.kicks == nil {
		return
	}
	for _, kick := range t.kicks {
		if kick != nil {
			kick.Stop()
		}
	}
	t.kicks = nil
	t.mem.Release()
}
