//go:build linux

package fuse

import (
	"errors"
	"fmt"
	"math"
	"os"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func id(v uint32) *uint32 { return &v }

// What cannot be had is an error that says so, before anything is served.
func TestImpossibleOptions(t *testing.T) {
	for _, tt := range []struct {
		name  string
		opt   Options
		field string
		want  error
	}{
		{"ownership that does not exist", Options{Owner: Ownership{Mode: 9}}, "Owner.Mode", ErrRange},
		{"squash to no id", Options{Owner: Ownership{GuestUID: noID}}, "Owner.GuestUID", ErrRange},
		{"squash with tables", Options{Owner: Ownership{UIDs: []IDRange{{0, 0, 1}}}}, "Owner.UIDs", ErrConflict},
		{"passthrough with a host id", Options{Owner: Ownership{Mode: Passthrough, HostUID: id(1)}}, "Owner.HostUID", ErrConflict},
		{"ranges without tables", Options{Owner: Ownership{Mode: Ranges}}, "Owner.UIDs", ErrRange},
		{"a range that is empty", ranged(IDRange{0, 0, 0}), "Owner.UIDs", ErrRange},
		{"a range that wraps", ranged(IDRange{1, 0, math.MaxUint32}), "Owner.UIDs", ErrRange},
		{"ranges that overlap in the guest", ranged(IDRange{0, 0, 10}, IDRange{9, 100, 10}), "Owner.UIDs", ErrRange},
		{"ranges that overlap on the host", ranged(IDRange{0, 0, 10}, IDRange{10, 9, 10}), "Owner.UIDs", ErrRange},
		{"writeback without a cache", Options{Writeback: true, Cache: CacheNone}, "Writeback", ErrConflict},
		{"ACLs without ids", Options{ACL: true}, "ACL", ErrConflict},
		{"capabilities without set-ID", Options{Xattr: XattrAll}, "Xattr", ErrConflict},
		{"devices of one owner", Options{AllowDevices: true}, "AllowDevices", ErrConflict},
		{"a cache policy that does not exist", Options{Cache: 7}, "Cache", ErrRange},
		{"too few descriptors", Options{MaxFiles: 3}, "MaxFiles", ErrRange},
		{"too many inodes", Options{MaxInodes: 1 << 30}, "MaxInodes", ErrRange},
	} {
		t.Run(tt.name, func(t *testing.T) {
			noLeaks(t)
			_, err := New(t.TempDir(), tt.opt)
			var oe *OptionError
			require.True(t, errors.As(err, &oe), "%v", err)
			require.Equal(t, tt.field, oe.Field)
			require.ErrorIs(t, err, tt.want)
			require.NotEmpty(t, oe.Error())
		})
	}
	for _, path := range []string{"/does/not/exist", "/etc/passwd", "/proc", ""} {
		noLeaks(t)
		_, err := New(path, Options{})
		require.Error(t, err, path)
	}
}

func ranged(table ...IDRange) Options {
	return Options{Owner: Ownership{Mode: Ranges, UIDs: table, GIDs: []IDRange{{0, 0, 1}}}}
}

// owner is who a name belongs to on the host.
func (c *client) owner(name string) string {
	c.t.Helper()
	var st unix.Stat_t
	require.NoError(c.t, unix.Lstat(c.path(name), &st))
	return fmt.Sprintf("%d:%d", st.Uid, st.Gid)
}

func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("giving files to other ids needs root")
	}
}

