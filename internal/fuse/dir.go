//go:build linux

package fuse

import (
	"bytes"
	"math"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// dirState is how far a directory was read through a handle.
type dirState struct {
	mu   sync.Mutex
	at   int64  // guarded by mu; the cookie of the first entry in rest, or of the descriptor's position
	rest []byte // guarded by mu; entries that were read and did not fit
}

const (
	// direntHead is struct linux_dirent64 up to its name, getdents64(2).
	direntHead = 19
	// keepRest is how many bytes of entries wait in a handle at most: more are
	// read anew, so that handles stay small.
	keepRest = 4 << 10
	// readSize is how many bytes of entries are read at once. READDIRPLUS
	// turns one of them into six on average.
	readSize     = 32 << 10
	readSizePlus = 4 << 10
)

// dirent is one entry of a directory as the host has it.
type dirent struct {
	ino  uint64
	next int64 // cookie of the entry after it
	typ  uint8
	name cstr
	size int // in the buffer
}

// parseDirent takes the entry at the front of b. The kernel wrote it, but a
// file system below it may be anybody's, so that it is checked.
func parseDirent(b []byte) (dirent, bool) {
	if len(b) <= direntHead {
		return dirent{}, false
	}
	d := dirent{ino: le.Uint64(b), next: int64(le.Uint64(b[8:])), typ: b[18], size: int(le.Uint16(b[16:]))}
	if d.size <= direntHead || d.size > len(b) {
		return dirent{}, false
	}
	name := b[direntHead:d.size]
	i := bytes.IndexByte(name, 0)
	if i <= 0 || i > maxName || bytes.IndexByte(name[:i], '/') >= 0 {
		return dirent{}, false
	}
	d.name = cstr(name[: i+1 : i+1])
	return d, true
}

// readdir is READDIR and READDIRPLUS (struct fuse_read_in).
func readdir(r *request) syscall.Errno {
	off, size := r.u64(8), int(min(r.u32(16), maxXattr))
	if off > math.MaxInt64 {
		return syscall.EINVAL
	}
	h, e := r.handle(0)
	if e != 0 {
		return e
	}
	defer h.put()
	if h.dir == nil {
		return syscall.ENOTDIR
	}
	h.dir.mu.Lock()
	defer h.dir.mu.Unlock()
	if e := h.seek(int64(off)); e != 0 {
		return e
	}
	out := r.large()[:min(size, r.space())]
	n, e := r.entries(h, out)
	if e != 0 {
		return e
	}
	r.body = out[:n]
	return 0
}

// seek moves to the cookie. Preconditions: dir.mu is held.
func (h *handle) seek(off int64) syscall.Errno {
	if off == h.dir.at && off != 0 {
		return 0 // from 0 on it is always read anew
	}
	h.dir.rest, h.dir.at = nil, off
	_, err := unix.Seek(h.file.fd, off, unix.SEEK_SET)
	return errno(err)
}

// entries fills out. Preconditions: dir.mu is held.
func (r *request) entries(h *handle, out []byte) (int, syscall.Errno) {
	plus := r.op == opReaddirplus
	chunk := readSize
	if plus {
		chunk = readSizePlus
	}
	d := directory{n: h.ino, fd: h.file.fd}
	done := 0
	if r.w.dents == nil {
		r.w.dents = make([]byte, readSize)
	}
	buf := r.w.dents[:chunk]
	todo := h.dir.rest
	for {
		if len(todo) == 0 {
			n, e := getdents(h.file.fd, buf)
			if e != 0 && done == 0 {
				return 0, e
			}
			if e != 0 || n == 0 {
				h.dir.rest = h.dir.rest[:0]
				return done, 0
			}
			todo = buf[:n]
		}
		de, ok := parseDirent(todo)
		if !ok {
			return 0, syscall.EIO
		}
		n := r.putDirent(out[done:], d, de, plus)
		if n == 0 {
			return done, r.keep(h, todo, done)
		}
		done += n
		h.dir.at = de.next
		todo = todo[de.size:]
	}
}

// keep leaves entries that did not fit for the next request.
func (r *request) keep(h *handle, todo []byte, done int) syscall.Errno {
	if done == 0 {
		// Not one entry fits into what the client asked for.
		h.dir.rest, h.dir.at = nil, -1
		return syscall.EINVAL
	}
	if len(todo) <= keepRest {
		h.dir.rest = append(h.dir.rest[:0], todo...)
		return 0
	}
	h.dir.rest = nil
	_, err := unix.Seek(h.file.fd, h.dir.at, unix.SEEK_SET)
	return errno(err)
}

// putDirent writes a struct fuse_dirent or fuse_direntplus and returns its
// size, or 0 when it does not fit. An entry that cannot be looked up is sent
// without a node, never left out: the client looks it up itself.
func (r *request) putDirent(b []byte, d directory, de dirent, plus bool) int {
	name := de.name[:len(de.name)-1]
	head := 0
	if plus {
		head = entrySize
	}
	size := (head + direntSize + len(name) + 7) &^ 7
	if size > len(b) {
		return 0
	}
	b = b[:size]
	clear(b)
	ino := de.ino
	if plus && string(name) != "." && string(name) != ".." {
		if n, e := r.s.learn(d, de.name, &r.w.stx); e == 0 {
			r.entry(b, n, &r.w.stx)
			n.put()
		}
	}
	if ino == 0 {
		ino = math.MaxUint32 // 0 is no entry to glibc; some file systems have nothing better
	}
	b = b[head:]
	le.PutUint64(b, ino)
	le.PutUint64(b[8:], uint64(de.next))
	le.PutUint32(b[16:], uint32(len(name)))
	le.PutUint32(b[20:], uint32(de.typ))
	copy(b[direntSize:], name)
	return size
}
