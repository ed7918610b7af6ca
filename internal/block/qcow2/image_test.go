package qcow2

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// zeroes is a backing image of a fixed pattern.
type pattern struct{ size uint64 }

func (p pattern) Size() uint64 { return p.size }

func (p pattern) at(i uint64) byte { return byte(i>>9)*7 + byte(i) | 1 }

func (p pattern) ReadAt(bufs [][]byte, off uint64) error {
	for _, b := range bufs {
		for i := range b {
			b[i] = p.at(off)
			off++
		}
	}
	return nil
}

// disk is an image and what it should read as.
type disk struct {
	t    *testing.T
	s    *memory
	m    *Image
	back Backing
	want []byte
}

func newDisk(t *testing.T, size uint64, clusterBits uint32, back *pattern) *disk {
	d := &disk{t: t, s: &memory{}, want: make([]byte, size)}
	o := CreateOptions{Size: size, ClusterBits: clusterBits}
	if back != nil {
		d.back = *back
		o.BackingFile, o.BackingFormat = "base.raw", "raw"
		require.NoError(t, back.ReadAt([][]byte{d.want[:min(size, back.size)]}, 0))
	}
	require.NoError(t, Create(d.s, o))
	d.open()
	return d
}

func (d *disk) open() {
	m, err := Open(d.s, d.back, true)
	require.NoError(d.t, err)
	d.m = m
}

// check compares the whole disk, and the image's counts with its tables.
func (d *disk) check(leaks bool) {
	d.t.Helper()
	got := make([]byte, len(d.want))
	require.NoError(d.t, d.m.ReadAt([][]byte{got}, 0))
	if !bytes.Equal(d.want, got) {
		for i := range got {
			if got[i] != d.want[i] {
				d.t.Fatalf("byte %d is %#x, want %#x", i, got[i], d.want[i])
			}
		}
	}
	require.NoError(d.t, d.m.Flush())
	require.NoError(d.t, d.m.Flush(), "writes the counts of freed clusters")
	audit(d.t, d.s, leaks)
}

// audit reads the image anew and holds its counts against its tables: no cluster in
// use is uncounted and, unless leaks are allowed, none counted is unused.
func audit(t *testing.T, s *memory, leaks bool) {
	t.Helper()
	size, _ := s.Size()
	h, err := readHeader(s, size)
	require.NoError(t, err)
	var r refcounts
	require.NoError(t, r.open(s, h, size))
	m, err := Open(s, nil, true)
	require.NoError(t, err)
	users := make(map[uint64]uint64)
	for c := range m.refs.meta {
		users[c]++
	}
	for i, e := range m.l1 {
		if e&offsetMask == 0 {
			continue
		}
		tab, err := m.l2.get(s, uint64(i), e&offsetMask, 1<<h.l2Bits())
		require.NoError(t, err)
		for _, e := range tab.entries {
			k, host, err := m.classify(e)
			require.NoError(t, err)
			if k == owned || k == data {
				users[host>>h.clusterBits]++
			}
		}
	}
	for c := range max(size>>h.clusterBits, 1) + 8 {
		n, err := r.get(c)
		require.NoError(t, err)
		if n < users[c] || !leaks && n != users[c] {
			t.Fatalf("cluster %d is counted %d times and has %d users", c, n, users[c])
		}
	}
}

func (d *disk) write(off uint64, b []byte) {
	require.NoError(d.t, d.m.WriteAt([][]byte{b[:len(b)/3], b[len(b)/3:]}, off))
	copy(d.want[off:], b)
}

func (d *disk) zero(off, n uint64, unmap bool) {
	require.NoError(d.t, d.m.WriteZeroes(off, n, unmap))
	clear(d.want[off : off+n])
}

// discard expects whole clusters to read as zeroes, but where nothing was written
// over a backing image.
func (d *disk) discard(off, n uint64) {
	require.NoError(d.t, d.m.Discard(off, n))
	got := make([]byte, n)
	require.NoError(d.t, d.m.ReadAt([][]byte{got}, off))
	for i, b := range got {
		require.True(d.t, b == 0 || b == d.want[off+uint64(i)], "byte %d is neither old nor zero", i)
	}
	copy(d.want[off:], got)
}

