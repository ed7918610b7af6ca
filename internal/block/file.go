//go:build linux

package block

import (
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/libcapsa/libcapsa/internal/block/iovec"
)

// file is an open regular file or block device. It implements qcow2.Storage.
type file struct {
	path     string
	f        *os.File // buffered; holds the lock
	fd       int      // of f
	direct   *os.File // O_DIRECT, nil when not asked for
	directFD int      // of direct
	align    uint64   // of direct I/O, in bytes
	device   bool
	id       fileID

	limit  atomic.Uint64         // RLIMIT_FSIZE as last seen, in bytes
	end    atomic.Uint64         // no write below is beyond the file's end
	failed atomic.Pointer[error] // of the first Sync that failed
	closed atomic.Bool
}

// fileID says whether two files are the same.
type fileID struct{ dev, ino uint64 }

// openFile opens path, and waits for nothing: a FIFO is refused like everything that
// is neither a regular file nor a block device.
func openFile(path string, write, direct bool) (*file, error) {
	flags := os.O_RDONLY
	if write {
		flags = os.O_RDWR
	}
	f, err := os.OpenFile(path, flags|unix.O_CLOEXEC|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, err
	}
	out, err := newFile(path, f)
	if err != nil {
		f.Close()
		return nil, err
	}
	if direct {
		if err := out.openDirect(flags); err != nil {
			f.Close()
			return nil, err
		}
	}
	return out, nil
}

func newFile(path string, f *os.File) (*file, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return nil, os.NewSyscallError("fstat", err)
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG, unix.S_IFBLK:
	default:
		return nil, errors.New("it is neither a regular file nor a block device")
	}
	out := &file{path: path, f: f, fd: int(f.Fd()), device: st.Mode&unix.S_IFMT == unix.S_IFBLK, id: fileID{st.Dev, st.Ino}}
	if out.device {
		out.end.Store(math.MaxUint64)
		out.limit.Store(math.MaxUint64)
	} else {
		out.end.Store(uint64(st.Size))
		out.readLimit()
	}
	return out, nil
}

// openDirect opens the same file once more for direct I/O.
func (f *file) openDirect(flags int) error {
	d, err := os.OpenFile(fmt.Sprintf("/proc/self/fd/%d", f.fd), flags|unix.O_CLOEXEC|unix.O_DIRECT, 0)
	if errors.Is(err, unix.EINVAL) {
		return errors.New("its file system has no direct I/O")
	}
	if err != nil {
		return err
	}
	f.direct, f.directFD, f.align = d, int(d.Fd()), 4096 // what every device takes, when the kernel does not say
	var stx unix.Statx_t
	err = unix.Statx(f.directFD, "", unix.AT_EMPTY_PATH, unix.STATX_DIOALIGN, &stx)
	if err == nil && stx.Mask&unix.STATX_DIOALIGN != 0 && stx.Dio_offset_align != 0 {
		f.align = uint64(max(stx.Dio_offset_align, stx.Dio_mem_align))
	}
	return nil
}

// handle is the descriptor for an I/O of these buffers: the direct one when offset,
// lengths and addresses allow it.
func (f *file) handle(bufs [][]byte, off uint64) int {
	if f.direct == nil || off%f.align != 0 {
		return f.fd
	}
	for _, b := range bufs {
		if uint64(len(b))%f.align != 0 || address(b)%uintptr(f.align) != 0 {
			return f.fd
		}
	}
	return f.directFD
}

// ReadAt fills bufs; beyond the end of the file there are zeroes.
func (f *file) ReadAt(bufs [][]byte, off uint64) error {
	left, err := f.transfer(false, bufs, off)
	if err == io.ErrUnexpectedEOF {
		iovec.Zero(left)
		return nil
	}
	return err
}

// WriteAt writes bufs whole.
func (f *file) WriteAt(bufs [][]byte, off uint64) error {
	n := uint64(iovec.Len(bufs))
	if err := f.mayWrite(off, n); err != nil {
		return err
	}
	_, err := f.transfer(true, bufs, off)
	if err == io.ErrUnexpectedEOF {
		return os.NewSyscallError("pwritev", unix.ENOSPC) // a device's end
	}
	if end := f.end.Load(); err == nil && off+n > end {
		f.end.CompareAndSwap(end, off+n) // another's larger one may be lost, and is found again
	}
	return err
}

