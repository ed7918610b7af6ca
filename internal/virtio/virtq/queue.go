// Package virtq is the device's side of a virtio split virtqueue (virtio 1.2 section 2.7): it takes descriptor chains that
// a driver made available, and gives them back as used. It knows no device, no transport and no hypervisor.
//
// The driver is hostile and runs at the same time. Every field of the rings is read once, atomically, into Go variables;
// these are checked and then used. A broken rule is a *Fault and stops the queue: from then on Pop returns the same fault,
// until the transport makes a new queue after a reset. No value of the guest leads to a panic, to an allocation of its
// choosing, or to more than Size + 1024 steps for one chain.
//
// Who uses it: the transport makes queues at DRIVER_OK and hands each to one worker of a device. A Queue has no lock; one
// goroutine uses it at a time, and holds a reference of the memory (guestmem.Memory.Acquire) while it does.
//
// Host memory is bounded by Size chains in flight, of at most Size + 1024 slice headers each; the hot path allocates
// nothing once as many chains as the device keeps in flight have been seen.
package virtq

import (
	"github.com/libcapsa/libcapsa/internal/guestmem"
)

const (
	// MaxSize is the largest queue size (2.7: "Queue Size value is always a power of 2. The maximum Queue Size value is 32768").
	MaxSize = 32768
	// MaxBytes is the most that the buffers of one chain may have together (2.7.5.1).
	MaxBytes = 1 << 32
	// maxIndirectTable is the most entries of an indirect table: as many as the largest queue has descriptors.
	maxIndirectTable = MaxSize
	// minChainBound: chains in indirect tables may have this many descriptors even in smaller queues. 2.7.5.3.1 forbids it,
	// and yet drivers in the field do it since QEMU lets them, up to 1024, which is also what one readv takes (IOV_MAX).
	minChainBound = 1024
)

// Config is what the driver set up through the transport.
type Config struct {
	Size     uint16 // number of descriptors
	Desc     uint64 // guest address of the descriptor table
	Avail    uint64 // guest address of the available ring, the "driver area"
	Used     uint64 // guest address of the used ring, the "device area"
	Indirect bool   // VIRTIO_F_INDIRECT_DESC was negotiated
	EventIdx bool   // VIRTIO_F_EVENT_IDX was negotiated
}

// Queue is the device's side of one virtqueue.
type Queue struct {
	cfg   Config
	mem   *guestmem.Memory
	rings rings
	mask  uint16 // Size - 1

	next     uint16 // index of the next available entry to take; runs freely
	avail    uint16 // available index as last read
	used     uint16 // used index, published but for entries between put and publish
	flags    uint16 // used flags as published
	unsent   uint32 // chains pushed since NeedsInterrupt last decided
	maxBytes uint64

	batch    uint64   // counts the reads of the available index that found something
	seen     []uint64 // by head: the batch it was last taken in
	inFlight []uint64 // bit set for heads the device has
	count    int      // of bits set
	free     []*Chain // storage for the next chains, last in first out
	fault    *Fault   // the queue has stopped
}

// New checks the driver's set-up. From here on the guest can change the rings' contents, not
// their place. Errors are *Fault with one of the first four reasons.
func New(mem *guestmem.Memory, cfg Config) (*Queue, error) {
	if cfg.Size == 0 || cfg.Size > MaxSize || cfg.Size&(cfg.Size-1) != 0 {
		return nil, &Fault{Reason: FaultQueueSize, Value: uint64(cfg.Size)}
	}
	q := &Queue{cfg: cfg, mem: mem, mask: cfg.Size - 1, maxBytes: MaxBytes}
	if f := q.rings.resolve(mem, cfg); f != nil {
		return nil, f
	}
	q.seen = make([]uint64, cfg.Size)
	q.inFlight = make([]uint64, (int(cfg.Size)+63)/64)
	return q, nil
}

// Config returns the driver's set-up.
func (q *Queue) Config() Config { return q.cfg }

// InFlight is the number of chains that were popped and not pushed. It is at most Size.
func (q *Queue) InFlight() int { return q.count }

// SetMaxBytes bounds the bytes of one chain, readable and writable together, below MaxBytes. A longer chain is FaultTotalLength.
func (q *Queue) SetMaxBytes(n uint64) { q.maxBytes = min(n, MaxBytes) }

