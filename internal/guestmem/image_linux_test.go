package guestmem_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/libcapsa/libcapsa/internal/guestmem"
)

// page is the size that the tests assume of the host's pages.
const page = 4096

// newImage makes an image of n pages, each filled with its number and 1, and some bytes.
func newImage(t testing.TB, n, more int) (*guestmem.Image, []byte) {
	t.Helper()
	var data []byte
	for i := range n {
		data = append(data, bytes.Repeat([]byte{byte(i + 1)}, page)...)
	}
	data = append(data, strings.Repeat("x", more)...)
	img, err := guestmem.NewImage("guestmem-image", uint64(len(data)), func(w io.WriterAt) error {
		_, err := w.WriteAt(data, 0)
		return err
	})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, img.Close()) })
	require.EqualValues(t, len(data), img.Size())
	return img, data
}

func allocTwo(t testing.TB, size uint64) *guestmem.Memory {
	t.Helper()
	m, err := guestmem.Alloc("guestmem-place", guestmem.Span{Base: 0, Size: size}, guestmem.Span{Base: 4 << 30, Size: size})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, m.Close()) })
	return m
}

func read(t testing.TB, m *guestmem.Memory, addr uint64, n int) []byte {
	t.Helper()
	p := make([]byte, n)
	require.NoError(t, m.ReadAt(p, addr))
	return p
}

// blocks is what the memory's own file holds, in bytes.
func blocks(t testing.TB, m *guestmem.Memory) int64 {
	t.Helper()
	var st unix.Stat_t
	require.NoError(t, unix.Fstat(m.Regions()[0].File, &st))
	return st.Blocks * 512
}

// Whatever the alignment, the bytes are there and nothing around them is touched; what can be shared takes no memory.
func TestPlace(t *testing.T) {
	img, data := newImage(t, 16, 100)
	for _, c := range []struct {
		name            string
		addr, off, size uint64
		pages           int64 // of the memory's file that are needed
	}{
		{"all", 1 << 20, 0, uint64(len(data)), 1},
		{"whole pages", 1 << 20, page, 4 * page, 0},
		{"ends within pages", 1<<20 + 100, 100, 3 * page, 2},
		{"one page", 1 << 20, 0, page, 0},
		{"less than a page", 1<<20 + 4, 4, 100, 1},
		{"over a border", 1<<20 - 4, page - 4, 8, 2},
		{"misaligned", 1<<20 + 8, 0, 3 * page, 4},
		{"above 4 GiB", 4<<30 + page, 2 * page, 5 * page, 0},
		{"nothing", 1 << 20, 0, 0, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := allocTwo(t, 2*mib)
			m.AdviseHuge(false)
			require.NoError(t, m.Place(c.addr, img, c.off, c.size))
			require.Equal(t, c.pages*page, blocks(t, m))
			require.Equal(t, data[c.off:c.off+c.size], read(t, m, c.addr, int(c.size)))
			require.Equal(t, make([]byte, 64), read(t, m, c.addr-64, 64))
			require.Equal(t, make([]byte, 64), read(t, m, c.addr+c.size, 64))
		})
	}
}

func TestPlaceErrors(t *testing.T) {
	img, data := newImage(t, 2, 0)
	m := allocTwo(t, 16*page)
	for _, c := range []struct{ addr, off, size uint64 }{
		{15 * page, 0, 2 * page}, {0, 0, uint64(len(data)) + 1}, {0, page, uint64(len(data))}, {0, 1 << 63, 1}, {1 << 63, 0, 1},
	} {
		require.ErrorIs(t, m.Place(c.addr, img, c.off, c.size), guestmem.ErrRange, "%+v", c)
	}
	require.NoError(t, m.Close())
	require.ErrorIs(t, m.Place(0, img, 0, page), guestmem.ErrClosed)
}

// Memory of the heap has copies.
func TestPlaceInHeap(t *testing.T) {
	img, data := newImage(t, 2, 100)
	m, err := guestmem.Heap(guestmem.Span{Base: 0, Size: 16 * page})
	require.NoError(t, err)
	require.NoError(t, m.Place(page, img, 0, uint64(len(data))))
	require.Equal(t, data, read(t, m, page, len(data)))
}

// A write is the writer's alone.
func TestPlacedPagesArePrivate(t *testing.T) {
	img, data := newImage(t, 4, 0)
	a, b := allocTwo(t, 16*page), allocTwo(t, 16*page)
	for _, m := range []*guestmem.Memory{a, b} {
		require.NoError(t, m.Place(0, img, 0, img.Size()))
	}
	require.NoError(t, a.WriteAt([]byte("written"), page+10))
	require.Equal(t, "written", string(read(t, a, page+10, 7)))
	require.Equal(t, data, read(t, b, 0, len(data)))
	c := allocTwo(t, 16*page)
	require.NoError(t, c.Place(0, img, 0, img.Size()))
	require.Equal(t, data, read(t, c, 0, len(data)))
	require.Equal(t, img.Size(), c.Resident(), "images count whole")
}

