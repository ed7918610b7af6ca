//go:build linux

package fuse

import (
	"syscall"

	"github.com/libcapsa/libcapsa/internal/safe"
)

// class of an opcode.
const (
	mutates uint8 = 1 << iota // refused on a read-only share, before anything is parsed
	silent                    // has no reply
	early                     // allowed before INIT
	slow                      // waits for the host as a rule
)

// operation is how one opcode is served.
type operation struct {
	min   int // bytes of arguments
	class uint8
	serve func(r *request) syscall.Errno
}

// operations by opcode. What is missing is ENOSYS: Linux then stops asking, or
// does without. READ and WRITE are here for their class and size.
var operations = [numOps]operation{
	opLookup:        {1, 0, lookup},
	opForget:        {8, silent | early, forget},
	opGetattr:       {0, 0, getattr},
	opSetattr:       {88, mutates, setattr},
	opReadlink:      {0, 0, readlink},
	opSymlink:       {2, mutates, symlink},
	opMknod:         {17, mutates, mknod},
	opMkdir:         {9, mutates, mkdir},
	opUnlink:        {1, mutates, unlink},
	opRmdir:         {1, mutates, rmdir},
	opRename:        {10, mutates, rename},
	opLink:          {9, mutates, link},
	opOpen:          {8, 0, open},
	opRead:          {readInSize, 0, read},
	opWrite:         {writeInSize, mutates, write},
	opStatfs:        {0, 0, statfs},
	opRelease:       {24, 0, release},
	opFsync:         {16, slow, fsync},
	opSetxattr:      {8, mutates, setxattr},
	opGetxattr:      {9, 0, getxattr},
	opListxattr:     {8, 0, listxattrs},
	opRemovexattr:   {1, mutates, removexattr},
	opFlush:         {24, 0, flush},
	opInit:          {16, early, initialize},
	opOpendir:       {8, 0, opendir},
	opReaddir:       {readInSize, 0, readdir},
	opReleasedir:    {24, 0, release},
	opFsyncdir:      {16, slow, fsync},
	opGetlk:         {48, 0, getlk},
	opSetlk:         {48, 0, setlk},
	opSetlkw:        {48, 0, setlk},
	opCreate:        {17, mutates, create},
	opInterrupt:     {8, early, interrupt},
	opDestroy:       {0, early, destroy},
	opIoctl:         {32, 0, func(*request) syscall.Errno { return syscall.ENOTTY }},
	opBatchForget:   {8, silent | early, batchForget},
	opFallocate:     {32, mutates | slow, fallocate},
	opReaddirplus:   {readInSize, 0, readdir},
	opRename2:       {18, mutates, rename2},
	opLseek:         {24, 0, lseek},
	opCopyFileRange: {56, mutates | slow, copyRange},
	opSyncfs:        {8, slow, syncfs},
	opTmpfile:       {16, mutates, tmpfile},
	opStatx:         {24, 0, statxOp},
}

// Worker returns what one goroutine serves requests with: a function that
// takes the buffers of a request and of its reply, as they lie in guest
// memory, and returns how many bytes of the reply it wrote; 0 is no reply.
// Two goroutines do not share one.
//
// During a request it calls block and commit, each of which may be nil, on the
// same goroutine. block says that the request may now wait for the host, so
// that somebody else should take the next one; parked, that it waits for a
// lock, maybe for ever, and holds no thread meanwhile. It may be called several
// times. commit is called before the reply is written; false says that nobody
// wants it any more, and the buffers are not touched. (READ has filled them by
// then.)
func (s *Server) Worker(block func(parked bool), commit func() bool) (handle func(in, out [][]byte) (written int)) {
	w := &worker{srv: s, block: block, commit: commit}
	w.req.w = w
	return w.handle
}

// handle serves one request. A bug that panics costs this request only.
func (w *worker) handle(in, out [][]byte) (written int) {
	r := &w.req
	*r = request{w: w, out: out, room: total(out)}
	s := w.srv.session()
	if s == nil {
		return 0
	}
	r.s = s
	e := w.contained(r, in)
	written = w.answer(r, e)
	if w.big != nil {
		w.srv.buffers.Put(w.big)
		w.big = nil
	}
	r.s.put()
	r.s, r.out, r.data = nil, nil, nil
	return written
}

// noReply stands for no reply where an errno is returned.
const noReply = syscall.Errno(1 << 16)

// contained runs the request; a panic becomes EIO.
func (w *worker) contained(r *request, in [][]byte) (e syscall.Errno) {
	e = syscall.EIO
	if err := safe.Run("fuse request", func() { e = w.dispatch(r, in) }); err != nil {
		w.srv.stats.panics.Add(1)
		return syscall.EIO
	}
	return e
}

