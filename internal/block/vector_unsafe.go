//go:build linux

package block

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// maxIOV is the longest list of buffers that one system call takes: UIO_MAXIOV
// (include/uapi/linux/uio.h).
const maxIOV = 1024

// fewIOV is the longest list that is built on the stack. Requests of a guest rarely
// have more buffers than pages in 256 KiB.
const fewIOV = 64

// vectored does one preadv or pwritev with up to maxIOV of bufs, of which none is
// empty, and returns how many bytes it moved. Nothing is allocated for short lists.
func vectored(fd int, write bool, bufs [][]byte, off uint64) (int, error) {
	if len(bufs) == 1 {
		return single(fd, write, bufs[0], off)
	}
	var few [fewIOV]unix.Iovec
	list := few[:0]
	if len(bufs) > fewIOV {
		bufs = bufs[:min(len(bufs), maxIOV)]
		list = make([]unix.Iovec, 0, len(bufs))
	}
	for _, b := range bufs {
		// SAFETY: Base and Len are one slice, which bufs keeps alive during the call.
		v := unix.Iovec{Base: unsafe.SliceData(b)}
		v.SetLen(len(b))
		list = append(list, v)
	}
	trap := uintptr(unix.SYS_PREADV)
	if write {
		trap = unix.SYS_PWRITEV
	}
	// SAFETY: list has len(list) entries and outlives the call, as what they point at
	// does: bufs is used by the caller afterwards. The kernel checks the addresses. The
	// offset's high half is 0: it is passed whole in the low one where words have 64
	// bits (pos_from_hilo in fs/read_write.c).
	n, _, errno := unix.Syscall6(trap, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(list))), uintptr(len(list)), uintptr(off), 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}

func single(fd int, write bool, b []byte, off uint64) (int, error) {
	if write {
		return unix.Pwrite(fd, b, int64(off))
	}
	return unix.Pread(fd, b, int64(off))
}

// address is where b begins, for a look at its alignment.
func address(b []byte) uintptr {
	// SAFETY: the pointer is not dereferenced or kept.
	return uintptr(unsafe.Pointer(unsafe.SliceData(b)))
}
