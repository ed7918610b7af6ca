//go:build linux

package block

import (
	"bytes"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/libcapsa/libcapsa/internal/block/qcow2"
	"github.com/libcapsa/libcapsa/internal/vm"
)

// A full file system is an error of the request that found it full, and nothing more:
// what was written stays, and when there is room again, writing goes on.
func TestNoSpace(t *testing.T) {
	for _, format := range []Format{Raw, Qcow2} {
		t.Run(string(format), func(t *testing.T) {
			dir := t.TempDir()
			if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=2m"); err != nil {
				t.Skipf("a small file system cannot be mounted: %v", err)
			}
			t.Cleanup(func() { require.NoError(t, unix.Unmount(dir, unix.MNT_DETACH)) })
			path := filepath.Join(dir, "d.img")
			if format == Raw {
				writeFile(t, dir, "d.img", nil)
				require.NoError(t, os.Truncate(path, 8<<20))
			} else {
				require.NoError(t, writeNew(path, qcow2.CreateOptions{Size: 8 << 20}))
			}
			d := mustOpen(t, Options{Path: path, Format: format})
			chunk := bytes.Repeat([]byte{0xA5}, 64<<10)
			full := uint64(0)
			for ; full < d.Size(); full += uint64(len(chunk)) {
				if err := d.WriteAt([][]byte{chunk}, full); err != nil {
					require.ErrorIs(t, err, unix.ENOSPC)
					break
				}
			}
			require.Less(t, full, d.Size())
			require.ErrorIs(t, d.WriteAt([][]byte{chunk}, full), unix.ENOSPC)
			require.NoError(t, d.Flush())
			require.NoError(t, d.WriteAt([][]byte{[]byte("in place")}, 4096))
			require.NoError(t, d.Discard(0, 1<<20))
			require.NoError(t, d.Flush())
			require.NoError(t, d.WriteAt([][]byte{chunk}, full), "there is room again")
			got := make([]byte, full-1<<20)
			require.NoError(t, d.ReadAt([][]byte{got}, 1<<20))
			require.Equal(t, bytes.Repeat([]byte{0xA5}, len(got)), got)
			require.NoError(t, d.Close())
			if format == Qcow2 {
				checkLeaks(t, path, false)
			}
		})
	}
}

// Not parallel: the limit is the process's. The kernel would end a process that has no
// handler for SIGXFSZ.
func TestFileSizeLimit(t *testing.T) {
	path := writeFile(t, t.TempDir(), "d.raw", nil)
	require.NoError(t, os.Truncate(path, 4<<40))
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, unix.SIGXFSZ)
	defer signal.Stop(signals)
	var old unix.Rlimit
	require.NoError(t, unix.Getrlimit(unix.RLIMIT_FSIZE, &old))
	require.NoError(t, unix.Setrlimit(unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: 1 << 40, Max: old.Max}))
	defer func() { require.NoError(t, unix.Setrlimit(unix.RLIMIT_FSIZE, &old)) }()
	d := mustOpen(t, Options{Path: path, Format: Raw})
	for _, off := range []uint64{1 << 40, 1<<40 - 256, 3 << 40} {
		require.ErrorIs(t, d.WriteAt([][]byte{make([]byte, 512)}, off), unix.EFBIG)
	}
	require.NoError(t, d.WriteAt([][]byte{make([]byte, 512)}, 1<<40-512))
	require.Empty(t, signals)
}

// An image that somebody cuts short has errors where it has no bytes.
func TestImageShrinks(t *testing.T) {
	for _, direct := range []bool{false, true} {
		path := writeFile(t, t.TempDir(), "d.raw", random(1, 1<<20))
		d := mustOpen(t, Options{Path: path, Format: Raw, Direct: direct})
		require.NoError(t, os.Truncate(path, 4096))
		require.NoError(t, d.ReadAt([][]byte{make([]byte, 4096)}, 0))
		require.ErrorIs(t, d.ReadAt([][]byte{make([]byte, 4096)}, 4096), errShrunk)
		require.ErrorIs(t, d.ReadAt([][]byte{make([]byte, 512), make([]byte, 8192)}, 0), errShrunk)
	}
	dir := t.TempDir()
	qemuImg(t, dir, "create", "-q", "-f", "qcow2", "d.qcow2", "1M")
	path := filepath.Join(dir, "d.qcow2")
	d := mustOpen(t, Options{Path: path})
	require.NoError(t, d.WriteAt([][]byte{random(2, 1<<20)}, 0))
	require.NoError(t, d.Flush())
	require.NoError(t, os.Truncate(path, 100))
	_ = d.ReadAt([][]byte{make([]byte, 1<<20)}, 0)
	_ = d.WriteAt([][]byte{make([]byte, 1<<20)}, 0)
	_ = d.Discard(0, 1<<20)
	_ = d.Flush()
}

