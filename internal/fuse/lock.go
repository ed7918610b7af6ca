//go:build linux

package fuse

import (
	"math"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// maxOwners bounds how many processes of the client have locks on one file;
// each costs a descriptor.
const maxOwners = 1024

// lockOwners are the POSIX locks on one file, by owner: the client's number for
// a process. Each owner has an open file description of its own, whose locks
// (F_OFD_SETLK) conflict with those of others, on the host too.
type lockOwners struct {
	mu sync.Mutex
	m  map[uint64]*lockOwner // guarded by mu; nil while there are none
}

// lockOwner is one owner's locks on one file.
type lockOwner struct {
	file   *file
	write  bool // the description may have write locks
	mu     sync.Mutex
	ranges ranges // guarded by mu; what is granted
}

// get returns the owner, its file held for the caller. open makes a
// description for a new one; nil makes none.
func (l *lockOwners) get(id uint64, open func() (held, bool, syscall.Errno)) (*lockOwner, syscall.Errno) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if o := l.m[id]; o != nil {
		if o.file.tryGet() {
			return o, 0
		}
	}
	if open == nil {
		return nil, 0
	}
	if len(l.m) >= maxOwners {
		return nil, syscall.ENOLCK
	}
	h, write, e := open()
	if e != 0 {
		return nil, e
	}
	o := &lockOwner{file: h.keep(), write: write}
	o.file.tryGet() // the owner's; the other is the caller's
	if l.m == nil {
		l.m = map[uint64]*lockOwner{}
	}
	l.m[id] = o
	return o, 0
}

// drop releases all locks of an owner: closing the description does that.
func (l *lockOwners) drop(id uint64) {
	l.mu.Lock()
	o := l.m[id]
	delete(l.m, id)
	l.mu.Unlock()
	if o != nil {
		o.file.put()
	}
}

// dropAll releases the locks of all owners.
func (l *lockOwners) dropAll() {
	l.mu.Lock()
	m := l.m
	l.m = nil
	l.mu.Unlock()
	for _, o := range m {
		o.file.put()
	}
}

// lockArgs are struct fuse_lk_in.
type lockArgs struct {
	owner uint64
	lk    unix.Flock_t
	flags uint32
}

func (r *request) lockArgs() (lockArgs, syscall.Errno) {
	start, end, typ := r.u64(16), r.u64(24), r.u32(32)
	if start > end || end > math.MaxInt64 || typ > unix.F_UNLCK {
		return lockArgs{}, syscall.EINVAL
	}
	a := lockArgs{owner: r.u64(8), flags: r.u32(40)}
	a.lk = unix.Flock_t{Type: int16(typ), Whence: unix.SEEK_SET, Start: int64(start)}
	if end < math.MaxInt64 {
		a.lk.Len = int64(end-start) + 1 // 0 is to the end, however far
	}
	return a, 0
}

// description opens another description of an open file, for locks: for
// reading and writing if that may be.
func (r *request) description(h *handle) (held, bool, syscall.Errno) {
	again := func(flags uint32) (held, syscall.Errno) {
		return r.w.srv.budget.openLasting(func() (int, syscall.Errno) {
			var buf [16]byte
			return openAt(r.w.srv.procFD, procName(h.file.fd, &buf), flags|unix.O_NONBLOCK)
		})
	}
	d, e := again(unix.O_RDWR)
	if e == 0 {
		return d, true, 0
	}
	if h.flags&unix.O_ACCMODE == unix.O_WRONLY {
		d, e = again(unix.O_WRONLY)
		return d, true, e
	}
	d, e = again(unix.O_RDONLY)
	return d, false, e
}