// Each mode: who a new file belongs to on the host, what the caller and
// another one see, and what chown does.
func TestOwnership(t *testing.T) {
	needRoot(t)
	type want struct {
		host, caller, other string
		chown               syscall.Errno
		chowned             string // on the host, after chown to 2000:2001
	}
	for _, tt := range []struct {
		name  string
		owner Ownership
		uid   uint32 // of the caller; gid is one more
		want  want
	}{
		{"squash", Ownership{}, 1000, want{"0:0", "0:0", "0:0", 0, "0:0"}},
		{"squash to ids", Ownership{GuestUID: 5, GuestGID: 6, HostUID: id(70), HostGID: id(80)}, 1000, want{"70:80", "5:6", "5:6", 0, "70:80"}},
		{"passthrough", Ownership{Mode: Passthrough}, 1000, want{"1000:1001", "1000:1001", "1000:1001", 0, "2000:2001"}},
		{"dynamic", Ownership{Mode: DynamicCaller, HostUID: id(7)}, 1000, want{"7:0", "1000:1001", "42:43", 0, "7:0"}},
		{"ranges", Ownership{
			Mode: Ranges,
			UIDs: []IDRange{{0, 100_000, 1500}, {2000, 300_000, 1}}, GIDs: []IDRange{{0, 200_000, 3000}},
		}, 1000, want{"101000:201001", "1000:1001", "1000:1001", 0, "300000:202001"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := shareRaw(t, t.TempDir(), func(o *Options) { o.Owner = tt.owner })
			c.init()
			c.uid, c.gid = tt.uid, tt.uid+1
			node, fh := c.create(rootID, "file")
			require.Zero(t, c.release(node, fh))
			c.mkdir(rootID, "dir")
			_, e := c.symlink(rootID, "link", "x")
			require.Zero(t, e)
			_, e = c.mknod(rootID, "fifo", unix.S_IFIFO|0o600, 0)
			require.Zero(t, e)
			for _, name := range []string{"file", "dir", "link", "fifo"} {
				require.Equal(t, tt.want.host, c.owner(name), name)
				_, a, e := c.lookupErr(rootID, name)
				require.Zero(t, e)
				require.Equal(t, tt.want.caller, fmt.Sprintf("%d:%d", a.uid, a.gid))
			}
			c.uid, c.gid = 42, 43
			a, e := c.getattr(node)
			require.Zero(t, e)
			require.Equal(t, tt.want.other, fmt.Sprintf("%d:%d", a.uid, a.gid))
			_, e = c.setattr(node, setattrIn{valid: setUID | setGID, uid: 2000, gid: 2001})
			require.Equal(t, tt.want.chown, e)
			require.Equal(t, tt.want.chowned, c.owner("file"))
		})
	}
}

// D6: ids that there are not.
func TestHostileIDs(t *testing.T) {
	needRoot(t)
	c := shareRaw(t, t.TempDir(), func(o *Options) {
		o.Owner = Ownership{Mode: Ranges, UIDs: []IDRange{{0, 1000, 10}}, GIDs: []IDRange{{0, 1000, 10}}}
	})
	c.init()
	node, fh := c.create(rootID, "file")
	require.Zero(t, c.release(node, fh))
	for _, uid := range []uint32{10, 65534, 1 << 31, noID} {
		c.uid = uid
		for _, op := range nameOps {
			switch op.op {
			case opMknod, opMkdir, opSymlink, opCreate:
				_, e := c.call(op.op, rootID, op.arg(node, z("new")), 256)
				require.Equal(t, syscall.EOVERFLOW, e, "%s as %d", op.name, uid)
			}
		}
		want := syscall.EOVERFLOW
		if uid == noID {
			want = syscall.EINVAL // no change, to chown(2)
		}
		_, e := c.setattr(node, setattrIn{valid: setUID, uid: uid})
		require.Equal(t, want, e)
		_, e = c.setattr(node, setattrIn{valid: setGID, gid: uid})
		require.Equal(t, want, e)
	}
	require.Equal(t, "1000:1000", c.owner("file"))
	require.NoError(t, os.Chown(c.path("file"), 5, 6))
	a, e := c.getattr(node)
	require.Zero(t, e)
	require.EqualValues(t, overflowID, a.uid)
	require.EqualValues(t, overflowID, a.gid)

	c = share(t, nil)
	c.uid, c.gid = noID, noID
	_, _, e = c.createErr(rootID, "file", unix.O_RDWR|unix.O_CREAT, 0o644)
	require.Equal(t, syscall.EOVERFLOW, e)
}

