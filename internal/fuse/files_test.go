//go:build linux

package fuse

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func TestReadWrite(t *testing.T) {
	noLeaks(t)
	c := share(t, nil)
	node, fh := c.create(rootID, "file")
	data := make([]byte, MaxIO)
	for i := range data {
		data[i] = byte(i * 7)
	}
	n, e := c.writeErr(node, fh, 0, data, 0, 0)
	require.Zero(t, e)
	require.EqualValues(t, MaxIO, n)
	for _, at := range []struct{ off, size int }{{0, MaxIO}, {1, 4095}, {4096, 128 << 10}, {MaxIO - 10, 100}, {MaxIO, 10}, {MaxIO + 5, 10}} {
		got, e := c.read(node, fh, uint64(at.off), uint32(at.size))
		require.Zero(t, e)
		want := data[min(at.off, MaxIO):min(at.off+at.size, MaxIO)]
		require.True(t, bytes.Equal(want, got), "%d bytes at %d", at.size, at.off)
	}
	require.Equal(t, uint64(MaxIO), c.srv.Stats().BytesWrite)
	require.True(t, bytes.Equal(data, []byte(c.hostText("file"))))
	require.Zero(t, c.release(node, fh))
}

// More buffers than one readv takes, each of its own.
func TestManyBuffers(t *testing.T) {
	c := share(t, nil)
	node, fh := c.create(rootID, "file")
	const count, size = 3000, 100
	m := c.message(16, node, cat(u64s(fh, 0), u32s(count*size, 0), u64s(0), u32s(0, 0)))
	copy(m, u32s(uint32(len(m)+count*size)))
	in := [][]byte{m}
	var want []byte
	for i := range count {
		b := make([]byte, size+1)[:size] // not neighbours
		for k := range b {
			b[k] = byte(i + k)
		}
		in = append(in, b)
		want = append(want, b...)
	}
	out := make([]byte, 24)
	require.Equal(t, 24, c.handle(in, [][]byte{out}))
	require.EqualValues(t, count*size, get32(out, 16))
	require.True(t, bytes.Equal(want, []byte(c.hostText("file"))))

	reply := [][]byte{make([]byte, 16)}
	for range count {
		reply = append(reply, make([]byte, size+1)[:size])
	}
	m = c.message(15, node, cat(u64s(fh, 0), u32s(count*size, 0), u64s(0), u32s(0, 0)))
	require.Equal(t, 16+count*size, c.handle([][]byte{m}, reply))
	require.True(t, bytes.Equal(want, bytes.Join(reply[1:], nil)))
}

// READ writes what was asked for and nothing behind it, however much room
// there is.
func TestReadStaysInside(t *testing.T) {
	c := share(t, nil)
	c.hostFile(strings.Repeat("x", 8192), "file")
	node := c.lookup(rootID, "file")
	fh := c.open(node, unix.O_RDONLY)
	b, e := c.call(15, node, cat(u64s(fh, 0), u32s(100, 0), u64s(0), u32s(0, 0)), 8192)
	require.Zero(t, e) // call checks that the rest is zeroes
	require.Len(t, b, 100)
}

// Two clients append: neither overwrites the other, and what a page cache
// writes back goes where it says.
func TestAppend(t *testing.T) {
	c := share(t, nil)
	node, fh := c.create(rootID, "log")
	c.write(node, fh, 0, "0123456789")
	fh = c.open(node, unix.O_WRONLY|unix.O_APPEND)
	_, e := c.writeErr(node, fh, 3, []byte("end"), 0, unix.O_APPEND)
	require.Zero(t, e)
	require.Equal(t, "0123456789end", c.hostText("log"))
	_, e = c.writeErr(node, fh, 3, []byte("mid"), writeCache, unix.O_APPEND)
	require.Zero(t, e)
	require.Equal(t, "012mid6789end", c.hostText("log"))
}

