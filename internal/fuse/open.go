//go:build linux

package fuse

import (
	"sync"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"
)

// handle is a file or directory that the client has open.
type handle struct {
	refs  // the table's one, requests
	id    uint64
	ino   *inode // holds a reference
	file  *file  // holds a reference
	flags uint32 // it was opened with
	dir   *dirState

	flock atomic.Int32 // flock(2) operation in force: 0, LOCK_SH or LOCK_EX
	noRWF atomic.Bool  // the file system does not know RWF_NOWAIT
	slow  atomic.Bool  // without that: the last read waited

	prev, next *handle // guarded by ino.mu
}

func (h *handle) writable() bool { return h.flags&unix.O_ACCMODE != unix.O_RDONLY }

// put gives a use back; the last one closes the file.
func (h *handle) put() {
	if h.drop() {
		n := h.ino
		n.mu.Lock()
		if h.prev != nil {
			h.prev.next = h.next
		} else if n.handles == h {
			n.handles = h.next
		}
		if h.next != nil {
			h.next.prev = h.prev
		}
		last := n.handles == nil
		n.mu.Unlock()
		if last {
			n.locks.dropAll() // whoever had a lock has closed the file
		}
		h.file.put()
		n.put()
	}
}

// handleTable is all handles of a session. Their number is bounded by the
// share's descriptors, of which each has one.
type handleTable struct {
	mu    sync.Mutex
	slots slots[handle] // guarded by mu, but get
	live  atomic.Int64
}

// get returns the handle with this number, held for the caller, or nil when it
// is not one of this node.
func (t *handleTable) get(id uint64, n *inode) *handle {
	h := t.slots.get(id)
	if h == nil || h.id != id || h.ino != n || !h.tryGet() {
		return nil
	}
	return h
}

// of is get for requests, which name the node by its number.
func (t *handleTable) of(id, node uint64) *handle {
	h := t.slots.get(id)
	if h == nil || h.id != id || h.ino.id != node || !h.tryGet() {
		return nil
	}
	return h
}

// add makes a handle of a descriptor, which it takes over. n is held by the
// caller.
func (t *handleTable) add(n *inode, fd held, flags uint32) (uint64, syscall.Errno) {
	h := &handle{ino: n, file: fd.keep(), flags: flags}
	h.n.Store(1)
	t.mu.Lock()
	id, ok := t.slots.alloc()
	if !ok {
		t.mu.Unlock()
		h.file.put()
		return 0, syscall.EMFILE
	}
	n.n.Add(1) // the caller holds n, so that it is not 0
	h.id = id
	if n.isDir() {
		h.dir = &dirState{}
	}
	n.mu.Lock()
	if h.next = n.handles; h.next != nil {
		h.next.prev = h
	}
	n.handles = h
	n.mu.Unlock()
	t.slots.set(id, h)
	t.mu.Unlock()
	t.live.Add(1)
	return id, 0
}

// remove closes a handle of the node; false when there is none.
func (t *handleTable) remove(id, node uint64) bool {
	t.mu.Lock()
	h := t.slots.get(id)
	if h == nil || h.id != id || h.ino.id != node {
		t.mu.Unlock()
		return false
	}
	t.slots.release(id)
	t.mu.Unlock()
	t.live.Add(-1)
	h.put()
	return true
}

// openMask are the flags of open(2) that reach the host. O_APPEND does not: it
// would make the kernel ignore the offsets of what the client's page cache
// writes back; see write.
const openMask = unix.O_ACCMODE | unix.O_TRUNC | unix.O_SYNC | unix.O_DSYNC

// openFlags are the host's flags for the client's.
func (s *Server) openFlags(f uint32) (uint32, syscall.Errno) {
	if f&unix.O_ACCMODE == unix.O_ACCMODE {
		return 0, syscall.EINVAL
	}
	if s.opt.ReadOnly && (f&unix.O_ACCMODE != unix.O_RDONLY || f&unix.O_TRUNC != 0) {
		return 0, syscall.EROFS
	}
	mask := uint32(openMask)
	if s.opt.DirectIO {
		mask |= unix.O_DIRECT
	}
	out := f & mask
	if s.opt.Writeback && out&unix.O_ACCMODE == unix.O_WRONLY {
		// The client reads what it writes a part of.
		out = out&^unix.O_ACCMODE | unix.O_RDWR
	}
	return out | unix.O_NONBLOCK, 0 // of no effect on files but those with a lease
}