func (c *client) mode(name string) uint32 {
	c.t.Helper()
	var st unix.Stat_t
	require.NoError(c.t, unix.Lstat(c.path(name), &st))
	return st.Mode & 0o7777
}

// D6: programs that run with somebody else's rights on the host are not for
// guests to make, unless that is asked for.
func TestSetIDBits(t *testing.T) {
	c := share(t, nil)
	node, fh, e := c.createErr(rootID, "file", unix.O_RDWR|unix.O_CREAT, 0o6755)
	require.Zero(t, e)
	require.Zero(t, c.release(node, fh))
	require.EqualValues(t, 0o755, c.mode("file"))
	_, e = c.setattr(node, setattrIn{valid: setMode, mode: 0o6711})
	require.Zero(t, e)
	require.EqualValues(t, 0o711, c.mode("file"))
	_, e = c.mknod(rootID, "node", unix.S_IFREG|0o4755, 0)
	require.Zero(t, e)
	require.EqualValues(t, 0o755, c.mode("node"))
	dir := c.mkdir(rootID, "dir")
	_, e = c.setattr(dir, setattrIn{valid: setMode, mode: 0o2775})
	require.Zero(t, e)
	require.EqualValues(t, 0o2775, c.mode("dir"), "on a directory it gives no rights")
	if os.Geteuid() != 0 {
		return
	}
	_, e = c.call(21, node, cat(u32s(20, 0), z("security.capability"), make([]byte, 20)), 0)
	require.Equal(t, syscall.EOPNOTSUPP, e)
}

// D6: set-ID bits go when somebody without privileges writes, however.
func TestKillSetID(t *testing.T) {
	needRoot(t)
	writes := map[string]func(c *client, node, fh uint64) syscall.Errno{
		"WRITE": func(c *client, node, fh uint64) syscall.Errno {
			_, e := c.writeErr(node, fh, 0, []byte("x"), writeKillSetID, 0)
			return e
		},
		"truncate": func(c *client, node, _ uint64) syscall.Errno {
			_, e := c.setattr(node, setattrIn{valid: setSize | setKillSetID, size: 1})
			return e
		},
		"OPEN with O_TRUNC": func(c *client, node, _ uint64) syscall.Errno {
			_, e := c.call(14, node, u32s(unix.O_RDWR|unix.O_TRUNC, openKillSetID), 16)
			return e
		},
		"chown": func(c *client, node, _ uint64) syscall.Errno {
			_, e := c.setattr(node, setattrIn{valid: setUID | setKillSetID, uid: 5})
			return e
		},
		"FALLOCATE": func(c *client, node, fh uint64) syscall.Errno {
			_, e := c.call(43, node, cat(u64s(fh, 0, 10), u32s(0, 0)), 0)
			return e
		},
		"COPY_FILE_RANGE": func(c *client, node, fh uint64) syscall.Errno {
			_, e := c.call(47, node, u64s(fh, 0, node, fh, 5, 2, 0), 8)
			return e
		},
	}
	for name, write := range writes {
		t.Run(name, func(t *testing.T) {
			for _, tt := range []struct{ before, after uint32 }{{0o6755, 0o755}, {0o4700, 0o700}, {0o2745, 0o2745}, {0o2755, 0o755}} {
				c := share(t, func(o *Options) { o.AllowSetID = true })
				node, fh := c.create(rootID, "file")
				c.write(node, fh, 0, "0123456789")
				_, e := c.setattr(node, setattrIn{valid: setMode, mode: tt.before})
				require.Zero(t, e)
				require.Equal(t, tt.before, c.mode("file"))
				c.uid = 1000
				require.Zero(t, write(c, node, fh))
				if name == "chown" && tt.after == 0o2745 {
					continue // the kernel decides about mandatory locking's mark
				}
				require.Equal(t, tt.after, c.mode("file"))
			}
		})
	}
}