func TestSparse(t *testing.T) {
	c := share(t, nil)
	node, fh := c.create(rootID, "sparse")
	c.write(node, fh, 1<<20, "data")
	seek := func(off uint64, whence uint32) uint64 {
		b, e := c.call(46, node, cat(u64s(fh, off), u32s(whence, 0)), 8)
		require.Zero(t, e)
		return get64(b, 0)
	}
	data := seek(0, unix.SEEK_DATA)
	require.NotZero(t, data)
	require.LessOrEqual(t, data, uint64(1<<20))
	require.Zero(t, seek(0, unix.SEEK_HOLE))
	require.EqualValues(t, 1<<20+4, seek(1<<20, unix.SEEK_HOLE))
	_, e := c.call(43, node, cat(u64s(fh, 2<<20, 4096), u32s(0, 0)), 0)
	require.Zero(t, e)
	a, e := c.getattr(node)
	require.Zero(t, e)
	require.EqualValues(t, 2<<20+4096, a.size)
	c.write(node, fh, 0, "more")
	require.Zero(t, seek(0, unix.SEEK_DATA))
	_, e = c.call(43, node, cat(u64s(fh, 0, 4096), u32s(unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, 0)), 0)
	require.Zero(t, e)
	require.NotZero(t, seek(0, unix.SEEK_DATA))
}

func TestCopyFileRange(t *testing.T) {
	c := share(t, nil)
	a, fa := c.create(rootID, "a")
	b, fb := c.create(rootID, "b")
	c.write(a, fa, 0, "0123456789")
	r, e := c.call(47, a, u64s(fa, 2, b, fb, 5, 6, 0), 8)
	require.Zero(t, e)
	require.EqualValues(t, 6, get32(r, 0))
	require.Equal(t, "\x00\x00\x00\x00\x00234567", c.hostText("b"))
}

// A file that is unlinked, or whose name another one takes, stays what it was
// as long as it is open.
func TestOpenWithoutName(t *testing.T) {
	noLeaks(t)
	c := share(t, nil)
	node, fh := c.create(rootID, "file")
	c.write(node, fh, 0, "old")
	other, ofh := c.create(rootID, "other")
	c.write(other, ofh, 0, "other")
	require.Zero(t, c.rename(rootID, "other", rootID, "file", 0))
	got, e := c.read(node, fh, 0, 10)
	require.Zero(t, e)
	require.Equal(t, "old", string(got))
	a, e := c.getattr(node)
	require.Zero(t, e)
	require.Zero(t, a.nlink)
	require.Equal(t, other, c.lookup(rootID, "file"))
	// It was replaced: who had looked it up may still open it.
	require.Zero(t, c.release(node, fh))
	fh = c.open(node, unix.O_RDONLY)
	got, e = c.read(node, fh, 0, 10)
	require.Zero(t, e)
	require.Equal(t, "old", string(got))
	require.Zero(t, c.release(node, fh))
	require.Zero(t, c.release(other, ofh))
	// An unlinked one without a handle is gone.
	require.Zero(t, c.unlink(rootID, "file"))
	_, e = c.getattr(other)
	require.Equal(t, syscall.ESTALE, e)
}

func TestHardLinks(t *testing.T) {
	c := share(t, nil)
	node, fh := c.create(rootID, "a")
	require.Zero(t, c.release(node, fh))
	require.Zero(t, c.link(node, rootID, "b"))
	require.Equal(t, node, c.lookup(rootID, "b"))
	require.Zero(t, c.unlink(rootID, "b")) // where it was last seen
	a, e := c.getattr(node)
	require.Zero(t, e)
	require.EqualValues(t, 1, a.nlink)
	require.Equal(t, node, c.lookup(rootID, "a"))
	files := c.srv.Stats().Files
	c.forgetDescriptors()
	require.LessOrEqual(t, c.srv.Stats().Files, files)
	require.EqualValues(t, 1, c.srv.Stats().Files, "the root alone: the file is found by name again")
	link, e := c.symlink(rootID, "l", "target")
	require.Zero(t, e)
	require.Zero(t, c.link(link, rootID, "l2"))
	target, err := os.Readlink(c.path("l2"))
	require.NoError(t, err)
	require.Equal(t, "target", target)
}

