//go:build linux

package block

import (
	"errors"
	"fmt"
	"io"

	"golang.org/x/sys/unix"
)

// errShrunk says that somebody cut the file short while it was a disk: zeroes in
// place of what the guest wrote would hide the loss.
var errShrunk = errors.New("the image has become shorter than the disk")

// rawDisk is a file that is the disk, byte by byte.
type rawDisk struct {
	*file
	size  uint64
	write bool
}

func openRaw(f *file, write bool) (*rawDisk, error) {
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	if size == 0 || size%SectorSize != 0 {
		return nil, fmt.Errorf("its size of %d bytes is not a positive multiple of %d", size, SectorSize)
	}
	return &rawDisk{f, size, write}, nil
}

func (d *rawDisk) Size() uint64 { return d.size }

func (d *rawDisk) BlockSize() uint32 { return blockSize(d.file) }

// Granularity is the block size of most file systems, in which holes are punched.
func (d *rawDisk) Granularity() uint32 { return 4096 }

// ReadAt fills bufs from the file, all of which is there.
func (d *rawDisk) ReadAt(bufs [][]byte, off uint64) error {
	_, err := d.transfer(false, bufs, off)
	if err == io.ErrUnexpectedEOF {
		return errShrunk
	}
	return err
}

func (d *rawDisk) Flush() error {
	if !d.write {
		return nil
	}
	return d.Sync()
}

// Discard gives the space back where the file system can.
func (d *rawDisk) Discard(off, n uint64) error {
	if err := d.PunchHole(off, n); err != nil && !unsupported(err) {
		return err
	}
	return nil
}

// WriteZeroes uses the file system's own way, or writes zeroes.
func (d *rawDisk) WriteZeroes(off, n uint64, unmap bool) error {
	ways := []func(uint64, uint64) error{d.ZeroRange}
	if unmap {
		ways = []func(uint64, uint64) error{d.PunchHole, d.ZeroRange}
	}
	for _, way := range ways {
		if err := way(off, n); err == nil || !unsupported(err) {
			return err
		}
	}
	return d.writeZeroes(off, n)
}

// zeroChunk is how many zeroes are written at a time, in bytes.
const zeroChunk = 1 << 20

func (d *rawDisk) writeZeroes(off, n uint64) error {
	zeroes := make([]byte, min(n, zeroChunk))
	for n > 0 {
		part := min(n, uint64(len(zeroes)))
		if err := d.WriteAt([][]byte{zeroes[:part]}, off); err != nil {
			return err
		}
		off, n = off+part, n-part
	}
	return nil
}

func (d *rawDisk) Close() error {
	if d.closed.Load() {
		return nil
	}
	return errors.Join(d.Flush(), d.file.Close())
}

// unsupported says that a file system lacks an operation, which is no failure of it.
func unsupported(err error) bool {
	return errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOSYS)
}

// blockSize is the alignment that suits a file: that of direct I/O, or a sector.
func blockSize(f *file) uint32 {
	if f.direct != nil {
		return uint32(max(f.align, SectorSize))
	}
	return SectorSize
}
