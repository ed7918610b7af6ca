package guestmem_test

import (
	"bytes"
	"math"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/libcapsa/libcapsa/internal/guestmem"
)

// spans are two regions that touch, a hole, and one more.
var spans = []guestmem.Span{{Base: 0x1000, Size: 0x1000}, {Base: 0x2000, Size: 0x800}, {Base: 0x10_0000, Size: 0x100}}

func heap(t testing.TB) *guestmem.Memory {
	t.Helper()
	m, err := guestmem.Heap(spans[2], spans[0], spans[1]) // any order
	require.NoError(t, err)
	return m
}

func TestSpan(t *testing.T) {
	s := guestmem.Span{Base: 0x1000, Size: 0x100}
	require.EqualValues(t, 0x1100, s.End())
	require.Equal(t, "[0x1000,+0x100)", s.String())
	for _, tt := range []struct {
		addr, size uint64
		want       bool
	}{
		{0x1000, 0x100, true}, {0x1000, 0x101, false}, {0x10FF, 1, true}, {0x10FF, 2, false}, {0xFFF, 1, false}, {0x1100, 1, false},
		{0x1000, 0, true}, {0x1100, 0, false}, {0x1080, math.MaxUint64, false}, {math.MaxUint64, 0x1001, false}, {0x1001, 0xFF, true},
	} {
		require.Equal(t, tt.want, s.Contains(tt.addr, tt.size), "%#x+%#x", tt.addr, tt.size)
	}
	top := guestmem.Span{Base: math.MaxUint64 - 7, Size: 8}
	require.True(t, top.Contains(math.MaxUint64, 1))
	require.False(t, top.Contains(math.MaxUint64, 2))
	require.True(t, top.Overlaps(guestmem.Span{Base: math.MaxUint64, Size: 1}))
	require.False(t, top.Overlaps(guestmem.Span{Base: math.MaxUint64 - 8, Size: 1}))
	require.False(t, s.Overlaps(guestmem.Span{Base: 0x1080}))
}

func TestLayout(t *testing.T) {
	for _, tt := range []struct {
		name  string
		spans []guestmem.Span
	}{
		{"none", nil},
		{"empty", []guestmem.Span{{Base: 0x1000}}},
		{"base", []guestmem.Span{{Base: 4, Size: 8}}},
		{"size", []guestmem.Span{{Base: 8, Size: 12}}},
		{"wraps", []guestmem.Span{{Base: math.MaxUint64 - 7, Size: 16}}},
		{"overlap", []guestmem.Span{{Base: 0x100, Size: 0x100}, {Base: 0, Size: 0x108}}},
		{"same", []guestmem.Span{{Base: 0, Size: 8}, {Base: 0, Size: 8}}},
		{"too big", []guestmem.Span{{Base: 0, Size: 1 << 47}}},
		{"too big together", []guestmem.Span{{Base: 0, Size: 1 << 45}, {Base: 1 << 45, Size: 1<<45 + 8}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m, err := guestmem.Heap(tt.spans...)
			require.Nil(t, m)
			require.ErrorIs(t, err, guestmem.ErrLayout)
		})
	}
	b := make([]byte, 64)
	for _, r := range []guestmem.Region{
		{Span: guestmem.Span{Size: 64}, Bytes: b[:56]},
		{Span: guestmem.Span{Size: 56}, Bytes: b[4:60]},
	} {
		_, err := guestmem.New(r)
		require.ErrorIs(t, err, guestmem.ErrLayout)
	}
}

func TestRegions(t *testing.T) {
	m := heap(t)
	require.EqualValues(t, 0x1900, m.Size())
	rs := m.Regions()
	for i, r := range rs {
		require.Equal(t, spans[i], r.Span)
		require.Equal(t, -1, r.File)
		require.Len(t, r.Bytes, int(r.Size))
	}
	rs[0].Base = 7 // a copy
	require.Equal(t, spans[0], m.Regions()[0].Span)
}

