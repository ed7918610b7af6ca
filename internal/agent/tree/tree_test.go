package tree_test

import (
	"archive/tar"
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/libcapsa/libcapsa/internal/agent/tree"
)

// archive makes one of headers; a regular file's content is its own name.
func archive(t testing.TB, headers ...tar.Header) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range headers {
		if h.Typeflag == tar.TypeReg {
			h.Size = int64(len(h.Name))
		}
		if h.Mode == 0 {
			h.Mode = 0o700
		}
		require.NoError(t, w.WriteHeader(&h))
		if h.Typeflag == tar.TypeReg {
			_, err := w.Write([]byte(h.Name))
			require.NoError(t, err)
		}
	}
	require.NoError(t, w.Close())
	return b.Bytes()
}

// unpack unpacks into a directory beside which something lies that must stay.
func unpack(t testing.TB, data []byte, o tree.Options) (dir string, err error) {
	t.Helper()
	outer := t.TempDir()
	dir = filepath.Join(outer, "in")
	require.NoError(t, os.Mkdir(dir, 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(outer, "secret"), []byte("secret"), 0o600))
	root, err := os.OpenRoot(dir)
	require.NoError(t, err)
	defer root.Close()
	err = tree.Unpack(root, bytes.NewReader(data), o)
	entries, readErr := os.ReadDir(outer)
	require.NoError(t, readErr)
	require.Len(t, entries, 2, "something is beside the directory")
	text, readErr := os.ReadFile(filepath.Join(outer, "secret"))
	require.NoError(t, readErr)
	require.Equal(t, "secret", string(text))
	return dir, err
}

func TestUnpack(t *testing.T) {
	t.Parallel()
	data := archive(t,
		tar.Header{Name: "top/", Typeflag: tar.TypeDir, Mode: 0o500},
		tar.Header{Name: "top/file", Typeflag: tar.TypeReg, Mode: 0o4640},
		tar.Header{Name: "top/far/away", Typeflag: tar.TypeReg},
		tar.Header{Name: "top/link", Typeflag: tar.TypeSymlink, Linkname: "file"},
		tar.Header{Name: "top/hard", Typeflag: tar.TypeLink, Linkname: "top/file"},
		tar.Header{Name: "top/device", Typeflag: tar.TypeChar, Devmajor: 1, Devminor: 3},
		tar.Header{Name: "top/pipe", Typeflag: tar.TypeFifo},
	)
	dir, err := unpack(t, data, tree.Options{Top: "new"})
	require.NoError(t, err)
	text, err := os.ReadFile(filepath.Join(dir, "new/link"))
	require.NoError(t, err)
	require.Equal(t, "top/file", string(text))
	info, err := os.Stat(filepath.Join(dir, "new/file"))
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o640), info.Mode(), "without the set-user-ID bit")
	hard, err := os.Stat(filepath.Join(dir, "new/hard"))
	require.NoError(t, err)
	require.True(t, os.SameFile(info, hard))
	require.FileExists(t, filepath.Join(dir, "new/far/away"))
	require.NoFileExists(t, filepath.Join(dir, "new/device"))
	require.NoFileExists(t, filepath.Join(dir, "new/pipe"))
	info, err = os.Stat(filepath.Join(dir, "new"))
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o500), info.Mode().Perm())
	require.NoError(t, os.Chmod(filepath.Join(dir, "new"), 0o700)) // to be removed
}

