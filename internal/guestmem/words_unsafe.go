package guestmem

import (
	"sync/atomic"
	"unsafe"
)

// Words is a run of guest memory that was checked once and whose fields are then read and written with single-copy atomic
// accesses: rings and tables that the guest changes while we look at them.
//
// Loads and stores are sequentially consistent, as sync/atomic is, except where said otherwise. Offsets are bytes from the
// run's start. An offset outside of the run, or one not aligned to the access, is a bug of the caller and panics; it cannot
// come from the guest, whose values are checked before they become offsets.
type Words struct {
	p    unsafe.Pointer // start of the run; keeps heap memory alive
	size uint64         // bytes
}

// Words resolves [addr, addr+size), all in one region. addr is 2-byte aligned. The run is valid while the caller holds a
// reference of m. Errors: ErrRange, ErrAlign, ErrClosed.
func (m *Memory) Words(addr, size uint64) (Words, error) {
	if addr%2 != 0 {
		return Words{}, ErrAlign
	}
	b, err := m.Slice(addr, size)
	if err != nil {
		return Words{}, err
	}
	// SAFETY: b is inside one region's host memory, which outlives the run by the caller's reference.
	return Words{p: unsafe.Pointer(unsafe.SliceData(b)), size: size}, nil
}

// Size is the length of the run, bytes.
func (w Words) Size() uint64 { return w.size }

// at returns the address of an aligned field.
func (w Words) at(off, size uint64) unsafe.Pointer {
	if off > w.size || size > w.size-off {
		panic("BUG: guestmem: offset outside of the run")
	}
	p := unsafe.Add(w.p, off)
	if uintptr(p)&uintptr(size-1) != 0 {
		panic("BUG: guestmem: misaligned field")
	}
	// SAFETY: off+size <= w.size, so p stays inside of the run; it is aligned to size.
	return p
}

// Load64 reads 8 bytes at an 8-byte aligned address.
func (w Words) Load64(off uint64) uint64 {
	// SAFETY: at checked bounds and alignment; the access is atomic, so a racing guest cannot tear it.
	return atomic.LoadUint64((*uint64)(w.at(off, 8)))
}

// Load32 reads 4 bytes at a 4-byte aligned address.
func (w Words) Load32(off uint64) uint32 {
	// SAFETY: as in Load64.
	return atomic.LoadUint32((*uint32)(w.at(off, 4)))
}

// Load16 reads 2 bytes at a 2-byte aligned address. sync/atomic has no 16-bit accesses: it loads the aligned 32-bit word
// around them.
func (w Words) Load16(off uint64) uint16 {
	word, shift := w.word16(off)
	return uint16(atomic.LoadUint32(word) >> shift)
}

// word16 is the aligned word around a 16-bit field, and the field's bit offset in it.
func (w Words) word16(off uint64) (word *uint32, shift uint) {
	p := w.at(off, 2)
	odd := uintptr(p) & 2
	// SAFETY: the field is inside of a region. A region's base, size and host address are multiples of 8, so the aligned
	// word around the field is inside of that region too, though perhaps outside of the run.
	return (*uint32)(unsafe.Add(p, -int(odd))), uint(odd) * 8
}

// Store64 writes 8 bytes at an 8-byte aligned address.
func (w Words) Store64(off uint64, v uint64) {
	// SAFETY: as in Load64.
	atomic.StoreUint64((*uint64)(w.at(off, 8)), v)
}

// Store32 writes 4 bytes at a 4-byte aligned address. It is a full barrier: loads that follow are not done before it.
func (w Words) Store32(off uint64, v uint32) {
	// SAFETY: as in Load64.
	atomic.StoreUint32((*uint32)(w.at(off, 4)), v)
}

// Put32 writes 4 bytes at a 4-byte aligned address with a plain store. Another party sees it once it saw a later Store32,
// Store16 or Store64 of the same goroutine; nothing else orders it.
func (w Words) Put32(off uint64, v uint32) {
	// SAFETY: bounds and alignment as in Load64; a 4-byte aligned store is not torn on amd64 and arm64.
	*(*uint32)(w.at(off, 4)) = v
}

// casAttempts bounds Store16 against a guest that keeps changing the neighbouring half word. An undisturbed swap takes one.
const casAttempts = 16

// Store16 writes 2 bytes at a 2-byte aligned address and leaves its neighbours alone, also when the guest writes them at the
// same time. It is a full barrier: loads that follow are not done before it.
func (w Words) Store16(off uint64, v uint16) {
	word, shift := w.word16(off)
	for range casAttempts {
		old := atomic.LoadUint32(word)
		if atomic.CompareAndSwapUint32(word, old, old&^(0xFFFF<<shift)|uint32(v)<<shift) {
			return
		}
	}
	// SAFETY: at checked bounds and alignment; a 2-byte aligned store is not torn and does not touch the neighbours.
	*(*uint16)(w.at(off, 2)) = v
	var fence uint32
	atomic.SwapUint32(&fence, 1) // orders the plain store before the caller's next loads (StoreLoad)
}

// Load16 reads the aligned 16-bit value at addr. Errors: ErrRange, ErrAlign, ErrClosed; the same for its siblings.
func (m *Memory) Load16(addr uint64) (uint16, error) {
	w, err := m.field(addr, 2)
	if err != nil {
		return 0, err
	}
	return w.Load16(0), nil
}

// Load32 reads the aligned 32-bit value at addr.
func (m *Memory) Load32(addr uint64) (uint32, error) {
	w, err := m.field(addr, 4)
	if err != nil {
		return 0, err
	}
	return w.Load32(0), nil
}

// Load64 reads the aligned 64-bit value at addr.
func (m *Memory) Load64(addr uint64) (uint64, error) {
	w, err := m.field(addr, 8)
	if err != nil {
		return 0, err
	}
	return w.Load64(0), nil
}

// Store16 writes the aligned 16-bit value at addr.
func (m *Memory) Store16(addr uint64, v uint16) error {
	w, err := m.field(addr, 2)
	if err == nil {
		w.Store16(0, v)
	}
	return err
}

// Store32 writes the aligned 32-bit value at addr.
func (m *Memory) Store32(addr uint64, v uint32) error {
	w, err := m.field(addr, 4)
	if err == nil {
		w.Store32(0, v)
	}
	return err
}

// Store64 writes the aligned 64-bit value at addr.
func (m *Memory) Store64(addr uint64, v uint64) error {
	w, err := m.field(addr, 8)
	if err == nil {
		w.Store64(0, v)
	}
	return err
}

func (m *Memory) field(addr, size uint64) (Words, error) {
	if addr%size != 0 {
		return Words{}, ErrAlign
	}
	return m.Words(addr, size)
}

// aligned tells whether b starts at a multiple of wordSize.
func aligned(b []byte) bool {
	// SAFETY: the address is looked at, not used.
	return uintptr(unsafe.Pointer(unsafe.SliceData(b)))%wordSize == 0
}

// heapBytes is zeroed, 8-byte aligned memory; size is a multiple of 8.
func heapBytes(size uint64) []byte {
	words := make([]uint64, size/wordSize)
	// SAFETY: the words are size bytes long, hold no pointers, and the slice keeps them alive.
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(words))), size)
}