// D6: the group of new files in directories with the set-group-ID bit, and
// who may make programs of that group (CVE-2018-13405, CVE-2022-0358).
func TestSetGIDDirectory(t *testing.T) {
	needRoot(t)
	groups := func(gids ...uint32) []byte {
		b := cat(u32s(uint32(12+4*len(gids)), extGroups, uint32(len(gids))), u32s(gids...))
		for len(b)%8 != 0 {
			b = append(b, 0)
		}
		return b
	}
	for _, tt := range []struct {
		name     string
		uid, gid uint32
		ext      []byte
		keeps    bool
	}{
		{"root", 0, 0, nil, true},
		{"a member by gid", 1000, 555, nil, true},
		{"a member by supplementary group", 1000, 1000, groups(555), true},
		{"a member among others", 1000, 1000, groups(1, 2, 555), true},
		{"no member", 1000, 1000, nil, false},
		{"no member, other groups", 1000, 1000, groups(1, 2), false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := share(t, func(o *Options) { o.AllowSetID = true })
			dir := c.mkdir(rootID, "dir")
			require.NoError(t, os.Chown(c.path("dir"), 0, 555))
			require.NoError(t, unix.Chmod(c.path("dir"), 0o2777))
			c.uid, c.gid, c.ext = tt.uid, tt.gid, tt.ext
			_, _, e := c.createErr(dir, "prog", unix.O_RDWR|unix.O_CREAT, 0o2755)
			require.Zero(t, e)
			require.Equal(t, fmt.Sprintf("%d:555", tt.uid), c.owner("dir/prog"))
			require.Equal(t, tt.keeps, c.mode("dir/prog")&unix.S_ISGID != 0)
			c.mkdir(dir, "sub")
			require.Equal(t, fmt.Sprintf("%d:555", tt.uid), c.owner("dir/sub"))
			require.NotZero(t, c.mode("dir/sub")&unix.S_ISGID, "directories pass it on")
		})
	}
}

// The process's umask does not decide what guests' files are like.
func TestUmask(t *testing.T) {
	old := unix.Umask(0o077)
	defer unix.Umask(old)
	c := share(t, nil)
	node, fh, e := c.createErr(rootID, "file", unix.O_RDWR|unix.O_CREAT, 0o664)
	require.Zero(t, e)
	require.Zero(t, c.release(node, fh))
	require.EqualValues(t, 0o664, c.mode("file"))
	c.mkdir(rootID, "dir")
	require.EqualValues(t, 0o755, c.mode("dir"))
	_, e = c.mknod(rootID, "fifo", unix.S_IFIFO|0o622, 0)
	require.Zero(t, e)
	require.EqualValues(t, 0o622, c.mode("fifo"))
}

// ACLs, with ids of the guest.
func TestACLRanges(t *testing.T) {
	needRoot(t)
	dir := t.TempDir()
	srv, err := New(dir, Options{ACL: true, Owner: Ownership{Mode: Ranges, UIDs: []IDRange{{0, 1000, 100}}, GIDs: []IDRange{{0, 2000, 100}}}})
	if errors.Is(err, ErrUnsupported) {
		t.Skip("the file system of the temporary directory has no ACLs")
	}
	require.NoError(t, err)
	t.Cleanup(srv.Close)
	c := &client{t: t, srv: srv, dir: dir, handle: srv.Worker(nil, nil)}
	b := c.init()
	require.NotZero(t, get32(b, 12)&uint32(capPosixACL))
	node, fh := c.create(rootID, "file")
	require.Zero(t, c.release(node, fh))
	entry := func(tag, perm uint16, id uint32) []byte {
		return cat([]byte{byte(tag), byte(tag >> 8), byte(perm), byte(perm >> 8)}, u32s(id))
	}
	acl := func(user, group uint32) []byte {
		return cat(u32s(2), entry(1, 6, noID), entry(2, 4, user), entry(4, 4, noID), entry(8, 6, group), entry(16, 6, noID), entry(32, 0, noID))
	}
	set := func(v []byte) syscall.Errno {
		_, e := c.call(21, node, cat(u32s(uint32(len(v)), 0, 0, 0), z(aclAccessName), v), 0)
		return e
	}
	require.Zero(t, set(acl(5, 7)))
	host := make([]byte, 100)
	n, err := unix.Getxattr(c.path("file"), aclAccessName, host)
	require.NoError(t, err)
	require.Equal(t, acl(1005, 2007), host[:n])
	b, e := c.call(22, node, cat(u32s(100, 0), z(aclAccessName)), 100)
	require.Zero(t, e)
	require.Equal(t, acl(5, 7), b)
	require.Equal(t, syscall.EINVAL, set(acl(500, 7)))
	require.Equal(t, syscall.EINVAL, set([]byte{2, 0, 0}))
	require.Equal(t, syscall.EINVAL, set(acl(5, 7)[:11]))
}