// Pop takes the next chain that the driver made available. It returns nil and no error when there is none. An error is a
// *Fault: the driver broke a rule, the queue has stopped, and the device needs a reset.
//
// The chain is the caller's until Push.
func (q *Queue) Pop() (*Chain, error) {
	c, f := q.pop()
	if f != nil {
		q.fault = f
		return nil, f
	}
	return c, nil
}

func (q *Queue) pop() (*Chain, *Fault) {
	if q.fault != nil {
		return nil, q.fault
	}
	if q.next == q.avail {
		// The atomic load orders what follows after it: the ring entries and descriptors that the driver wrote before it
		// moved the index (2.7.13.3) are seen.
		avail := q.rings.availIndex()
		if n := avail - q.next; n > q.cfg.Size {
			return nil, &Fault{Reason: FaultAvailIndex, Value: uint64(avail)}
		}
		q.avail = avail
		if q.next == avail {
			return nil, nil
		}
		q.batch++
	}
	head := q.rings.availEntry(q.next & q.mask)
	if head >= q.cfg.Size {
		return nil, &Fault{Reason: FaultHeadIndex, Head: head, Value: uint64(head)}
	}
	// All entries of a batch were written before any of its chains was used. A head that comes twice in it was in flight then,
	// even if the device has been done with it since.
	if q.has(head) || q.seen[head] == q.batch {
		return nil, &Fault{Reason: FaultHeadInFlight, Head: head, Value: uint64(head)}
	}
	c := q.take(head)
	if f := q.walk(c); f != nil {
		q.free = append(q.free, c)
		return nil, f
	}
	q.seen[head] = q.batch
	q.inFlight[head/64] |= 1 << (head % 64)
	q.count++
	q.next++
	return c, nil
}

// Push gives a chain back to the driver, with the number of bytes written to its device-writable buffers, counted from their
// start (2.7.8). More than the chain has is cut. The chain and its buffers are not the caller's any more.
//
// A chain that is not in flight is a bug of the device and panics; nothing a guest does leads there.
func (q *Queue) Push(c *Chain, written uint32) {
	q.put(c, written)
	q.publish()
}

// Used is a chain to be given back, and how many bytes were written to it.
type Used struct {
	Chain   *Chain
	Written uint32
}

// PushAll is Push for several chains, which the driver sees all at once or not at all: for a packet that is spread over
// chains, none of which makes sense before the last one is there (5.1.6.4), and for batches, as it costs one barrier. It
// does not keep used. None is nothing.
func (q *Queue) PushAll(used []Used) {
	for i := range used {
		q.put(used[i].Chain, used[i].Written)
	}
	if len(used) > 0 {
		q.publish()
	}
}

// put writes a used entry that the driver does not see before publish.
func (q *Queue) put(c *Chain, written uint32) {
	if !q.has(c.Head) {
		panic("BUG: virtq: Push of a chain that is not in flight")
	}
	q.inFlight[c.Head/64] &^= 1 << (c.Head % 64)
	q.count--
	if uint64(written) > c.writeLen {
		written = uint32(c.writeLen) // smaller than a uint32 as written is
	}
	q.rings.putUsed(q.used&q.mask, c.Head, written)
	q.used++
	q.unsent++
	q.free = append(q.free, c)
}

// publish shows the driver the entries that were put. The atomic store orders them, and the payload before them, ahead of the
// index (2.7.14).
func (q *Queue) publish() { q.rings.publishUsed(q.flags, q.used) }

// Fail stops the queue because a well-formed chain makes no sense to the device. The fault it returns is what Pop returns from
// now on, and what the device reports to its transport. A queue that had stopped keeps its first fault.
func (q *Queue) Fail(head uint16, err error) *Fault {
	if q.fault == nil {
		q.fault = &Fault{Reason: FaultRequest, Head: head, Err: err}
	}
	return q.fault
}

// has tells whether the device has the chain that starts at head. head < Size.
func (q *Queue) has(head uint16) bool { return q.inFlight[head/64]&(1<<(head%64)) != 0 }

// take returns empty storage for a chain.
func (q *Queue) take(head uint16) *Chain {
	n := len(q.free)
	if n == 0 {
		return &Chain{Head: head}
	}
	c := q.free[n-1]
	q.free = q.free[:n-1]
	c.reset(head)
	return c
}
