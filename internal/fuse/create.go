//go:build linux

package fuse

import (
	"bytes"
	"syscall"

	"golang.org/x/sys/unix"
)

// maker is what a new file of one request will be like.
type maker struct {
	mode     uint32 // permissions that it ends with
	ask      uint32 // permissions to make it with
	uid, gid uint32 // owner on the host; noID: as the kernel makes it
}

// maker prepares a new file of the type in a directory.
func (r *request) maker(d directory, typ uint16, mode, umask uint32) (maker, syscall.Errno) {
	srv := r.w.srv
	uid, gid, ok := srv.ids.creator(r)
	if !ok {
		return maker{}, syscall.EOVERFLOW // as for callers that a mount does not map, open(2)
	}
	m := maker{mode: srv.allowed(typ, mode), uid: uid, gid: gid}
	if r.s.caps&capDontMask != 0 && !hasDefaultACL(d.fd) {
		m.mode &^= umask & 0o777
	}
	if gid != noID || m.mode&unix.S_ISGID != 0 {
		pst := &r.w.pst
		if e := statFD(d.fd, pst); e != 0 {
			return maker{}, e
		}
		if pst.Mode&unix.S_ISGID != 0 {
			// The group is the directory's. A program with that group's rights
			// is only for members to make (CVE-2018-13405).
			m.gid = noID
			if typ == unix.S_IFREG && m.mode&(unix.S_ISGID|unix.S_IXGRP) == unix.S_ISGID|unix.S_IXGRP && !r.member(pst.Gid) {
				m.mode &^= unix.S_ISGID
			}
		}
	}
	m.ask = m.mode
	if m.uid != noID || m.gid != noID {
		m.ask &= 0o1777 // set-ID bits only with the owner they are meant for
	}
	return m, 0
}

// member says whether the caller is in a group of the host.
func (r *request) member(group uint32) bool {
	if r.uid == 0 {
		return true
	}
	_, gid := r.w.srv.ids.guest(r, 0, group)
	return gid == r.gid || r.suppGroup(gid)
}

// finish gives a new file its owner and mode, and enters it as a node, held
// for the caller. fd is a descriptor of it, O_PATH or not; stx its attributes.
func (r *request) finish(d directory, name cstr, fd int, m maker, stx *unix.Statx_t) (*inode, syscall.Errno) {
	again := false
	if m.needsOwner(stx) {
		if e := chownFD(fd, m.uid, m.gid); e != 0 {
			return nil, e
		}
		again = true
	}
	if give := r.missing(m, stx); give != 0 || again && stx.Mode&0o6000 != 0 && stx.Mode&unix.S_IFMT != unix.S_IFLNK {
		if e := r.w.srv.chmodFD(fd, uint32(stx.Mode)&0o7777|give); e != 0 {
			return nil, e
		}
		again = true
	}
	if again {
		if e := statFD(fd, stx); e != 0 {
			return nil, e
		}
	}
	return r.s.enter(d.n, name, stx)
}

func (m maker) needsOwner(stx *unix.Statx_t) bool {
	return m.uid != noID && m.uid != stx.Uid || m.gid != noID && m.gid != stx.Gid
}

// missing is what a new file's mode lacks: what the process's umask took away,
// and upper bits that it was not made with. What an ACL of the directory took
// stays away.
func (r *request) missing(m maker, stx *unix.Statx_t) uint32 {
	if stx.Mode&unix.S_IFMT == unix.S_IFLNK {
		return 0
	}
	return m.mode &^ uint32(stx.Mode) & (r.w.srv.umask.Load() | 0o7000)
}

// made finishes what was made by name, and replies with its entry. If the name
// means something else by now, that is finished, inside the share.
func (r *request) made(d directory, name cstr, m maker) syscall.Errno {
	stx := &r.w.stx
	if e := statAt(d.fd, name, stx); e != 0 {
		return e
	}
	var n *inode
	var e syscall.Errno
	if m.needsOwner(stx) || r.missing(m, stx) != 0 {
		h, e := r.w.srv.openPath(d.fd, name)
		if e != 0 {
			return e
		}
		defer h.release()
		if e := statFD(h.fd, stx); e != 0 {
			return e
		}
		if n, e = r.finish(d, name, h.fd, m, stx); e != 0 {
			return e
		}
	} else if n, e = r.s.enter(d.n, name, stx); e != 0 {
		return e
	}
	r.entry(r.reply(entrySize), n, stx)
	n.put()
	return 0
}

// make runs what MKNOD, MKDIR and SYMLINK have in common.
func (r *request) make(name cstr, typ uint16, mode, umask uint32, call func(dir int, ask uint32) syscall.Errno) syscall.Errno {
	d, e := r.s.directory(r.node)
	if e != 0 {
		return e
	}
	defer d.done()
	m, e := r.maker(d, typ, mode, umask)
	if e != 0 {
		return e
	}
	r.s.srv.ownChange(d.n, name)
	if e := call(d.fd, m.ask); e != 0 {
		return e
	}
	return r.made(d, name, m)
}

// mkdir is MKDIR (struct fuse_mkdir_in).
func mkdir(r *request) syscall.Errno {
	name, e := r.name(8)
	if e != 0 {
		return e
	}
	return r.make(name, unix.S_IFDIR, r.u32(0), r.u32(4), func(dir int, ask uint32) syscall.Errno {
		return atCall(unix.SYS_MKDIRAT, dir, name, uintptr(ask), 0, 0)
	})
}