// A removed image is an image until it is closed.
func TestImageIsRemoved(t *testing.T) {
	dir := t.TempDir()
	qemuImg(t, dir, "create", "-q", "-f", "qcow2", "d.qcow2", "1M")
	d := mustOpen(t, Options{Path: filepath.Join(dir, "d.qcow2")})
	require.NoError(t, os.Remove(filepath.Join(dir, "d.qcow2")))
	want := random(3, 1<<20)
	require.NoError(t, d.WriteAt([][]byte{want}, 0))
	require.NoError(t, d.Flush())
	require.Equal(t, want, readAll(t, d))
}

// After a sync that failed, none succeeds: what was lost is not known.
func TestFailedSyncIsRemembered(t *testing.T) {
	d := mustOpen(t, Options{Path: writeFile(t, t.TempDir(), "d.raw", make([]byte, 4096)), Format: Raw}).(*rawDisk)
	var pipe [2]int
	require.NoError(t, unix.Pipe2(pipe[:], unix.O_CLOEXEC))
	defer unix.Close(pipe[0])
	defer unix.Close(pipe[1])
	good := d.fd
	d.fd = pipe[0] // which cannot be synced
	require.ErrorIs(t, d.Flush(), unix.EINVAL)
	d.fd = good
	require.ErrorIs(t, d.Flush(), unix.EINVAL)
}

// EMFILE at every descriptor that opening takes is an error, and none is kept.
// Not parallel: the limit is the process's.
func TestNoDescriptors(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, dir, "0.raw", make([]byte, 1<<20))
	qemuImg(t, dir, "create", "-q", "-f", "qcow2", "-b", "0.raw", "-F", "raw", "1.qcow2")
	qemuImg(t, dir, "create", "-q", "-f", "qcow2", "-b", "1.qcow2", "-F", "qcow2", "2.qcow2")
	top := filepath.Join(dir, "2.qcow2")
	for _, o := range []Options{
		{Path: top},
		{Path: top, Direct: true},
		{Path: top, Temporary: true, ScratchDir: dir},
		{Path: top, Overlay: filepath.Join(dir, "kept.qcow2")},
	} {
		opened := false
		for spare := uint64(0); !opened && spare < 30; spare++ {
			d, err := openWithin(t, spare, o)
			if opened = err == nil; opened {
				require.NoError(t, d.Close())
				break
			}
			require.ErrorIs(t, err, unix.EMFILE)
			require.Empty(t, openIn(t, dir))
		}
		require.True(t, opened)
		require.Empty(t, openIn(t, dir))
	}
}

// openWithin opens an image with so many descriptors left.
func openWithin(t *testing.T, spare uint64, o Options) (Disk, error) {
	probe, err := os.Open(os.DevNull) // gets the lowest that is free
	require.NoError(t, err)
	free := uint64(probe.Fd())
	require.NoError(t, probe.Close())
	var old unix.Rlimit
	require.NoError(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &old))
	require.NoError(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: free + spare, Max: old.Max}))
	defer func() { require.NoError(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &old)) }()
	return Open(o)
}

// A small file may claim large tables: what is read of them is bounded by what the
// format allows, and the file must have them.
func TestLargeClaims(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "d.qcow2")
	require.NoError(t, writeNew(path, qcow2.CreateOptions{Size: 1 << 30}))
	image, err := os.ReadFile(path)
	require.NoError(t, err)
	for _, c := range []struct {
		name  string
		patch func(b []byte)
		opens bool
	}{
		{"an L1 table of 32 MiB", func(b []byte) { copy(b[36:], []byte{0, 0x40, 0, 0}) }, true},
		{"an L1 table of 32 GiB", func(b []byte) { copy(b[36:], []byte{0xff, 0xff, 0xff, 0xff}) }, false},
		{"a refcount table of 8 MiB", func(b []byte) { copy(b[56:], []byte{0, 0, 0, 128}); copy(b[48:], []byte{0, 0, 0, 0, 0x10, 0, 0, 0}) }, true},
		{"a refcount table of 256 TiB", func(b []byte) { copy(b[56:], []byte{0xff, 0xff, 0xff, 0xff}) }, false},
		{"a disk of 16 EiB", func(b []byte) { copy(b[24:], bytes.Repeat([]byte{0xff}, 8)) }, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := bytes.Clone(image)
			c.patch(b)
			require.NoError(t, os.WriteFile(path, b, 0o600))
			require.NoError(t, os.Truncate(path, 1<<40))
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			d, err := Open(Options{Path: path})
			runtime.ReadMemStats(&after)
			require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(160<<20))
			require.Equal(t, c.opens, err == nil, "%v", err)
			if err == nil {
				_ = d.WriteAt([][]byte{make([]byte, 512)}, 0)
				require.NoError(t, d.Close())
			} else {
				require.ErrorIs(t, err, vm.KindConfig)
			}
		})
	}
}
