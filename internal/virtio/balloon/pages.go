package balloon

import (
	"encoding/binary"
	"errors"
	"slices"

	"github.com/libcapsa/libcapsa/internal/guestmem"
	"github.com/libcapsa/libcapsa/internal/virtio"
	"github.com/libcapsa/libcapsa/internal/virtio/virtq"
)

const (
	// MaxRequest is how many bytes a request to inflate or deflate may have: 16384
	// page numbers of 4 bytes. Linux sends 256 at most
	// (drivers/virtio/virtio_balloon.c, VIRTIO_BALLOON_ARRAY_PFNS_MAX), Windows
	// 1024.
	MaxRequest = 64 << 10

	// batchPages is how many page numbers are copied out and sorted at once.
	batchPages = 1024

	// maxStep is how many bytes are given back between two looks whether the
	// device is being reset: 16384 pages, a few milliseconds.
	maxStep = 64 << 20

	// busyBudget is how many requests are served before the driver is
	// interrupted and a reset is looked for: each may take long.
	busyBudget = 4

	pfnSize = 4 // bytes of a page number (section 5.5.6: le32)
)

var (
	// errPages: "an array of 32-bit guest-physical page numbers" (section 5.5.6).
	errPages = errors.New("the request is no list of page numbers")
	// errReport: reports are device-writable buffers (section 5.5.6.7).
	errReport = errors.New("a report names no memory")
	// errAbandoned: the device is being reset; nobody sees it.
	errAbandoned = errors.New("reset")
)

// pages makes what serves a queue of page numbers.
func (d *Device) pages(a virtio.Activation, act func(m *guestmem.Memory, pfns []uint32) (failed int, err error)) virtio.Handler {
	var bytes [batchPages * pfnSize]byte
	var pfns [batchPages]uint32
	return d.patient(a, func(c *virtq.Chain) error {
		size := c.ReadLen()
		if size == 0 || size%pfnSize != 0 {
			return errPages
		}
		for off := 0; off < size; {
			n := c.CopyIn(bytes[:min(len(bytes), size-off)], off) / pfnSize
			for i := range n {
				pfns[i] = binary.LittleEndian.Uint32(bytes[i*pfnSize:])
			}
			off += n * pfnSize
			failed, err := act(a.Mem, pfns[:n])
			if err != nil {
				return err
			}
			for range failed {
				a.Counters.AddError()
			}
		}
		return nil
	})
}

// inflate gives pages back to the host. Linux takes pages where it finds them, often
// in rows that go up or down: sorted, a row is one call. What is not RAM, and what
// the host does not take, is counted as failed.
func (d *Device) inflate(m *guestmem.Memory, pfns []uint32) (failed int, err error) {
	slices.Sort(pfns)
	pfns = slices.Compact(pfns)
	for len(pfns) > 0 {
		if !m.Contains(uint64(pfns[0])*PageSize, PageSize) {
			failed, pfns = failed+1, pfns[1:]
			continue
		}
		n := 1
		for n < len(pfns) && pfns[n]-pfns[n-1] == 1 && m.Contains(uint64(pfns[n])*PageSize, PageSize) {
			n++
		}
		lost, err := d.discard(uint64(pfns[0])*PageSize, uint64(n)*PageSize)
		if err != nil {
			return failed, err
		}
		if lost {
			failed++
		} else {
			d.inflated.Add(uint64(n) * PageSize)
		}
		pfns = pfns[n:]
	}
	return failed, nil
}

// deflate has nothing to do: pages come back when they are touched.
func (d *Device) deflate(m *guestmem.Memory, pfns []uint32) (failed int, err error) {
	for _, pfn := range pfns {
		if !m.Contains(uint64(pfn)*PageSize, PageSize) {
			failed++
			continue
		}
		d.deflated.Add(PageSize)
	}
	return failed, nil
}

// reports makes what serves a queue of free page reports: each buffer is a range that
// is free until the request is returned (section 5.5.6.7).
//
// A guest that fills free pages with a pattern may have negotiated PAGE_POISON. It
// then finds its pattern or, if that is 0, zeroes: pages given back read as zeroes,
// so with another pattern they stay as they are.
func (d *Device) reports(a virtio.Activation) virtio.Handler {
	return d.patient(a, func(c *virtq.Chain) error {
		if c.WriteLen() == 0 {
			return errReport
		}
		if d.poisoned() {
			return nil
		}
		for _, b := range c.Write {
			addr, ok := a.Mem.AddrOf(b)
			if !ok {
				return errReport // cannot be: the queue takes its buffers from there
			}
			lost, err := d.discard(addr, uint64(len(b)))
			if err != nil {
				return err
			}
			if lost {
				a.Counters.AddError()
				continue
			}
			d.reported.Add(uint64(len(b)))
		}
		return nil
	})
}

// poisoned says whether the guest expects anything but zeroes in free pages.
func (d *Device) poisoned() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.features&FeaturePoison != 0 && d.poison != 0
}

// discard gives a range back, step by step. lost: the host did not take it. The error
// says that the device is being reset.
func (d *Device) discard(addr, size uint64) (lost bool, err error) {
	for size > 0 {
		if d.stopping.Load() {
			return false, errAbandoned
		}
		n := min(size, maxStep)
		if d.memory.Discard(addr, n) != nil {
			return true, nil
		}
		addr, size = addr+n, size-n
	}
	return false, nil
}

// patient makes a handler of what serves one request, which may take long. Nothing is
// ever written to a request.
func (d *Device) patient(a virtio.Activation, serve func(c *virtq.Chain) error) virtio.Handler {
	return virtio.HandlerFunc(func(q *virtq.Queue, budget int) (int, virtio.Outcome, error) {
		budget = min(budget, busyBudget)
		for n := range budget {
			c, err := q.Pop()
			if err != nil {
				return n, virtio.RingEmpty, err
			}
			if c == nil {
				return n, virtio.RingEmpty, nil
			}
			switch err := serve(c); {
			case errors.Is(err, errAbandoned):
				return n, virtio.Again, nil
			case err != nil:
				return n, virtio.RingEmpty, q.Fail(c.Head, err)
			}
			q.Push(c, 0)
			a.Counters.AddRequests(1, 0)
		}
		return budget, virtio.Again, nil
	})
}