func TestRename2(t *testing.T) {
	c := share(t, nil)
	a, fa := c.create(rootID, "a")
	b, fb := c.create(rootID, "b")
	require.Zero(t, c.release(a, fa))
	require.Zero(t, c.release(b, fb))
	require.Equal(t, syscall.EEXIST, c.rename(rootID, "a", rootID, "b", unix.RENAME_NOREPLACE))
	dir := c.mkdir(rootID, "dir")
	require.Zero(t, c.rename(rootID, "a", dir, "x", unix.RENAME_NOREPLACE))
	require.Zero(t, c.rename(dir, "x", rootID, "b", unix.RENAME_EXCHANGE))
	require.Equal(t, a, c.lookup(rootID, "b"))
	require.Equal(t, b, c.lookup(dir, "x"))
	for _, node := range []uint64{a, b} {
		_, e := c.getattr(node)
		require.Zero(t, e)
	}
	require.Equal(t, syscall.ENOTEMPTY, c.rmdir(rootID, "dir"))
	if e := c.rename(rootID, "b", rootID, "c", unix.RENAME_WHITEOUT); e != syscall.EPERM && e != syscall.EINVAL {
		require.Zero(t, e)
		var st unix.Stat_t
		require.NoError(t, unix.Lstat(c.path("b"), &st))
		require.EqualValues(t, unix.S_IFCHR, st.Mode&unix.S_IFMT)
		require.Zero(t, st.Rdev)
	}
}

// A directory whose ancestors move, on this side and on the host's.
func TestMovingTrees(t *testing.T) {
	c := share(t, nil)
	a := c.mkdir(rootID, "a")
	b := c.mkdir(a, "b")
	d := c.mkdir(b, "d")
	node, fh := c.create(d, "file")
	require.Zero(t, c.release(node, fh))
	require.Zero(t, c.rename(a, "b", rootID, "moved", 0))
	c.forgetDescriptors()
	_, e := c.getattr(node)
	require.Zero(t, e)
	require.NoError(t, os.Rename(c.path("moved"), c.path("hosts")))
	_, e = c.getattr(node) // b has a descriptor again
	require.Zero(t, e)
	c.forgetDescriptors()
	_, e = c.getattr(node)
	require.Equal(t, syscall.ESTALE, e)
	require.Equal(t, b, c.lookup(rootID, "hosts"))
	_, e = c.getattr(node)
	require.Zero(t, e)
	// What was below comes to be above: places that are out of date make no
	// loop.
	require.NoError(t, os.Rename(c.path("hosts", "d"), c.path("top")))
	require.NoError(t, os.Rename(c.path("hosts"), c.path("top", "b")))
	require.Equal(t, b, c.lookup(d, "b"))
	require.Equal(t, d, c.lookup(rootID, "top"))
	c.forgetDescriptors()
	require.Equal(t, b, c.lookup(d, "b"))
	_, e = c.getattr(b)
	require.Zero(t, e)
	c.forget(d, 100)
	c.forget(b, 100)
	c.forget(a, 100)
	c.forget(node, 100)
	require.EqualValues(t, 1, c.srv.Stats().Inodes)
}

func TestReaddir(t *testing.T) {
	c := share(t, nil)
	want := map[string]bool{".": true, "..": true}
	for i := range 500 {
		name := fmt.Sprintf("%d-%s", i, strings.Repeat("n", i%200))
		c.hostFile("", name)
		want[name] = true
	}
	require.NoError(t, os.Symlink("nowhere", c.path("dangling")))
	want["dangling"] = true
	for _, plus := range []bool{false, true} {
		for _, size := range []uint32{512, 4096, 64 << 10, 1 << 20} {
			got := map[string]bool{}
			for _, d := range c.list(rootID, plus, size) {
				require.False(t, got[d.name], "%q twice", d.name)
				got[d.name] = true
				require.NotZero(t, d.ino, "glibc hides inode 0")
				require.Equal(t, plus && d.name != "." && d.name != "..", d.node != 0, d.name)
			}
			require.Equal(t, want, got, "plus %v, size %d", plus, size)
		}
	}
	// Going back, and to anywhere that was said before.
	fh := c.opendir(rootID)
	first, e := c.readdir(rootID, fh, 0, false, 4096)
	require.Zero(t, e)
	_, e = c.readdir(rootID, fh, first[len(first)-1].next, false, 4096)
	require.Zero(t, e)
	again, e := c.readdir(rootID, fh, 0, false, 4096)
	require.Zero(t, e)
	require.Equal(t, first, again)
	middle, e := c.readdir(rootID, fh, first[3].next, true, 1024)
	require.Zero(t, e)
	require.Equal(t, first[4].name, middle[0].name)
}

