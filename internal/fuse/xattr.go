//go:build linux

package fuse

import (
	"bytes"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// nextXattr takes an attribute's name with its NUL from the front of b.
func nextXattr(b []byte) (name cstr, rest []byte, e syscall.Errno) {
	i := bytes.IndexByte(b, 0)
	switch {
	case i > maxName || i < 0 && len(b) > maxName:
		return nil, nil, syscall.ERANGE // as setxattr(2) has it
	case i <= 0:
		return nil, nil, syscall.EINVAL
	}
	return cstr(b[: i+1 : i+1]), b[i+1:], 0
}

// xattrVisible says whether the client may use an attribute.
func (r *request) xattrVisible(name string) bool {
	if name == aclAccessName || name == aclDefaultName {
		return r.s.caps&capPosixACL != 0
	}
	switch {
	case strings.HasPrefix(name, "user."):
		return true
	case strings.HasPrefix(name, "trusted."), strings.HasPrefix(name, "security."):
		return r.w.srv.opt.Xattr == XattrAll
	default:
		return false
	}
}

// xattrNode returns a path in /proc for the request's node. Symbolic links have
// no attributes: user. is not for them, and their path would be followed.
func (r *request) xattrNode(buf *[40]byte) (path cstr, n *inode, h held, e syscall.Errno) {
	if n, e = r.held(); e != 0 {
		return nil, nil, held{}, e
	}
	if n.typ == unix.S_IFLNK {
		n.put()
		return nil, nil, held{}, syscall.EPERM
	}
	if h, e = r.s.hold(n); e != 0 {
		n.put()
		return nil, nil, held{}, e
	}
	return procPath(h.fd, buf), n, h, 0
}

// getxattr is GETXATTR (struct fuse_getxattr_in): the value, or its size.
func getxattr(r *request) syscall.Errno {
	if r.w.srv.opt.Xattr == XattrNone {
		return syscall.ENOSYS
	}
	name, _, e := nextXattr(r.arg[8:])
	if e != 0 {
		return e
	}
	if !r.xattrVisible(name.String()) {
		return syscall.EOPNOTSUPP
	}
	var buf [40]byte
	path, n, h, e := r.xattrNode(&buf)
	if e == syscall.EPERM {
		return syscall.ENODATA
	}
	if e != 0 {
		return e
	}
	defer n.put()
	defer h.release()
	size := r.u32(0)
	value := r.large()[:min(size, maxXattr)]
	if size == 0 {
		value = nil
	}
	got, e := xattrCall(unix.SYS_GETXATTR, path, name, value, 0)
	if e != 0 {
		return e
	}
	if size == 0 {
		le.PutUint32(r.reply(8), uint32(got))
		return 0
	}
	if isACL(name) && !r.w.srv.ids.aclToGuest(value[:got]) {
		return syscall.EIO
	}
	r.body = value[:got]
	return 0
}

// setxattr is SETXATTR (struct fuse_setxattr_in, whose second half is there if
// that was negotiated).
func setxattr(r *request) syscall.Errno {
	if r.w.srv.opt.Xattr == XattrNone {
		return syscall.ENOSYS
	}
	size, flags, head, kill := r.u32(0), r.u32(4), 8, false
	if r.s.caps&capSetxattrExt != 0 {
		if head = 16; len(r.arg) < head {
			return syscall.EINVAL
		}
		kill = r.u32(8)&setxattrKillSGID != 0
	}
	name, value, e := nextXattr(r.arg[head:])
	if e != 0 {
		return e
	}
	switch {
	case size > maxXattr:
		return syscall.E2BIG
	case uint64(size) != uint64(len(value)) || flags&^(unix.XATTR_CREATE|unix.XATTR_REPLACE) != 0:
		return syscall.EINVAL
	case !r.xattrVisible(name.String()):
		return syscall.EOPNOTSUPP
	}
	if isACL(name) && !r.w.srv.ids.aclToHost(value) {
		return syscall.EINVAL
	}
	var buf [40]byte
	path, n, h, e := r.xattrNode(&buf)
	if e != 0 {
		return e
	}
	defer n.put()
	defer h.release()
	r.s.srv.ownUse(n)
	if _, e := xattrCall(unix.SYS_SETXATTR, path, name, value, int(flags)); e != 0 {
		return e
	}
	if kill {
		return r.dropSGID(n, h.fd)
	}
	return 0
}

// dropSGID takes the set-group-ID bit, as setting an ACL does for callers that
// are not in the file's group.
func (r *request) dropSGID(n *inode, fd int) syscall.Errno {
	if !r.w.srv.root {
		return 0
	}
	if e := statFD(fd, &r.w.stx); e != 0 {
		return e
	}
	if mode := uint32(r.w.stx.Mode) & 0o7777; mode&unix.S_ISGID != 0 {
		return r.w.srv.chmod(n, fd, mode&^unix.S_ISGID)
	}
	return 0
}

// removexattr is REMOVEXATTR.
func removexattr(r *request) syscall.Errno {
	if r.w.srv.opt.Xattr == XattrNone {
		return syscall.ENOSYS
	}
	name, _, e := nextXattr(r.arg)
	if e != 0 {
		return e
	}
	if !r.xattrVisible(name.String()) {
		return syscall.EOPNOTSUPP
	}
	var buf [40]byte
	path, n, h, e := r.xattrNode(&buf)
	if e != 0 {
		return e
	}
	defer n.put()
	defer h.release()
	r.s.srv.ownUse(n)
	_, e = xattrCall(unix.SYS_REMOVEXATTR, path, name, nil, 0)
	return e
}

// listxattrs is LISTXATTR: the names that the client may use.
func listxattrs(r *request) syscall.Errno {
	if r.w.srv.opt.Xattr == XattrNone {
		return syscall.ENOSYS
	}
	var buf [40]byte
	path, n, h, e := r.xattrNode(&buf)
	if e == syscall.EPERM {
		r.body = nil
		if r.u32(0) == 0 {
			r.reply(8)
		}
		return 0
	}
	if e != 0 {
		return e
	}
	defer n.put()
	defer h.release()
	list := r.large()[:maxXattr]
	got, e := listxattr(path, list)
	if e != 0 {
		return e
	}
	kept := r.filterXattrs(list[:got])
	switch size := int(min(r.u32(0), maxXattr)); {
	case size == 0:
		le.PutUint32(r.reply(8), uint32(len(kept)))
	case len(kept) > size:
		return syscall.ERANGE
	default:
		r.body = kept
	}
	return 0
}

// filterXattrs keeps the visible names, in place.
func (r *request) filterXattrs(list []byte) []byte {
	kept := list[:0]
	for len(list) > 0 {
		i := bytes.IndexByte(list, 0)
		if i < 0 {
			break
		}
		if r.xattrVisible(string(list[:i])) {
			kept = append(kept, list[:i+1]...)
		}
		list = list[i+1:]
	}
	return kept
}
