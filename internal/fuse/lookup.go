//go:build linux

package fuse

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// lookup is LOOKUP.
func lookup(r *request) syscall.Errno {
	name, e := r.name(0)
	if e != 0 {
		return e
	}
	d, e := r.s.directory(r.node)
	if e != 0 {
		return e
	}
	defer d.done()
	n, e := r.s.learn(d, name, &r.w.stx)
	if e == syscall.ENOENT && r.w.srv.opt.timeouts().negative > 0 {
		b := r.reply(entrySize)
		le.PutUint64(b[16:], r.w.srv.opt.timeouts().negative)
		return 0
	}
	if e != 0 {
		return e
	}
	r.entry(r.reply(entrySize), n, &r.w.stx)
	n.put()
	return 0
}

// learn finds name in a directory and counts that the client learns of it. The
// node is held for the caller.
func (s *session) learn(d directory, name cstr, stx *unix.Statx_t) (*inode, syscall.Errno) {
	for range maxLooks - 1 {
		count := s.replaced.Load()
		n, e := s.look(d, name, stx)
		if e != 0 || count%2 == 0 && s.replaced.Load() == count {
			return n, e
		}
		// A rename may have replaced the file before it was a node, so that
		// nothing was kept of it. What is there now is as good an answer.
		s.table.forget(n.id, 1)
		n.put()
		s.renames.Lock()
		s.renames.Unlock() //nolint:staticcheck // the rename under way has ended
	}
	return s.look(d, name, stx)
}

// maxLooks bounds how often a name is looked up while others replace it.
const maxLooks = 8

// look is learn without regard to renames.
func (s *session) look(d directory, name cstr, stx *unix.Statx_t) (*inode, syscall.Errno) {
	if e := statAt(d.fd, name, stx); e != 0 {
		return nil, e
	}
	if k := keyOf(stx); k.mnt != d.n.key.mnt || k.dev != d.n.key.dev {
		if e := s.cross(d.n, d.fd, name, stx); e != 0 {
			return nil, e
		}
	}
	return s.enter(d.n, name, stx)
}

// enter makes, or finds, the node of name in a directory, and counts that the
// client learns of it. The node is held for the caller.
func (s *session) enter(p *inode, name cstr, stx *unix.Statx_t) (*inode, syscall.Errno) {
	n, fresh, e := s.table.add(s, stx)
	if e != 0 {
		return nil, e
	}
	n.bind(p, name, fresh)
	return n, 0
}

// entry fills a struct fuse_entry_out.
func (r *request) entry(b []byte, n *inode, stx *unix.Statx_t) {
	t := r.w.srv.opt.timeouts()
	le.PutUint64(b, n.id)
	le.PutUint64(b[16:], t.entry)
	le.PutUint64(b[24:], t.attr)
	r.attr(b[40:], n, stx)
}

// forget is FORGET.
func forget(r *request) syscall.Errno {
	r.s.table.forget(r.node, r.u64(0))
	return 0
}

// forgetSize is struct fuse_forget_one, in bytes.
const forgetSize = 16

// batchForget is BATCH_FORGET. The count is the client's; what there is counts.
func batchForget(r *request) syscall.Errno {
	left := uint64(r.u32(0))
	for off := inHeaderSize + 8; left > 0; {
		n := gather(r.w.in[inHeaderSize:], r.data, off) / forgetSize
		n = int(min(uint64(n), left))
		if n == 0 {
			break
		}
		for i := range n {
			one := r.w.in[inHeaderSize+i*forgetSize:]
			r.s.table.forget(le.Uint64(one), le.Uint64(one[8:]))
		}
		off += n * forgetSize
		left -= uint64(n)
	}
	return 0
}