func TestUnpackRefuses(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		headers []tar.Header
		options tree.Options
		want    error
	}{
		{"up", []tar.Header{{Name: "../x", Typeflag: tar.TypeReg}}, tree.Options{}, tree.ErrBroken},
		{"up inside", []tar.Header{{Name: "a/../../x", Typeflag: tar.TypeReg}}, tree.Options{}, tree.ErrBroken},
		{"absolute", []tar.Header{{Name: "/x", Typeflag: tar.TypeReg}}, tree.Options{}, tree.ErrBroken},
		{"through a link", []tar.Header{
			{Name: "l", Typeflag: tar.TypeSymlink, Linkname: ".."}, {Name: "l/secret", Typeflag: tar.TypeReg},
		}, tree.Options{}, nil},
		{"through an absolute link", []tar.Header{
			{Name: "l", Typeflag: tar.TypeSymlink, Linkname: "/tmp"}, {Name: "l/x", Typeflag: tar.TypeReg},
		}, tree.Options{}, nil},
		{"hard link out", []tar.Header{{Name: "h", Typeflag: tar.TypeLink, Linkname: "../secret"}}, tree.Options{}, tree.ErrBroken},
		{"hard link through a link", []tar.Header{
			{Name: "l", Typeflag: tar.TypeSymlink, Linkname: ".."}, {Name: "h", Typeflag: tar.TypeLink, Linkname: "l/secret"},
		}, tree.Options{}, nil},
		{"a file for a directory", []tar.Header{
			{Name: "d", Typeflag: tar.TypeDir}, {Name: "d", Typeflag: tar.TypeReg},
		}, tree.Options{}, os.ErrExist},
		{"files", []tar.Header{{Name: "a", Typeflag: tar.TypeReg}, {Name: "b", Typeflag: tar.TypeReg}}, tree.Options{MaxFiles: 1}, tree.ErrLimit},
		{"bytes", []tar.Header{{Name: "abc", Typeflag: tar.TypeReg}}, tree.Options{MaxBytes: 2}, tree.ErrLimit},
		{"deep", []tar.Header{{Name: string(bytes.Repeat([]byte("d/"), 300)) + "x", Typeflag: tar.TypeReg, Format: tar.FormatPAX}}, tree.Options{}, tree.ErrBroken},
	} {
		_, err := unpack(t, archive(t, c.headers...), c.options)
		require.Error(t, err, c.name)
		if c.want != nil {
			require.ErrorIs(t, err, c.want, c.name)
		}
	}
	_, err := unpack(t, []byte("no archive at all, but long enough to be looked at as if it were one"), tree.Options{})
	require.ErrorIs(t, err, tree.ErrBroken)
}

// TestRoundTrip: what is written is what is unpacked.
func TestRoundTrip(t *testing.T) {
	t.Parallel()
	src := filepath.Join(t.TempDir(), "src")
	require.NoError(t, os.MkdirAll(filepath.Join(src, "a/b"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(src, "a/f"), bytes.Repeat([]byte("x"), 100_000), 0o604))
	require.NoError(t, os.Link(filepath.Join(src, "a/f"), filepath.Join(src, "a/g")))
	require.NoError(t, os.Symlink("a/f", filepath.Join(src, "l")))
	var b bytes.Buffer
	require.NoError(t, tree.Write(&b, src, "name"))
	dir, err := unpack(t, b.Bytes(), tree.Options{})
	require.NoError(t, err)
	text, err := os.ReadFile(filepath.Join(dir, "name/l"))
	require.NoError(t, err)
	require.Len(t, text, 100_000)
	f, err := os.Stat(filepath.Join(dir, "name/a/f"))
	require.NoError(t, err)
	g, err := os.Stat(filepath.Join(dir, "name/a/g"))
	require.NoError(t, err)
	require.True(t, os.SameFile(f, g))
	require.Equal(t, os.FileMode(0o604), f.Mode())
	require.DirExists(t, filepath.Join(dir, "name/a/b"))
}

// FuzzUnpack: whatever an archive says, nothing beside the directory is touched.
func FuzzUnpack(f *testing.F) {
	f.Add(archive(f, tar.Header{Name: "a/b", Typeflag: tar.TypeReg}))
	f.Add(archive(f, tar.Header{Name: "l", Typeflag: tar.TypeSymlink, Linkname: ".."}, tar.Header{Name: "l/secret", Typeflag: tar.TypeReg}))
	f.Add(archive(f, tar.Header{Name: "h", Typeflag: tar.TypeLink, Linkname: "../secret"}))
	f.Fuzz(func(t *testing.T, data []byte) {
		dir, _ := unpack(t, data, tree.Options{Top: "x", MaxBytes: 1 << 20, MaxFiles: 100})
		_ = filepath.WalkDir(dir, func(p string, d os.DirEntry, err error) error { // to be removed
			if err == nil && d.IsDir() {
				return os.Chmod(p, 0o700)
			}
			return nil
		})
	})
}