func TestSlice(t *testing.T) {
	m := heap(t)
	b, err := m.Slice(0x10_00FC, 4)
	require.NoError(t, err)
	require.Len(t, b, 4)
	require.Equal(t, 4, cap(b))
	require.True(t, m.Contains(0x10_00FC, 4))
	for _, s := range []guestmem.Span{{Base: 0x1FFF, Size: 2}, {Base: 0x2800, Size: 1}, {Base: 0xFFF, Size: 2}, {Base: 0x10_00FD, Size: 4}, {Base: math.MaxUint64, Size: 2}, {Base: 0x2000, Size: math.MaxUint64}, {}} {
		_, err := m.Slice(s.Base, s.Size)
		require.ErrorIs(t, err, guestmem.ErrRange, "%v", s)
		require.False(t, m.Contains(s.Base, s.Size))
	}
}

func TestReadWriteAt(t *testing.T) {
	m := heap(t)
	data := bytes.Repeat([]byte("abcdefg"), 100)
	require.NoError(t, m.WriteAt(data, 0x1FC0)) // over the border of two regions
	got := make([]byte, len(data))
	require.NoError(t, m.ReadAt(got, 0x1FC0))
	require.Equal(t, data, got)
	require.Equal(t, data[64:72], m.Regions()[1].Bytes[:8])
	for _, addr := range []uint64{0x2700, 0xF00, 0x10_0000 - 1, 0x3000, math.MaxUint64 - 3} {
		require.ErrorIs(t, m.WriteAt(data, addr), guestmem.ErrRange, "%#x", addr)
		require.ErrorIs(t, m.ReadAt(got, addr), guestmem.ErrRange)
	}
	require.Equal(t, data, got, "a failed read touched the buffer")
	require.Zero(t, m.Regions()[1].Bytes[0x700], "a failed write wrote a part")
	require.NoError(t, m.ReadAt(nil, 0x1000))
	require.ErrorIs(t, m.ReadAt(nil, 0x3000), guestmem.ErrRange)
}

func TestFields(t *testing.T) {
	m := heap(t)
	require.NoError(t, m.Store64(0x1000, 0x8877665544332211))
	require.NoError(t, m.Store32(0x1008, 0xCCBBAA99))
	require.NoError(t, m.Store16(0x100E, 0x0102))
	require.Equal(t, []byte{0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0x99, 0xAA, 0xBB, 0xCC, 0, 0, 2, 1}, m.Regions()[0].Bytes[:16])
	v64, err := m.Load64(0x1000)
	require.NoError(t, err)
	require.Equal(t, uint64(0x8877665544332211), v64)
	v32, err := m.Load32(0x1004)
	require.NoError(t, err)
	require.EqualValues(t, 0x88776655, v32)
	for off, want := range map[uint64]uint16{0: 0x2211, 2: 0x4433, 6: 0x8877, 14: 0x0102} {
		v16, err := m.Load16(0x1000 + off)
		require.NoError(t, err)
		require.Equal(t, want, v16)
	}
	for _, addr := range []uint64{0x1001, 0x1003} {
		_, err16 := m.Load16(addr)
		_, err32 := m.Load32(addr)
		_, err64 := m.Load64(addr)
		for _, err := range []error{err16, err32, err64, m.Store16(addr, 0), m.Store32(addr, 0), m.Store64(addr, 0)} {
			require.ErrorIs(t, err, guestmem.ErrAlign)
		}
	}
	require.ErrorIs(t, m.Store32(0x2800, 1), guestmem.ErrRange)
	_, err = m.Load64(0x2800)
	require.ErrorIs(t, err, guestmem.ErrRange)
}