// getlk is GETLK: which lock is in the way.
func getlk(r *request) syscall.Errno {
	if !r.w.srv.opt.sharedLocks() {
		return syscall.ENOSYS
	}
	h, e := r.fileHandle(0)
	if e != 0 {
		return e
	}
	defer h.put()
	a, e := r.lockArgs()
	if e != 0 {
		return e
	}
	fd := h.file.fd
	o, _ := h.ino.locks.get(a.owner, nil)
	if o != nil {
		defer o.file.put()
		fd = o.file.fd // its own locks are not in the way
	}
	if e := fcntlLock(fd, unix.F_OFD_GETLK, &a.lk); e != 0 {
		return e
	}
	b := r.reply(lockSize)
	le.PutUint64(b, uint64(a.lk.Start))
	end := uint64(math.MaxInt64)
	if a.lk.Len > 0 {
		end = uint64(a.lk.Start) + uint64(a.lk.Len) - 1
	}
	le.PutUint64(b[8:], end)
	le.PutUint32(b[16:], uint32(uint16(a.lk.Type)))
	// The pid of a process of the host, or of another client, means nothing here.
	return 0
}

// setlk is SETLK and SETLKW, of POSIX locks and of flock(2).
func setlk(r *request) syscall.Errno {
	if !r.w.srv.opt.sharedLocks() {
		return syscall.ENOSYS
	}
	h, e := r.handle(0)
	if e != 0 {
		return e
	}
	defer h.put()
	a, e := r.lockArgs()
	if e != 0 {
		return e
	}
	wait := r.op == opSetlkw
	if a.flags&lockIsFlock != 0 {
		return r.flock(h, a, wait)
	}
	if h.dir != nil {
		return syscall.EBADF
	}
	if a.lk.Type == unix.F_UNLCK {
		o, _ := h.ino.locks.get(a.owner, nil)
		if o == nil {
			return 0
		}
		defer o.file.put()
		return o.set(&a.lk)
	}
	o, e := h.ino.locks.get(a.owner, func() (held, bool, syscall.Errno) { return r.description(h) })
	if e != 0 {
		return e
	}
	defer o.file.put()
	if a.lk.Type == unix.F_WRLCK && !o.write {
		return syscall.EBADF
	}
	e = o.set(&a.lk)
	if !wait || e != syscall.EAGAIN && e != syscall.EACCES {
		return e
	}
	lk := a.lk
	return r.wait(o.file,
		func() syscall.Errno { return fcntlLock(o.file.fd, unix.F_OFD_SETLKW, &lk) },
		func() { o.note(&lk) },
		func() { o.restore(&lk) })
}

// set takes or releases a lock without waiting.
func (o *lockOwner) set(lk *unix.Flock_t) syscall.Errno {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.ranges) >= maxRangesPerOwner && lk.Type != unix.F_UNLCK {
		return syscall.ENOLCK
	}
	e := fcntlLock(o.file.fd, unix.F_OFD_SETLK, lk)
	if e == 0 {
		o.ranges = o.ranges.set(rangeOf(lk))
	}
	return e
}

// note records a lock that was granted.
func (o *lockOwner) note(lk *unix.Flock_t) {
	o.mu.Lock()
	o.ranges = o.ranges.set(rangeOf(lk))
	o.mu.Unlock()
}

// flockOps are the operations of flock(2) for the lock types.
var flockOps = [...]int{unix.F_RDLCK: unix.LOCK_SH, unix.F_WRLCK: unix.LOCK_EX, unix.F_UNLCK: unix.LOCK_UN}

// flock is a lock of the handle's description: the client's open file is one
// description of the host's.
func (r *request) flock(h *handle, a lockArgs, wait bool) syscall.Errno {
	op := flockOps[a.lk.Type]
	before := int(h.flock.Load())
	e := errno(unix.Flock(h.file.fd, op|unix.LOCK_NB))
	if e == syscall.EAGAIN && wait {
		fd := h.file.fd
		e = r.wait(h.file,
			func() syscall.Errno { return errno(unix.Flock(fd, op)) },
			func() {},
			func() {
				if before == 0 {
					before = unix.LOCK_UN
				}
				_ = unix.Flock(fd, before|unix.LOCK_NB) // a weaker lock, or none: granted
			})
	}
	if e == 0 {
		if op == unix.LOCK_UN {
			op = 0
		}
		h.flock.Store(int32(op))
	}
	return e
}