// An ordinary user shares that user's files.
func TestUnprivileged(t *testing.T) {
	const nobody = 65534
	if os.Getenv(childEnv) == "" {
		needRoot(t)
		child(t, "TestUnprivileged", &syscall.Credential{Uid: nobody, Gid: nobody})
		return
	}
	require.EqualValues(t, nobody, os.Geteuid())
	noLeaks(t)
	for _, o := range []Ownership{
		{Mode: Passthrough}, {HostUID: id(0)}, {HostGID: id(5)},
		{Mode: Ranges, UIDs: []IDRange{{0, 0, 1}}, GIDs: []IDRange{{0, nobody, 1}}},
		{Mode: Ranges, UIDs: []IDRange{{0, nobody, 2}}, GIDs: []IDRange{{0, nobody, 1}}},
	} {
		_, err := New(t.TempDir(), Options{Owner: o})
		require.ErrorIs(t, err, ErrPrivilege)
	}
	for name, o := range map[string]Ownership{
		"squash":  {HostUID: id(nobody)},
		"ranges":  {Mode: Ranges, UIDs: []IDRange{{0, nobody, 1}}, GIDs: []IDRange{{0, nobody, 1}}},
		"dynamic": {Mode: DynamicCaller},
	} {
		t.Run(name, func(t *testing.T) {
			c := shareRaw(t, t.TempDir(), func(opt *Options) { opt.Owner = o })
			c.init()
			node, fh := c.create(rootID, "file")
			c.write(node, fh, 0, "text")
			a, e := c.getattr(node)
			require.Zero(t, e)
			require.Zero(t, a.uid)
			require.Equal(t, fmt.Sprintf("%d:%d", nobody, nobody), c.owner("file"))
			require.Zero(t, c.release(node, fh))
			_, e = c.setattr(node, setattrIn{valid: setMode, mode: 0o000})
			require.Zero(t, e)
			_, e = c.openErr(node, unix.O_RDONLY)
			require.Equal(t, syscall.EACCES, e, "the host's own rules hold")
			c.mkdir(rootID, "dir")
			require.Zero(t, c.rename(rootID, "file", rootID, "moved", 0))
			require.Zero(t, c.unlink(rootID, "moved"))
			require.Zero(t, c.rmdir(rootID, "dir"))
			c.works()
		})
	}
	c := shareRaw(t, "/etc", nil)
	c.init()
	node := c.lookup(rootID, "passwd")
	_, e := c.openErr(node, unix.O_RDWR)
	require.Equal(t, syscall.EACCES, e)
	_, _, e = c.createErr(rootID, "new", unix.O_RDWR|unix.O_CREAT, 0o644)
	require.Equal(t, syscall.EACCES, e)
	shadow := c.lookup(rootID, "shadow")
	_, e = c.openErr(shadow, unix.O_RDONLY)
	require.Equal(t, syscall.EACCES, e)
}