func TestXattrs(t *testing.T) {
	c := share(t, nil)
	node, fh := c.create(rootID, "file")
	require.Zero(t, c.release(node, fh))
	set := func(name, value string) syscall.Errno {
		_, e := c.call(21, node, cat(u32s(uint32(len(value)), 0), z(name), []byte(value)), 0)
		return e
	}
	if e := set("user.a", "value"); e == syscall.EOPNOTSUPP {
		t.Skip("no user attributes in the file system of the temporary directory")
	}
	b, e := c.call(22, node, cat(u32s(0, 0), z("user.a")), 8)
	require.Zero(t, e)
	require.EqualValues(t, 5, get32(b, 0))
	_, e = c.call(22, node, cat(u32s(4, 0), z("user.a")), 4)
	require.Equal(t, syscall.ERANGE, e)
	b, e = c.call(22, node, cat(u32s(100, 0), z("user.a")), 100)
	require.Zero(t, e)
	require.Equal(t, "value", string(b))
	_ = unix.Setxattr(c.path("file"), "trusted.secret", []byte("x"), 0)
	b, e = c.call(23, node, u32s(100, 0), 100)
	require.Zero(t, e)
	require.Equal(t, "user.a\x00", string(b))
	b, e = c.call(23, node, u32s(0, 0), 8)
	require.Zero(t, e)
	require.EqualValues(t, 7, get32(b, 0))
	_, e = c.call(23, node, u32s(3, 0), 3)
	require.Equal(t, syscall.ERANGE, e)
	for _, name := range []string{"trusted.x", "security.capability", "security.selinux", "system.posix_acl_access", "system.x", "nonsense", "user"} {
		require.Equal(t, syscall.EOPNOTSUPP, set(name, "x"), name)
		_, e := c.call(22, node, cat(u32s(100, 0), z(name)), 100)
		require.NotZero(t, e, name)
	}
	_, e = c.call(24, node, z("user.a"), 0)
	require.Zero(t, e)
	_, e = c.call(24, node, z("user.a"), 0)
	require.Equal(t, syscall.ENODATA, e)
	require.NoError(t, os.Symlink("file", c.path("link")))
	link := c.lookup(rootID, "link")
	_, e = c.call(21, link, cat(u32s(1, 0), z("user.a"), []byte("x")), 0)
	require.Equal(t, syscall.EPERM, e)
	b, e = c.call(23, link, u32s(100, 0), 100)
	require.Zero(t, e)
	require.Empty(t, b)

	none := shareRaw(t, c.dir, func(o *Options) { o.Xattr = XattrNone })
	none.init()
	for _, op := range []uint32{21, 22, 23, 24} {
		_, e := none.call(op, none.lookup(rootID, "file"), cat(u32s(0, 0), z("user.a")), 100)
		require.Equal(t, syscall.ENOSYS, e)
	}
}

func TestTimes(t *testing.T) {
	c := share(t, nil)
	node, fh := c.create(rootID, "file")
	require.Zero(t, c.release(node, fh))
	_, e := c.setattr(node, setattrIn{valid: setAtime | setMtime, atime: 1000, mtime: 2000})
	require.Zero(t, e)
	var st unix.Stat_t
	require.NoError(t, unix.Stat(c.path("file"), &st))
	require.EqualValues(t, 1000, st.Atim.Sec)
	require.EqualValues(t, 2000, st.Mtim.Sec)
	_, e = c.setattr(node, setattrIn{valid: setMtime | setMtimeNow})
	require.Zero(t, e)
	require.NoError(t, unix.Stat(c.path("file"), &st))
	require.EqualValues(t, 1000, st.Atim.Sec)
	require.Greater(t, st.Mtim.Sec, int64(2000))

	b, e := c.call(52, node, cat(u32s(0, 0), u64s(0), u32s(0, 0xfff)), 288)
	require.Zero(t, e)
	var stx unix.Statx_t
	require.NoError(t, unix.Statx(unix.AT_FDCWD, c.path("file"), 0, unix.STATX_BASIC_STATS|unix.STATX_BTIME, &stx))
	require.Equal(t, stx.Ino, get64(b, 32+32))
	require.EqualValues(t, stx.Btime.Sec, get64(b, 32+80))
	require.Equal(t, stx.Btime.Nsec, get32(b, 32+88))
}

