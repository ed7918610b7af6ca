//go:build linux

package fuse

import (
	"math"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// works requires that a share serves an honest client.
func (c *client) works() {
	c.t.Helper()
	c.init()
	name := "proof of life"
	_ = os.Remove(c.path(name))
	node, fh := c.create(rootID, name)
	c.write(node, fh, 0, "alive")
	got, e := c.read(node, fh, 0, 100)
	require.Zero(c.t, e)
	require.Equal(c.t, "alive", string(got))
	require.Zero(c.t, c.release(node, fh))
	require.Zero(c.t, c.unlink(rootID, name))
	require.Zero(c.t, c.srv.stats.panics.Load())
}

// D1: headers that lie, numbers that were never given out, sessions out of
// order. Each is refused, and nothing is damaged.
func TestHostileHeaders(t *testing.T) {
	tests := []struct {
		name string
		run  func(t *testing.T, c *client)
	}{
		{"shorter than a header", func(t *testing.T, c *client) {
			for n := range inHeaderSize {
				_, e := c.raw(c.message(3, rootID, u64s(0, 0))[:n], 104)
				require.Equal(t, noReply, e)
			}
		}},
		{"length too small, too large", func(t *testing.T, c *client) {
			for _, l := range []uint32{0, 39, 40, 55, 57, math.MaxUint32} {
				m := c.message(3, rootID, u64s(0, 0))
				copy(m, u32s(l))
				_, e := c.raw(m, 104)
				require.Equal(t, syscall.EINVAL, e)
			}
		}},
		{"unknown opcodes", func(t *testing.T, c *client) {
			for _, op := range []uint32{0, 7, 19, 34, 37, 40, 41, 48, 49, 53, 63, 64, 4096, 1 << 20, 436207616, math.MaxUint32} {
				_, e := c.call(op, rootID, make([]byte, 64), 64)
				require.Equal(t, syscall.ENOSYS, e, "opcode %d", op)
			}
		}},
		{"arguments cut short", func(t *testing.T, c *client) {
			for op := range uint32(numOps) {
				if operations[op].serve == nil || operations[op].min == 0 {
					continue
				}
				for n := range operations[op].min {
					_, e := c.call(op, rootID, make([]byte, n), 256)
					if operations[op].class&silent != 0 {
						require.Equal(t, noReply, e)
					} else {
						require.NotZero(t, e, "opcode %d with %d bytes", op, n)
					}
				}
			}
		}},
		{"unique 0 and twice", func(t *testing.T, c *client) {
			for range 2 {
				m := c.message(3, rootID, u64s(0, 0))
				copy(m[8:], make([]byte, 8))
				_, e := c.raw(m, 104)
				require.Zero(t, e)
			}
		}},
		{"nodes that do not exist", func(t *testing.T, c *client) {
			for _, node := range []uint64{0, 2, 3, 1 << 31, 1<<32 | 1, math.MaxUint32, math.MaxUint64} {
				for op := range uint32(numOps) {
					if operations[op].serve == nil || operations[op].class&early != 0 || op == opIoctl {
						continue
					}
					_, e := c.call(op, node, cat(make([]byte, 128), z("name"), z("name")), 4096)
					require.NotZero(t, e, "opcode %d of node %#x", op, node)
				}
			}
		}},
		{"nodes after FORGET", func(t *testing.T, c *client) {
			c.hostFile("x", "f")
			node := c.lookup(rootID, "f")
			c.forget(node, 1)
			_, e := c.getattr(node)
			require.Equal(t, syscall.ESTALE, e)
			again := c.lookup(rootID, "f")
			require.NotEqual(t, node, again, "the number came back")
		}},
		{"FORGET of more than was looked up", func(t *testing.T, c *client) {
			c.hostFile("x", "f")
			node := c.lookup(rootID, "f")
			c.forget(node, math.MaxUint64)
			c.forget(node, math.MaxUint64)
			_, e := c.getattr(node)
			require.Equal(t, syscall.ESTALE, e)
			c.forget(rootID, math.MaxUint64)
			_, e = c.getattr(rootID)
			require.Zero(t, e, "the root is always there")
		}},
		{"BATCH_FORGET of 2^32-1", func(t *testing.T, c *client) {
			c.hostFile("x", "f")
			node := c.lookup(rootID, "f")
			_, e := c.call(42, 0, cat(u32s(math.MaxUint32, 0), u64s(node, 1), u64s(rootID, 9), u64s(77)), 0)
			require.Equal(t, noReply, e)
			_, e = c.getattr(node)
			require.Equal(t, syscall.ESTALE, e)
			_, e = c.call(42, 0, cat(u32s(100_000, 0), make([]byte, 16*100_000)), 0)
			require.Equal(t, noReply, e)
		}},
		{"BATCH_FORGET beyond one piece", func(t *testing.T, c *client) {
			var list []byte
			for i := range 2000 {
				c.hostFile("", "f"+strings.Repeat("x", i%200)+string(rune('a'+i%26)))
			}
			entries := c.list(rootID, true, 32<<10)
			for _, d := range entries {
				if d.node != 0 {
					list = append(list, u64s(d.node, 1)...)
				}
			}
			require.Greater(t, len(list), argSize)
			_, _ = c.call(42, 0, cat(u32s(uint32(len(list)/16), 0), list), 0)
			require.EqualValues(t, 1, c.srv.Stats().Inodes)
		}},
		{"INIT twice", func(t *testing.T, c *client) {
			node, fh := c.create(rootID, "f")
			c.init()
			_, e := c.getattr(node)
			require.Equal(t, syscall.ESTALE, e)
			_, e = c.read(node, fh, 0, 10)
			require.Equal(t, syscall.EBADF, e)
		}},
		{"INIT never", func(t *testing.T, c *client) {
			c.srv.Reset()
			for op := range uint32(numOps) {
				if operations[op].serve == nil || operations[op].class&early != 0 {
					continue
				}
				_, e := c.call(op, rootID, make([]byte, 128), 4096)
				require.Equal(t, syscall.EIO, e, "opcode %d", op)
			}
		}},
		{"INIT of other versions", func(t *testing.T, c *client) {
			c.srv.Reset()
			for _, v := range []struct {
				major, minor uint32
				want         syscall.Errno
			}{{0, 0, syscall.EPROTO}, {6, 99, syscall.EPROTO}, {7, 0, syscall.EPROTO}, {7, 30, syscall.EPROTO}, {8, 0, 0}, {math.MaxUint32, 0, 0}} {
				b, e := c.call(26, 0, u32s(v.major, v.minor, 0, 0), 64)
				require.Equal(t, v.want, e, "%d.%d", v.major, v.minor)
				if e == 0 {
					require.EqualValues(t, 7, get32(b, 0))
					_, e := c.getattr(rootID)
					require.Equal(t, syscall.EIO, e, "INIT has not been agreed on")
				}
			}
			b, e := c.call(26, 0, u32s(7, math.MaxUint32, math.MaxUint32, math.MaxUint32), 64)
			require.Zero(t, e)
			require.EqualValues(t, protoMinor, get32(b, 4))
			require.EqualValues(t, MaxIO, get32(b, 20), "max_write is ours")
		}},
		{"DESTROY and on", func(t *testing.T, c *client) {
			_, e := c.call(38, 0, nil, 0)
			require.Zero(t, e)
			_, e = c.getattr(rootID)
			require.Equal(t, syscall.EIO, e)
		}},
		{"no room for the reply", func(t *testing.T, c *client) {
			for room := range 104 {
				_, e := c.call(3, rootID, u64s(0, 0), room)
				require.Equal(t, syscall.EINVAL, e)
			}
			m := c.message(3, rootID, u64s(0, 0))
			for n := range 16 {
				require.Zero(t, c.handle([][]byte{m}, [][]byte{make([]byte, n)}))
			}
			require.Zero(t, c.handle([][]byte{m}, nil))
			require.Zero(t, c.handle(nil, nil))
		}},
		{"header extensions", func(t *testing.T, c *client) {
			for _, ext := range [][]byte{
				make([]byte, 8), u32s(0, 32), u32s(7, 32), u32s(math.MaxUint32, 32), u32s(8, 32),
				cat(u32s(16, 32, math.MaxUint32, 5)), cat(u32s(12, 32, 9, 0)), cat(u32s(24, 32, 1, 7, 0, 0)),
			} {
				c.ext = ext
				_, e := c.call(9, rootID, cat(u32s(0o2755, 0), z("dir")), 128)
				require.Zero(t, e)
				require.Zero(t, c.rmdir(rootID, "dir"))
			}
			m := c.message(9, rootID, cat(u32s(0o755, 0), z("dir")))
			copy(m[36:], []byte{0xff, 0xff})
			_, e := c.raw(m, 128)
			require.Equal(t, syscall.EINVAL, e)
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			noLeaks(t)
			c := share(t, nil)
			tt.run(t, c)
			c.works()
		})
	}
}

// hostileNames are names that no honest kernel sends, and their answer.
var hostileNames = []struct {
	name string // with its NUL, if it has one
	want syscall.Errno
}{
	{"\x00", syscall.EINVAL},
	{".\x00", syscall.EINVAL},
	{"..\x00", syscall.EINVAL},
	{"/\x00", syscall.EINVAL},
	{"a/b\x00", syscall.EINVAL},
	{"../x\x00", syscall.EINVAL},
	{"./x\x00", syscall.EINVAL},
	{"x/..\x00", syscall.EINVAL},
	{"x/\x00", syscall.EINVAL},
	{"/etc/passwd\x00", syscall.EINVAL},
	{"/etc/cron.d/x\x00", syscall.EINVAL},
	{"../../../../../../../../etc/passwd\x00", syscall.EINVAL},
	{"dir/../../secret\x00", syscall.EINVAL},
	{"/proc/self/root/etc\x00", syscall.EINVAL},
	{"no NUL", syscall.EINVAL},
	{strings.Repeat("x", 256) + "\x00", syscall.ENAMETOOLONG},
	{strings.Repeat("x", 5000) + "\x00", syscall.ENAMETOOLONG},
	{strings.Repeat("x", 5000), syscall.ENAMETOOLONG},
	{strings.Repeat("../", 80) + "x\x00", syscall.EINVAL},
}

// nameOps are all operations that take a name, with the name put in.
var nameOps = []struct {
	name string
	op   uint32
	arg  func(node uint64, name []byte) []byte
}{
	{"LOOKUP", 1, func(_ uint64, n []byte) []byte { return n }},
	{"SYMLINK", 6, func(_ uint64, n []byte) []byte { return cat(n, z("target")) }},
	{"MKNOD", 8, func(_ uint64, n []byte) []byte { return cat(u32s(unix.S_IFREG|0o644, 0, 0, 0), n) }},
	{"MKDIR", 9, func(_ uint64, n []byte) []byte { return cat(u32s(0o755, 0), n) }},
	{"UNLINK", 10, func(_ uint64, n []byte) []byte { return n }},
	{"RMDIR", 11, func(_ uint64, n []byte) []byte { return n }},
	{"RENAME from", 12, func(_ uint64, n []byte) []byte { return cat(u64s(rootID), n, z("to")) }},
	{"RENAME to", 12, func(_ uint64, n []byte) []byte { return cat(u64s(rootID), z("file"), n) }},
	{"RENAME2 from", 45, func(_ uint64, n []byte) []byte { return cat(u64s(rootID), u32s(0, 0), n, z("to")) }},
	{"RENAME2 to", 45, func(_ uint64, n []byte) []byte { return cat(u64s(rootID), u32s(2, 0), z("file"), n) }},
	{"LINK", 13, func(node uint64, n []byte) []byte { return cat(u64s(node), n) }},
	{"CREATE", 35, func(_ uint64, n []byte) []byte { return cat(u32s(unix.O_RDWR|unix.O_CREAT, 0o644, 0, 0), n) }},
}

// D2: names of more than one component, or of none.
func TestHostileNames(t *testing.T) {
	for _, op := range nameOps {
		t.Run(op.name, func(t *testing.T) {
			c := share(t, nil)
			c.hostFile("x", "file")
			node := c.lookup(rootID, "file")
			for _, n := range hostileNames {
				before := c.srv.Stats().BadNames
				_, e := c.call(op.op, rootID, op.arg(node, []byte(n.name)), 256)
				if n.want == syscall.EINVAL && !strings.HasSuffix(n.name, "\x00") && op.op == opSymlink {
					// The target's NUL ends the name: "no NULtarget" without a target.
					require.Equal(t, syscall.EINVAL, e)
					continue
				}
				if !strings.HasSuffix(n.name, "\x00") && strings.HasSuffix(op.name, "from") {
					require.NotZero(t, e) // the second name ends the first
					continue
				}
				require.Equal(t, n.want, e, "%q", n.name)
				require.Equal(t, n.want == syscall.EINVAL, c.srv.Stats().BadNames > before)
			}
			require.Equal(t, "x", c.hostText("file"))
			c.works()
		})
	}
	t.Run("not UTF-8 is a name", func(t *testing.T) {
		c := share(t, nil)
		for _, name := range []string{"\xff\xfe", "new\nline", "a\\b", " ", "...", "..x", "-rf", strings.Repeat("\xf0", 255)} {
			node, fh := c.create(rootID, name)
			require.Zero(t, c.release(node, fh))
			c.lookup(rootID, name)
			_, err := os.Lstat(c.path(name))
			require.NoError(t, err)
			require.Zero(t, c.unlink(rootID, name))
		}
	})
	t.Run("targets are opaque", func(t *testing.T) {
		c := share(t, nil)
		for _, target := range []string{"/", "../../..", "/etc/passwd", "\xff", "a//b", strings.Repeat("x/", 2047)} {
			node, e := c.symlink(rootID, "link", target)
			require.Zero(t, e)
			b, e := c.call(5, node, nil, 4096)
			require.Zero(t, e)
			require.Equal(t, target, string(b))
			_, e = c.openErr(node, unix.O_RDONLY)
			require.Equal(t, syscall.ELOOP, e)
			require.Zero(t, c.unlink(rootID, "link"))
		}
		_, e := c.symlink(rootID, "link", "")
		require.NotZero(t, e)
		_, e = c.symlink(rootID, "link", strings.Repeat("x", 4096))
		require.Equal(t, syscall.ENAMETOOLONG, e)
	})
}

// D3: sizes, offsets and handles that make no sense.
func TestHostileArguments(t *testing.T) {
	c := share(t, nil)
	node, fh := c.create(rootID, "file")
	c.write(node, fh, 0, "0123456789")
	dir := c.mkdir(rootID, "dir")
	dfh := c.opendir(dir)
	wnode, wfh, e := c.createErr(rootID, "wonly", unix.O_WRONLY|unix.O_CREAT, 0o644)
	require.Zero(t, e)
	rfh := c.open(node, unix.O_RDONLY)

	readArg := func(fh, off uint64, size uint32) []byte {
		return cat(u64s(fh, off), u32s(size, 0), u64s(0), u32s(0, 0))
	}
	writeArg := func(fh, off uint64, size uint32, data []byte) []byte {
		return cat(u64s(fh, off), u32s(size, 0), u64s(0), u32s(0, 0), data)
	}
	tests := []struct {
		name string
		op   uint32
		node uint64
		arg  []byte
		room int
		want syscall.Errno
	}{
		{"READ of 2^32-1 with little room", 15, node, readArg(fh, 0, math.MaxUint32), 4096, syscall.EINVAL},
		{"READ of 2^32-1 with room for the most", 15, node, readArg(fh, 0, math.MaxUint32), MaxIO, 0},
		{"READ at 2^63-1", 15, node, readArg(fh, math.MaxInt64, 10), 10, syscall.EINVAL},
		{"READ at 2^64-1", 15, node, readArg(fh, math.MaxUint64, 10), 10, syscall.EINVAL},
		{"READ of nothing", 15, node, readArg(fh, 0, 0), 0, 0},
		{"READ with an unknown handle", 15, node, readArg(99, 0, 10), 10, syscall.EBADF},
		{"READ with handle 0", 15, node, readArg(0, 0, 10), 10, syscall.EBADF},
		{"READ with another node's handle", 15, wnode, readArg(fh, 0, 10), 10, syscall.EBADF},
		{"READ of a directory", 15, dir, readArg(dfh, 0, 10), 10, syscall.EISDIR},
		{"READ of what is open for writing", 15, wnode, readArg(wfh, 0, 10), 10, syscall.EBADF},
		{"WRITE of more than there is", 16, node, writeArg(fh, 0, 11, []byte("0123456789")), 8, syscall.EINVAL},
		{"WRITE of less than there is", 16, node, writeArg(fh, 0, 9, []byte("0123456789")), 8, syscall.EINVAL},
		{"WRITE of 2^32-1", 16, node, writeArg(fh, 0, math.MaxUint32, []byte("x")), 8, syscall.EINVAL},
		{"WRITE above max_write", 16, node, writeArg(fh, 0, MaxIO+1, make([]byte, MaxIO+1)), 8, syscall.EINVAL},
		{"WRITE at 2^63-1", 16, node, writeArg(fh, math.MaxInt64, 1, []byte("x")), 8, syscall.EINVAL},
		{"WRITE to what is open for reading", 16, node, writeArg(rfh, 0, 1, []byte("x")), 8, syscall.EBADF},
		{"WRITE to a directory", 16, dir, writeArg(dfh, 0, 1, []byte("x")), 8, syscall.EISDIR},
		{"READDIR of size 0", 28, dir, readArg(dfh, 0, 0), 0, syscall.EINVAL},
		{"READDIR of size 1", 28, dir, readArg(dfh, 0, 1), 1, syscall.EINVAL},
		{"READDIR of a file", 28, node, readArg(fh, 0, 4096), 4096, syscall.ENOTDIR},
		{"READDIR at 2^64-1", 28, dir, readArg(dfh, math.MaxUint64, 4096), 4096, syscall.EINVAL},
		{"READDIRPLUS with an unknown handle", 44, dir, readArg(12345, 0, 4096), 4096, syscall.EBADF},
		{"RELEASE of an unknown handle", 18, node, cat(u64s(999), u32s(0, 0), u64s(0)), 0, syscall.EBADF},
		{"RELEASE of another node's handle", 18, wnode, cat(u64s(fh), u32s(0, 0), u64s(0)), 0, syscall.EBADF},
		{"OPEN of a directory", 14, dir, u32s(unix.O_RDONLY, 0), 16, syscall.EISDIR},
		{"OPEN with access mode 3", 14, node, u32s(3, 0), 16, syscall.EINVAL},
		{"OPEN with all flags", 14, node, u32s(math.MaxUint32, 0), 16, syscall.EINVAL},
		{"OPENDIR of a file", 27, node, u32s(0, 0), 16, syscall.ENOTDIR},
		{"LOOKUP in a file", 1, node, z("x"), 128, syscall.ENOTDIR},
		{"READLINK of a file", 5, node, nil, 4096, syscall.EINVAL},
		{"GETXATTR of size 2^32-1", 22, node, cat(u32s(math.MaxUint32, 0), z("user.none")), 4096, syscall.ENODATA},
		{"GETXATTR of an empty name", 22, node, cat(u32s(0, 0), z("")), 8, syscall.EINVAL},
		{"GETXATTR of a long name", 22, node, cat(u32s(0, 0), z("user."+strings.Repeat("x", 251))), 8, syscall.ERANGE},
		{"SETXATTR with less than its size", 21, node, cat(u32s(10, 0), z("user.x"), []byte("short")), 0, syscall.EINVAL},
		{"SETXATTR of 2^32-1", 21, node, cat(u32s(math.MaxUint32, 0), z("user.x"), []byte("v")), 0, syscall.E2BIG},
		{"SETXATTR with unknown flags", 21, node, cat(u32s(1, 8), z("user.x"), []byte("v")), 0, syscall.EINVAL},
		{"SETXATTR without a NUL", 21, node, cat(u32s(0, 0), []byte("user.x")), 0, syscall.EINVAL},
		{"FALLOCATE beyond 2^63", 43, node, cat(u64s(fh, math.MaxInt64, 1), u32s(0, 0)), 0, syscall.EFBIG},
		{"FALLOCATE of nothing", 43, node, cat(u64s(fh, 0, 0), u32s(0, 0)), 0, syscall.EINVAL},
		{"FALLOCATE of what is open for reading", 43, node, cat(u64s(rfh, 0, 10), u32s(0, 0)), 0, syscall.EBADF},
		{"FALLOCATE of an unknown mode", 43, node, cat(u64s(fh, 0, 10), u32s(1<<30, 0)), 0, syscall.EOPNOTSUPP},
		{"LSEEK of SEEK_SET", 46, node, cat(u64s(fh, 0), u32s(0, 0)), 8, syscall.EINVAL},
		{"LSEEK to 2^64-1", 46, node, cat(u64s(fh, math.MaxUint64), u32s(3, 0)), 8, syscall.EINVAL},
		{"LSEEK beyond the end", 46, node, cat(u64s(fh, 1000), u32s(3, 0)), 8, syscall.ENXIO},
		{"COPY_FILE_RANGE with flags", 47, node, u64s(fh, 0, node, fh, 100, 5, 1), 8, syscall.EINVAL},
		{"COPY_FILE_RANGE to an unknown handle", 47, node, u64s(fh, 0, node, 77, 100, 5, 0), 8, syscall.EBADF},
		{"COPY_FILE_RANGE to what is open for reading", 47, node, u64s(fh, 0, node, rfh, 100, 5, 0), 8, syscall.EBADF},
		{"COPY_FILE_RANGE at 2^64-1", 47, node, u64s(fh, math.MaxUint64, node, fh, 0, 5, 0), 8, syscall.EINVAL},
		{"COPY_FILE_RANGE over itself", 47, node, u64s(fh, 0, node, fh, 2, 5, 0), 8, syscall.EINVAL},
		{"IOCTL with a pointer of ours", 39, node, cat(u64s(fh), u32s(0, 0x541b), u64s(0xc000000000), u32s(4, 4)), 64, syscall.ENOTTY},
		{"POLL", 40, node, cat(u64s(fh, 0), u32s(0, 0)), 8, syscall.ENOSYS},
		{"BMAP", 37, node, cat(u64s(0), u32s(512, 0)), 8, syscall.ENOSYS},
		{"SETUPMAPPING", 48, node, u64s(fh, 0, 4096, 3, math.MaxUint64), 0, syscall.ENOSYS},
		{"RENAME2 with unknown flags", 45, rootID, cat(u64s(rootID), u32s(8, 0), z("file"), z("x")), 0, syscall.EINVAL},
		{"RENAME2 with NOREPLACE and EXCHANGE", 45, rootID, cat(u64s(rootID), u32s(3, 0), z("file"), z("wonly")), 0, syscall.EINVAL},
		{"RENAME2 into a file", 45, rootID, cat(u64s(node), u32s(0, 0), z("file"), z("x")), 0, syscall.ENOTDIR},
		{"RENAME2 of a directory into itself", 45, rootID, cat(u64s(dir), u32s(0, 0), z("dir"), z("x")), 0, syscall.EINVAL},
		{"LINK of a directory", 13, rootID, cat(u64s(dir), z("x")), 128, syscall.EPERM},
		{"MKNOD of a block device", 8, rootID, cat(u32s(unix.S_IFBLK|0o666, 0x800, 0, 0), z("sda")), 128, syscall.EPERM},
		{"MKNOD of a character device", 8, rootID, cat(u32s(unix.S_IFCHR|0o666, 0x103, 0, 0), z("null")), 128, syscall.EPERM},
		{"MKNOD of a directory", 8, rootID, cat(u32s(unix.S_IFDIR|0o755, 0, 0, 0), z("d")), 128, syscall.EINVAL},
		{"MKNOD of a type that is none", 8, rootID, cat(u32s(0xf000, 0, 0, 0), z("d")), 128, syscall.EINVAL},
		{"SETATTR of a size above 2^63", 4, node, cat(u32s(8, 0), u64s(0, 1<<63, 0, 0, 0, 0), make([]byte, 32)), 104, syscall.EINVAL},
		{"SETATTR of a directory's size", 4, dir, cat(u32s(8, 0), u64s(0, 5, 0, 0, 0, 0), make([]byte, 32)), 104, syscall.EINVAL},
		{"SETLK backwards", 32, node, cat(u64s(fh, 1, 10, 5), u32s(0, 1, 0, 0)), 0, syscall.EINVAL},
		{"SETLK of an unknown type", 32, node, cat(u64s(fh, 1, 0, 5), u32s(9, 1, 0, 0)), 0, syscall.EINVAL},
		{"SETLK of an end above 2^63", 32, node, cat(u64s(fh, 1, 0, math.MaxUint64), u32s(0, 1, 0, 0)), 0, syscall.EINVAL},
		{"INTERRUPT of nothing", 36, 0, u64s(12345), 0, syscall.EAGAIN},
		{"SYNCFS of a file", 50, node, u64s(0), 0, syscall.EINVAL},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inner := *c
			inner.t = t
			_, e := inner.call(tt.op, tt.node, tt.arg, tt.room)
			require.Equal(t, tt.want, e, "%v", e)
		})
	}
	require.Equal(t, "0123456789", c.hostText("file"))
	require.Zero(t, c.release(node, rfh))
	require.Equal(t, syscall.EBADF, c.release(node, rfh), "double RELEASE")
	_, e = c.read(node, rfh, 0, 1)
	require.Equal(t, syscall.EBADF, e)
	require.Zero(t, c.release(node, fh))
	c.works()
}