func TestImageIsSealed(t *testing.T) {
	var file *os.File
	img, err := guestmem.NewImage("guestmem-image", page, func(w io.WriterAt) error {
		file = w.(*os.File)
		return nil
	})
	require.NoError(t, err)
	defer func() { require.NoError(t, img.Close()) }()
	_, err = file.WriteAt([]byte("x"), 0)
	require.ErrorIs(t, err, unix.EPERM)
	require.ErrorIs(t, unix.Ftruncate(int(file.Fd()), 0), unix.EPERM)
}

func TestImageErrors(t *testing.T) {
	broken := errors.New("broken")
	_, err := guestmem.NewImage("x", page, func(io.WriterAt) error { return broken })
	require.ErrorIs(t, err, broken)
	for _, size := range []uint64{0, 1 << 63} {
		_, err = guestmem.NewImage("x", size, func(io.WriterAt) error { return nil })
		require.ErrorIs(t, err, guestmem.ErrLayout)
	}
	_, err = guestmem.NewImage("x\x00y", page, func(io.WriterAt) error { return nil })
	require.Error(t, err)
}

// What is given back reads as zeroes and is ordinary memory from then on, wherever it meets an image.
func TestDiscardPlaced(t *testing.T) {
	img, data := newImage(t, 32, 0)
	const base = 16 * page
	for _, c := range []struct {
		name       string
		addr, size uint64
	}{
		{"inside", base + 4*page, 2 * page},
		{"start", base, 3 * page},
		{"end", base + 30*page, 2 * page},
		{"over the start", base - 4*page, 8 * page},
		{"over the end", base + 28*page, 16 * page},
		{"all", 0, 256 * page},
		{"beside", base + 32*page, 4 * page},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := allocTwo(t, 256*page)
			m.AdviseHuge(false)
			require.NoError(t, m.Place(base, img, 0, img.Size()))
			require.NoError(t, m.WriteAt([]byte("written"), base+4*page))
			want := append(make([]byte, base), data...)
			want = append(want, make([]byte, 16*page)...)
			copy(want[base+4*page:], "written")
			clear(want[c.addr:min(c.addr+c.size, uint64(len(want)))])
			for range 2 {
				require.NoError(t, m.Discard(c.addr, c.size))
				require.Equal(t, want, read(t, m, 0, len(want)))
			}
			m.AdviseHuge(true)
			m.AdviseHuge(false)
			require.NoError(t, m.Discard(c.addr, c.size)) // reading took memory
			before := m.Resident()
			require.NoError(t, m.Store64(c.addr, 1))
			require.Equal(t, before+page, m.Resident(), "it is the memory's own page")
			require.NoError(t, m.Discard(c.addr, page))
			require.Equal(t, before, m.Resident())
		})
	}
}

// A guest that gives back every other page gets its zeroes, and the process keeps its mappings.
func TestDiscardPlacedInSmallPieces(t *testing.T) {
	const pages = 2048
	img, data := newImage(t, pages, 0)
	m := allocTwo(t, pages*page)
	require.NoError(t, m.Place(0, img, 0, img.Size()))
	before := placed(t)
	for i := 0; i < pages; i += 2 {
		require.NoError(t, m.Discard(uint64(i*page), page))
		clear(data[i*page : (i+1)*page])
	}
	require.Less(t, placed(t)-before, 600)
	require.Equal(t, data, read(t, m, 0, len(data)))
	require.NoError(t, m.Discard(0, pages*page))
	require.Zero(t, m.Resident())
	require.LessOrEqual(t, placed(t)-before, 0)
}

// placed counts the mappings of memory and images, none of which a child inherits.
func placed(t *testing.T) int {
	t.Helper()
	headers, flags := mappings(t, "/memfd:guestmem-")
	require.Len(t, flags, len(headers))
	for _, f := range flags {
		require.Contains(t, f, " dc", "not inherited by children")
	}
	return len(headers)
}

// Many memories take the memory of one image.
func TestImageIsShared(t *testing.T) {
	const pages, machines = 4096, 8
	img, _ := newImage(t, pages, 0)
	before := pss(t)
	for range machines {
		m := allocTwo(t, pages*page)
		require.NoError(t, m.Place(0, img, 0, img.Size()))
		for i := range uint64(pages) {
			_, err := m.Load64(i * page)
			require.NoError(t, err)
		}
	}
	require.Less(t, pss(t)-before, 2*pages*page, "the machines take as much as two")
}

// pss is the process's share of the memory that it maps, in bytes.
func pss(t testing.TB) int {
	t.Helper()
	b, err := os.ReadFile("/proc/self/smaps_rollup")
	require.NoError(t, err)
	for line := range strings.Lines(string(b)) {
		var kib int
		if n, _ := fmt.Sscanf(line, "Pss: %d kB", &kib); n == 1 {
			return kib << 10
		}
	}
	t.Fatal("no Pss")
	return 0
}
