// Package guestmem is guest-physical memory: RAM regions and checked access to them. It knows nothing of hypervisors or
// of virtio; the loader, the tables and every device reach guest memory through it.
//
// The guest's processors write this memory while we read it. Hence three rules for callers:
//
//   - What is parsed is copied first (ReadAt) or read with one atomic load (Words); decisions use the copy only.
//   - A slice from Slice goes to system calls and bulk copies, never to a parser, and is never kept past Release.
//   - Who uses memory outside of its owner's lifetime holds a reference: Acquire before, Release after.
//
// Addresses and sizes are bytes. The host is little-endian, as virtio is (amd64, arm64).
//
// Memory is safe for concurrent use.
package guestmem

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
)

var (
	// ErrRange: the span asked for is not all inside guest RAM.
	ErrRange = errors.New("guestmem: not guest RAM")
	// ErrAlign: an atomic access is not aligned to its size.
	ErrAlign = errors.New("guestmem: misaligned")
	// ErrClosed: the memory was closed.
	ErrClosed = errors.New("guestmem: closed")
	// ErrLayout: regions are empty, misaligned, too big, out of order or overlapping.
	ErrLayout = errors.New("guestmem: bad layout")
)

// wordSize is the alignment of every region's base, size and host address: the widest atomic access, in bytes.
const wordSize = 8

// Span is a run of guest-physical addresses.
type Span struct{ Base, Size uint64 }

// End is the first address after the span. It is 0 for a span that ends at the top of the address space.
func (s Span) End() uint64 { return s.Base + s.Size }

// Contains tells whether [addr, addr+size) is inside the span. An empty run is inside when addr is.
func (s Span) Contains(addr, size uint64) bool {
	off := addr - s.Base
	return addr >= s.Base && off < s.Size && size <= s.Size-off
}

// Overlaps tells whether two spans that do not wrap share a byte.
func (s Span) Overlaps(o Span) bool {
	return s.Size != 0 && o.Size != 0 && s.Base <= o.Base+(o.Size-1) && o.Base <= s.Base+(s.Size-1)
}

func (s Span) String() string { return fmt.Sprintf("[%#x,+%#x)", s.Base, s.Size) }

// Region is RAM: a span of guest addresses and the host memory behind it.
type Region struct {
	Span
	Bytes  []byte // len(Bytes) == Size; valid until the memory is unmapped
	File   int    // file descriptor of the memory, owned by Memory, but for what Place put there; -1: none
	Offset int64  // of the region in File, bytes
}

// backing is where the bytes come from.
type backing interface {
	// detach gives the pages back and leaves zeroes in their place, so that late users neither fault nor meet a foreign mapping.
	detach()
	// unmap frees the address range. Nobody uses it any more.
	unmap() error
	// discard gives back whole pages inside of a region; off and size are bytes and multiples of the page size. It may run at
	// the same time as every other method.
	discard(r *Region, off, size uint64) error
	// mapImage maps whole pages of an image copy-on-write at addr, inside of a region.
	mapImage(r *Region, addr uint64, img *Image, off, size uint64) error
	// resident is how many bytes the host holds for all regions.
	resident() uint64
	// adviseHuge says whether the host should use huge pages.
	adviseHuge(on bool)
}

// Memory is the RAM of one machine.
type Memory struct {
	regions []Region // sorted by Base; immutable
	closed  atomic.Bool

	mu      sync.Mutex
	backing backing // guarded by mu; nil: Go's heap, or unmapped
	users   int     // guarded by mu
}

// New is memory over byte slices of the caller, for tests and for backends that own their memory. Each slice is as long as
// its region and 8-byte aligned. File and Offset are ignored. Errors wrap ErrLayout.
func New(regions ...Region) (*Memory, error) {
	rs := slices.Clone(regions)
	for i := range rs {
		rs[i].File, rs[i].Offset = -1, 0
	}
	return build(rs, nil)
}

// Heap is memory on Go's heap, zeroed: what tests use, as the race detector sees nothing else. Errors wrap ErrLayout.
func Heap(spans ...Span) (*Memory, error) {
	if err := checkSpans(spans); err != nil {
		return nil, err
	}
	regions := make([]Region, len(spans))
	for i, s := range spans {
		regions[i] = Region{Span: s, Bytes: heapBytes(s.Size)}
	}
	return New(regions...)
}

func build(regions []Region, b backing) (*Memory, error) {
	slices.SortFunc(regions, func(a, b Region) int {
		if a.Base < b.Base {
			return -1
		}
		return 1
	})
	spans := make([]Span, len(regions))
	for i, r := range regions {
		spans[i] = r.Span
		if uint64(len(r.Bytes)) != r.Size || !aligned(r.Bytes) {
			return nil, fmt.Errorf("%w: region %v has %d bytes of host memory, or they are not %d-byte aligned", ErrLayout, r.Span, len(r.Bytes), wordSize)
		}
	}
	if err := checkSpans(spans); err != nil {
		return nil, err
	}
	return &Memory{regions: regions, backing: b}, nil
}

// maxTotal bounds what one machine may have, so that sums and conversions to int cannot overflow: 2^46 bytes, half of the
// user address space of a host with four-level page tables.
const maxTotal = 1 << 46