func randomBytes(r *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// step does one random thing to the disk.
func (d *disk) step(r *rand.Rand) {
	size := uint64(len(d.want))
	off := r.Uint64N(size)
	n := min(1+r.Uint64N(9000), size-off)
	switch r.IntN(10) {
	case 0:
		d.zero(off, n, true)
	case 1:
		d.zero(off, n, false)
	case 2:
		d.discard(off, n)
	case 3:
		require.NoError(d.t, d.m.Flush())
	case 4:
		require.NoError(d.t, d.m.Close())
		d.open()
	default:
		d.write(off, randomBytes(r, int(n)))
	}
}

func TestDiskReadsWhatWasWritten(t *testing.T) {
	for _, c := range []struct {
		name string
		bits uint32
		size uint64
		back *pattern
	}{
		{"512-byte clusters", 9, 300_000, nil},
		{"4 KiB clusters", 12, 1_000_448, nil},
		{"over a backing image", 12, 1_000_448, &pattern{1_000_448}},
		{"over a smaller backing image", 9, 300_032, &pattern{100_100}},
		{"over a larger backing image", 12, 500_000, &pattern{900_000}},
		{"64 KiB clusters", 16, 3_000_320, &pattern{3_000_320}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := rand.New(rand.NewPCG(1, uint64(c.bits)))
			d := newDisk(t, c.size, c.bits, c.back)
			for range 400 {
				d.step(r)
			}
			d.check(false)
		})
	}
}

func TestRefcountTableGrows(t *testing.T) {
	// 512-byte clusters: a block counts 256 of them, the first table 64 blocks, 8 MiB.
	d := newDisk(t, 20<<20, 9, nil)
	r := rand.New(rand.NewPCG(2, 2))
	for off := uint64(0); off < uint64(len(d.want)); off += 64 << 10 {
		d.write(off, randomBytes(r, 64<<10))
	}
	require.Greater(t, d.m.h.refTableSize, uint32(1))
	d.check(false)
}

func TestDiscardGivesSpaceBack(t *testing.T) {
	d := newDisk(t, 1<<20, 12, nil)
	d.write(0, bytes.Repeat([]byte{7}, 1<<20))
	require.NoError(t, d.m.Flush())
	d.discard(0, 1<<20)
	require.NoError(t, d.m.Flush())
	before, _ := d.s.Size()
	d.write(0, bytes.Repeat([]byte{8}, 1<<20))
	d.check(false)
	after, _ := d.s.Size()
	require.Equal(t, before, after, "the freed clusters are used again")
}

// A large discard gives its space back by itself; small ones wait for each other.
func TestLargeDiscardGivesSpaceBackAtOnce(t *testing.T) {
	d := newDisk(t, 2*maxFreed, 12, nil)
	d.write(0, bytes.Repeat([]byte{7}, 2*maxFreed))
	require.NoError(t, d.m.Flush())
	flushes := d.m.flushes.Load()
	for off := uint64(0); off < maxFreed-4096; off += 4096 {
		d.discard(off, 4096)
	}
	require.Equal(t, flushes, d.m.flushes.Load())
	require.NotEmpty(t, d.m.freed)
	d.discard(maxFreed, 1<<20)
	require.Empty(t, d.m.freed)
	before, _ := d.s.Size()
	d.write(0, bytes.Repeat([]byte{8}, maxFreed-4096))
	d.check(false)
	after, _ := d.s.Size()
	require.Equal(t, before, after, "the freed clusters are used again")
}

// Whatever part of the unsynced writes reaches the disk, the image opens, no cluster
// in use is uncounted, and what was flushed is there.
func TestPowerCut(t *testing.T) {
	for seed := range uint64(60) {
		r := rand.New(rand.NewPCG(3, seed))
		back := &pattern{200_192}
		d := newDisk(t, 200_192, 9, back)
		for range 1 + r.IntN(30) {
			d.step(r)
		}
		require.NoError(t, d.m.Flush())
		flushed := append([]byte(nil), d.want...)
		touched := make([]bool, len(d.want))
		for range r.IntN(12) {
			before := append([]byte(nil), d.want...)
			off := r.Uint64N(uint64(len(d.want)))
			n := min(1+r.Uint64N(4000), uint64(len(d.want))-off)
			switch r.IntN(3) {
			case 0:
				d.discard(off, n)
			case 1:
				d.zero(off, n, r.IntN(2) == 0)
			default:
				d.write(off, randomBytes(r, int(n)))
			}
			for i := range d.want {
				touched[i] = touched[i] || before[i] != d.want[i]
			}
		}
		s := d.s.powerCut(func(int) bool { return r.IntN(2) == 0 })
		audit(t, s, true)
		m, err := Open(s, d.back, true)
		require.NoError(t, err)
		got := make([]byte, len(flushed))
		require.NoError(t, m.ReadAt([][]byte{got}, 0))
		for i := range got {
			if !touched[i] && got[i] != flushed[i] {
				t.Fatalf("seed %d: byte %d was flushed as %#x and is %#x", seed, i, flushed[i], got[i])
			}
		}
	}
}

