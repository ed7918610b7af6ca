//go:build linux

package fuse

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// kernelMagics are file systems whose files are the kernel, linux/magic.h:
// reading may block for ever, writing may do anything. A process's memory, for
// one, is a regular file in proc.
var kernelMagics = map[uint64]bool{
	0x9fa0:     true, // proc
	0x62656572: true, // sysfs
	0x64626720: true, // debugfs
	0x74726163: true, // tracefs
	0x73636673: true, // securityfs
	0x27e0eb:   true, // cgroup
	0x63677270: true, // cgroup2
	0xcafe4a11: true, // bpf
	0x62656570: true, // configfs
	0x1cd1:     true, // devpts
	0x6165676c: true, // pstore
	0xde5e81e4: true, // efivarfs
	0xf97cff8c: true, // selinux
	0x43415d53: true, // smack
	0x6e736673: true, // nsfs
	0x19800202: true, // mqueue
	0x65735543: true, // fusectl
	0x42494e4d: true, // binfmt_misc
	0x07655821: true, // resctrl
}

func statfsFD(fd int) (*unix.Statfs_t, syscall.Errno) {
	var st unix.Statfs_t
	err := unix.Fstatfs(fd, &st)
	return &st, errno(err)
}

// magicOf is the kind of a file system: a signed long with 32 significant bits.
func magicOf(st *unix.Statfs_t) uint64 { return uint64(st.Type) & 0xffff_ffff }

// cross decides whether the client may go from the directory p to name in it,
// which is on another mount or device. stx is filled anew, from the descriptor
// that was looked at.
func (s *session) cross(p *inode, dir int, name cstr, stx *unix.Statx_t) syscall.Errno {
	k := keyOf(stx)
	if s.srv.opt.Submounts == SubmountsDeny && k.mnt != p.key.mnt {
		return syscall.EXDEV
	}
	h, e := s.srv.openPath(dir, name)
	if e != 0 {
		return e
	}
	defer h.release()
	if e := statFD(h.fd, stx); e != 0 {
		return e
	}
	// It is asked each time, since device numbers are used again.
	if st, e := statfsFD(h.fd); e != 0 || kernelMagics[magicOf(st)] {
		return syscall.EACCES
	}
	return 0
}
