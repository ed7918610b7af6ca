//go:build linux

package guestmem

import (
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// reserve is a run of the host's address space that nothing else can be mapped into, and the file mapping inside of it.
type reserve struct {
	p    unsafe.Pointer // start of the run
	size uintptr        // bytes
	data []byte         // the file's part of it
}

// newReserve takes address space without access rights.
func newReserve(size uint64) (reserve, error) {
	p, err := unix.MmapPtr(-1, 0, nil, uintptr(size), unix.PROT_NONE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_NORESERVE)
	if err != nil {
		return reserve{}, os.NewSyscallError("mmap", err)
	}
	return reserve{p: p, size: uintptr(size)}, nil
}

// mapFile maps the region over the reserve, at an address congruent to its guest address modulo a huge page.
// Preconditions: the reserve is longer than the span by a huge page and two pages; base and offset are multiples of the page.
func (r *reserve) mapFile(fd int, offset int64, s Span, page uint64) ([]byte, error) {
	first := uint64(uintptr(r.p)) + page
	skip := page + (s.Base-first)%hugePage
	// SAFETY: skip+s.Size+page <= r.size, so the fixed mapping replaces nothing but our own reserve.
	at := unsafe.Add(r.p, skip)
	p, err := unix.MmapPtr(fd, offset, at, uintptr(s.Size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_FIXED)
	if err != nil {
		return nil, os.NewSyscallError("mmap", err)
	}
	// SAFETY: the kernel mapped s.Size bytes at p, page aligned, outside of Go's heap. They stay mapped until unmap, which
	// Memory calls when its last user is gone. The guest writes them concurrently; the package comment says how they are read.
	r.data = unsafe.Slice((*byte)(p), s.Size)
	return r.data, nil
}

// mapPrivate maps a file copy-on-write over pages of a region.
func mapPrivate(data []byte, fd int, offset int64) error {
	return mapOver(data, fd, offset, unix.MAP_PRIVATE|unix.MAP_NORESERVE)
}

// mapShared maps a file over pages of a region.
func mapShared(data []byte, fd int, offset int64) error {
	return mapOver(data, fd, offset, unix.MAP_SHARED)
}

func mapOver(data []byte, fd int, offset int64, flags int) error {
	// SAFETY: the range is our own mapping, whole pages of it; MAP_FIXED replaces it at the same address, in one step for
	// everybody who uses it, so slices of it stay valid.
	p := unsafe.Pointer(unsafe.SliceData(data))
	_, err := unix.MmapPtr(fd, offset, p, uintptr(len(data)), unix.PROT_READ|unix.PROT_WRITE, flags|unix.MAP_FIXED)
	return os.NewSyscallError("mmap", err)
}

// detach puts zero pages where the file was: late users read zeroes, and what they write is thrown away with the reserve.
// When the kernel refuses, the file's pages simply stay until unmap.
func (r *reserve) detach() {
	if len(r.data) == 0 {
		return
	}
	// SAFETY: the range is our own mapping; MAP_FIXED replaces it at the same address, so slices of it stay valid.
	p := unsafe.Pointer(unsafe.SliceData(r.data))
	_, err := unix.MmapPtr(-1, 0, p, uintptr(len(r.data)), unix.PROT_READ|unix.PROT_WRITE,
		unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_NORESERVE|unix.MAP_FIXED)
	if err == nil {
		_ = unix.Madvise(r.data, unix.MADV_DONTFORK)
	}
}

// unmap frees the address range.
// Preconditions: no slice of the data is used any more.
func (r *reserve) unmap() error {
	// SAFETY: exactly the range that newReserve got, with all that was mapped over it since.
	err := unix.MunmapPtr(r.p, r.size)
	r.p, r.size, r.data = nil, 0, nil
	return os.NewSyscallError("munmap", err)
}
