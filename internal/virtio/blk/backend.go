package blk

// Backend is the host's side of a disk. Its methods may be called from any
// goroutine, several at a time, except Close.
type Backend interface {
	// Size is the size of the disk in bytes, a multiple of SectorSize.
	// Constant.
	Size() uint64
	// BlockSize is the alignment, in bytes, of requests that are served best,
	// a power of two of at least SectorSize. Constant.
	BlockSize() uint32
	// Granularity is the unit, in bytes, in which space is given back, a power
	// of two of at least SectorSize. Constant.
	Granularity() uint32
	// ReadAt fills bufs, which is guest memory, from byte off on. The range is
	// on the disk. Neither bufs nor its list is used after the return.
	ReadAt(bufs [][]byte, off uint64) error
	// WriteAt writes bufs from byte off on. The range is on the disk.
	WriteAt(bufs [][]byte, off uint64) error
	// Flush returns when everything that was written before is durable.
	Flush() error
	// Discard says that the range is no longer needed.
	Discard(off, n uint64) error
	// WriteZeroes makes the range read as zeroes; unmap allows to give its
	// space back.
	WriteZeroes(off, n uint64, unmap bool) error
	// Close makes durable what was written and releases the disk. It is
	// called once, when no other method runs any more.
	Close() error
}