// transfer moves bufs by as many calls as it takes. io.ErrUnexpectedEOF says that a
// call moved nothing; what was left then is returned.
func (f *file) transfer(write bool, bufs [][]byte, off uint64) ([][]byte, error) {
	fd := f.handle(bufs, off)
	if n := iovec.Len(bufs); n > 0 && len(bufs) <= maxIOV { // one call, and no list to be kept
		if got, err := vectored(fd, write, bufs, off); err == nil && got == n {
			return nil, nil
		}
	}
	name := "preadv"
	if write {
		name = "pwritev"
	}
	left := make([][]byte, 0, len(bufs))
	for _, b := range bufs {
		if len(b) > 0 {
			left = append(left, b)
		}
	}
	for len(left) > 0 {
		n, err := vectored(fd, write, left, off)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return nil, os.NewSyscallError(name, err)
		case n == 0:
			return left, io.ErrUnexpectedEOF
		}
		left = iovec.Advance(left, n)
		off += uint64(n)
		if fd != f.fd {
			fd = f.handle(left, off) // a short transfer may end unaligned
		}
	}
	return nil, nil
}

// mayWrite refuses a write beyond RLIMIT_FSIZE. The kernel would send SIGXFSZ too,
// whose default is to end the process: somebody else's, whose signal handling is
// not ours to change. The limit is looked at again whenever a file grows.
func (f *file) mayWrite(off, n uint64) error {
	if off+n > f.end.Load() {
		f.readLimit()
	}
	if off+n > f.limit.Load() {
		return os.NewSyscallError("pwritev", unix.EFBIG)
	}
	return nil
}

func (f *file) readLimit() {
	var l unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_FSIZE, &l); err == nil { // RLIM_INFINITY is the largest number
		f.limit.Store(l.Cur)
	}
}

// Sync makes data and size durable. After one that failed, all fail: what the
// kernel could not write it forgets, and the next would succeed (fsync(2), NOTES).
func (f *file) Sync() error {
	if err := f.failed.Load(); err != nil {
		return *err
	}
	err := retry("fdatasync", func() error { return unix.Fdatasync(f.fd) })
	if err != nil {
		f.failed.CompareAndSwap(nil, &err)
	}
	return err
}

// PunchHole gives the space of a range back; it reads as zeroes. The error is
// unix.EOPNOTSUPP when the file system cannot.
func (f *file) PunchHole(off, n uint64) error {
	return f.allocate(unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, off, n)
}

// ZeroRange makes a range read as zeroes and keeps its space.
func (f *file) ZeroRange(off, n uint64) error {
	return f.allocate(unix.FALLOC_FL_ZERO_RANGE|unix.FALLOC_FL_KEEP_SIZE, off, n)
}

func (f *file) allocate(mode uint32, off, n uint64) error {
	if n == 0 {
		return nil
	}
	return retry("fallocate", func() error {
		return unix.Fallocate(f.fd, mode, int64(off), int64(n))
	})
}

// Size is the size in bytes.
func (f *file) Size() (uint64, error) {
	if f.device {
		n, err := f.f.Seek(0, io.SeekEnd) // no other user of this descriptor's position
		return uint64(n), err
	}
	st, err := f.f.Stat()
	if err != nil {
		return 0, err
	}
	return uint64(st.Size()), nil
}

// Close releases descriptors and locks, once. The locks are given up by name: a process
// that somebody is just forking has the descriptor too, until it calls exec, and would
// keep them.
func (f *file) Close() error {
	if f.closed.Swap(true) {
		return nil // the descriptor's number may be another file's by now
	}
	err := errors.Join(f.unlock(), f.f.Close())
	if f.direct != nil {
		err = errors.Join(err, f.direct.Close())
	}
	return err
}

// retry repeats an interrupted system call.
func retry(name string, call func() error) error {
	for {
		err := call()
		if !errors.Is(err, unix.EINTR) {
			return os.NewSyscallError(name, err)
		}
	}
}
