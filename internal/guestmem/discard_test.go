package guestmem_test

import (
	"bytes"
	"math"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/libcapsa/libcapsa/internal/guestmem"
)

// Two regions that touch, a hole, and one more, in pages.
func discardSpans() []guestmem.Span {
	p := uint64(os.Getpagesize())
	return []guestmem.Span{{Base: 0, Size: 4 * p}, {Base: 4 * p, Size: 4 * p}, {Base: 16 * p, Size: 2 * p}}
}

// fill writes a pattern everywhere.
func fill(t *testing.T, m *guestmem.Memory) {
	t.Helper()
	for _, r := range m.Regions() {
		require.NoError(t, m.WriteAt(bytes.Repeat([]byte{0xA5}, int(r.Size)), r.Base))
	}
}

// zeroes lists the pages that are all zeroes, and requires that the others are as filled.
func zeroes(t *testing.T, m *guestmem.Memory) (pages []uint64) {
	t.Helper()
	p := uint64(os.Getpagesize())
	for _, r := range m.Regions() {
		for addr := r.Base; addr < r.End(); addr += p {
			b := make([]byte, p)
			require.NoError(t, m.ReadAt(b, addr))
			if bytes.Count(b, []byte{0}) == len(b) {
				pages = append(pages, addr/p)
				continue
			}
			require.Equal(t, len(b), bytes.Count(b, []byte{0xA5}), "page %d was changed in part", addr/p)
		}
	}
	return pages
}

var discards = []struct {
	name        string
	first, last float64 // pages
	want        []uint64
}{
	{"one page", 1, 2, []uint64{1}},
	{"nothing", 1, 1, nil},
	{"less than a page", 1.25, 1.75, nil},
	{"parts of two pages", 1.5, 2.5, nil},
	{"a page and parts of its neighbours", 1.5, 3.5, []uint64{2}},
	{"a whole region", 16, 18, []uint64{16, 17}},
	{"the end of a region", 3, 4, []uint64{3}},
	{"over a border", 2, 7, []uint64{2, 3, 4, 5, 6}},
	{"two whole regions", 0, 8, []uint64{0, 1, 2, 3, 4, 5, 6, 7}},
}

func testDiscard(t *testing.T, m *guestmem.Memory) {
	p := float64(os.Getpagesize())
	for _, tt := range discards {
		t.Run(tt.name, func(t *testing.T) {
			fill(t, m)
			require.NoError(t, m.Discard(uint64(tt.first*p), uint64((tt.last-tt.first)*p)))
			require.Equal(t, tt.want, zeroes(t, m))
		})
	}
	fill(t, m)
	page := uint64(os.Getpagesize())
	for _, s := range []guestmem.Span{
		{Base: 7 * page, Size: 2 * page}, {Base: 8 * page, Size: page}, {Base: 15 * page, Size: 2 * page},
		{Base: 17 * page, Size: page + 1}, {Base: 18 * page}, {Base: 0, Size: math.MaxUint64}, {Base: math.MaxUint64, Size: 1},
		{Base: page, Size: math.MaxUint64 - page + 1}, {Base: page, Size: math.MaxUint64}, {Base: 0, Size: 4 << 30},
	} {
		require.ErrorIs(t, m.Discard(s.Base, s.Size), guestmem.ErrRange, "%v", s)
	}
	require.Empty(t, zeroes(t, m), "a refused range was given back in part")
	require.NoError(t, m.Close())
	require.ErrorIs(t, m.Discard(0, page), guestmem.ErrClosed)
	require.Zero(t, m.Resident())
	m.AdviseHuge(false)
}

func TestDiscardHeap(t *testing.T) {
	m, err := guestmem.Heap(discardSpans()...)
	require.NoError(t, err)
	require.Equal(t, m.Size(), m.Resident())
	m.AdviseHuge(false)
	testDiscard(t, m)
}

func TestAddrOf(t *testing.T) {
	m := heap(t)
	other := heap(t)
	for _, s := range []guestmem.Span{{Base: 0x1000, Size: 1}, {Base: 0x1FFF, Size: 1}, {Base: 0x2000, Size: 0x800}, {Base: 0x10_0080, Size: 0x80}} {
		b, err := m.Slice(s.Base, s.Size)
		require.NoError(t, err)
		addr, ok := m.AddrOf(b)
		require.True(t, ok)
		require.Equal(t, s.Base, addr)
		_, ok = other.AddrOf(b)
		require.False(t, ok)
		_, ok = m.AddrOf(b[:0])
		require.False(t, ok, "an empty slice is nowhere")
	}
	_, ok := m.AddrOf(make([]byte, 8))
	require.False(t, ok)
}
