package virtiotest

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// Queue is a correct driver's side of one virtqueue.
type Queue struct {
	d     *Driver
	t     testing.TB
	index int
	// Raw is the ring itself, for tests that break the rules.
	Raw *Raw

	event   bool
	free    []uint16 // descriptors, last in first out
	chains  map[uint16]chain
	avail   uint16 // next available index
	shown   uint16 // available index that the device was told
	reaped  uint16 // used entries taken
	pending int    // chains the device has
}

// chain is what a driver remembers of a chain in flight.
type chain struct {
	descs    []uint16
	blocks   []block // everything allocated for it
	writable []block // the device-writable ones, in order
}

type block struct{ addr, size uint64 }

// Used is a chain that came back.
type Used struct {
	Head uint16
	Len  uint32 // bytes the device says it wrote
	Data []byte // a copy of the first Len device-writable bytes
}

func newQueue(d *Driver, index int, raw *Raw) *Queue {
	q := &Queue{d: d, t: d.t, index: index, Raw: raw, event: d.Negotiated&FeatureEventIdx != 0, chains: map[uint16]chain{}}
	for i := raw.Size; i > 0; i-- {
		q.free = append(q.free, i-1)
	}
	return q
}

// Free is how many descriptors are unused.
func (q *Queue) Free() int { return len(q.free) }

// buffers copies the read buffers to guest memory, allocates the write ones, and returns unlinked descriptors.
func (q *Queue) buffers(c *chain, read [][]byte, write []int) []Desc {
	q.t.Helper()
	var descs []Desc
	add := func(size uint64, flags uint16) block {
		b := block{q.d.Alloc(size), size}
		c.blocks = append(c.blocks, b)
		descs = append(descs, Desc{Addr: b.addr, Len: uint32(size), Flags: flags})
		return b
	}
	for _, p := range read {
		b := add(uint64(len(p)), 0)
		require.NoError(q.t, q.d.cfg.Mem.WriteAt(p, b.addr))
	}
	for _, n := range write {
		c.writable = append(c.writable, add(uint64(n), DescWrite))
	}
	return descs
}

// take removes n descriptors from the free list.
func (q *Queue) take(n int) []uint16 {
	q.t.Helper()
	require.LessOrEqual(q.t, n, len(q.free), "no free descriptors")
	ids := make([]uint16, n)
	for i := range ids {
		ids[i] = q.free[len(q.free)-1]
		q.free = q.free[:len(q.free)-1]
	}
	return ids
}

// Add prepares a chain of device-readable buffers and then device-writable ones of the given sizes, and puts it into the
// available ring. The device sees it after Publish.
func (q *Queue) Add(read [][]byte, write ...int) (head uint16) {
	q.t.Helper()
	var c chain
	descs := q.buffers(&c, read, write)
	c.descs = q.take(len(descs))
	for i, id := range c.descs {
		if i+1 < len(descs) {
			descs[i].Flags |= DescNext
			descs[i].Next = c.descs[i+1]
		}
		q.Raw.SetDesc(id, descs[i])
	}
	return q.add(c)
}

// AddIndirect is Add with the descriptors in an indirect table.
func (q *Queue) AddIndirect(read [][]byte, write ...int) (head uint16) {
	q.t.Helper()
	var c chain
	descs := q.buffers(&c, read, write)
	for i := range descs[:len(descs)-1] {
		descs[i].Flags |= DescNext
		descs[i].Next = uint16(i + 1)
	}
	size := uint64(descSize * len(descs))
	table := block{q.d.Alloc(size), size}
	c.blocks = append(c.blocks, table)
	q.Raw.SetTable(table.addr, descs...)
	c.descs = q.take(1)
	q.Raw.SetDesc(c.descs[0], Desc{Addr: table.addr, Len: uint32(size), Flags: DescIndirect})
	return q.add(c)
}

func (q *Queue) add(c chain) uint16 {
	head := c.descs[0]
	q.chains[head] = c
	q.Raw.SetAvail(q.avail&(q.Raw.Size-1), head)
	q.avail++
	q.pending++
	return head
}

// Publish shows the device all chains added so far, and tells whether it wants a kick for them (2.7.10).
func (q *Queue) Publish() (kick bool) {
	old := q.shown
	q.Raw.SetAvailIdx(q.avail) // a full barrier: the device's wish is read after
	q.shown = q.avail
	if q.event {
		return q.avail-q.Raw.AvailEvent()-1 < q.avail-old
	}
	return q.Raw.UsedFlags()&UsedNoNotify == 0
}

// Notify kicks the device.
func (q *Queue) Notify() { q.d.cfg.Kick(uint32(q.index)) }

// Kick publishes, and notifies if the device wants that.
func (q *Queue) Kick() {
	if q.Publish() {
		q.Notify()
	}
}

// Post adds one chain, publishes it and kicks. An empty request adds no readable buffer, a reply of 0 no writable one.
func (q *Queue) Post(request []byte, reply int) (head uint16) {
	q.t.Helper()
	var read [][]byte
	var write []int
	if len(request) > 0 {
		read = append(read, request)
	}
	if reply > 0 {
		write = append(write, reply)
	}
	head = q.Add(read, write...)
	q.Kick()
	return head
}

// Reap takes the next used entry, if there is one.
func (q *Queue) Reap() (Used, bool) {
	q.t.Helper()
	if q.Raw.UsedIdx() == q.reaped {
		return Used{}, false
	}
	id, length := q.Raw.UsedElem(q.reaped & (q.Raw.Size - 1))
	c, ok := q.chains[uint16(id)]
	require.True(q.t, ok && id < uint32(q.Raw.Size), "used entry names chain %d, which is not in flight", id)
	delete(q.chains, uint16(id))
	q.reaped++
	q.pending--
	u := Used{Head: uint16(id), Len: length, Data: q.data(c, length)}
	q.free = append(q.free, c.descs...)
	for _, b := range c.blocks {
		q.d.arena.release(b.addr, b.size)
	}
	return u, true
}

// data copies what the device wrote, and requires that it claims no more than there was room for.
func (q *Queue) data(c chain, length uint32) []byte {
	q.t.Helper()
	data := make([]byte, 0, length)
	left := uint64(length)
	for _, b := range c.writable {
		n := min(left, b.size)
		p := make([]byte, n)
		require.NoError(q.t, q.d.cfg.Mem.ReadAt(p, b.addr))
		data = append(data, p...)
		left -= n
	}
	require.Zero(q.t, left, "the device claims to have written %d bytes more than the chain has", left)
	return data
}

// Wait returns the next used entry, and waits for an interrupt while there is none (2.7.7).
func (q *Queue) Wait() Used {
	q.t.Helper()
	var u Used
	q.d.WaitFor("a used chain", func() (ok bool) {
		if u, ok = q.Reap(); ok || !q.event {
			return ok
		}
		// Ask for an interrupt at the next entry, then look once more: it may have come in between.
		q.Raw.SetUsedEvent(q.reaped)
		u, ok = q.Reap()
		return ok
	})
	return u
}

// Do posts one request and returns the reply.
func (q *Queue) Do(request []byte, reply int) []byte {
	q.t.Helper()
	head := q.Post(request, reply)
	u := q.Wait()
	require.Equal(q.t, head, u.Head, "another chain came back")
	return u.Data
}
