//go:build linux

package fuse

import (
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// cstr is a name with its NUL at the end: a private copy, never guest memory.
type cstr []byte

// String is the name without its NUL.
func (s cstr) String() string { return string(s[:len(s)-1]) }

var emptyName = cstr{0}

// statMask is what every statx asks for: an inode's identity and attributes.
const statMask = unix.STATX_BASIC_STATS | unix.STATX_BTIME | unix.STATX_MNT_ID

// beneath keeps openat2 at the one component it is given.
const beneath = unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS

// SAFETY of all wrappers below: pointers are made in the argument list of the
// call, which keeps their objects alive and in place until it returns; lengths
// are those of the slices; names end with NUL (type cstr). Slices of guest
// memory stay mapped as long as the request is in flight, and the kernel
// answers EFAULT for what is not.

// call6 repeats a system call that a signal interrupted. It is only for calls
// whose arguments hold no pointers of Go.
func call6(nr, a, b, c, d, e, f uintptr) (uintptr, syscall.Errno) {
	for {
		r, _, errno := syscall.Syscall6(nr, a, b, c, d, e, f)
		if errno != syscall.EINTR {
			return r, errno
		}
	}
}

func statx(dir int, name cstr, flags uint32, mask uint32, out *unix.Statx_t) syscall.Errno {
	for {
		// SAFETY: see above; out is a struct statx of the kernel.
		_, _, e := syscall.Syscall6(unix.SYS_STATX, uintptr(dir), uintptr(unsafe.Pointer(&name[0])), uintptr(flags), uintptr(mask), uintptr(unsafe.Pointer(out)), 0)
		if e != syscall.EINTR {
			return e
		}
	}
}

// statAt is statx of one name in a directory; links are not followed.
func statAt(dir int, name cstr, out *unix.Statx_t) syscall.Errno {
	return statx(dir, name, unix.AT_SYMLINK_NOFOLLOW|unix.AT_NO_AUTOMOUNT, statMask, out)
}

// statFD is statx of a descriptor, O_PATH ones too.
func statFD(fd int, out *unix.Statx_t) syscall.Errno {
	return statx(fd, emptyName, unix.AT_EMPTY_PATH, statMask, out)
}

// openBeneath opens one component in a directory without following anything.
func openBeneath(dir int, name cstr, flags uint64, mode uint32, resolve uint64) (int, syscall.Errno) {
	how := unix.OpenHow{Flags: flags | unix.O_CLOEXEC | unix.O_NOFOLLOW, Mode: uint64(mode), Resolve: resolve}
	for {
		// SAFETY: see above; how is a struct open_how of the kernel.
		r, _, e := syscall.Syscall6(unix.SYS_OPENAT2, uintptr(dir), uintptr(unsafe.Pointer(&name[0])), uintptr(unsafe.Pointer(&how)), unsafe.Sizeof(how), 0, 0)
		// EAGAIN: "the kernel could not ensure that a .. component didn't
		// escape", which one component does not have; a lease may also give it.
		if e != syscall.EINTR {
			return int(r), e
		}
	}
}

// openAt is openat(2). It follows links: it is for names below /proc/self/fd.
func openAt(dir int, name cstr, flags uint32) (int, syscall.Errno) {
	for {
		// SAFETY: see above.
		r, _, e := syscall.Syscall6(unix.SYS_OPENAT, uintptr(dir), uintptr(unsafe.Pointer(&name[0])), uintptr(flags|unix.O_CLOEXEC), 0, 0, 0)
		if e != syscall.EINTR {
			return int(r), e
		}
	}
}

// atCall is a call of the form f(dir, name, a, b, c).
func atCall(nr uintptr, dir int, name cstr, a, b, c uintptr) syscall.Errno {
	for {
		// SAFETY: see above.
		_, _, e := syscall.Syscall6(nr, uintptr(dir), uintptr(unsafe.Pointer(&name[0])), a, b, c, 0)
		if e != syscall.EINTR {
			return e
		}
	}
}

// at2Call is a call of the form f(dir1, name1, dir2, name2, flags).
func at2Call(nr uintptr, dir1 int, name1 cstr, dir2 int, name2 cstr, flags uintptr) syscall.Errno {
	for {
		// SAFETY: see above.
		_, _, e := syscall.Syscall6(nr, uintptr(dir1), uintptr(unsafe.Pointer(&name1[0])), uintptr(dir2), uintptr(unsafe.Pointer(&name2[0])), flags, 0)
		if e != syscall.EINTR {
			return e
		}
	}
}

func symlinkAt(target cstr, dir int, name cstr) syscall.Errno {
	for {
		// SAFETY: see above.
		_, _, e := syscall.Syscall(unix.SYS_SYMLINKAT, uintptr(unsafe.Pointer(&target[0])), uintptr(dir), uintptr(unsafe.Pointer(&name[0])))
		if e != syscall.EINTR {
			return e
		}
	}
}

func readlinkAt(dir int, name cstr, buf []byte) (int, syscall.Errno) {
	for {
		// SAFETY: see above; buf is not empty.
		r, _, e := syscall.Syscall6(unix.SYS_READLINKAT, uintptr(dir), uintptr(unsafe.Pointer(&name[0])), uintptr(unsafe.Pointer(&buf[0])), uintptr(len(buf)), 0, 0)
		if e != syscall.EINTR {
			return int(r), e
		}
	}
}

func utimensFD(fd int, times *[2]unix.Timespec) syscall.Errno {
	for {
		// SAFETY: see above; times are two struct timespec.
		_, _, e := syscall.Syscall6(unix.SYS_UTIMENSAT, uintptr(fd), uintptr(unsafe.Pointer(&emptyName[0])), uintptr(unsafe.Pointer(times)), unix.AT_EMPTY_PATH, 0, 0)
		if e != syscall.EINTR {
			return e
		}
	}
}

func getdents(fd int, buf []byte) (int, syscall.Errno) {
	for {
		// SAFETY: see above; buf is not empty.
		r, _, e := syscall.Syscall(unix.SYS_GETDENTS64, uintptr(fd), uintptr(unsafe.Pointer(&buf[0])), uintptr(len(buf)))
		if e != syscall.EINTR {
			return int(r), e
		}
	}
}

func copyFileRange(in int, offIn int64, out int, offOut int64, n int) (int, syscall.Errno) {
	for {
		// SAFETY: see above; both offsets are loff_t.
		r, _, e := syscall.Syscall6(unix.SYS_COPY_FILE_RANGE, uintptr(in), uintptr(unsafe.Pointer(&offIn)), uintptr(out), uintptr(unsafe.Pointer(&offOut)), uintptr(n), 0)
		if e != syscall.EINTR {
			return int(r), e
		}
	}
}

// xattrCall is a call of the form f(path, name, value, size, flags).
func xattrCall(nr uintptr, path, name cstr, value []byte, flags int) (int, syscall.Errno) {
	p := unsafe.SliceData(value) // nil for a nil slice, which asks for the size
	for {
		// SAFETY: see above; the kernel touches len(value) bytes at most.
		r, _, e := syscall.Syscall6(nr, uintptr(unsafe.Pointer(&path[0])), uintptr(unsafe.Pointer(&name[0])), uintptr(unsafe.Pointer(p)), uintptr(len(value)), uintptr(flags), 0)
		if e != syscall.EINTR {
			return int(r), e
		}
	}
}

func listxattr(path cstr, list []byte) (int, syscall.Errno) {
	p := unsafe.SliceData(list)
	for {
		// SAFETY: see above.
		r, _, e := syscall.Syscall(unix.SYS_LISTXATTR, uintptr(unsafe.Pointer(&path[0])), uintptr(unsafe.Pointer(p)), uintptr(len(list)))
		if e != syscall.EINTR {
			return int(r), e
		}
	}
}

// fcntlLock is fcntl(2) with a struct flock. It is not repeated on EINTR:
// waiting for a lock may be interrupted.
func fcntlLock(fd int, cmd int, lk *unix.Flock_t) syscall.Errno {
	// SAFETY: see above.
	_, _, e := syscall.Syscall(unix.SYS_FCNTL, uintptr(fd), uintptr(cmd), uintptr(unsafe.Pointer(lk)))
	return e
}

// maxVec is how many buffers one readv takes, IOV_MAX of Linux.
const maxVec = 1024

// vector turns buffers into what readv takes, in the storage of v. Buffers
// that touch become one: the pages of a request are often neighbours.
func vector(v []unix.Iovec, bufs [][]byte) []unix.Iovec {
	v = v[:0]
	var end uintptr
	for _, b := range bufs {
		if len(b) == 0 {
			continue
		}
		p := unsafe.SliceData(b)
		// SAFETY: addresses are only compared. Two buffers that touch are both
		// slices of one mapping of guest memory, or of one Go object; other
		// neighbours on Go's heap are joined for the length of one system call
		// only, in which nothing moves.
		start := uintptr(unsafe.Pointer(p))
		if len(v) > 0 && start == end {
			v[len(v)-1].SetLen(int(v[len(v)-1].Len) + len(b))
		} else {
			iov := unix.Iovec{Base: p}
			iov.SetLen(len(b))
			v = append(v, iov)
		}
		end = start + uintptr(len(b))
	}
	return v
}

// moveVec is preadv2 or pwritev2 of at most maxVec buffers. bufs are what v was
// made from.
func moveVec(nr uintptr, fd int, v []unix.Iovec, bufs [][]byte, off int64, flags int) (int, syscall.Errno) {
	v = v[:min(len(v), maxVec)]
	if len(v) == 0 {
		return 0, 0
	}
	for {
		// SAFETY: see above; bufs are kept alive below. The offset goes in two
		// halves; on 64-bit machines the first holds all of it.
		r, _, e := syscall.Syscall6(nr, uintptr(fd), uintptr(unsafe.Pointer(&v[0])), uintptr(len(v)), uintptr(off), 0, uintptr(flags))
		if e != syscall.EINTR {
			runtime.KeepAlive(bufs)
			return int(r), e
		}
	}
}