// dispatch copies, checks and serves a request.
func (w *worker) dispatch(r *request, in [][]byte) syscall.Errno {
	n := gather(w.in[:inHeaderSize+writeInSize], in, 0)
	if n < inHeaderSize {
		w.srv.stats.malformed.Add(1)
		return noReply
	}
	h := w.in[:inHeaderSize]
	r.op, r.unique, r.node = le.Uint32(h[4:]), le.Uint64(h[8:]), le.Uint64(h[16:])
	r.uid, r.gid = le.Uint32(h[24:]), le.Uint32(h[28:])
	size := total(in)
	if r.op >= numOps || operations[r.op].serve == nil {
		w.srv.stats.unknown.Add(1)
		return syscall.ENOSYS
	}
	op := &operations[r.op]
	w.srv.stats.requests[r.op].Add(1)
	if op.class&silent == 0 && r.room < outHeaderSize || uint64(le.Uint32(h)) != uint64(size) {
		w.srv.stats.malformed.Add(1)
		return r.refuse(op, syscall.EINVAL)
	}
	if !r.s.ready && op.class&early == 0 {
		return r.refuse(op, syscall.EIO)
	}
	if op.class&mutates != 0 && w.srv.opt.ReadOnly {
		return syscall.EROFS
	}
	if e := w.arguments(r, in, size, int(le.Uint16(h[36:]))*8); e != 0 {
		w.srv.stats.malformed.Add(1)
		return r.refuse(op, e)
	}
	if len(r.arg) < op.min {
		w.srv.stats.malformed.Add(1)
		return r.refuse(op, syscall.EINVAL)
	}
	if op.class&slow != 0 {
		r.block(false)
	}
	e := op.serve(r)
	if op.class&silent != 0 {
		return noReply
	}
	return e
}

// refuse is e, or no reply where there must not be one.
func (r *request) refuse(op *operation, e syscall.Errno) syscall.Errno {
	if op.class&silent != 0 || r.room < outHeaderSize {
		return noReply
	}
	return e
}

// arguments copies what follows the header. WRITE's payload stays where it is.
func (w *worker) arguments(r *request, in [][]byte, size, ext int) syscall.Errno {
	end := size - ext
	if end < inHeaderSize {
		return syscall.EINVAL
	}
	buf, limit := w.in[:], argSize
	switch r.op {
	case opWrite:
		if size < inHeaderSize+writeInSize || ext != 0 {
			return syscall.EINVAL
		}
		r.arg = w.in[inHeaderSize : inHeaderSize+writeInSize]
		w.iov, _ = cut(w.iov[:0], in, inHeaderSize+writeInSize, size)
		r.data = w.iov
		return 0
	case opSetxattr:
		if size > argSize {
			buf, limit = r.large(), bigSize
		}
	case opBatchForget:
		// Entries are copied piece by piece, however many there are.
		r.arg = w.in[inHeaderSize:min(size, inHeaderSize+8)]
		r.data = in
		return 0
	}
	if size > limit {
		return syscall.EINVAL
	}
	// What was copied before, the header above all, is not copied again: the
	// client may have changed it.
	done := min(size, inHeaderSize+writeInSize)
	if &buf[0] != &w.in[0] {
		copy(buf, w.in[:done])
	}
	if gather(buf[done:size], in, done) != size-done {
		return syscall.EINVAL
	}
	r.arg = buf[inHeaderSize:end:end]
	r.ext = buf[end:size]
	return 0
}

// block tells that the request may wait from here on.
func (r *request) block(parked bool) {
	if r.w.block != nil {
		r.w.block(parked)
	}
}

// answer writes the reply: a header, and on success what the operation left.
func (w *worker) answer(r *request, e syscall.Errno) int {
	if e == noReply || r.room < outHeaderSize {
		return 0
	}
	if e != 0 {
		r.body, r.direct = nil, 0
		w.srv.stats.fail(e)
	} else if len(r.body) > r.space() {
		e, r.body = syscall.EINVAL, nil // the client left no room for what it asked
		w.srv.stats.malformed.Add(1)
	}
	n := outHeaderSize + len(r.body) + r.direct
	h := w.out[:outHeaderSize]
	le.PutUint32(h, uint32(n))
	le.PutUint32(h[4:], uint32(-int32(e)))
	le.PutUint64(h[8:], r.unique)
	if w.commit != nil && !w.commit() {
		return 0
	}
	if len(r.body) > 0 && &r.body[0] == &w.out[outHeaderSize] {
		scatter(r.out, w.out[:outHeaderSize+len(r.body)])
		return n
	}
	scatter(r.out, h)
	if len(r.body) > 0 {
		w.iov, _ = cut(w.iov[:0], r.out, outHeaderSize, len(r.body))
		scatter(w.iov, r.body)
	}
	return n
}