// D3: opening what is no file never waits, and never opens it.
func TestSpecialFiles(t *testing.T) {
	c := share(t, nil)
	require.NoError(t, unix.Mkfifo(c.path("fifo"), 0o600))
	sock, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	require.NoError(t, err)
	defer unix.Close(sock)
	require.NoError(t, unix.Bind(sock, &unix.SockaddrUnix{Name: c.path("sock")}))
	names := []string{"fifo", "sock"}
	if err := unix.Mknod(c.path("null"), unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))); err == nil {
		names = append(names, "null")
	}
	for _, name := range names {
		node := c.lookup(rootID, name)
		for _, flags := range []uint32{unix.O_RDONLY, unix.O_WRONLY, unix.O_RDWR | unix.O_TRUNC} {
			_, e := c.openErr(node, flags)
			require.Equal(t, syscall.ENXIO, e, name)
			_, _, e = c.createErr(rootID, name, flags|unix.O_CREAT, 0o600)
			require.Equal(t, syscall.ENXIO, e, name)
		}
		_, e := c.setattr(node, setattrIn{valid: setSize, size: 0})
		require.Equal(t, syscall.EINVAL, e)
		_, e = c.setattr(node, setattrIn{valid: setMode, mode: 0o640})
		require.Zero(t, e)
	}
	for _, mode := range []uint32{unix.S_IFREG, unix.S_IFIFO, unix.S_IFSOCK} {
		_, e := c.mknod(rootID, "made", mode|0o600, 0x103)
		require.Zero(t, e)
		var st unix.Stat_t
		require.NoError(t, unix.Lstat(c.path("made"), &st))
		require.Equal(t, mode, st.Mode&unix.S_IFMT)
		require.Zero(t, st.Rdev)
		require.Zero(t, c.unlink(rootID, "made"))
	}
	c.works()
}

