//go:build linux

package fuse

import (
	"bytes"
	"encoding/binary"
	"syscall"

	"golang.org/x/sys/unix"
)

var le = binary.LittleEndian

const (
	// argSize is the storage for a request's header and arguments, in bytes:
	// SYMLINK with a name and a target has the longest among those of fixed
	// bound, and header extensions may follow.
	argSize = 8 << 10
	// bodySize is the storage for a reply that is not large.
	bodySize = 4096 + 512
	// bigSize is for arguments and replies that are large: extended
	// attributes, directory entries.
	bigSize = maxXattr + 4096
)

// request is one request and its reply. It is the storage of a worker, used
// again for the next.
type request struct {
	w *worker
	s *session

	op     uint32
	unique uint64
	node   uint64
	uid    uint32 // of the caller, as the client says
	gid    uint32

	arg  []byte   // private copy of the arguments, without header and extensions
	ext  []byte   // private copy of the header extensions
	data [][]byte // payload of WRITE, in guest memory
	out  [][]byte // the reply's buffers in guest memory
	room int      // bytes in out

	body   []byte // reply after its header
	direct int    // bytes of the reply that are in guest memory already
}

// worker is what one goroutine serves requests with.
type worker struct {
	srv    *Server
	block  func(parked bool)
	commit func() bool
	req    request
	in     [argSize]byte
	out    [outHeaderSize + bodySize]byte
	big    *[bigSize]byte // from the pool, for this request
	iov    [][]byte
	vec    []unix.Iovec
	stx    unix.Statx_t
	pst    unix.Statx_t // of the parent
	dents  []byte       // what getdents fills
}

// errno turns an error of package unix into its number.
func errno(err error) syscall.Errno {
	if err == nil {
		return 0
	}
	if e, ok := err.(syscall.Errno); ok {
		return e
	}
	return syscall.EIO
}

// u32 and u64 read arguments; the dispatcher made sure that there are enough.
func (r *request) u32(off int) uint32 { return le.Uint32(r.arg[off:]) }
func (r *request) u64(off int) uint64 { return le.Uint64(r.arg[off:]) }

// reply returns n zeroed bytes to be filled, which are the reply.
func (r *request) reply(n int) []byte {
	r.body = r.w.out[outHeaderSize : outHeaderSize+n]
	clear(r.body)
	return r.body
}

// large returns storage for a large argument or reply, until the request ends.
func (r *request) large() []byte {
	if r.w.big == nil {
		r.w.big = r.w.srv.buffers.Get().(*[bigSize]byte)
	}
	return r.w.big[:]
}

// space is how many bytes a reply may have after its header.
func (r *request) space() int { return max(r.room-outHeaderSize, 0) }

// nextName takes a name with its NUL from the front of b. What it returns is
// safe to give to *at system calls: one component, not "." or "..".
func nextName(b []byte) (name cstr, rest []byte, e syscall.Errno) {
	i := bytes.IndexByte(b, 0)
	switch {
	case i > maxName || i < 0 && len(b) > maxName:
		return nil, nil, syscall.ENAMETOOLONG
	case i <= 0:
		return nil, nil, syscall.EINVAL
	}
	n := b[:i]
	if bytes.IndexByte(n, '/') >= 0 || string(n) == "." || string(n) == ".." {
		return nil, nil, syscall.EINVAL
	}
	return cstr(b[: i+1 : i+1]), b[i+1:], 0
}

// name takes the arguments' name, which begins at off and is their last.
func (r *request) name(off int) (cstr, syscall.Errno) {
	name, _, e := r.nextName(r.arg[off:])
	return name, e
}

// nextName is nextName with a count of what no honest kernel sends.
func (r *request) nextName(b []byte) (name cstr, rest []byte, e syscall.Errno) {
	name, rest, e = nextName(b)
	if e == syscall.EINVAL {
		r.w.srv.stats.badNames.Add(1)
	}
	return name, rest, e
}

// suppGroup says whether a header extension names gid among the caller's
// supplementary groups (struct fuse_supp_groups): Linux tells the one that
// matters when a file is made in a directory with the set-group-ID bit.
func (r *request) suppGroup(gid uint32) bool {
	for ext := r.ext; len(ext) >= 8; {
		size, kind := le.Uint32(ext), le.Uint32(ext[4:])
		if size < 8 || uint64(size) > uint64(len(ext)) {
			return false
		}
		body := ext[8:size]
		if kind == extGroups && len(body) >= 4 {
			list := body[4:]
			for i := uint32(0); i < le.Uint32(body) && len(list) >= 4; i++ {
				if le.Uint32(list) == gid {
					return true
				}
				list = list[4:]
			}
		}
		ext = ext[min((uint64(size)+7)&^7, uint64(len(ext))):]
	}
	return false
}

// held returns the request's node, held for the caller.
func (r *request) held() (*inode, syscall.Errno) { return r.s.held(r.node) }

func (s *session) held(id uint64) (*inode, syscall.Errno) {
	n := s.table.get(id)
	if n == nil {
		return nil, syscall.ESTALE
	}
	return n, 0
}

// directory returns the node of a directory and a descriptor to use with *at
// system calls. done gives both back.
type directory struct {
	n  *inode
	at held
	fd int
}

func (d directory) done() {
	d.at.release()
	d.n.put()
}

func (s *session) directory(id uint64) (directory, syscall.Errno) {
	n, e := s.held(id)
	if e != 0 {
		return directory{}, e
	}
	if !n.isDir() {
		n.put()
		return directory{}, syscall.ENOTDIR
	}
	h, e := s.hold(n)
	if e != 0 {
		n.put()
		return directory{}, e
	}
	return directory{n: n, at: h, fd: h.fd}, 0
}

// gather copies bytes of bufs from off on to dst and returns how many there were.
func gather(dst []byte, bufs [][]byte, off int) int {
	n := 0
	for _, b := range bufs {
		if n == len(dst) {
			break
		}
		if off >= len(b) {
			off -= len(b)
			continue
		}
		n += copy(dst[n:], b[off:])
		off = 0
	}
	return n
}

// scatter copies src to bufs and returns how many bytes fitted.
func scatter(bufs [][]byte, src []byte) int {
	n := 0
	for _, b := range bufs {
		if n == len(src) {
			break
		}
		n += copy(b, src[n:])
	}
	return n
}

// cut appends the size bytes of bufs from off on to dst, without copying them,
// and returns how many there were.
func cut(dst, bufs [][]byte, off, size int) ([][]byte, int) {
	got := 0
	for _, b := range bufs {
		if got == size {
			break
		}
		if off >= len(b) {
			off -= len(b)
			continue
		}
		b = b[off:]
		off = 0
		b = b[:min(len(b), size-got)]
		got += len(b)
		dst = append(dst, b)
	}
	return dst, got
}

// total is the number of bytes in bufs.
func total(bufs [][]byte) int {
	n := 0
	for _, b := range bufs {
		n += len(b)
	}
	return n
}
