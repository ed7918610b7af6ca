package blk

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/libcapsa/libcapsa/internal/block"
)

// BenchmarkDisk is random reads of 4 KiB through device, ring and an image in the
// page cache, at depths 1 and 32.
func BenchmarkDisk(b *testing.B) {
	const size = 64 << 20
	for _, format := range []block.Format{block.Raw, block.Qcow2} {
		for _, depth := range []int{1, 32} {
			b.Run(fmt.Sprintf("%s/depth=%d", format, depth), func(b *testing.B) {
				path := filepath.Join(b.TempDir(), "d.img")
				require.NoError(b, os.WriteFile(path, make([]byte, size), 0o600))
				o := block.Options{Path: path, Format: block.Raw}
				if format == block.Qcow2 {
					o.Overlay = path + ".qcow2"
				}
				d, err := block.Open(o)
				require.NoError(b, err)
				for off := 0; off < size; off += 1 << 20 {
					require.NoError(b, d.WriteAt([][]byte{make([]byte, 1<<20)}, uint64(off)))
				}
				r := newRig(b, nil, Config{Backend: d})
				benchReads(b, r, depth)
				b.ReportMetric(float64(r.transport.Stats().Interrupts)/float64(b.N), "irqs/op")
			})
		}
	}
}
