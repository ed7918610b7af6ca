//go:build linux

package fuse

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// benchRequest is a prepared request whose buffers lie as a guest's do: header
// and arguments in two, payload in pages.
type benchRequest struct {
	in, out [][]byte
	handle  func(in, out [][]byte) int
}

func (c *client) prepare(op uint32, node uint64, arg []byte, room int) *benchRequest {
	m := c.message(op, node, arg)
	in := [][]byte{m[:min(len(m), 80)]}
	if len(m) > 80 {
		in = append(in, pieces(bytes.Clone(m[80:]), 4096)...)
	}
	out := append([][]byte{make([]byte, 16)}, pieces(make([]byte, room), 4096)...)
	return &benchRequest{in: in, out: out, handle: c.handle}
}

func (r *benchRequest) do(b *testing.B) {
	if r.handle(r.in, r.out) < 16 {
		b.Fatal("no reply")
	}
	if e := int32(get32(r.out[0], 4)); e != 0 {
		b.Fatalf("errno %d", -e)
	}
}

// benchShare is a share on a tmpfs with a file of 1 MiB.
func benchShare(b *testing.B) (c *client, node, fh uint64) {
	dir, err := os.MkdirTemp("/dev/shm", "fuse")
	require.NoError(b, err)
	b.Cleanup(func() { _ = os.RemoveAll(dir) })
	c = shareRaw(b, dir, nil)
	c.init()
	node, fh = c.create(rootID, "file")
	_, e := c.writeErr(node, fh, 0, make([]byte, MaxIO), 0, 0)
	require.Zero(b, e)
	b.ReportAllocs()
	return c, node, fh
}

func BenchmarkGetattr(b *testing.B) {
	b.Run("plain", func(b *testing.B) {
		c, _, _ := benchShare(b)
		var st unix.Stat_t
		path := c.path("file")
		for b.Loop() {
			if err := unix.Stat(path, &st); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("open", func(b *testing.B) {
		c, node, _ := benchShare(b)
		r := c.prepare(3, node, u64s(0, 0), 104)
		for b.Loop() {
			r.do(b)
		}
	})
	b.Run("closed", func(b *testing.B) {
		c, node, fh := benchShare(b)
		_ = c.release(node, fh)
		r := c.prepare(3, node, u64s(0, 0), 104)
		for b.Loop() {
			r.do(b)
		}
	})
}

func BenchmarkLookup(b *testing.B) {
	c, _, _ := benchShare(b)
	r := c.prepare(1, rootID, z("file"), 128)
	for b.Loop() {
		r.do(b)
	}
}

func BenchmarkLookupForget(b *testing.B) {
	c, node, fh := benchShare(b)
	_ = c.release(node, fh)
	c.forget(node, 1)
	r := c.prepare(1, rootID, z("file"), 128)
	for b.Loop() {
		r.do(b)
		c.srv.cur.Load().table.forget(get64(r.out[1], 0), 1)
	}
}

func BenchmarkOpenRelease(b *testing.B) {
	b.Run("plain", func(b *testing.B) {
		c, _, _ := benchShare(b)
		path := c.path("file")
		for b.Loop() {
			fd, err := unix.Open(path, unix.O_RDONLY, 0)
			if err != nil {
				b.Fatal(err)
			}
			_ = unix.Close(fd)
		}
	})
	for name, byName := range map[string]bool{"by descriptor": false, "by name": true} {
		b.Run(name, func(b *testing.B) {
			c, node, fh := benchShare(b)
			c.srv.byName = byName
			_ = c.release(node, fh)
			r := c.prepare(14, node, u32s(0, 0), 16)
			for b.Loop() {
				r.do(b)
				c.srv.cur.Load().handles.remove(get64(r.out[1], 0), node)
			}
		})
	}
}

func BenchmarkIO(b *testing.B) {
	for _, size := range []int{4 << 10, 128 << 10, 1 << 20} {
		b.Run(fmt.Sprintf("pread-plain-%dK", size>>10), func(b *testing.B) {
			c, _, _ := benchShare(b)
			fd, err := unix.Open(c.path("file"), unix.O_RDONLY, 0)
			require.NoError(b, err)
			defer unix.Close(fd)
			p := make([]byte, size)
			b.SetBytes(int64(size))
			for b.Loop() {
				if _, err := unix.Pread(fd, p, 0); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(fmt.Sprintf("read-%dK", size>>10), func(b *testing.B) {
			c, node, fh := benchShare(b)
			r := c.prepare(15, node, cat(u64s(fh, 0), u32s(uint32(size), 0), u64s(0), u32s(0, 0)), size)
			b.SetBytes(int64(size))
			for b.Loop() {
				r.do(b)
			}
		})
		b.Run(fmt.Sprintf("write-%dK", size>>10), func(b *testing.B) {
			c, node, fh := benchShare(b)
			r := c.prepare(16, node, cat(u64s(fh, 0), u32s(uint32(size), 0), u64s(0), u32s(0, 0), make([]byte, size)), 8)
			b.SetBytes(int64(size))
			for b.Loop() {
				r.do(b)
			}
		})
	}
}

func BenchmarkCreateUnlink(b *testing.B) {
	b.Run("plain", func(b *testing.B) {
		c, _, _ := benchShare(b)
		path := c.path("new")
		for b.Loop() {
			fd, err := unix.Open(path, unix.O_CREAT|unix.O_RDWR, 0o644)
			if err != nil {
				b.Fatal(err)
			}
			_ = unix.Close(fd)
			_ = unix.Unlink(path)
		}
	})
	b.Run("served", func(b *testing.B) {
		c, _, _ := benchShare(b)
		create := c.prepare(35, rootID, cat(u32s(unix.O_RDWR|unix.O_CREAT, 0o644, 0, 0), z("new")), 144)
		unlink := c.prepare(10, rootID, z("new"), 0)
		for b.Loop() {
			create.do(b)
			node := get64(create.out[1], 0)
			c.srv.cur.Load().handles.remove(get64(create.out[1], 128), node)
			unlink.do(b)
			c.srv.cur.Load().table.forget(node, 1)
		}
	})
}

func BenchmarkReaddirplus1000(b *testing.B) {
	c, _, _ := benchShare(b)
	sub := c.mkdir(rootID, "sub")
	for i := range 1000 {
		c.hostFile("", "sub", fmt.Sprintf("file%04d", i))
	}
	b.Run("plain", func(b *testing.B) {
		for b.Loop() {
			entries, err := os.ReadDir(c.path("sub"))
			require.NoError(b, err)
			var st unix.Stat_t
			for _, e := range entries {
				if err := unix.Lstat(filepath.Join(c.dir, "sub", e.Name()), &st); err != nil {
					b.Fatal(err)
				}
			}
		}
	})
	b.Run("served", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			fh := c.opendir(sub)
			for off := uint64(0); ; {
				part, e := c.readdir(sub, fh, off, true, 32<<10)
				if e != 0 || len(part) == 0 {
					break
				}
				off = part[len(part)-1].next
				for _, d := range part {
					if d.node != 0 {
						c.srv.cur.Load().table.forget(d.node, 1)
					}
				}
			}
			c.srv.cur.Load().handles.remove(fh, sub)
		}
	})
}
