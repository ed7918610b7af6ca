package capsa_test

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/libcapsa/libcapsa/capsa"
	"github.com/libcapsa/libcapsa/internal/vm"
)

func TestFiles(t *testing.T) {
	f := sandbox(t).Files()
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	ctx := bounded(t)

	require.NoError(t, f.WriteFile(ctx, path("a"), []byte("first"), 0o640))
	data, err := f.ReadFile(ctx, path("a"))
	require.NoError(t, err)
	require.Equal(t, "first", string(data))
	info, err := f.Stat(ctx, path("a"))
	require.NoError(t, err)
	require.Equal(t, "a", info.Name)
	require.Equal(t, fs.FileMode(0o640), info.Mode)
	require.EqualValues(t, 5, info.Size)
	require.WithinDuration(t, time.Now(), info.ModTime, time.Hour)

	// In place of the old one, with its permissions, and nothing beside it.
	require.NoError(t, f.WriteFile(ctx, path("a"), []byte("second"), 0))
	info, err = f.Stat(ctx, path("a"))
	require.NoError(t, err)
	require.Equal(t, fs.FileMode(0o640), info.Mode)
	list, err := f.List(ctx, dir)
	require.NoError(t, err)
	require.Len(t, list, 1)

	var b bytes.Buffer
	n, err := f.ReadTo(ctx, path("a"), &b, 2, 3)
	require.NoError(t, err)
	require.EqualValues(t, 3, n)
	require.Equal(t, "con", b.String())
	_, err = f.WriteFrom(ctx, path("a"), strings.NewReader("XX"), capsa.WriteOptions{InPlace: true, Offset: 1})
	require.NoError(t, err)
	data, err = f.ReadFile(ctx, path("a"))
	require.NoError(t, err)
	require.Equal(t, "sXXond", string(data))

	require.NoError(t, f.Mkdir(ctx, path("x/y/z"), 0o700, true))
	require.NoError(t, f.Mkdir(ctx, path("x/y/z"), 0o700, true))
	refused(t, vm.KindExists, f.Mkdir(ctx, path("x"), 0o700, false))
	require.NoError(t, f.Symlink(ctx, "../a", path("x/link")))
	info, err = f.Lstat(ctx, path("x/link"))
	require.NoError(t, err)
	require.Equal(t, "../a", info.LinkTarget)
	require.NotZero(t, info.Mode&fs.ModeSymlink)
	require.NoError(t, f.Rename(ctx, path("a"), path("b\xff")))
	require.NoError(t, f.Chmod(ctx, path("b\xff"), 0o400|fs.ModeSetuid))
	info, err = f.Stat(ctx, path("b\xff"))
	require.NoError(t, err)
	require.Equal(t, 0o400|fs.ModeSetuid, info.Mode)
	require.NoError(t, f.Chown(ctx, path("b\xff"), os.Getuid(), -1))
	refused(t, vm.KindExists, f.Remove(ctx, path("x"), false))
	require.NoError(t, f.Remove(ctx, path("x"), true))
	require.NoError(t, f.Remove(ctx, path("x"), true))
	refused(t, vm.KindNotFound, f.Remove(ctx, path("x"), false))

	_, err = f.ReadFile(ctx, path("none"))
	e := refusal(t, vm.KindNotFound, err)
	require.Equal(t, 2, e.Errno())
	_, err = f.ReadFile(ctx, dir)
	refused(t, vm.KindGuest, err)
	_, err = f.Stat(ctx, "relative")
	refused(t, vm.KindInvalidArg, err)
	_, err = f.Stat(ctx, "/a\x00b")
	refused(t, vm.KindInvalidArg, err)
	refused(t, vm.KindNotFound, f.WriteFile(ctx, path("no/dir"), nil, 0))
}

func TestFilesList(t *testing.T) {
	f := sandbox(t).Files()
	dir := t.TempDir()
	for i := range 1500 {
		require.NoError(t, os.WriteFile(filepath.Join(dir, fmt.Sprintf("%04d", i)), nil, 0o600))
	}
	list, err := f.List(bounded(t), dir)
	require.NoError(t, err)
	require.Len(t, list, 1500)
	for i, e := range list {
		require.Equal(t, fmt.Sprintf("%04d", i), e.Name)
	}
}

