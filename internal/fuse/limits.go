//go:build linux

package fuse

import (
	"sync"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"
)

// budget bounds the descriptors of one share. Descriptors of directories that
// can be found again are closed when it is used up, least recently used first.
type budget struct {
	limit int64 // of all descriptors
	lasts int64 // of all, when one is taken that the client keeps: an open file, a lock
	used  atomic.Int64

	mu        sync.Mutex
	oldest    *inode // guarded by mu; list of nodes whose descriptor may be closed
	newest    *inode // guarded by mu
	evictions atomic.Uint64
	refusals  atomic.Uint64 // requests that got EMFILE
}

// defaultMaxFilesNow is half of what the process may have open.
func defaultMaxFilesNow() int {
	var r unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &r); err != nil || r.Cur/2 > defaultMaxFiles {
		return defaultMaxFiles
	}
	return max(int(r.Cur/2), minMaxFiles)
}

// setLimit leaves a part for descriptors that live as long as a request, so
// that a client which has all its files open can still list, rename and remove.
func (b *budget) setLimit(n int) {
	b.limit = int64(n)
	b.lasts = b.limit - max(b.limit/16, 8)
}

// take reserves one descriptor; give gives it back.
func (b *budget) take(limit int64) syscall.Errno {
	for {
		if b.used.Add(1) <= limit {
			return 0
		}
		b.used.Add(-1)
		if !b.evict() {
			b.refusals.Add(1)
			return syscall.EMFILE
		}
	}
}

func (b *budget) give() { b.used.Add(-1) }

// adopt lists a node whose descriptor may be closed.
func (b *budget) adopt(n *inode) {
	b.mu.Lock()
	if !n.listed {
		b.push(n)
	}
	b.mu.Unlock()
}

// disown takes a node off the list.
func (b *budget) disown(n *inode) {
	b.mu.Lock()
	if n.listed {
		b.remove(n)
	}
	b.mu.Unlock()
}

// push appends a node. Preconditions: mu is held, n is not listed.
func (b *budget) push(n *inode) {
	n.listed, n.older, n.newer = true, b.newest, nil
	if b.newest != nil {
		b.newest.newer = n
	} else {
		b.oldest = n
	}
	b.newest = n
}

// remove unlinks a node. Preconditions: mu is held, n is listed.
func (b *budget) remove(n *inode) {
	if n.older != nil {
		n.older.newer = n.newer
	} else {
		b.oldest = n.newer
	}
	if n.newer != nil {
		n.newer.older = n.older
	} else {
		b.newest = n.older
	}
	n.listed, n.older, n.newer = false, nil, nil
}

// evict closes the descriptor that was least recently used: nodes that were
// used since they were last looked at get a second chance. It returns whether
// there was one. A descriptor that a request is using is closed after it.
func (b *budget) evict() bool {
	b.mu.Lock()
	var victim *file
	for n := b.oldest; n != nil; n = b.oldest {
		b.remove(n)
		if n.hot.Swap(false) {
			b.push(n)
			continue // ends: hot is false now, for all nodes after one round
		}
		if n.isDir() {
			victim = n.path.Swap(nil)
		} else {
			victim = n.data.Swap(nil) // path is not listed for files
		}
		if victim != nil {
			break
		}
	}
	b.mu.Unlock()
	if victim == nil {
		return false
	}
	b.evictions.Add(1)
	victim.put()
	return true
}

// file is an open descriptor that is closed when nobody uses it any more, so
// that its number cannot come to mean another file under a request.
type file struct {
	refs
	fd    int
	owner *budget
}

func newFile(fd int, owner *budget) *file {
	f := &file{fd: fd, owner: owner}
	f.n.Store(1)
	return f
}

// put gives a use back. Nil is allowed.
func (f *file) put() {
	if f != nil && f.drop() {
		closeFD(f.fd)
		f.owner.give()
	}
}

// held is a descriptor for the length of a request: a shared one, or one of
// its own.
type held struct {
	fd    int
	f     *file   // shared
	owner *budget // of its own
}

func (h held) release() {
	switch {
	case h.f != nil:
		h.f.put()
	case h.owner != nil:
		closeFD(h.fd)
		h.owner.give()
	}
}

// keep turns a descriptor of its own into a shared one.
func (h held) keep() *file {
	if h.f != nil {
		return h.f
	}
	return newFile(h.fd, h.owner)
}

// closeFD closes a descriptor. Errors of close(2) are of writes that were not
// synced; who wants to know asks with FSYNC.
func closeFD(fd int) { _ = unix.Close(fd) }

// open runs a system call that makes a descriptor for the length of a request,
// or of a directory, within the budget. When the process as a whole has no more
// of them, one of ours is closed and the call made once more.
func (b *budget) open(call func() (int, syscall.Errno)) (held, syscall.Errno) {
	return b.openWithin(b.limit, call)
}

// openLasting is open of a descriptor that the client keeps.
func (b *budget) openLasting(call func() (int, syscall.Errno)) (held, syscall.Errno) {
	return b.openWithin(b.lasts, call)
}

func (b *budget) openWithin(limit int64, call func() (int, syscall.Errno)) (held, syscall.Errno) {
	if e := b.take(limit); e != 0 {
		return held{}, e
	}
	fd, e := call()
	if (e == syscall.EMFILE || e == syscall.ENFILE) && b.evict() {
		fd, e = call()
	}
	if e != 0 {
		b.give()
		return held{}, e
	}
	return held{fd: fd, owner: b}, 0
}