func TestTmpfile(t *testing.T) {
	noLeaks(t)
	c := share(t, nil)
	b, e := c.call(51, rootID, cat(u32s(unix.O_RDWR, 0o600, 0, 0), z("#1")), 144)
	if e == syscall.EOPNOTSUPP {
		t.Skip("the file system of the temporary directory has no O_TMPFILE")
	}
	require.Zero(t, e)
	node, fh := get64(b, 0), get64(b, 128)
	c.write(node, fh, 0, "nameless")
	entries, err := os.ReadDir(c.dir)
	require.NoError(t, err)
	require.Empty(t, entries)
	require.Zero(t, c.link(node, rootID, "named"))
	require.Equal(t, "nameless", c.hostText("named"))
	require.Zero(t, c.release(node, fh))
	require.Equal(t, node, c.lookup(rootID, "named"))
}

// Files are read without OPEN on shares that nobody changes.
func TestNoOpen(t *testing.T) {
	noLeaks(t)
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(dir+"/file", []byte("content"), 0o644))
	c := shareRaw(t, dir, func(o *Options) { o.ReadOnly, o.Cache = true, CacheAlways })
	b := c.init()
	require.NotZero(t, get32(b, 12)&uint32(capNoOpenSupport))
	node := c.lookup(rootID, "file")
	_, e := c.openErr(node, unix.O_RDONLY)
	require.Equal(t, syscall.ENOSYS, e)
	for range 2 {
		got, e := c.read(node, 0, 0, 100)
		require.Zero(t, e)
		require.Equal(t, "content", string(got))
		require.EqualValues(t, 2, c.srv.Stats().Files)
		c.forgetDescriptors()
		require.EqualValues(t, 1, c.srv.Stats().Files)
	}
	b, e = c.call(1, rootID, z("absent"), 128)
	require.Zero(t, e, "absence is cached")
	require.Zero(t, get64(b, 0))
	require.EqualValues(t, alwaysSeconds, get64(b, 16))
}

// What each policy tells the client to cache.
func TestCachePolicies(t *testing.T) {
	for _, tt := range []struct {
		change             func(*Options)
		seconds            uint64
		fileFlags, dirFlag uint32
		caps, without      uint64
	}{
		{func(o *Options) { o.Cache = CacheAuto }, 1, 0, 0, capAutoInvalData | capPosixLocks, capWritebackCache},
		{func(o *Options) { o.Cache = CacheNone }, 0, openDirectIO, 0, capDirectIOAllowMmap, capCacheSymlinks},
		{func(o *Options) { o.Cache = CacheAlways }, 86400, openKeepCache, openKeepCache | openCacheDir, capCacheSymlinks, capAutoInvalData},
		{func(o *Options) { o.Writeback = true }, 1, 0, 0, capWritebackCache, capNoOpenSupport},
		{func(o *Options) { o.Locks = LocksGuest }, 1, openNoFlush, 0, capAtomicTrunc, capPosixLocks | capFlockLocks},
		{func(o *Options) { o.Owner = Ownership{Mode: DynamicCaller} }, 0, 0, 0, capAutoInvalData, capCreateSuppGroup},
	} {
		c := shareRaw(t, t.TempDir(), tt.change)
		b := c.init()
		flags := uint64(get32(b, 12)) | uint64(get32(b, 32))<<32
		require.Equal(t, tt.caps, flags&tt.caps)
		require.Zero(t, flags&tt.without)
		b, e := c.call(35, rootID, cat(u32s(unix.O_RDWR|unix.O_CREAT, 0o644, 0, 0), z("f")), 144)
		require.Zero(t, e)
		require.Equal(t, tt.seconds, get64(b, 24), "attributes")
		require.Equal(t, tt.fileFlags, get32(b, 136))
		b, e = c.call(27, rootID, u32s(0, 0), 16)
		require.Zero(t, e)
		require.Equal(t, tt.dirFlag, get32(b, 8))
	}
}

