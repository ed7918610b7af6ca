//go:build linux

package block

import (
	"runtime"

	"github.com/libcapsa/libcapsa/internal/block/partition"
)

// RootPartition is the number of the partition that most likely holds the root file
// system, or 0 (see partition.Root).
func RootPartition(d Disk) (int, error) { return partition.Root(readerAt{d}, d.Size(), runtime.GOARCH) }

type readerAt struct{ Disk }

// ReadAt implements io.ReaderAt.
func (r readerAt) ReadAt(b []byte, off int64) (int, error) {
	if err := r.Disk.ReadAt([][]byte{b}, uint64(off)); err != nil {
		return 0, err
	}
	return len(b), nil
}