func TestNoSpaceIsAnErrorAndNotTheEnd(t *testing.T) {
	d := newDisk(t, 1<<20, 12, nil)
	d.s.limit = 200 << 10
	var err error
	for off := uint64(0); err == nil && off < 1<<20; off += 4096 {
		if err = d.m.WriteAt([][]byte{bytes.Repeat([]byte{1}, 4096)}, off); err == nil {
			copy(d.want[off:], bytes.Repeat([]byte{1}, 4096))
		}
	}
	require.ErrorIs(t, err, errNoSpace)
	d.s.limit = 0
	d.write(900<<10, bytes.Repeat([]byte{2}, 4096))
	d.check(false)
}

func TestFailedSyncStopsWriting(t *testing.T) {
	d := newDisk(t, 1<<20, 12, nil)
	d.write(0, []byte("abc"))
	d.s.fail = errNoSpace
	require.ErrorIs(t, d.m.Flush(), errNoSpace)
	d.s.fail = nil
	require.ErrorIs(t, d.m.WriteAt([][]byte{[]byte("x")}, 0), errNoSpace, "what is on the disk is not known any more")
	require.ErrorIs(t, d.m.Flush(), errNoSpace)
	require.NoError(t, d.m.ReadAt([][]byte{make([]byte, 3)}, 0))
}

func TestConcurrentUse(t *testing.T) {
	const region = 100_000
	d := newDisk(t, 8*region, 12, &pattern{8 * region})
	done := make(chan struct{})
	for g := range uint64(8) {
		go func() {
			defer func() { done <- struct{}{} }()
			r := rand.New(rand.NewPCG(4, g))
			for range 200 {
				off := g*region + r.Uint64N(region-5000)
				b := randomBytes(r, 1+r.IntN(5000))
				switch r.IntN(6) {
				case 0:
					_ = d.m.Flush()
				case 1:
					if d.m.WriteZeroes(off, uint64(len(b)), true) == nil {
						clear(d.want[off : off+uint64(len(b))])
					}
				default:
					if d.m.WriteAt([][]byte{b}, off) == nil {
						copy(d.want[off:], b)
					}
				}
				got := make([]byte, len(b))
				if d.m.ReadAt([][]byte{got}, off) != nil || !bytes.Equal(got, d.want[off:off+uint64(len(b))]) {
					t.Errorf("worker %d reads something else at %d", g, off)
					return
				}
			}
		}()
	}
	for range 8 {
		<-done
	}
	d.check(false)
}

func TestOutsideTheDisk(t *testing.T) {
	d := newDisk(t, 1<<20, 12, nil)
	b := [][]byte{make([]byte, 512)}
	for _, off := range []uint64{1 << 20, 1<<20 - 511, 1<<64 - 512, 1 << 63} {
		require.Error(t, d.m.ReadAt(b, off))
		require.Error(t, d.m.WriteAt(b, off))
		require.Error(t, d.m.Discard(off, 512))
		require.Error(t, d.m.WriteZeroes(off, 512, true))
	}
}

func TestReadOnly(t *testing.T) {
	d := newDisk(t, 1<<20, 12, nil)
	m, err := Open(d.s, nil, false)
	require.NoError(t, err)
	require.ErrorIs(t, m.WriteAt([][]byte{{1}}, 0), errReadOnly)
	require.ErrorIs(t, m.Discard(0, 4096), errReadOnly)
	require.NoError(t, m.Flush())
	require.NoError(t, m.Close())
}
