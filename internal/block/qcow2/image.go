// Package qcow2 reads and writes disk images in QEMU's qcow2 format, versions 2 and
// 3 (docs/interop/qcow2.txt of QEMU): backing images, internal snapshots, zlib and
// zstd clusters (read), zero clusters. It is not concerned with files, names or
// locks: it works on a Storage and is given its backing image.
//
// # Durability
//
// Data goes to new clusters at once; their reference counts and the tables that
// refer to them are kept in memory until Flush, which makes data and counts durable
// before it writes the tables. So whatever a crash or a power cut takes away, no
// table on the disk refers to a cluster that is not counted: the worst left behind
// is space that is counted and not used. Clusters that are given up are freed only
// after the tables without them are durable.
//
// # Concurrency
//
// All methods may be called from any goroutine. What looks at the tables holds
// Image.mu for reading and what changes them for writing, and neither does I/O of
// data meanwhile: reads and writes run at the same time as each other and as changes
// of tables. A cluster that was given up is therefore not freed before every I/O has
// ended that may have found it in a table: see grace.
package qcow2

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
)

// Storage is the file that holds an image. ReadAt fills bufs and WriteAt writes them
// whole or fails; reading beyond the end gives zeroes.
type Storage interface {
	ReadAt(bufs [][]byte, off uint64) error
	WriteAt(bufs [][]byte, off uint64) error
	Sync() error
	PunchHole(off, n uint64) error // the range reads as zeroes and takes no space, if the file system can
	Size() (uint64, error)
}

// Backing is the image below: what an unallocated cluster reads as.
type Backing interface {
	Size() uint64
	ReadAt(bufs [][]byte, off uint64) error
}

// Image is an open image.
type Image struct {
	s       Storage
	h       *header
	backing Backing // nil: zeroes
	write   bool

	mu      sync.RWMutex
	l1      []uint64                 // guarded by mu
	l1Dirty dirtyRange               // entries of l1 that the file lacks; guarded by mu
	l2      tableCache               // has a lock of its own for loading; entries change under mu
	refs    refcounts                // guarded by mu
	pending map[uint64]chan struct{} // guest clusters being written to a new place; guarded by mu
	freed   []uint64                 // host clusters that lose one user at the next Flush; guarded by mu
	broken  error                    // what is in the file is not known; nothing is written any more; guarded by mu
	grace   grace                    // entered under mu

	plain plainCache // decompressed clusters

	flushing sync.Mutex    // one Flush at a time
	flushes  atomic.Uint64 // that have begun
	flushed  error         // how the last one ended; guarded by flushing
}

// grace knows of the I/O in progress, so that wait can wait for all that began before
// it. Preconditions of enter: Image.mu is held for reading; of turn: for writing.
type grace struct {
	now  int               // the period that new I/O belongs to; guarded by Image.mu
	busy [2]sync.WaitGroup // I/O of the two last periods
}

// enter begins an I/O into clusters that were just found in a table. Done ends it.
func (g *grace) enter() *sync.WaitGroup {
	w := &g.busy[g.now]
	w.Add(1)
	return w
}

// turn begins a new period and returns what waits for the I/O of the last. There is
// one turn at a time, and the next only after that wait: nobody is left in the other
// period when it comes to be used again.
func (g *grace) turn() *sync.WaitGroup {
	old := &g.busy[g.now]
	g.now ^= 1
	return old
}

// errCorrupt says that the image contradicts itself.
func errCorrupt(format string, a ...any) error {
	return fmt.Errorf("the image is corrupt: "+format, a...)
}

// Info is what an image says of itself.
type Info struct {
	Size          uint64 // bytes
	ClusterSize   uint64 // bytes
	BackingFile   string // as the image names it; "" for none
	BackingFormat string // "raw", "qcow2", or "" when the image does not say
	Dirty         bool   // its reference counts are not to be trusted
}

// Inspect reads the header of an image. The error is ErrNotQcow2 for anything else,
// and a *RefusedError for an image that cannot be opened.
func Inspect(s Storage) (Info, error) {
	size, err := s.Size()
	if err != nil {
		return Info{}, err
	}
	h, err := readHeader(s, size)
	if err != nil {
		return Info{}, err
	}
	return h.info(), nil
}

func (h *header) info() Info {
	return Info{
		Size: h.size, ClusterSize: h.clusterSize(), BackingFile: h.backingFile,
		BackingFormat: h.backingFormat, Dirty: h.incompatible&incompatDirty != 0,
	}
}

// Open opens an image over its backing image (nil when it has none, or when what
// is below shall read as zeroes).
func Open(s Storage, backing Backing, write bool) (*Image, error) {
	size, err := s.Size()
	if err != nil {
		return nil, err
	}
	h, err := readHeader(s, size)
	if err != nil {
		return nil, err
	}
	if write && h.incompatible&incompatDirty != 0 {
		return nil, &RefusedError{"the image was not closed properly and its reference counts are stale",
			"repair it with: qemu-img check -r all"}
	}
	m := &Image{s: s, h: h, backing: backing, write: write, pending: make(map[uint64]chan struct{})}
	if m.l1, err = readTable(s, h.l1Offset, uint64(h.l1Size)); err != nil {
		return nil, fmt.Errorf("the L1 table: %w", err)
	}
	m.l2.init(h.clusterSize(), len(m.l1))
	if !write {
		return m, nil
	}
	if err := m.refs.open(s, h, size); err != nil {
		return nil, err
	}
	if err := m.claimTables(); err != nil {
		return nil, err
	}
	if err := m.clearAutoclear(); err != nil {
		return nil, err
	}
	return m, nil
}

// clearAutoclear removes the feature bits whose data a writer that does not know
// them would make stale.
func (m *Image) clearAutoclear() error {
	if m.h.version < 3 || m.h.autoclear == 0 {
		return nil
	}
	m.h.autoclear = 0
	if err := m.s.WriteAt([][]byte{make([]byte, 8)}, 88); err != nil {
		return err
	}
	return m.s.Sync() // before the guest's first write may reach the disk
}

// Size is the size of the disk in bytes.
func (m *Image) Size() uint64 { return m.h.size }

// Info is what the image's header says.
func (m *Image) Info() Info { return m.h.info() }

// Close flushes. The storage stays open: it is the caller's.
func (m *Image) Close() error {
	if !m.write {
		return nil
	}
	return m.Flush()
}

// errReadOnly is a caller's mistake: the device must have refused before.
var errReadOnly = errors.New("the image is open for reading only")

// checkRange refuses what is outside the disk.
func (m *Image) checkRange(off, n uint64) error {
	if off > m.h.size || n > m.h.size-off {
		return fmt.Errorf("%d bytes at %d are not on the disk of %d bytes", n, off, m.h.size)
	}
	return nil
}

// writable says whether the image takes changes. Preconditions: mu is held.
func (m *Image) writable() error {
	if !m.write {
		return errReadOnly
	}
	return m.broken
}

// unknownError says that after a failed write or sync it is not known what is in the
// file.
type unknownError struct{ err error }

func (e *unknownError) Error() string { return e.err.Error() }
func (e *unknownError) Unwrap() error { return e.err }

// fail stops all writing when it is not known any more what is in the file. Other
// errors, want of space for one, leave the image as it was. It returns err.
// Preconditions: mu is held for writing.
func (m *Image) fail(err error) error {
	var unknown *unknownError
	if m.broken == nil && errors.As(err, &unknown) {
		m.broken = fmt.Errorf("an earlier write of the image's tables failed: %w", err)
	}
	return err
}
