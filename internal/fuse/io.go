//go:build linux

package fuse

import (
	"math"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// read is READ (struct fuse_read_in): the bytes go from the host's page cache
// to the client's memory, with no copy in between.
func read(r *request) syscall.Errno {
	fh, off, size := r.u64(0), r.u64(8), r.u32(16)
	if off > math.MaxInt64-MaxIO {
		return syscall.EINVAL
	}
	var room int
	r.w.iov, room = cut(r.w.iov[:0], r.out, outHeaderSize, int(min(size, MaxIO)))
	if room < int(min(size, MaxIO)) {
		return syscall.EINVAL // exactly what is asked, or the client takes it for the end
	}
	f, h, e := r.readFile(fh)
	if e != 0 {
		return e
	}
	n, e := r.readAt(f.fd, h, int64(off))
	if h != nil {
		h.put()
	} else {
		f.put()
	}
	if e != 0 {
		return e
	}
	r.direct = n
	r.w.srv.stats.readBytes.Add(uint64(n))
	return 0
}

// readFile returns the file to read and the handle it is of; nil without one,
// on shares where files are read without being opened.
func (r *request) readFile(fh uint64) (*file, *handle, syscall.Errno) {
	if fh == 0 && r.s.caps&capNoOpenSupport != 0 {
		n, e := r.held()
		if e != 0 {
			return nil, nil, e
		}
		defer n.put()
		f, e := r.s.dataFile(n)
		return f, nil, e
	}
	h, e := r.fileHandle(0)
	if e != 0 {
		return nil, nil, e
	}
	if h.flags&unix.O_ACCMODE == unix.O_WRONLY {
		h.put()
		return nil, nil, syscall.EBADF
	}
	return h.file, h, 0
}

// dataFile returns the descriptor that reads the node without a handle, held
// for the caller.
func (s *session) dataFile(n *inode) (*file, syscall.Errno) {
	for {
		f := n.data.Load()
		if f == nil {
			break
		}
		if f.tryGet() {
			return f, 0
		}
	}
	h, e := s.reopen(n, unix.O_RDONLY|unix.O_NONBLOCK, s.srv.budget.limit)
	if e != 0 {
		return nil, e
	}
	if n.isDir() {
		h.release()
		return nil, syscall.EISDIR
	}
	f := h.keep()
	f.tryGet() // the node's use
	if n.data.CompareAndSwap(nil, f) {
		s.srv.budget.adopt(n)
	} else {
		f.put()
	}
	return f, 0
}

// slowRead is how long a read takes that waited for a disk or a network: copying
// MaxIO bytes takes a tenth of it.
const slowRead = time.Millisecond

// readAt fills worker.iov from the file. What is in the page cache is read
// without waiting; before the rest the request says that it may wait.
func (r *request) readAt(fd int, h *handle, off int64) (int, syscall.Errno) {
	flags := unix.RWF_NOWAIT
	if h != nil && h.noRWF.Load() {
		flags = 0
		if h.slow.Load() {
			r.block(false)
		}
		begin := time.Now()
		defer func() { h.slow.Store(time.Since(begin) > slowRead) }()
	}
	bufs := r.w.iov
	done := 0
	for {
		r.w.vec = vector(r.w.vec, bufs)
		n, e := moveVec(unix.SYS_PREADV2, fd, r.w.vec, bufs, off+int64(done), flags)
		switch {
		case e == syscall.EOPNOTSUPP && flags != 0:
			if h != nil {
				h.noRWF.Store(true)
			}
			fallthrough
		case e == syscall.EAGAIN && flags != 0:
			r.block(false)
			flags = 0
			continue
		case e != 0 && done == 0:
			return 0, e
		case e != 0 || n == 0: // the end of the file, or what there was before an error
			return done, 0
		}
		done += n
		if bufs = advance(bufs, n); len(bufs) == 0 {
			return done, 0
		}
	}
}

// advance takes n bytes off the front of bufs. It changes their slice headers,
// which are the worker's.
func advance(bufs [][]byte, n int) [][]byte {
	for len(bufs) > 0 && n >= len(bufs[0]) {
		n -= len(bufs[0])
		bufs = bufs[1:]
	}
	if n > 0 {
		bufs[0] = bufs[0][n:]
	}
	return bufs
}

// write is WRITE (struct fuse_write_in), from the client's memory to the
// host's page cache.
func write(r *request) syscall.Errno {
	off, size, how, flags := r.u64(8), r.u32(16), r.u32(20), r.u32(32)
	if size > MaxIO || off > math.MaxInt64-MaxIO || total(r.data) != int(size) {
		return syscall.EINVAL
	}
	h, e := r.fileHandle(0)
	if e != 0 {
		return e
	}
	defer h.put()
	if !h.writable() {
		return syscall.EBADF
	}
	rwf := 0
	if flags&unix.O_APPEND != 0 && how&writeCache == 0 && !r.w.srv.opt.Writeback {
		// Others may have appended meanwhile: the host knows where the end is.
		rwf = unix.RWF_APPEND
	}
	if h.flags&(unix.O_SYNC|unix.O_DSYNC|unix.O_DIRECT) != 0 {
		r.block(false)
	}
	if how&writeKillSetID != 0 {
		if e := r.w.srv.dropSetID(h.ino, h.file.fd); e != 0 {
			return e
		}
	}
	r.s.srv.ownUse(h.ino)
	n, e := r.writeAt(h.file.fd, int64(off), rwf)
	if e != 0 {
		return e
	}
	r.w.srv.stats.writeBytes.Add(uint64(n))
	le.PutUint32(r.reply(8), uint32(n))
	return 0
}

// writeAt writes the request's payload.
func (r *request) writeAt(fd int, off int64, rwf int) (int, syscall.Errno) {
	bufs, done := r.data, 0
	for len(bufs) > 0 {
		r.w.vec = vector(r.w.vec, bufs)
		n, e := moveVec(unix.SYS_PWRITEV2, fd, r.w.vec, bufs, off+int64(done), rwf)
		if e != 0 && done == 0 {
			return 0, e
		}
		if e != 0 || n == 0 {
			break
		}
		done += n
		bufs = advance(bufs, n)
	}
	return done, 0
}

// lseek is LSEEK: where data and holes are. Everything else is the client's.
func lseek(r *request) syscall.Errno {
	off, whence := r.u64(8), r.u32(16)
	if whence != unix.SEEK_DATA && whence != unix.SEEK_HOLE || off > math.MaxInt64 {
		return syscall.EINVAL
	}
	h, e := r.fileHandle(0)
	if e != 0 {
		return e
	}
	defer h.put()
	at, err := unix.Seek(h.file.fd, int64(off), int(whence))
	if err != nil {
		return errno(err)
	}
	le.PutUint64(r.reply(8), uint64(at))
	return 0
}

// fallocate is FALLOCATE (struct fuse_fallocate_in).
func fallocate(r *request) syscall.Errno {
	off, size, mode := r.u64(8), r.u64(16), r.u32(24)
	if off > math.MaxInt64 || size > math.MaxInt64-off {
		return syscall.EFBIG
	}
	h, e := r.fileHandle(0)
	if e != 0 {
		return e
	}
	defer h.put()
	if !h.writable() {
		return syscall.EBADF
	}
	r.s.srv.ownUse(h.ino)
	_, e = call6(unix.SYS_FALLOCATE, uintptr(h.file.fd), uintptr(mode), uintptr(off), uintptr(size), 0, 0)
	if e == 0 && r.uid != 0 {
		// There is no flag for it here, as WRITE has one.
		e = r.w.srv.dropSetID(h.ino, h.file.fd)
	}
	return e
}

// copyRange is COPY_FILE_RANGE (struct fuse_copy_file_range_in).
func copyRange(r *request) syscall.Errno {
	offIn, nodeOut, fhOut, offOut, size, flags := r.u64(8), r.u64(16), r.u64(24), r.u64(32), r.u64(40), r.u64(48)
	if flags != 0 || offIn > math.MaxInt64 || offOut > math.MaxInt64 {
		return syscall.EINVAL
	}
	in, e := r.fileHandle(0)
	if e != 0 {
		return e
	}
	defer in.put()
	out := r.s.handles.of(fhOut, nodeOut)
	if out == nil {
		return syscall.EBADF
	}
	defer out.put()
	if out.dir != nil || !out.writable() {
		return syscall.EBADF
	}
	// The reply counts in 32 bits; the kernel copies less than 2 GiB at once.
	size = min(size, math.MaxInt32&^uint64(pageSize-1))
	r.s.srv.ownUse(out.ino)
	n, e := copyFileRange(in.file.fd, int64(offIn), out.file.fd, int64(offOut), int(size))
	if e != 0 {
		return e
	}
	if r.uid != 0 {
		if e := r.w.srv.dropSetID(out.ino, out.file.fd); e != 0 {
			return e
		}
	}
	le.PutUint32(r.reply(8), uint32(n))
	return 0
}
