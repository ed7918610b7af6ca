package legacy

import (
	"cmp"
	"fmt"
	"slices"
)

// Bus finds the device of an I/O port. It is built before the guest runs and does not change after that; reading it is safe
// from any number of threads. The zero Bus is empty.
type Bus struct {
	blocks []block // by ascending port, no overlap
}

type block struct {
	first, count uint32
	device       Device
}

// Add puts a device at ports first to first+count-1. Ports that overlap, or lie beyond 65535, are a programming error.
func (b *Bus) Add(first, count uint16, d Device) {
	n := block{uint32(first), uint32(count), d}
	if n.count == 0 || n.first+n.count > 1<<16 {
		panic(fmt.Sprintf("BUG: legacy: %d ports from %#x", count, first))
	}
	for _, o := range b.blocks {
		if n.first < o.first+o.count && o.first < n.first+n.count {
			panic(fmt.Sprintf("BUG: legacy: ports %#x and %#x overlap", first, o.first))
		}
	}
	b.blocks = append(b.blocks, n)
	slices.SortFunc(b.blocks, func(a, b block) int { return cmp.Compare(a.first, b.first) })
}

// Read is the guest's access to port, of len(p) bytes. Where no device is, all bits are set; nothing crosses from one device
// to the next.
func (b *Bus) Read(port uint16, p []byte) {
	fill(p, floating)
	if d, offset, n := b.find(port, len(p)); d != nil {
		d.Read(offset, p[:n])
	}
}

// Write is the guest's access to port, of len(p) bytes. Where no device is, nothing happens.
func (b *Bus) Write(port uint16, p []byte) {
	if d, offset, n := b.find(port, len(p)); d != nil {
		d.Write(offset, p[:n])
	}
}

// Has tells whether a device is at port: for counting accesses that nobody answers.
func (b *Bus) Has(port uint16) bool {
	d, _, _ := b.find(port, 1)
	return d != nil
}

// find is the device at port, the offset in it, and how many of size bytes belong to it.
func (b *Bus) find(port uint16, size int) (Device, uint16, int) {
	for _, k := range b.blocks { // a handful
		if at := uint32(port); at >= k.first && at < k.first+k.count {
			return k.device, uint16(at - k.first), min(size, int(k.first+k.count-at))
		}
	}
	return nil, 0, 0
}
