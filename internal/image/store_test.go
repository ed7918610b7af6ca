package image

import (
	"archive/tar"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/libcapsa/libcapsa/internal/vm"
)

func newStore(t *testing.T) *Store {
	t.Helper()
	s, err := Open(filepath.Join(t.TempDir(), "images"))
	require.NoError(t, err)
	return s
}

func TestTar(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	path := filepath.Join(t.TempDir(), "root.tar.gz")
	capable := file("bin/ping", "#!")
	capable.header.Mode = 0o4755
	capable.header.PAXRecords = map[string]string{"SCHILY.xattr.security.capability": "\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"}
	large := strings.Repeat("0123456789abcdef", 1<<16)
	data := archive(t, dir("./"), capable, file("etc/os-release", "ID=test\n"), hardlink("bin/ping6", "bin/ping"),
		symlink("sbin", "usr/sbin"), symlink("far", strings.Repeat("x/", 200)), device("pipe", tar.TypeFifo), file("large", large),
		file("ünïcode", "é"))
	require.NoError(t, os.WriteFile(path, gzipped(t, data), 0o600))

	var steps []Progress
	img, err := s.Get(t.Context(), path, Options{Progress: func(p Progress) { steps = append(steps, p) }})
	require.NoError(t, err)
	require.Equal(t, "tar:"+path, img.Reference)
	require.Equal(t, vm.DiskRaw, img.Format)
	require.NotEmpty(t, steps)
	require.Equal(t, steps[len(steps)-1].Total, steps[len(steps)-1].Done)

	fsck(t, img.Path)
	require.Equal(t, "ID=test\n", debugfs(t, img.Path, "cat /etc/os-release"))
	require.Equal(t, large, debugfs(t, img.Path, "cat /large"))
	require.Equal(t, "é", debugfs(t, img.Path, "cat /ünïcode"))
	stat := debugfs(t, img.Path, "stat /bin/ping6")
	require.Contains(t, stat, "Mode:  04755")
	require.Contains(t, stat, "Links: 2")
	require.Contains(t, stat, "security.capability")
	require.Contains(t, debugfs(t, img.Path, "stat /sbin"), `Fast link dest: "usr/sbin"`)

	again, err := s.Get(t.Context(), "tar:"+path, Options{Progress: func(Progress) { t.Error("it is made twice") }})
	require.NoError(t, err)
	require.Equal(t, img.Path, again.Path)
}