func checkSpans(spans []Span) error {
	if len(spans) == 0 {
		return fmt.Errorf("%w: no region", ErrLayout)
	}
	sorted := slices.Clone(spans)
	slices.SortFunc(sorted, func(a, b Span) int {
		if a.Base < b.Base {
			return -1
		}
		return 1
	})
	var total uint64
	for i, s := range sorted {
		switch {
		case s.Size == 0 || s.Size > maxTotal-total:
			return fmt.Errorf("%w: region %v: size", ErrLayout, s)
		case s.Base%wordSize != 0 || s.Size%wordSize != 0:
			return fmt.Errorf("%w: region %v: not a multiple of %d", ErrLayout, s, wordSize)
		case s.Base+(s.Size-1) < s.Base:
			return fmt.Errorf("%w: region %v: wraps", ErrLayout, s)
		case i > 0 && sorted[i-1].Overlaps(s):
			return fmt.Errorf("%w: regions %v and %v overlap", ErrLayout, sorted[i-1], s)
		}
		total += s.Size
	}
	return nil
}

// Regions lists the RAM by ascending address.
func (m *Memory) Regions() []Region { return slices.Clone(m.regions) }

// Size is the sum of all regions, bytes.
func (m *Memory) Size() uint64 {
	var n uint64
	for i := range m.regions {
		n += m.regions[i].Size
	}
	return n
}

// find returns the region that has all of [addr, addr+size), or nil.
func (m *Memory) find(addr, size uint64) *Region {
	for i := range m.regions { // two or three: a search tree would be slower
		if m.regions[i].Contains(addr, size) {
			return &m.regions[i]
		}
	}
	return nil
}

// Contains tells whether [addr, addr+size) is inside one region.
func (m *Memory) Contains(addr, size uint64) bool { return m.find(addr, size) != nil }

// Slice is the host memory of [addr, addr+size), all in one region, with its capacity cut to size. For system calls and
// bulk copies only. Errors: ErrRange, ErrClosed.
func (m *Memory) Slice(addr, size uint64) ([]byte, error) {
	if m.closed.Load() {
		return nil, ErrClosed
	}
	r := m.find(addr, size)
	if r == nil {
		return nil, ErrRange
	}
	off := addr - r.Base
	return r.Bytes[off : off+size : off+size], nil
}

// ReadAt copies len(p) bytes at addr into p. Regions that touch are crossed. Errors: ErrRange and ErrClosed, and then p is
// untouched.
func (m *Memory) ReadAt(p []byte, addr uint64) error {
	return m.each(addr, uint64(len(p)), func(b []byte) { p = p[copy(p, b):] })
}

// WriteAt copies p to addr. Regions that touch are crossed. Errors: ErrRange and ErrClosed, and then nothing was written.
func (m *Memory) WriteAt(p []byte, addr uint64) error {
	return m.each(addr, uint64(len(p)), func(b []byte) { p = p[copy(b, p):] })
}

// each calls fn for the pieces of [addr, addr+size), once all of it is known to be RAM.
func (m *Memory) each(addr, size uint64, fn func(b []byte)) error {
	if b, err := m.Slice(addr, size); err == nil {
		fn(b)
		return nil
	} else if errors.Is(err, ErrClosed) {
		return err
	}
	if addr+size < addr {
		return ErrRange
	}
	pieces := make([][]byte, 0, len(m.regions))
	for i := range m.regions {
		r := &m.regions[i]
		if size == 0 {
			break
		}
		if !r.Contains(addr, 0) {
			continue
		}
		n := min(size, r.Size-(addr-r.Base))
		pieces = append(pieces, r.Bytes[addr-r.Base:][:n])
		addr, size = addr+n, size-n
	}
	if size != 0 || len(pieces) == 0 {
		return ErrRange
	}
	for _, b := range pieces {
		fn(b)
	}
	return nil
}

// Acquire takes a reference: the memory stays mapped until Release. It is false once the memory was closed, and then there is
// nothing to release.
func (m *Memory) Acquire() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed.Load() {
		return false
	}
	m.users++
	return true
}

// Release gives one reference back. The last one unmaps a closed memory.
func (m *Memory) Release() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.users == 0 {
		panic("BUG: guestmem: Release without Acquire")
	}
	m.users--
	if m.users == 0 && m.closed.Load() {
		_ = m.unmapLocked() // munmap of our own range does not fail; nobody is left to be told
	}
}

// Close ends the memory. From now on accesses return ErrClosed. When references are left, the pages are given back at once
// and read as zeroes to late users, and the address range is freed by the last Release; otherwise it is freed now. Close is
// idempotent. The machine calls it last, after its devices and its hypervisor have let go.
func (m *Memory) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed.Swap(true) {
		return nil
	}
	if m.users == 0 {
		return m.unmapLocked()
	}
	if m.backing != nil {
		m.backing.detach()
	}
	return nil
}

// Preconditions: mu held, closed, no users.
func (m *Memory) unmapLocked() error {
	if m.backing == nil {
		return nil
	}
	b := m.backing
	m.backing = nil
	return b.unmap()
}
