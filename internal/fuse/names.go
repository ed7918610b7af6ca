//go:build linux

package fuse

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// renameFlags are those of renameat2(2) that a client may use.
const renameFlags = unix.RENAME_NOREPLACE | unix.RENAME_EXCHANGE | unix.RENAME_WHITEOUT

func unlink(r *request) syscall.Errno { return r.remove(0) }
func rmdir(r *request) syscall.Errno  { return r.remove(unix.AT_REMOVEDIR) }

// remove is UNLINK and RMDIR.
func (r *request) remove(flags uintptr) syscall.Errno {
	name, e := r.name(0)
	if e != 0 {
		return e
	}
	d, e := r.s.directory(r.node)
	if e != 0 {
		return e
	}
	defer d.done()
	r.s.srv.ownChange(d.n, name)
	gone := r.s.leaving(d, name, false, &r.w.stx)
	e = atCall(unix.SYS_UNLINKAT, d.fd, name, flags, 0, 0)
	r.s.left(gone, d, name, e)
	return e
}

// leaving is called before a name goes away. It returns the node that has the
// name, held for the caller, or nil. A node that may be used afterwards, though
// nobody has it open, gets a descriptor now: a directory, since a process may
// stand in it; a file that has other names; and one that is replaced, since
// somebody who just looked the name up wants the old file or the new one, and
// not ESTALE.
func (s *session) leaving(d directory, name cstr, replaced bool, stx *unix.Statx_t) *inode {
	if statAt(d.fd, name, stx) != 0 {
		return nil
	}
	n := s.table.known(stx)
	if n == nil || !n.isDir() && !replaced && stx.Nlink < 2 {
		return n
	}
	if n.path.Load() != nil {
		return n
	}
	if h, e := s.descend(held{fd: d.fd}, n, name); e == 0 { // else it will be ESTALE, as without any of this
		s.pin(n, h)
	}
	return n
}

// pin keeps a descriptor with a node whose name goes away. It takes h over.
func (s *session) pin(n *inode, h held) {
	if h.owner == nil { // a directory's, kept already
		h.release()
		return
	}
	if f := h.keep(); !n.path.CompareAndSwap(nil, f) {
		f.put()
	}
}

// left is called after a name went away, or did not. Unless it was another
// one's by then, the node is found by its descriptor alone from now on.
func (s *session) left(n *inode, d directory, name cstr, e syscall.Errno) {
	if n == nil {
		return
	}
	if e == 0 {
		n.mu.Lock()
		here := n.parent == d.n && string(n.name) == string(name)
		n.mu.Unlock()
		if here {
			s.srv.budget.disown(n)
			n.unbind()
		}
	}
	n.put()
}

// rename is RENAME, rename2 RENAME2.
func rename(r *request) syscall.Errno { return r.rename(8, 0) }

func rename2(r *request) syscall.Errno {
	flags := r.u32(8)
	if flags&^renameFlags != 0 {
		return syscall.EINVAL
	}
	return r.rename(16, flags)
}

func (r *request) rename(off int, flags uint32) syscall.Errno {
	from, rest, e := r.nextName(r.arg[off:])
	if e != 0 {
		return e
	}
	to, e := r.name(len(r.arg) - len(rest))
	if e != 0 {
		return e
	}
	a, e := r.s.directory(r.node)
	if e != 0 {
		return e
	}
	defer a.done()
	b, e := r.s.directory(r.u64(0))
	if e != 0 {
		return e
	}
	defer b.done()
	return r.s.move(a, from, b, to, flags)
}

// move renames, and moves the nodes' places with their names. Who does not find
// a node meanwhile waits for the end (see session.moved).
func (s *session) move(a directory, from cstr, b directory, to cstr, flags uint32) syscall.Errno {
	s.srv.ownChange(a.n, from)
	s.srv.ownChange(b.n, to)
	s.renames.Lock()
	defer s.renames.Unlock()
	var stx unix.Statx_t
	var moving, other *inode
	if statAt(a.fd, from, &stx) == 0 {
		moving = s.table.known(&stx)
	}
	if flags&unix.RENAME_EXCHANGE != 0 {
		if statAt(b.fd, to, &stx) == 0 {
			other = s.table.known(&stx)
		}
	} else if statAt(b.fd, to, &stx) == 0 {
		// A lookup that found the old file and has not entered it yet sees
		// this count, and looks again.
		s.replaced.Add(1)
		defer s.replaced.Add(1)
		other = s.leaving(b, to, true, &stx)
	}
	e := at2Call(unix.SYS_RENAMEAT2, a.fd, from, b.fd, to, uintptr(flags))
	switch {
	case other == nil:
	case flags&unix.RENAME_EXCHANGE == 0 && other != moving:
		s.left(other, b, to, e)
	default:
		if e == 0 && other != moving {
			other.bind(a.n, from, false)
		}
		other.put()
	}
	if moving != nil {
		if e == 0 && moving != other { // two names of one file: nothing moves
			moving.bind(b.n, to, false)
		}
		moving.put()
	}
	return e
}

// link is LINK: another name for a node.
func link(r *request) syscall.Errno {
	name, e := r.name(8)
	if e != 0 {
		return e
	}
	n, e := r.s.held(r.u64(0))
	if e != 0 {
		return e
	}
	defer n.put()
	d, e := r.s.directory(r.node)
	if e != 0 {
		return e
	}
	defer d.done()
	h, e := r.s.hold(n)
	if e != 0 {
		return e
	}
	defer h.release()
	r.s.srv.ownChange(d.n, name)
	// The link in /proc leads to the inode itself, symbolic links too.
	var buf [16]byte
	e = at2Call(unix.SYS_LINKAT, r.w.srv.procFD, procName(h.fd, &buf), d.fd, name, unix.AT_SYMLINK_FOLLOW)
	if e != 0 {
		return e
	}
	found, e := r.s.learn(d, name, &r.w.stx)
	if e != 0 {
		return e
	}
	r.entry(r.reply(entrySize), found, &r.w.stx)
	found.put()
	return 0
}