// O_DIRECT reaches the host if that is asked for, with buffers as the guest
// has them.
func TestDirectIO(t *testing.T) {
	c := share(t, func(o *Options) { o.DirectIO = true })
	node, fh, e := c.createErr(rootID, "file", unix.O_RDWR|unix.O_CREAT|unix.O_DIRECT, 0o644)
	if e == syscall.EINVAL {
		t.Skip("the file system of the temporary directory has no O_DIRECT")
	}
	require.Zero(t, e)
	page, err := unix.Mmap(-1, 0, 8192, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	require.NoError(t, err)
	defer func() { require.NoError(t, unix.Munmap(page)) }()
	copy(page, strings.Repeat("d", 4096))
	m := c.message(16, node, cat(u64s(fh, 0), u32s(4096, 0), u64s(0), u32s(unix.O_DIRECT, 0)))
	copy(m, u32s(uint32(len(m)+4096)))
	out := make([]byte, 24)
	require.Equal(t, 24, c.handle([][]byte{m, page[:4096]}, [][]byte{out}))
	m = c.message(15, node, cat(u64s(fh, 0), u32s(4096, 0), u64s(0), u32s(unix.O_DIRECT, 0)))
	require.Equal(t, 16+4096, c.handle([][]byte{m}, [][]byte{out[:16], page[4096:]}))
	require.Equal(t, strings.Repeat("d", 4096), string(page[4096:]))
	_, e = c.writeErr(node, fh, 1, []byte("odd"), 0, unix.O_DIRECT)
	require.Equal(t, syscall.EINVAL, e, "as on the host")
}

func TestStatfsAndSync(t *testing.T) {
	c := share(t, nil)
	node, fh := c.create(rootID, "file")
	b, e := c.call(17, node, nil, 80)
	require.Zero(t, e)
	var st unix.Statfs_t
	require.NoError(t, unix.Statfs(c.dir, &st))
	require.Equal(t, st.Blocks, get64(b, 0))
	for _, op := range []uint32{20, 30} {
		for _, flags := range []uint32{0, 1} {
			_, e = c.call(op, node, cat(u64s(fh), u32s(flags, 0)), 0)
			require.Zero(t, e)
		}
	}
	_, e = c.call(50, rootID, u64s(0), 0)
	require.Zero(t, e)
}

// A share whose directory is removed answers with errors and goes on.
func TestShareRemoved(t *testing.T) {
	noLeaks(t)
	dir := t.TempDir() + "/share"
	require.NoError(t, os.Mkdir(dir, 0o755))
	c := shareRaw(t, dir, nil)
	c.init()
	node, fh := c.create(rootID, "file")
	require.NoError(t, os.RemoveAll(dir))
	c.write(node, fh, 0, "x")
	_, _, e := c.lookupErr(rootID, "file")
	require.Equal(t, syscall.ENOENT, e)
	_, _, e = c.createErr(rootID, "new", unix.O_RDWR|unix.O_CREAT, 0o644)
	require.Equal(t, syscall.ENOENT, e)
	require.Zero(t, c.release(node, fh))
}

// The file system's own refusals reach the client.
func TestHostErrors(t *testing.T) {
	if os.Geteuid() != 0 {
		skipMount(t, "mounting needs root")
	}
	dir := t.TempDir()
	require.NoError(t, unix.Mount("tmpfs", dir, "tmpfs", 0, "size=64k,nr_inodes=8"))
	t.Cleanup(func() { require.NoError(t, unix.Unmount(dir, unix.MNT_DETACH)) })
	c := shareRaw(t, dir, nil)
	c.init()
	node, fh := c.create(rootID, "file")
	n, e := c.writeErr(node, fh, 0, make([]byte, 1<<20), 0, 0)
	require.True(t, e == syscall.ENOSPC || n < 1<<20, "wrote %d, %v", n, e)
	_, e = c.writeErr(node, fh, 1<<20, []byte("x"), 0, 0)
	require.Equal(t, syscall.ENOSPC, e)
	for i := 0; ; i++ {
		node, fh, e := c.createErr(rootID, fmt.Sprint(i), unix.O_RDWR|unix.O_CREAT, 0o644)
		if e != 0 {
			require.Equal(t, syscall.ENOSPC, e)
			break
		}
		require.Zero(t, c.release(node, fh))
	}
}
