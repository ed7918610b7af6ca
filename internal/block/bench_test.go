//go:build linux

package block

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// BenchmarkRandom is random blocks of 4 KiB in an image that is all allocated and in
// the page cache: what the format costs on top of the file.
func BenchmarkRandom(b *testing.B) {
	const size = 64 << 20
	for _, format := range []Format{Raw, Qcow2} {
		d := benchDisk(b, format, size)
		for _, write := range []bool{false, true} {
			for _, depth := range []int{1, 32} {
				name := fmt.Sprintf("%s/write=%v/depth=%d", format, write, depth)
				b.Run(name, func(b *testing.B) { benchRandom(b, d, write, depth) })
			}
		}
	}
}

func benchDisk(b *testing.B, format Format, size int) Disk {
	dir := b.TempDir()
	path := writeFile(b, dir, "d.raw", make([]byte, size))
	o := Options{Path: path, Format: Raw}
	if format == Qcow2 {
		o.Overlay = filepath.Join(dir, "d.qcow2")
	}
	d := mustOpen(b, o)
	chunk := make([]byte, 1<<20)
	for off := 0; off < size; off += len(chunk) {
		require.NoError(b, d.WriteAt([][]byte{chunk}, uint64(off)))
	}
	require.NoError(b, d.Flush())
	return d
}

func benchRandom(b *testing.B, d Disk, write bool, depth int) {
	b.SetBytes(4096)
	b.ReportAllocs()
	var wg sync.WaitGroup
	for g := range depth {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(uint64(g), 1))
			bufs := [][]byte{make([]byte, 4096)}
			for range b.N / depth {
				off := r.Uint64N(d.Size()/4096) * 4096
				if write {
					_ = d.WriteAt(bufs, off)
				} else {
					_ = d.ReadAt(bufs, off)
				}
			}
		})
	}
	wg.Wait()
}