func TestFileHandle(t *testing.T) {
	fs := sandbox(t).Files()
	ctx := bounded(t)
	path := filepath.Join(t.TempDir(), "f")
	f, err := fs.Open(ctx, path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	require.NoError(t, err)
	in := make([]byte, 300_000)
	_, _ = newNoise(len(in)).Read(in)
	n, err := f.WriteAt(ctx, in, 7)
	require.NoError(t, err)
	require.Equal(t, len(in), n)
	out := make([]byte, len(in))
	n, err = f.ReadAt(ctx, out, 7)
	require.NoError(t, err)
	require.Equal(t, len(in), n)
	require.Equal(t, in, out)
	n, err = f.ReadAt(ctx, out, 100)
	require.ErrorIs(t, err, io.EOF)
	require.Equal(t, len(in)-93, n)
	require.NoError(t, f.Truncate(ctx, 10))
	info, err := f.Stat(ctx)
	require.NoError(t, err)
	require.EqualValues(t, 10, info.Size)
	require.NoError(t, f.Sync(ctx))
	require.NoError(t, f.Close(ctx))
	require.Error(t, f.Close(ctx))
	_, err = fs.Open(ctx, path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	refused(t, vm.KindExists, err)

	f, err = fs.Open(ctx, path, os.O_WRONLY|os.O_APPEND, 0)
	require.NoError(t, err)
	_, err = f.WriteAt(ctx, []byte("end"), 0)
	require.NoError(t, err)
	require.NoError(t, f.Close(ctx))
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Len(t, data, 13)
	require.Equal(t, "end", string(data[10:]))
}

// TestFilesBulk: 100 MB in and out.
func TestFilesBulk(t *testing.T) {
	f := sandbox(t).Files()
	path := filepath.Join(t.TempDir(), "f")
	in, out := newNoise(100<<20), sha256.New()
	n, err := f.WriteFrom(bounded(t), path, in, capsa.WriteOptions{})
	require.NoError(t, err)
	require.EqualValues(t, 100<<20, n)
	n, err = f.ReadTo(bounded(t), path, out, 0, -1)
	require.NoError(t, err)
	require.EqualValues(t, 100<<20, n)
	require.Equal(t, in.sum.Sum(nil), out.Sum(nil))
}

// broken fails after some bytes.
type broken struct{ r io.Reader }

var errBroken = errors.New("the source broke")

func (b *broken) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	if err == io.EOF {
		err = errBroken
	}
	return n, err
}

// TestFilesAtomic: what is not whole does not take the old file's place.
func TestFilesAtomic(t *testing.T) {
	f := sandbox(t).Files()
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	require.NoError(t, os.WriteFile(path, []byte("old"), 0o600))
	_, err := f.WriteFrom(bounded(t), path, &broken{strings.NewReader("new")}, capsa.WriteOptions{})
	require.ErrorIs(t, err, errBroken)
	alone := func() bool {
		entries, err := os.ReadDir(dir)
		return err == nil && len(entries) == 1
	}
	require.Eventually(t, alone, patience, time.Millisecond)
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, "old", string(data))
}

func TestCopy(t *testing.T) {
	f := sandbox(t).Files()
	src, mid, dst := t.TempDir(), t.TempDir(), t.TempDir()
	top := filepath.Join(src, "top")
	require.NoError(t, os.MkdirAll(filepath.Join(top, "deep/er"), 0o750))
	require.NoError(t, os.WriteFile(filepath.Join(top, "deep/file"), []byte("content"), 0o640))
	require.NoError(t, os.Link(filepath.Join(top, "deep/file"), filepath.Join(top, "second")))
	require.NoError(t, os.Symlink("deep/file", filepath.Join(top, "link")))
	require.NoError(t, os.WriteFile(filepath.Join(top, "odd\xff name"), nil, 0o600))

	require.NoError(t, f.CopyIn(bounded(t), top, filepath.Join(mid, "there"), capsa.CopyOptions{}))
	require.NoError(t, f.CopyOut(bounded(t), filepath.Join(mid, "there"), filepath.Join(dst, "back"), capsa.CopyOptions{}))
	for _, dir := range []string{filepath.Join(mid, "there"), filepath.Join(dst, "back")} {
		data, err := os.ReadFile(filepath.Join(dir, "deep/file"))
		require.NoError(t, err)
		require.Equal(t, "content", string(data))
		a, err := os.Stat(filepath.Join(dir, "second"))
		require.NoError(t, err)
		b, err := os.Stat(filepath.Join(dir, "link"))
		require.NoError(t, err)
		require.True(t, os.SameFile(a, b))
		require.Equal(t, fs.FileMode(0o640), a.Mode())
		info, err := os.Stat(filepath.Join(dir, "deep"))
		require.NoError(t, err)
		require.Equal(t, fs.FileMode(0o750), info.Mode().Perm())
		require.FileExists(t, filepath.Join(dir, "odd\xff name"))
	}
	// A single file, twice.
	for range 2 {
		require.NoError(t, f.CopyOut(bounded(t), filepath.Join(mid, "there/deep/file"), filepath.Join(dst, "one"), capsa.CopyOptions{}))
	}
	data, err := os.ReadFile(filepath.Join(dst, "one"))
	require.NoError(t, err)
	require.Equal(t, "content", string(data))

	err = f.CopyOut(bounded(t), filepath.Join(mid, "there"), filepath.Join(dst, "few"), capsa.CopyOptions{MaxFiles: 2})
	refused(t, vm.KindLimit, err)
	err = f.CopyOut(bounded(t), filepath.Join(mid, "there"), filepath.Join(dst, "small"), capsa.CopyOptions{MaxBytes: 3})
	refused(t, vm.KindLimit, err)
	refused(t, vm.KindNotFound, f.CopyOut(bounded(t), filepath.Join(mid, "none"), filepath.Join(dst, "x"), capsa.CopyOptions{}))
	refused(t, vm.KindNotFound, f.CopyIn(bounded(t), filepath.Join(src, "none"), filepath.Join(mid, "x"), capsa.CopyOptions{}))
}