// Devices are made where the share allows them, and are opened by nobody here
// all the same.
func TestAllowedDevices(t *testing.T) {
	needRoot(t)
	c := share(t, func(o *Options) { o.AllowDevices = true })
	for _, typ := range []uint32{unix.S_IFCHR, unix.S_IFBLK} {
		node, e := c.mknod(rootID, "made", typ|0o600, encodeDev(0x12, 0x503))
		require.Zero(t, e)
		var st unix.Stat_t
		require.NoError(t, unix.Lstat(c.path("made"), &st))
		require.Equal(t, typ|0o600, st.Mode)
		require.Equal(t, unix.Mkdev(0x12, 0x503), st.Rdev)
		_, e = c.openErr(node, unix.O_RDWR)
		require.Equal(t, syscall.ENXIO, e)
		require.Zero(t, c.unlink(rootID, "made"))
	}
	c.works()
}

// Every operation that changes something is EROFS on a read-only share, with
// sense in its arguments or without.
func TestReadOnly(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(dir+"/file", []byte("content"), 0o644))
	require.NoError(t, os.Mkdir(dir+"/dir", 0o755))
	before := snapshot(t, dir)
	c := shareRaw(t, dir, func(o *Options) { o.ReadOnly = true })
	c.init()
	node := c.lookup(rootID, "file")
	fh := c.open(node, unix.O_RDONLY)
	changing := []uint32{4, 6, 8, 9, 10, 11, 12, 13, 16, 21, 24, 35, 43, 45, 47, 51}
	for _, op := range changing {
		require.NotZero(t, operations[op].class&mutates, "opcode %d", op)
		for _, arg := range [][]byte{nil, cat(u64s(fh, 0, 0), z("file"), z("new")), make([]byte, 200), cat(u32s(0o755, 0), z("x"))} {
			_, e := c.call(op, rootID, arg, 256)
			require.Equal(t, syscall.EROFS, e, "opcode %d", op)
		}
	}
	for op := range uint32(numOps) {
		if operations[op].class&mutates != 0 {
			require.Contains(t, changing, op)
		}
	}
	for _, flags := range []uint32{unix.O_WRONLY, unix.O_RDWR, unix.O_RDONLY | unix.O_TRUNC, unix.O_RDWR | unix.O_CREAT | unix.O_TRUNC} {
		_, e := c.openErr(node, flags)
		require.Equal(t, syscall.EROFS, e)
	}
	// Nothing the server has open could write, whatever else went wrong.
	h := c.srv.cur.Load().handles.of(fh, node)
	_, err := unix.Pwrite(h.file.fd, []byte("x"), 0)
	require.Equal(t, unix.EBADF, err)
	h.put()
	// Locks stay in the client.
	_, e := c.call(32, node, cat(u64s(fh, 1, 0, 5), u32s(1, 1, 1, 0)), 0)
	require.Equal(t, syscall.ENOSYS, e)
	got, e := c.read(node, fh, 0, 100)
	require.Zero(t, e)
	require.Equal(t, "content", string(got))
	require.Equal(t, before, snapshot(t, dir))
}
