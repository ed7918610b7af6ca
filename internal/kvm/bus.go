//go:build linux

package kvm

import (
	"cmp"
	"fmt"
	"slices"
	"sync/atomic"
)

// registers is a device as a bus sees it. It is called on the vCPU's thread,
// by several vCPUs at once; p has 1 to 8 bytes, all inside of its window.
type registers interface {
	Read(offset uint64, p []byte)
	Write(offset uint64, p []byte)
}

// window is where a device sits on a bus.
type window struct {
	base, size uint64
	name       string
	dev        registers

	reads, writes atomic.Uint64 // accesses by the guest
}

// bus leads guest accesses to devices: one for ports, one for memory. The table
// is built while the machine is assembled and never changes afterwards, so that
// vCPUs search it without a lock.
type bus struct {
	windows []*window // sorted by base, without overlaps

	unclaimed atomic.Uint64 // accesses that hit no window, or more than one
}

// add puts a device on the bus. The error says that the window is empty, wraps
// around or overlaps another.
func (b *bus) add(name string, base, size uint64, dev registers) error {
	if size == 0 || base+size < base {
		return fmt.Errorf("%s: window of %#x bytes at %#x", name, size, base)
	}
	w := &window{base: base, size: size, name: name, dev: dev}
	at, _ := slices.BinarySearchFunc(b.windows, base, func(w *window, base uint64) int { return cmp.Compare(w.base, base) })
	for _, n := range b.windows[max(at-1, 0):min(at+1, len(b.windows))] {
		if n.base < base+size && base < n.base+n.size {
			return fmt.Errorf("%s at %#x overlaps %s at %#x", name, base, n.name, n.base)
		}
	}
	b.windows = slices.Insert(b.windows, at, w)
	return nil
}

// find is the window that holds the whole access, or nil.
func (b *bus) find(addr uint64, n int) *window {
	lo, hi := 0, len(b.windows)
	for lo < hi {
		mid := int(uint(lo+hi) >> 1)
		if b.windows[mid].base <= addr {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	if lo == 0 {
		return nil
	}
	w := b.windows[lo-1]
	if off := addr - w.base; off >= w.size || uint64(n) > w.size-off {
		return nil
	}
	return w
}

// read answers a guest's read. What no device claims reads as ones, as on a bus
// with nobody to drive it; so does an access that crosses the end of a window.
func (b *bus) read(addr uint64, p []byte) {
	w := b.find(addr, len(p))
	if w == nil {
		b.unclaimed.Add(1)
		for i := range p {
			p[i] = 0xff
		}
		return
	}
	w.reads.Add(1)
	w.dev.Read(addr-w.base, p)
}

// write serves a guest's write; what no device claims is dropped.
func (b *bus) write(addr uint64, p []byte) {
	w := b.find(addr, len(p))
	if w == nil {
		b.unclaimed.Add(1)
		return
	}
	w.writes.Add(1)
	w.dev.Write(addr-w.base, p)
}