func TestWords(t *testing.T) {
	m := heap(t)
	_, err := m.Words(0x1001, 8)
	require.ErrorIs(t, err, guestmem.ErrAlign)
	_, err = m.Words(0x1FFE, 4)
	require.ErrorIs(t, err, guestmem.ErrRange)
	w, err := m.Words(0x27FA, 6) // the last six bytes of a region: 16-bit fields use the words around them
	require.NoError(t, err)
	require.EqualValues(t, 6, w.Size())
	w.Store16(0, 0x1111)
	w.Put32(2, 0x33332222)
	require.EqualValues(t, 0x3333, w.Load16(4))
	require.EqualValues(t, 0x33332222, w.Load32(2))
	const outside, odd = "BUG: guestmem: offset outside of the run", "BUG: guestmem: misaligned field"
	require.PanicsWithValue(t, outside, func() { w.Load16(5) })
	require.PanicsWithValue(t, outside, func() { w.Load64(0) })
	require.PanicsWithValue(t, outside, func() { w.Store32(math.MaxUint64, 0) })
	require.PanicsWithValue(t, odd, func() { w.Load32(0) })
	require.PanicsWithValue(t, odd, func() { w.Store16(1, 0) })
}

// Two halves of one word, written at the same time by two parties: neither loses a store.
func TestStore16LeavesTheNeighbourAlone(t *testing.T) {
	m := heap(t)
	w, err := m.Words(0x1000, 4)
	require.NoError(t, err)
	var wg sync.WaitGroup
	for _, off := range []uint64{0, 2} {
		wg.Go(func() {
			for i := range uint16(20_000) {
				w.Store16(off, i)
				if w.Load16(off) != i {
					t.Errorf("offset %d: a store of %d is lost", off, i)
					return
				}
			}
		})
	}
	wg.Wait()
}

func TestCloseAndReferences(t *testing.T) {
	m := heap(t)
	require.True(t, m.Acquire())
	require.True(t, m.Acquire())
	m.Release()
	require.NoError(t, m.Close())
	require.NoError(t, m.Close())
	require.False(t, m.Acquire(), "a closed memory has no new users")
	_, err := m.Slice(0x1000, 1)
	require.ErrorIs(t, err, guestmem.ErrClosed)
	require.ErrorIs(t, m.ReadAt(make([]byte, 1), 0x1000), guestmem.ErrClosed)
	require.ErrorIs(t, m.WriteAt(make([]byte, 1), 0x3000), guestmem.ErrClosed)
	_, err = m.Load32(0x1000)
	require.ErrorIs(t, err, guestmem.ErrClosed)
	m.Release()
	require.Panics(t, m.Release)
}

func BenchmarkLoad64(b *testing.B) {
	w, err := heap(b).Words(0x1000, 64)
	require.NoError(b, err)
	var sum uint64
	for i := 0; b.Loop(); i++ {
		sum += w.Load64(uint64(i%8) * 8)
	}
	_ = sum
}

func BenchmarkSlice(b *testing.B) {
	m := heap(b)
	for b.Loop() {
		if _, err := m.Slice(0x10_0000, 64); err != nil {
			b.Fatal(err)
		}
	}
}

// FuzzReadWriteAt compares accesses with a flat array in which only some bytes are RAM.
func FuzzReadWriteAt(f *testing.F) {
	for _, s := range spans {
		f.Add(s.Base, uint16(16), byte(1))
		f.Add(s.Base-8, uint16(16), byte(2))
		f.Add(s.End()-8, uint16(16), byte(3))
		f.Add(s.End(), uint16(0), byte(4))
	}
	f.Add(uint64(math.MaxUint64), uint16(2), byte(5))
	f.Fuzz(func(t *testing.T, addr uint64, size uint16, fill byte) {
		m := heap(t)
		inside := size > 0 || m.Contains(addr, 0)
		for i := range uint64(size) {
			inside = inside && addr+i >= addr && m.Contains(addr+i, 1)
		}
		p := bytes.Repeat([]byte{fill}, int(size))
		err := m.WriteAt(p, addr)
		require.Equal(t, inside, err == nil, "write: %v", err)
		var sum int
		for _, r := range m.Regions() {
			sum += bytes.Count(r.Bytes, []byte{fill})
		}
		if fill != 0 {
			want := 0
			if inside {
				want = int(size)
			}
			require.Equal(t, want, sum, "bytes written")
		}
		got := make([]byte, size)
		require.Equal(t, inside, m.ReadAt(got, addr) == nil)
		if inside {
			require.Equal(t, p, got)
		}
	})
}