// mknod is MKNOD (struct fuse_mknod_in). Devices are refused unless the share
// allows them: they are the host's, for whoever opens them there. A character
// device 0:0 is none; it is how overlay file systems say that a name is gone.
func mknod(r *request) syscall.Errno {
	name, e := r.name(16)
	if e != 0 {
		return e
	}
	mode, dev := r.u32(0), r.u32(4)
	switch mode & unix.S_IFMT {
	case unix.S_IFREG, unix.S_IFIFO, unix.S_IFSOCK:
		dev = 0
	case unix.S_IFCHR:
		if dev != 0 && !r.w.srv.opt.AllowDevices {
			return syscall.EPERM
		}
	case unix.S_IFBLK:
		if !r.w.srv.opt.AllowDevices {
			return syscall.EPERM
		}
	default:
		return syscall.EINVAL
	}
	typ := uint16(mode & unix.S_IFMT)
	return r.make(name, typ, mode, r.u32(8), func(dir int, ask uint32) syscall.Errno {
		return atCall(unix.SYS_MKNODAT, dir, name, uintptr(uint32(typ)|ask), uintptr(dev), 0)
	})
}

// symlink is SYMLINK: a name and a target. The target is opaque.
func symlink(r *request) syscall.Errno {
	name, rest, e := r.nextName(r.arg)
	if e != 0 {
		return e
	}
	i := bytes.IndexByte(rest, 0)
	switch {
	case i >= maxTarget || i < 0 && len(rest) >= maxTarget:
		return syscall.ENAMETOOLONG
	case i <= 0:
		return syscall.EINVAL
	}
	target := cstr(rest[:i+1])
	return r.make(name, unix.S_IFLNK, 0o777, 0, func(dir int, _ uint32) syscall.Errno {
		return symlinkAt(target, dir, name)
	})
}

// create is CREATE (struct fuse_create_in): a new file, opened. Without O_EXCL
// a file that exists is opened.
func create(r *request) syscall.Errno {
	name, e := r.name(16)
	if e != 0 {
		return e
	}
	flags, e := r.w.srv.openFlags(r.u32(0))
	if e != 0 {
		return e
	}
	d, e := r.s.directory(r.node)
	if e != 0 {
		return e
	}
	defer d.done()
	m, e := r.maker(d, unix.S_IFREG, r.u32(4), r.u32(8))
	if e != 0 {
		return e
	}
	r.s.srv.ownChange(d.n, name)
	h, e := r.w.srv.budget.openLasting(func() (int, syscall.Errno) {
		return openBeneath(d.fd, name, uint64(flags)|unix.O_CREAT|unix.O_EXCL, m.ask, r.w.srv.resolve)
	})
	if e == syscall.EEXIST && r.u32(0)&unix.O_EXCL == 0 {
		return r.openExisting(d, name, flags)
	}
	if e != 0 {
		return e
	}
	n, e := r.finishOpen(d, name, h, m)
	if e != 0 {
		return e
	}
	defer n.put()
	return r.created(n, h, flags)
}

// finishOpen is finish for what was made open. h is released on an error.
func (r *request) finishOpen(d directory, name cstr, h held, m maker) (*inode, syscall.Errno) {
	e := statFD(h.fd, &r.w.stx)
	var n *inode
	if e == 0 {
		n, e = r.finish(d, name, h.fd, m, &r.w.stx)
	}
	if e != 0 {
		h.release()
	}
	return n, e
}

// created replies with the entry of a node and a handle for the descriptor,
// which it takes over. The client has learned of the node.
func (r *request) created(n *inode, h held, flags uint32) syscall.Errno {
	fh, e := r.s.handles.add(n, h, flags)
	if e != 0 {
		r.s.table.forget(n.id, 1)
		return e
	}
	b := r.reply(entrySize + openOutSize)
	r.entry(b, n, &r.w.stx)
	le.PutUint64(b[entrySize:], fh)
	le.PutUint32(b[entrySize+8:], r.w.srv.opt.fileFlags())
	return 0
}

// openExisting is CREATE of a file that exists.
func (r *request) openExisting(d directory, name cstr, flags uint32) syscall.Errno {
	n, e := r.s.learn(d, name, &r.w.stx)
	if e != 0 {
		return e
	}
	defer n.put()
	h, e := r.openFile(n, flags, r.u32(12))
	if e != 0 {
		r.s.table.forget(n.id, 1)
		return e
	}
	return r.created(n, h, flags)
}

// tmpfile is TMPFILE: a file without a name.
func tmpfile(r *request) syscall.Errno {
	flags, e := r.w.srv.openFlags(r.u32(0))
	if e != 0 {
		return e
	}
	d, e := r.s.directory(r.node)
	if e != 0 {
		return e
	}
	defer d.done()
	m, e := r.maker(d, unix.S_IFREG, r.u32(4), r.u32(8))
	if e != 0 {
		return e
	}
	h, e := r.w.srv.budget.openLasting(func() (int, syscall.Errno) {
		// O_EXCL would forbid LINK, which the client may still want.
		return openBeneath(d.fd, cstr(".\x00"), uint64(flags)&^unix.O_EXCL|unix.O_TMPFILE, m.ask, r.w.srv.resolve)
	})
	if e != 0 {
		return e
	}
	n, e := r.finishOpen(d, cstr(".\x00"), h, m)
	if e != 0 {
		return e
	}
	defer n.put()
	n.unbind() // found by its handle alone, until it is linked
	return r.created(n, h, flags)
}
