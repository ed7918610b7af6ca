//go:build linux

package fuse

import (
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// maxClimb is how many directories are opened one below the other to find one
// node when all their descriptors were closed. Paths may be deeper than
// PATH_MAX, since a client can go down step by step.
const maxClimb = 1 << 15

// stale turns "not there any more" into what makes Linux look the path up again.
func stale(e syscall.Errno) syscall.Errno {
	switch e {
	case syscall.ENOENT, syscall.ENOTDIR, syscall.ELOOP:
		return syscall.ESTALE
	}
	return e
}

// shared returns the node's O_PATH descriptor, held for the caller, or nil.
func (n *inode) shared() *file {
	for {
		f := n.path.Load()
		if f == nil || f.tryGet() {
			return f
		}
		// It was closed after the load: path is nil or another one by now.
	}
}

// direct returns a descriptor of the node that is open already. Those of open
// files and directories do as well as O_PATH ones, for everything but opening
// (which goes through reopen).
func (n *inode) direct() (held, bool) {
	if f := n.shared(); f != nil {
		return held{fd: f.fd, f: f}, true
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	for h := n.handles; h != nil; h = h.next {
		if h.file.tryGet() {
			return held{fd: h.file.fd, f: h.file}, true
		}
	}
	return held{}, false
}

// hold returns a descriptor of the node, whose identity was checked.
func (s *session) hold(n *inode) (held, syscall.Errno) {
	if h, ok := n.direct(); ok {
		return h, 0
	}
	h, moves, e := s.find(n)
	if e == syscall.ESTALE && s.moved(n, moves) {
		h, _, e = s.find(n)
	}
	return h, e
}

// moved waits for renames of ours that are under way, and says whether the
// node's place has changed since moves.
func (s *session) moved(n *inode, moves uint32) bool {
	s.renames.Lock()
	defer s.renames.Unlock()
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.moves != moves
}

// find opens the node by its place.
func (s *session) find(n *inode) (h held, moves uint32, e syscall.Errno) {
	p, name, moves := n.place()
	if p == nil {
		return held{}, moves, syscall.ESTALE
	}
	dir, ok := p.direct()
	if !ok {
		if dir, e = s.climb(p); e != 0 {
			p.put()
			return held{}, moves, e
		}
	}
	h, e = s.descend(dir, n, name)
	dir.release()
	p.put()
	return h, moves, e
}

// step is one directory on the way to a node.
type step struct {
	n    *inode
	name cstr
}

// climb opens n, whose descriptor was closed, and directories above it as far
// as theirs were. It is a loop, since the client decides how deep they are.
func (s *session) climb(n *inode) (held, syscall.Errno) {
	steps, dir, e := s.ascend(n)
	for i := len(steps) - 1; i >= 0 && e == 0; i-- {
		next, err := s.descend(dir, steps[i].n, steps[i].name)
		dir.release()
		dir, e = next, err
	}
	for _, st := range steps[1:] { // the first is the caller's
		st.n.put()
	}
	return dir, e
}

// ascend collects the nodes from n up to one whose parent has a descriptor,
// which is returned. All steps but the first are held.
func (s *session) ascend(n *inode) (steps []step, dir held, e syscall.Errno) {
	for c := n; ; {
		p, name, _ := c.place()
		steps = append(steps, step{c, name})
		if p == nil {
			return steps, held{}, syscall.ESTALE
		}
		if dir, ok := p.direct(); ok {
			p.put()
			return steps, dir, 0
		}
		if len(steps) == maxClimb {
			p.put()
			return steps, held{}, syscall.ESTALE
		}
		c = p
	}
}

// descend opens the node that should be name in dir, and compares it. The
// descriptor of a directory is kept for the next time.
func (s *session) descend(dir held, n *inode, name cstr) (held, syscall.Errno) {
	h, e := s.srv.openPath(dir.fd, name)
	if e != 0 {
		return held{}, stale(e)
	}
	var stx unix.Statx_t
	if e := statFD(h.fd, &stx); e != 0 {
		h.release()
		return held{}, e
	}
	if !n.same(&stx) {
		h.release()
		return held{}, syscall.ESTALE
	}
	if n.isDir() {
		return s.cache(n, h), 0
	}
	return h, 0
}

// cache keeps a directory's O_PATH descriptor with its node.
func (s *session) cache(n *inode, h held) held {
	f := h.keep()
	f.tryGet() // the node's use; the caller's is there
	if !n.path.CompareAndSwap(nil, f) {
		f.put() // somebody was faster: this one serves the request alone
		return held{fd: f.fd, f: f}
	}
	n.mu.Lock()
	bound := n.parent != nil
	n.mu.Unlock()
	if bound {
		s.srv.budget.adopt(n)
	}
	return held{fd: f.fd, f: f}
}

// openPath makes an O_PATH descriptor of one name in a directory.
func (s *Server) openPath(dir int, name cstr) (held, syscall.Errno) {
	return s.budget.open(func() (int, syscall.Errno) {
		return openBeneath(dir, name, unix.O_PATH, 0, s.resolve)
	})
}

// stat fills stx with the attributes of the node, without opening it.
func (s *session) stat(n *inode, stx *unix.Statx_t) syscall.Errno {
	if h, ok := n.direct(); ok {
		e := statFD(h.fd, stx)
		h.release()
		return e
	}
	moves, e := s.statByName(n, stx)
	if e == syscall.ESTALE && s.moved(n, moves) {
		_, e = s.statByName(n, stx)
	}
	return e
}

func (s *session) statByName(n *inode, stx *unix.Statx_t) (moves uint32, e syscall.Errno) {
	p, name, moves := n.place()
	if p == nil {
		return moves, syscall.ESTALE
	}
	defer p.put()
	dir, ok := p.direct()
	if !ok {
		if dir, e = s.climb(p); e != 0 {
			return moves, e
		}
	}
	e = statAt(dir.fd, name, stx)
	dir.release()
	if e != 0 {
		return moves, stale(e)
	}
	if !n.same(stx) {
		return moves, syscall.ESTALE
	}
	return moves, 0
}

// procName is the name of a descriptor in /proc/self/fd, in the storage of buf.
func procName(fd int, buf *[16]byte) cstr {
	return append(strconv.AppendInt(buf[:0], int64(fd), 10), 0)
}

// reopen opens a node for input and output. Nothing is opened but regular
// files and directories: the O_PATH descriptor is of the inode that was
// checked, and the link in /proc leads to that inode, whatever happened to its
// names meanwhile.
// limit is of the budget.
func (s *session) reopen(n *inode, flags uint32, limit int64) (held, syscall.Errno) {
	switch n.typ {
	case unix.S_IFREG, unix.S_IFDIR:
	case unix.S_IFLNK:
		return held{}, syscall.ELOOP
	default:
		return held{}, syscall.ENXIO
	}
	if h, ok := s.openByName(n, flags, limit); ok {
		return h, 0
	}
	h, e := s.hold(n)
	if e != 0 {
		return held{}, e
	}
	defer h.release()
	return s.srv.budget.openWithin(limit, func() (int, syscall.Errno) {
		var buf [16]byte
		return openAt(s.srv.procFD, procName(h.fd, &buf), flags)
	})
}

// openByName is reopen with two system calls less, where that can do no harm:
// what is opened is compared afterwards, so that for a moment it may be
// something else. On mounts without devices, and for a process that cannot
// make any, that is nothing which minds (a FIFO is not waited for). It fails
// where the longer way may not.
func (s *session) openByName(n *inode, flags uint32, limit int64) (held, bool) {
	if n.typ != unix.S_IFREG || !s.srv.byName || n.key.mnt != s.srv.rootMnt || n.path.Load() != nil {
		return held{}, false
	}
	p, name, _ := n.place()
	if p == nil {
		return held{}, false
	}
	defer p.put()
	dir, ok := p.direct()
	if !ok {
		return held{}, false
	}
	defer dir.release()
	h, e := s.srv.budget.openWithin(limit, func() (int, syscall.Errno) {
		return openBeneath(dir.fd, name, uint64(flags&^unix.O_TRUNC)|unix.O_NONBLOCK, 0, s.srv.resolve)
	})
	if e != 0 {
		return held{}, false
	}
	var stx unix.Statx_t
	if statFD(h.fd, &stx) != 0 || !n.same(&stx) || flags&unix.O_TRUNC != 0 && unix.Ftruncate(h.fd, 0) != nil {
		h.release()
		return held{}, false
	}
	return h, true
}

// procPath is the path of a descriptor in /proc for the system calls that take
// nothing but paths. Preconditions: the descriptor is not of a symbolic link.
func procPath(fd int, buf *[40]byte) cstr {
	return append(strconv.AppendInt(append(buf[:0], "/proc/self/fd/"...), int64(fd), 10), 0)
}
