//go:build linux

package fuse

import (
	"math"
	"syscall"

	"golang.org/x/sys/unix"
)

// attr fills a struct fuse_attr.
func (r *request) attr(b []byte, n *inode, stx *unix.Statx_t) {
	uid, gid := r.w.srv.ids.guest(r, stx.Uid, stx.Gid)
	le.PutUint64(b, stx.Ino)
	le.PutUint64(b[8:], stx.Size)
	le.PutUint64(b[16:], stx.Blocks)
	le.PutUint64(b[24:], uint64(stx.Atime.Sec))
	le.PutUint64(b[32:], uint64(stx.Mtime.Sec))
	le.PutUint64(b[40:], uint64(stx.Ctime.Sec))
	le.PutUint32(b[48:], stx.Atime.Nsec)
	le.PutUint32(b[52:], stx.Mtime.Nsec)
	le.PutUint32(b[56:], stx.Ctime.Nsec)
	le.PutUint32(b[60:], uint32(stx.Mode))
	le.PutUint32(b[64:], stx.Nlink)
	le.PutUint32(b[68:], uid)
	le.PutUint32(b[72:], gid)
	le.PutUint32(b[76:], encodeDev(stx.Rdev_major, stx.Rdev_minor))
	le.PutUint32(b[80:], stx.Blksize)
	if r.s.caps&capSubmounts != 0 && n.isDir() && r.s.isSubmount(n) {
		le.PutUint32(b[84:], attrSubmount)
	}
}

// encodeDev is new_encode_dev of Linux: a device number in 32 bits.
func encodeDev(major, minor uint32) uint32 { return minor&0xff | major<<8 | minor&^0xff<<12 }

