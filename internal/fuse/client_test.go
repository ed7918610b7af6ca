//go:build linux

package fuse

import (
	"bytes"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// client sends requests as a guest's kernel does, or as no kernel would. It
// shares no code with the server's parser.
type client struct {
	t      testing.TB
	srv    *Server
	dir    string // shared directory
	handle func(in, out [][]byte) int
	unique uint64
	uid    uint32
	gid    uint32
	ext    []byte // header extensions of the next request
}

// share makes a server of an empty directory and a client that has sent INIT.
func share(t testing.TB, change func(*Options)) *client {
	t.Helper()
	c := shareRaw(t, t.TempDir(), change)
	c.init()
	return c
}

func shareRaw(t testing.TB, dir string, change func(*Options)) *client {
	t.Helper()
	opt := Options{}
	if os.Geteuid() == 0 {
		opt.Owner.Mode = Passthrough
	}
	if change != nil {
		change(&opt)
	}
	srv, err := New(dir, opt)
	require.NoError(t, err)
	t.Cleanup(srv.Close)
	return &client{t: t, srv: srv, dir: dir, handle: srv.Worker(nil, nil)}
}

// other is another worker's client of the same server.
func (c *client) other(t testing.TB) *client {
	return &client{t: t, srv: c.srv, dir: c.dir, handle: c.srv.Worker(nil, nil), unique: 1 << 40}
}

const allCaps = uint64(1)<<62 - 1

func (c *client) init() []byte {
	c.t.Helper()
	body, e := c.call(26, 0, u32s(7, 40, 128<<10, uint32(allCaps&0xffff_ffff), uint32(allCaps>>32), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0), 64)
	require.Zero(c.t, e, "INIT")
	return body
}

func u32s(vs ...uint32) []byte {
	var b []byte
	for _, v := range vs {
		b = append(b, byte(v), byte(v>>8), byte(v>>16), byte(v>>24))
	}
	return b
}

func u64s(vs ...uint64) []byte {
	var b []byte
	for _, v := range vs {
		b = append(b, u32s(uint32(v), uint32(v>>32))...)
	}
	return b
}

func cat(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

func z(s string) []byte { return append([]byte(s), 0) }

// message is a request with its header.
func (c *client) message(op uint32, node uint64, arg []byte) []byte {
	c.unique += 2
	all := len(arg) + len(c.ext)
	m := cat(u32s(uint32(40+all), op), u64s(c.unique, node), u32s(c.uid, c.gid, 1), u32s(uint32(len(c.ext)/8)), arg, c.ext)
	c.ext = nil
	return m
}

// call sends a request with room for so many bytes of reply, and returns the
// reply without its header.
func (c *client) call(op uint32, node uint64, arg []byte, room int) ([]byte, syscall.Errno) {
	c.t.Helper()
	return c.raw(c.message(op, node, arg), room)
}

func (c *client) raw(m []byte, room int) ([]byte, syscall.Errno) {
	c.t.Helper()
	out := make([]byte, 16+room)
	// In pieces of odd sizes, as buffers in guest memory may be.
	n := c.handle(pieces(m, 40, 7, 4096), pieces(out, 16, 5, 4096))
	if n == 0 {
		return nil, noReply
	}
	require.GreaterOrEqual(c.t, n, 16)
	require.EqualValues(c.t, n, get32(out, 0), "length in the header")
	require.Equal(c.t, get64(m, 8), get64(out, 8), "unique")
	e := syscall.Errno(-int32(get32(out, 4)))
	if e != 0 {
		require.Equal(c.t, 16, n, "an error has no body")
	}
	require.Equal(c.t, len(out)-n, bytes.Count(out[n:], []byte{0}), "bytes behind the reply")
	return out[16:n], e
}

func pieces(b []byte, sizes ...int) [][]byte {
	var out [][]byte
	for i := 0; len(b) > 0; i++ {
		n := min(len(b), sizes[min(i, len(sizes)-1)])
		out = append(out, b[:n:n])
		b = b[n:]
	}
	return out
}

func get32(b []byte, off int) uint32 {
	return uint32(b[off]) | uint32(b[off+1])<<8 | uint32(b[off+2])<<16 | uint32(b[off+3])<<24
}

func get64(b []byte, off int) uint64 { return uint64(get32(b, off)) | uint64(get32(b, off+4))<<32 }

// attrs is what tests look at of a struct fuse_attr.
type attrs struct {
	ino, size        uint64
	mode, nlink      uint32
	uid, gid, blocks uint32
	flags            uint32
}

func parseAttr(b []byte) attrs {
	return attrs{
		ino: get64(b, 0), size: get64(b, 8), blocks: get32(b, 16), mode: get32(b, 60), nlink: get32(b, 64),
		uid: get32(b, 68), gid: get32(b, 72), flags: get32(b, 84),
	}
}

func (c *client) lookupErr(parent uint64, name string) (uint64, attrs, syscall.Errno) {
	c.t.Helper()
	b, e := c.call(1, parent, z(name), 128)
	if e != 0 {
		return 0, attrs{}, e
	}
	return get64(b, 0), parseAttr(b[40:]), 0
}

func (c *client) lookup(parent uint64, name string) uint64 {
	c.t.Helper()
	id, _, e := c.lookupErr(parent, name)
	require.Zero(c.t, e, "LOOKUP %q: %v", name, e)
	return id
}

func (c *client) forget(node, n uint64) { _, _ = c.call(2, node, u64s(n), 0) }

func (c *client) getattr(node uint64) (attrs, syscall.Errno) {
	c.t.Helper()
	b, e := c.call(3, node, u64s(0, 0), 104)
	if e != 0 {
		return attrs{}, e
	}
	return parseAttr(b[16:]), 0
}

// setattr sends only what valid says.
type setattrIn struct {
	valid, mode, uid, gid uint32
	fh, size              uint64
	atime, mtime          uint64
}

func (c *client) setattr(node uint64, in setattrIn) (attrs, syscall.Errno) {
	c.t.Helper()
	arg := cat(u32s(in.valid, 0), u64s(in.fh, in.size, 0, in.atime, in.mtime, 0), u32s(0, 0, 0, in.mode, 0, in.uid, in.gid, 0))
	b, e := c.call(4, node, arg, 104)
	if e != 0 {
		return attrs{}, e
	}
	return parseAttr(b[16:]), 0
}

func (c *client) openErr(node uint64, flags uint32) (uint64, syscall.Errno) {
	c.t.Helper()
	b, e := c.call(14, node, u32s(flags, 0), 16)
	if e != 0 {
		return 0, e
	}
	return get64(b, 0), 0
}

func (c *client) open(node uint64, flags uint32) uint64 {
	c.t.Helper()
	fh, e := c.openErr(node, flags)
	require.Zero(c.t, e, "OPEN: %v", e)
	return fh
}

func (c *client) createErr(parent uint64, name string, flags, mode uint32) (node, fh uint64, e syscall.Errno) {
	c.t.Helper()
	b, e := c.call(35, parent, cat(u32s(flags, mode, 0, 0), z(name)), 144)
	if e != 0 {
		return 0, 0, e
	}
	return get64(b, 0), get64(b, 128), 0
}

func (c *client) create(parent uint64, name string) (node, fh uint64) {
	c.t.Helper()
	node, fh, e := c.createErr(parent, name, unix.O_RDWR|unix.O_CREAT, 0o644)
	require.Zero(c.t, e, "CREATE %q: %v", name, e)
	return node, fh
}

func (c *client) mkdir(parent uint64, name string) uint64 {
	c.t.Helper()
	b, e := c.call(9, parent, cat(u32s(0o755, 0), z(name)), 128)
	require.Zero(c.t, e, "MKDIR %q: %v", name, e)
	return get64(b, 0)
}

func (c *client) read(node, fh, off uint64, size uint32) ([]byte, syscall.Errno) {
	c.t.Helper()
	return c.call(15, node, cat(u64s(fh, off), u32s(size, 0), u64s(0), u32s(0, 0)), int(min(size, 2<<20)))
}

func (c *client) writeErr(node, fh, off uint64, p []byte, how, flags uint32) (uint32, syscall.Errno) {
	c.t.Helper()
	b, e := c.call(16, node, cat(u64s(fh, off), u32s(uint32(len(p)), how), u64s(0), u32s(flags, 0), p), 8)
	if e != 0 {
		return 0, e
	}
	return get32(b, 0), 0
}

func (c *client) write(node, fh, off uint64, text string) {
	c.t.Helper()
	n, e := c.writeErr(node, fh, off, []byte(text), 0, 0)
	require.Zero(c.t, e, "WRITE: %v", e)
	require.EqualValues(c.t, len(text), n)
}

func (c *client) release(node, fh uint64) syscall.Errno {
	c.t.Helper()
	_, e := c.call(18, node, cat(u64s(fh), u32s(0, 0), u64s(0)), 0)
	return e
}

func (c *client) unlink(parent uint64, name string) syscall.Errno {
	c.t.Helper()
	_, e := c.call(10, parent, z(name), 0)
	return e
}

func (c *client) rmdir(parent uint64, name string) syscall.Errno {
	c.t.Helper()
	_, e := c.call(11, parent, z(name), 0)
	return e
}

func (c *client) rename(from uint64, a string, to uint64, b string, flags uint32) syscall.Errno {
	c.t.Helper()
	_, e := c.call(45, from, cat(u64s(to), u32s(flags, 0), z(a), z(b)), 0)
	return e
}

func (c *client) symlink(parent uint64, name, target string) (uint64, syscall.Errno) {
	c.t.Helper()
	b, e := c.call(6, parent, cat(z(name), z(target)), 128)
	if e != 0 {
		return 0, e
	}
	return get64(b, 0), 0
}

func (c *client) mknod(parent uint64, name string, mode, dev uint32) (uint64, syscall.Errno) {
	c.t.Helper()
	b, e := c.call(8, parent, cat(u32s(mode, dev, 0, 0), z(name)), 128)
	if e != 0 {
		return 0, e
	}
	return get64(b, 0), 0
}

func (c *client) link(node, parent uint64, name string) syscall.Errno {
	c.t.Helper()
	_, e := c.call(13, parent, cat(u64s(node), z(name)), 128)
	return e
}

func (c *client) opendir(node uint64) uint64 {
	c.t.Helper()
	b, e := c.call(27, node, u32s(0, 0), 16)
	require.Zero(c.t, e, "OPENDIR: %v", e)
	return get64(b, 0)
}

type dirEntry struct {
	name string
	node uint64
	ino  uint64
	typ  uint32
	next uint64
}

// list reads a whole directory in replies of the size.
func (c *client) list(node uint64, plus bool, size uint32) []dirEntry {
	c.t.Helper()
	fh := c.opendir(node)
	var all []dirEntry
	for off := uint64(0); ; {
		part, e := c.readdir(node, fh, off, plus, size)
		require.Zero(c.t, e, "READDIR: %v", e)
		if len(part) == 0 {
			break
		}
		all = append(all, part...)
		off = part[len(part)-1].next
	}
	_, e := c.call(29, node, cat(u64s(fh), u32s(0, 0), u64s(0)), 0)
	require.Zero(c.t, e)
	return all
}

func (c *client) readdir(node, fh, off uint64, plus bool, size uint32) ([]dirEntry, syscall.Errno) {
	c.t.Helper()
	op := uint32(28)
	if plus {
		op = 44
	}
	b, e := c.call(op, node, cat(u64s(fh, off), u32s(size, 0), u64s(0), u32s(0, 0)), int(min(size, 1<<20)))
	if e != 0 {
		return nil, e
	}
	var all []dirEntry
	for len(b) > 0 {
		var d dirEntry
		head := 0
		if plus {
			d.node = get64(b, 0)
			head = 128
		}
		n := int(get32(b, head+16))
		d.ino, d.next, d.typ = get64(b, head), get64(b, head+8), get32(b, head+20)
		d.name = string(b[head+24 : head+24+n])
		b = b[(head+24+n+7)&^7:]
		all = append(all, d)
	}
	return all, 0
}

func (c *client) path(parts ...string) string {
	return filepath.Join(append([]string{c.dir}, parts...)...)
}

// hostFile makes a file on the host.
func (c *client) hostFile(text string, parts ...string) {
	c.t.Helper()
	require.NoError(c.t, os.WriteFile(c.path(parts...), []byte(text), 0o644))
}

func (c *client) hostText(parts ...string) string {
	c.t.Helper()
	b, err := os.ReadFile(c.path(parts...))
	require.NoError(c.t, err)
	return string(b)
}

// noLeaks requires, when the test ends and the server is closed, as many open
// descriptors as now.
func noLeaks(t testing.TB) {
	t.Helper()
	before := openFDs(t)
	t.Cleanup(func() { require.Equal(t, before, openFDs(t), "descriptors leak") })
}

func openFDs(t testing.TB) int {
	t.Helper()
	d, err := os.ReadDir("/proc/self/fd")
	require.NoError(t, err)
	return len(d)
}