func TestDirectory(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	root := filepath.Join(t.TempDir(), "root")
	require.NoError(t, os.MkdirAll(filepath.Join(root, "etc"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(root, "etc/hosts"), []byte("127.0.0.1 localhost\n"), 0o640))
	require.NoError(t, os.Link(filepath.Join(root, "etc/hosts"), filepath.Join(root, "hosts")))
	require.NoError(t, os.Symlink("/etc/shadow", filepath.Join(root, "secret")))
	require.NoError(t, unix.Mkfifo(filepath.Join(root, "fifo"), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(root, "empty"), nil, 0o755))

	img, err := s.Get(t.Context(), root, Options{})
	require.NoError(t, err)
	fsck(t, img.Path)
	require.Equal(t, "127.0.0.1 localhost\n", debugfs(t, img.Path, "cat /etc/hosts"))
	require.Contains(t, debugfs(t, img.Path, "stat /hosts"), "Links: 2")
	require.Contains(t, debugfs(t, img.Path, "stat /secret"), `"/etc/shadow"`)
	require.Contains(t, debugfs(t, img.Path, "stat /fifo"), "Type: FIFO")
	require.Regexp(t, `User:\s+0\s+Group:\s+0`, debugfs(t, img.Path, "stat /etc/hosts"))

	same, err := s.Get(t.Context(), "dir:"+root, Options{})
	require.NoError(t, err)
	require.Equal(t, img.Path, same.Path)
	require.NoError(t, os.WriteFile(filepath.Join(root, "empty"), []byte("x"), 0o755))
	other, err := s.Get(t.Context(), root, Options{})
	require.NoError(t, err)
	require.NotEqual(t, img.Path, other.Path)
	_, err = s.Get(t.Context(), root, Options{Limits: Limits{Files: 3}})
	require.ErrorIs(t, err, vm.KindLimit)
}

func TestSources(t *testing.T) {
	t.Parallel()
	here := t.TempDir()
	write := func(name string, size int, at int, magic string) string {
		data := make([]byte, size)
		copy(data[at:], magic)
		path := filepath.Join(here, name)
		require.NoError(t, os.WriteFile(path, data, 0o600))
		return path
	}
	layout := filepath.Join(here, "layout")
	require.NoError(t, os.MkdirAll(layout, 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(layout, "oci-layout"), nil, 0o600))
	for reference, want := range map[string]source{
		write("ext4", 4096, 1080, "\x53\xef"): {kind: kindDisk, path: filepath.Join(here, "ext4")},
		write("mbr", 512, 510, "\x55\xaa"):    {kind: kindDisk, path: filepath.Join(here, "mbr")},
		write("qcow2", 512, 0, "QFI\xfb"):     {kind: kindDisk, path: filepath.Join(here, "qcow2")},
		write("tar", 512, 257, "ustar"):       {kind: kindTar, path: filepath.Join(here, "tar")},
		write("gz", 20, 0, "\x1f\x8b"):        {kind: kindTar, path: filepath.Join(here, "gz")},
		here:                                  {kind: kindDir, path: here},
		layout:                                {kind: kindLayout, path: layout},
		layout + ":v1":                        {kind: kindLayout, path: layout, tag: "v1"},
		layout + "@sha256:00":                 {kind: kindLayout, path: layout, tag: "sha256:00"},
		"oci:/a:b/c:v2":                       {kind: kindLayout, path: "/a:b/c", tag: "v2"},
		"disk:/dev/sda":                       {kind: kindDisk, path: "/dev/sda"},
		"docker-archive:/x.tar:name:v1":       {kind: kindDocker, path: "/x.tar:name", tag: "v1"},
	} {
		got, err := parse(reference)
		require.NoError(t, err, reference)
		require.Equal(t, want, got, reference)
	}
	for reference, want := range map[string]string{
		"debian": "index.docker.io/library/debian:latest", "docker://debian:12": "index.docker.io/library/debian:12",
		"localhost:5000/x/y:z": "localhost:5000/x/y:z",
	} {
		got, err := parse(reference)
		require.NoError(t, err, reference)
		require.Equal(t, want, got.ref.Name())
	}
	for reference, kind := range map[string]vm.Kind{
		"": vm.KindInvalidArg, "dir:": vm.KindInvalidArg, "UPPER CASE": vm.KindInvalidArg, "/not/there": vm.KindNotFound,
		write("nothing", 100, 0, "what"): vm.KindInvalidArg,
	} {
		_, err := parse(reference)
		require.Equal(t, kind, vm.KindOf(err), "%q: %v", reference, err)
	}
}

func TestMakeOnce(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	path := s.path(roots, "x.ext4")
	var made atomic.Int32
	var wait sync.WaitGroup
	for range 8 {
		wait.Go(func() {
			err := s.make(t.Context(), path, func(f *os.File) error {
				made.Add(1)
				_, err := f.WriteString("whole")
				return err
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	wait.Wait()
	require.EqualValues(t, 1, made.Load())
	broken := errors.New("broken")
	require.ErrorIs(t, s.make(t.Context(), path+"2", func(*os.File) error { return broken }), broken)
	entries, err := os.ReadDir(s.path(roots, ""))
	require.NoError(t, err)
	require.Len(t, entries, 1, "nothing is left of what failed")
}

func TestLockEndsWithContext(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	unlock, err := s.lock(t.Context(), "x")
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = s.lock(ctx, "x")
	require.ErrorIs(t, err, vm.KindCancelled)
	unlock()
	unlock, err = s.lock(t.Context(), "x")
	require.NoError(t, err)
	unlock()
}

func TestListAndPrune(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	dir := t.TempDir()
	get := func(name, content string) Image {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, archive(t, file("x", content)), 0o600))
		img, err := s.Get(t.Context(), path, Options{})
		require.NoError(t, err)
		return img
	}
	first, second := get("a.tar", "1"), get("b.tar", "2")
	newer := get("a.tar", "3")
	list, err := s.List()
	require.NoError(t, err)
	require.Equal(t, []Image{newer, second}, list)

	require.NoError(t, os.WriteFile(s.path(blobs, "00.part"), []byte("part"), 0o600))
	require.NoError(t, os.WriteFile(s.path(blobs, "01.part"), []byte("part"), 0o600))
	unlock, err := s.lock(t.Context(), "01")
	require.NoError(t, err)
	freed, err := s.Prune(false)
	unlock()
	require.NoError(t, err)
	require.Equal(t, Freed{2, first.Size + 4}, freed)
	require.NoFileExists(t, first.Path)
	require.FileExists(t, s.path(blobs, "01.part"), "somebody fetches it")

	require.NoError(t, os.WriteFile(s.path(roots, ".new-1"), nil, 0o600))
	require.NoError(t, os.WriteFile(s.path(roots, ".new-2"), nil, 0o600))
	old := time.Now().Add(-2 * time.Hour)
	require.NoError(t, os.Chtimes(s.path(roots, ".new-2"), old, old))
	_, err = s.Prune(true)
	require.NoError(t, err)
	list, err = s.List()
	require.NoError(t, err)
	require.Empty(t, list)
	entries, err := os.ReadDir(s.path(roots, ""))
	require.NoError(t, err)
	require.Len(t, entries, 1, "a file that is new may be being written")
}

func TestDisk(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	path := filepath.Join(t.TempDir(), "d.qcow2")
	require.NoError(t, os.WriteFile(path, []byte("QFI\xfb and so on"), 0o600))
	img, err := s.Get(t.Context(), path, Options{})
	require.NoError(t, err)
	require.Equal(t, Image{Reference: "disk:" + path, Path: path, Format: vm.DiskQcow2, Size: 14}, img)
}
