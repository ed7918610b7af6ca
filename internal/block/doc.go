//go:build linux

// Package block is the host's side of a virtual disk: raw and qcow2 images, opened
// with the care that files of unknown origin need.
//
// An image's format is what the caller says or, without a word, qcow2 when its
// content says so. Nothing is taken for raw by content: the guest writes the content
// of a raw disk, and could turn it into a qcow2 image that names the host's files.
// For the same reason a qcow2 image may name backing files below its own directory
// only, unless the caller allows others.
//
// Every image is locked the way QEMU locks it, so that no two machines write it and
// none reads what another writes. The methods of a Disk may be called from any
// goroutine.
package block

// SectorSize is the unit of a virtio disk, in bytes (virtio 1.2, 5.2.4).
const SectorSize = 512

// Disk is an open image.
type Disk interface {
	// Size is the size of the disk in bytes, a multiple of SectorSize.
	Size() uint64
	// BlockSize is the alignment, in bytes, of requests that are served best.
	BlockSize() uint32
	// Granularity is the unit, in bytes, in which Discard gives space back.
	Granularity() uint32
	// ReadAt fills bufs from byte off on. The range is on the disk.
	ReadAt(bufs [][]byte, off uint64) error
	// WriteAt writes bufs from byte off on. The range is on the disk.
	WriteAt(bufs [][]byte, off uint64) error
	// Flush returns when everything written before is durable.
	Flush() error
	// Discard says that the range is no longer needed: its space may be given back.
	Discard(off, n uint64) error
	// WriteZeroes makes the range read as zeroes; unmap allows to give its space back.
	WriteZeroes(off, n uint64, unmap bool) error
	// Close flushes what is written and releases the files and locks.
	Close() error
}

// Format is the format of an image.
type Format string

// The formats. The empty one means: qcow2 if the content says so, else an error.
const (
	Auto  Format = ""
	Raw   Format = "raw"
	Qcow2 Format = "qcow2"
)

// Options says which image to open and how.
type Options struct {
	Path     string
	Format   Format
	ReadOnly bool
	Direct   bool // past the host's page cache

	// Overlay takes the changes in place of the image, which is then only read. A
	// path: a qcow2 image, made when it does not exist, and kept. Temporary: an
	// unnamed file in ScratchDir that is gone after Close.
	Overlay    string
	Temporary  bool
	ScratchDir string // default DefaultScratchDir

	// BackingDirs are directories in which backing files may lie, besides the
	// directory of the image that names them.
	BackingDirs []string
}

// DefaultScratchDir is where temporary overlays go: a directory for large files that
// need not outlive a program (Filesystem Hierarchy Standard 3.0, section 5.15).
const DefaultScratchDir = "/var/tmp"