// openFile opens a node for a handle. wanted are open_flags of the request.
func (r *request) openFile(n *inode, flags, wanted uint32) (held, syscall.Errno) {
	if n.isDir() {
		return held{}, syscall.EISDIR
	}
	h, e := r.s.reopen(n, flags, r.w.srv.budget.lasts)
	if e == syscall.EACCES && r.w.srv.opt.Writeback && flags&unix.O_ACCMODE == unix.O_RDWR {
		// It may have been O_WRONLY; the host decides about that too.
		h, e = r.s.reopen(n, flags&^unix.O_ACCMODE|unix.O_WRONLY, r.w.srv.budget.lasts)
	}
	if e != 0 {
		return held{}, e
	}
	if wanted&openKillSetID != 0 && flags&unix.O_TRUNC != 0 {
		if e := r.w.srv.dropSetID(n, h.fd); e != 0 {
			h.release()
			return held{}, e
		}
	}
	return h, 0
}

// open is OPEN (struct fuse_open_in).
func open(r *request) syscall.Errno {
	if r.s.caps&capNoOpenSupport != 0 && r.u32(0)&unix.O_ACCMODE == unix.O_RDONLY {
		return syscall.ENOSYS // READ does without; Linux does not ask again
	}
	flags, e := r.w.srv.openFlags(r.u32(0))
	if e != 0 {
		return e
	}
	n, e := r.held()
	if e != 0 {
		return e
	}
	defer n.put()
	h, e := r.openFile(n, flags, r.u32(4))
	if e != 0 {
		return e
	}
	return r.opened(n, h, flags, r.w.srv.opt.fileFlags())
}

// opened replies with a handle for the descriptor, which it takes over.
func (r *request) opened(n *inode, h held, flags, reply uint32) syscall.Errno {
	fh, e := r.s.handles.add(n, h, flags)
	if e != 0 {
		return e
	}
	b := r.reply(openOutSize)
	le.PutUint64(b, fh)
	le.PutUint32(b[8:], reply)
	return 0
}

// opendir is OPENDIR.
func opendir(r *request) syscall.Errno {
	n, e := r.held()
	if e != 0 {
		return e
	}
	defer n.put()
	if !n.isDir() {
		return syscall.ENOTDIR
	}
	flags := uint32(unix.O_RDONLY | unix.O_DIRECTORY)
	h, e := r.s.reopen(n, flags, r.w.srv.budget.lasts)
	if e != 0 {
		return e
	}
	return r.opened(n, h, flags, r.w.srv.opt.dirFlags())
}

// release is RELEASE and RELEASEDIR. flock(2) locks go with the descriptor.
func release(r *request) syscall.Errno {
	if !r.s.handles.remove(r.u64(0), r.node) {
		return syscall.EBADF
	}
	return 0
}

// handle returns the handle that the arguments name at off, held for the caller.
func (r *request) handle(off int) (*handle, syscall.Errno) {
	h := r.s.handles.of(r.u64(off), r.node)
	if h == nil {
		return nil, syscall.EBADF
	}
	return h, 0
}

// fileHandle is handle for files only.
func (r *request) fileHandle(off int) (*handle, syscall.Errno) {
	h, e := r.handle(off)
	if e == 0 && h.dir != nil {
		h.put()
		return nil, syscall.EISDIR
	}
	return h, e
}

// flush is FLUSH, at each close(2) in the client: the POSIX locks of the
// process go.
func flush(r *request) syscall.Errno {
	if !r.w.srv.opt.sharedLocks() {
		return syscall.ENOSYS
	}
	h, e := r.handle(0)
	if e != 0 {
		return e
	}
	h.ino.locks.drop(r.u64(16))
	h.put()
	return 0
}

// fsync is FSYNC and FSYNCDIR.
func fsync(r *request) syscall.Errno {
	h, e := r.handle(0)
	if e != 0 {
		return e
	}
	defer h.put()
	if r.u32(8)&fsyncDataOnly != 0 {
		return errno(unix.Fdatasync(h.file.fd))
	}
	return errno(unix.Fsync(h.file.fd))
}

// syncfs is SYNCFS.
func syncfs(r *request) syscall.Errno {
	if r.w.srv.opt.ReadOnly {
		return 0
	}
	n, e := r.held()
	if e != 0 {
		return e
	}
	defer n.put()
	if !n.isDir() {
		return syscall.EINVAL
	}
	h, e := r.s.reopen(n, unix.O_RDONLY|unix.O_DIRECTORY, r.w.srv.budget.limit) // syncfs(2) refuses O_PATH
	if e != 0 {
		return e
	}
	defer h.release()
	return errno(unix.Syncfs(h.fd))
}
