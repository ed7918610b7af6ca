package virtiotest

import (
	"math/bits"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/libcapsa/libcapsa/internal/guestmem"
)

// The memory of NewMemory: a small region at 0, the main one, one that touches it, a hole, and one above 4 GiB.
var (
	Low  = guestmem.Span{Base: 0, Size: 64 << 10}
	Main = guestmem.Span{Base: 1 << 20, Size: 8 << 20}
	Next = guestmem.Span{Base: Main.Base + Main.Size, Size: 64 << 10}
	High = guestmem.Span{Base: 4 << 30, Size: 64 << 10}
)

// Hole is an address where the machine has devices and no RAM.
const Hole = 0xD000_0000

// NewMemory is a small guest memory on Go's heap, with everything in it that a descriptor can point at or beside.
func NewMemory(t testing.TB) *guestmem.Memory {
	t.Helper()
	mem, err := guestmem.Heap(Low, Main, Next, High)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, mem.Close()) })
	return mem
}

// arena hands out guest memory to a driver. Sizes are rounded up to powers of two; blocks are naturally aligned, up to a page.
type arena struct {
	span guestmem.Span
	next uint64
	free map[uint64][]uint64 // by size
}

const (
	arenaMin   = 64
	arenaAlign = 4096
)

func newArena(span guestmem.Span) *arena {
	return &arena{span: span, next: span.Base, free: map[uint64][]uint64{}}
}

func blockSize(size uint64) uint64 {
	if size <= arenaMin {
		return arenaMin
	}
	return 1 << bits.Len64(size-1)
}

func (a *arena) alloc(t testing.TB, size uint64) uint64 {
	t.Helper()
	n := blockSize(size)
	if l := a.free[n]; len(l) > 0 {
		a.free[n] = l[:len(l)-1]
		return l[len(l)-1]
	}
	align := min(n, arenaAlign)
	addr := (a.next + align - 1) &^ (align - 1)
	require.LessOrEqual(t, addr+n, a.span.Base+a.span.Size, "the driver's guest memory is used up")
	a.next = addr + n
	return addr
}

func (a *arena) release(addr, size uint64) {
	n := blockSize(size)
	a.free[n] = append(a.free[n], addr)
}

func (a *arena) reset() {
	a.next = a.span.Base
	clear(a.free)
}