// TestTarInStaysInside: an archive leads nowhere but below its directory.
func TestTarInStaysInside(t *testing.T) {
	f := sandbox(t).Files()
	for _, h := range [][]*tar.Header{
		{{Name: "../out", Typeflag: tar.TypeReg, Mode: 0o600}},
		{{Name: "/abs", Typeflag: tar.TypeReg, Mode: 0o600}},
		{{Name: "l", Typeflag: tar.TypeSymlink, Linkname: ".."}, {Name: "l/out", Typeflag: tar.TypeReg, Mode: 0o600}},
		{{Name: "h", Typeflag: tar.TypeLink, Linkname: "../secret"}},
	} {
		dir := t.TempDir()
		require.NoError(t, os.WriteFile(filepath.Join(dir, "secret"), nil, 0o600))
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		for _, e := range h {
			require.NoError(t, w.WriteHeader(e))
		}
		require.NoError(t, w.Close())
		_, err := f.TarIn(bounded(t), filepath.Join(dir, "in"), &b, capsa.CopyOptions{})
		require.Error(t, err, h[0].Name)
		entries, err := os.ReadDir(dir)
		require.NoError(t, err)
		require.Len(t, entries, 2, h[0].Name)
	}
}

func TestGuestInformation(t *testing.T) {
	m := sandbox(t)
	info, err := m.GuestInfo(bounded(t))
	require.NoError(t, err)
	name, err := os.Hostname()
	require.NoError(t, err)
	require.Equal(t, name, info.Hostname)
	require.NotZero(t, info.Memory)
	require.Positive(t, info.CPUs)
	require.NotEmpty(t, info.Kernel)
	require.Greater(t, info.Ready, info.AgentStart)
	p, err := m.Exec(bounded(t), capsa.Command{Args: []string{"sleep", "1000"}})
	require.NoError(t, err)
	defer p.Close()
	s, err := m.GuestStats(bounded(t))
	require.NoError(t, err)
	require.Equal(t, 1, s.Execs)
	require.NotZero(t, s.MemoryTotal)
	require.NotZero(t, s.RootSize)
}

func TestDial(t *testing.T) {
	m := sandbox(t)
	path := filepath.Join(t.TempDir(), "guest.sock")
	l, err := net.Listen("unix", path)
	require.NoError(t, err)
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				_, _ = io.Copy(c, c)
			}()
		}
	}()
	echo := func(c net.Conn) {
		_, err := c.Write([]byte("there and back"))
		require.NoError(t, err)
		require.NoError(t, c.(*net.UnixConn).CloseWrite())
		out, err := io.ReadAll(c)
		require.NoError(t, err)
		require.Equal(t, "there and back", string(out))
		require.NoError(t, c.Close())
	}
	c, err := m.Dial(bounded(t), "unix", path)
	require.NoError(t, err)
	echo(c)
	_, err = m.Dial(bounded(t), "unix", path+"x")
	refused(t, vm.KindNotFound, err)
	_, err = m.Dial(bounded(t), "udp", "x")
	refused(t, vm.KindInvalidArg, err)

	host := filepath.Join(t.TempDir(), "host.sock")
	f, err := m.ForwardSocket("unix", host, "unix", path)
	require.NoError(t, err)
	for range 3 {
		c, err := net.Dial("unix", host)
		require.NoError(t, err)
		echo(c)
	}
	require.NoError(t, f.Close())
	require.NoError(t, f.Close())
	_, err = net.Dial("unix", host)
	require.Error(t, err)
}