// isSubmount says whether a directory is on another device than its parent.
// Linux then gives it a device number of its own.
func (s *session) isSubmount(n *inode) bool {
	if n.id == rootID {
		return false
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.parent != nil && n.parent.key.dev != n.key.dev
}

// getattr is GETATTR.
func getattr(r *request) syscall.Errno {
	n, e := r.held()
	if e != 0 {
		return e
	}
	defer n.put()
	return r.attrOut(n)
}

// attrOut replies with the node's attributes.
func (r *request) attrOut(n *inode) syscall.Errno {
	if e := r.s.stat(n, &r.w.stx); e != 0 {
		return e
	}
	b := r.reply(attrOutSize)
	le.PutUint64(b, r.w.srv.opt.timeouts().attr)
	r.attr(b[16:], n, &r.w.stx)
	return 0
}

// statxOp is STATX: GETATTR with the time of birth.
func statxOp(r *request) syscall.Errno {
	n, e := r.held()
	if e != 0 {
		return e
	}
	defer n.put()
	stx := &r.w.stx
	if e := r.s.stat(n, stx); e != 0 {
		return e
	}
	b := r.reply(statxOutSize)
	le.PutUint64(b, r.w.srv.opt.timeouts().attr)
	uid, gid := r.w.srv.ids.guest(r, stx.Uid, stx.Gid)
	x := b[32:]
	le.PutUint32(x, stx.Mask&(unix.STATX_BASIC_STATS|unix.STATX_BTIME))
	le.PutUint32(x[4:], stx.Blksize)
	le.PutUint32(x[16:], stx.Nlink)
	le.PutUint32(x[20:], uid)
	le.PutUint32(x[24:], gid)
	le.PutUint16(x[28:], stx.Mode)
	le.PutUint64(x[32:], stx.Ino)
	le.PutUint64(x[40:], stx.Size)
	le.PutUint64(x[48:], stx.Blocks)
	for i, t := range []unix.StatxTimestamp{stx.Atime, stx.Btime, stx.Ctime, stx.Mtime} {
		le.PutUint64(x[64+16*i:], uint64(t.Sec))
		le.PutUint32(x[72+16*i:], t.Nsec)
	}
	le.PutUint32(x[128:], stx.Rdev_major)
	le.PutUint32(x[132:], stx.Rdev_minor)
	return 0
}

// setattr is SETATTR (struct fuse_setattr_in): mode, owner, size and times, in
// the order in which one does not undo the other.
func setattr(r *request) syscall.Errno {
	n, e := r.held()
	if e != 0 {
		return e
	}
	defer n.put()
	h, e := r.s.hold(n)
	if e != 0 {
		return e
	}
	defer h.release()
	r.s.srv.ownUse(n)
	valid := r.u32(0)
	if valid&setMode != 0 {
		if e := r.w.srv.chmod(n, h.fd, r.u32(68)); e != 0 {
			return e
		}
	}
	if valid&(setUID|setGID) != 0 {
		if e := r.chown(h.fd, valid, r.u32(76), r.u32(80)); e != 0 {
			return e
		}
	}
	if valid&setSize != 0 {
		if e := r.truncate(n, valid, r.u64(8), r.u64(16)); e != 0 {
			return e
		}
	}
	if valid&setKillSetID != 0 {
		if e := r.w.srv.dropSetID(n, h.fd); e != 0 {
			return e
		}
	}
	if valid&(setAtime|setMtime) != 0 {
		times := [2]unix.Timespec{
			timespec(valid, setAtime, setAtimeNow, r.u64(32), r.u32(56)),
			timespec(valid, setMtime, setMtimeNow, r.u64(40), r.u32(60)),
		}
		if e := utimensFD(h.fd, &times); e != 0 {
			return e
		}
	}
	return r.attrOut(n)
}

func timespec(valid, set, now uint32, sec uint64, nsec uint32) unix.Timespec {
	switch {
	case valid&set == 0:
		return unix.Timespec{Nsec: unix.UTIME_OMIT}
	case valid&now != 0:
		return unix.Timespec{Nsec: unix.UTIME_NOW}
	}
	// UTIME_NOW and UTIME_OMIT are larger than any honest value; the kernel
	// refuses everything else from 10^9 on.
	return unix.Timespec{Sec: int64(sec), Nsec: int64(nsec % 1e9)}
}

// allowed is the mode that a file may have in this share.
func (s *Server) allowed(typ uint16, mode uint32) uint32 {
	mode &= 0o7777
	if !s.opt.AllowSetID && typ != unix.S_IFDIR {
		// A program of the client's that runs with somebody else's rights on
		// the host. On directories the bit passes the group on, no rights.
		mode &^= unix.S_ISUID | unix.S_ISGID
	}
	return mode
}

// chmod changes the mode of an open node.
func (s *Server) chmod(n *inode, fd int, mode uint32) syscall.Errno {
	if n.typ == unix.S_IFLNK {
		return syscall.EOPNOTSUPP
	}
	return s.chmodFD(fd, s.allowed(n.typ, mode))
}

// chmodFD is fchmod(2) that works for O_PATH descriptors too. Preconditions:
// fd is not of a symbolic link.
func (s *Server) chmodFD(fd int, mode uint32) syscall.Errno {
	var buf [16]byte
	return atCall(unix.SYS_FCHMODAT, s.procFD, procName(fd, &buf), uintptr(mode), 0, 0)
}

// chown changes the owner as far as the share keeps owners.
func (r *request) chown(fd int, valid, uid, gid uint32) syscall.Errno {
	if valid&setUID == 0 {
		uid = noID
	} else if uid == noID {
		return syscall.EINVAL
	}
	if valid&setGID == 0 {
		gid = noID
	} else if gid == noID {
		return syscall.EINVAL
	}
	if !r.w.srv.ids.keeps() {
		return 0
	}
	u, g, ok := r.w.srv.ids.host(uid, gid)
	if !ok {
		return syscall.EOVERFLOW // as for ids that a mount does not map, chown(2)
	}
	return chownFD(fd, u, g)
}

func chownFD(fd int, uid, gid uint32) syscall.Errno {
	return atCall(unix.SYS_FCHOWNAT, fd, emptyName, uintptr(uid), uintptr(gid), unix.AT_EMPTY_PATH)
}

// truncate changes the size, through the client's handle if that can write.
func (r *request) truncate(n *inode, valid uint32, fh, size uint64) syscall.Errno {
	if size > math.MaxInt64 {
		return syscall.EINVAL
	}
	if valid&setHandle != 0 {
		if h := r.s.handles.get(fh, n); h != nil {
			defer h.put()
			if h.writable() {
				return errno(unix.Ftruncate(h.file.fd, int64(size)))
			}
		}
	}
	if n.typ != unix.S_IFREG {
		return syscall.EINVAL
	}
	w, e := r.s.reopen(n, unix.O_WRONLY|unix.O_NONBLOCK, r.w.srv.budget.limit)
	if e != 0 {
		return e
	}
	defer w.release()
	return errno(unix.Ftruncate(w.fd, int64(size)))
}

// dropSetID does what the kernel does when somebody without CAP_FSETID writes
// to a file: we have the capability, the client's caller has not.
func (s *Server) dropSetID(n *inode, fd int) syscall.Errno {
	if n.typ != unix.S_IFREG || !s.root {
		return 0 // without privileges the host's kernel does it
	}
	var stx unix.Statx_t
	if e := statx(fd, emptyName, unix.AT_EMPTY_PATH, unix.STATX_MODE, &stx); e != 0 {
		return e
	}
	mode := uint32(stx.Mode) & 0o7777
	drop := mode & unix.S_ISUID
	if mode&unix.S_IXGRP != 0 {
		drop |= mode & unix.S_ISGID
	}
	if drop == 0 {
		return 0
	}
	return s.chmodFD(fd, mode&^drop)
}

// statfs is STATFS.
func statfs(r *request) syscall.Errno {
	n, e := r.held()
	if e != 0 {
		return e
	}
	defer n.put()
	h, e := r.s.hold(n)
	if e != 0 {
		return e
	}
	defer h.release()
	var st unix.Statfs_t
	if err := unix.Fstatfs(h.fd, &st); err != nil {
		return errno(err)
	}
	b := r.reply(statfsOutSize)
	le.PutUint64(b, st.Blocks)
	le.PutUint64(b[8:], st.Bfree)
	le.PutUint64(b[16:], st.Bavail)
	le.PutUint64(b[24:], st.Files)
	le.PutUint64(b[32:], st.Ffree)
	le.PutUint32(b[40:], uint32(st.Bsize))
	le.PutUint32(b[44:], uint32(min(st.Namelen, maxName)))
	le.PutUint32(b[48:], uint32(st.Frsize))
	return 0
}

// readlink is READLINK. The target is the client's to follow, whatever it says.
func readlink(r *request) syscall.Errno {
	n, e := r.held()
	if e != 0 {
		return e
	}
	defer n.put()
	if n.typ != unix.S_IFLNK {
		return syscall.EINVAL
	}
	h, e := r.s.hold(n)
	if e != 0 {
		return e
	}
	defer h.release()
	b := r.w.out[outHeaderSize:]
	size, e := readlinkAt(h.fd, emptyName, b[:maxTarget])
	if e != 0 {
		return e
	}
	r.body = b[:min(size, r.space())]
	return 0
}
