//go:build linux

package block

import (
	"bytes"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/libcapsa/libcapsa/internal/vm"
)

// qemuImg runs qemu-img in dir, and skips the test where there is none.
func qemuImg(t *testing.T, dir string, args ...string) string {
	t.Helper()
	path, err := exec.LookPath("qemu-img")
	if err != nil {
		if strings.Contains(os.Getenv("CAPSA_REQUIRE"), "qemu-img") {
			t.Fatal("qemu-img is required and not installed")
		}
		t.Skip("qemu-img is not installed")
	}
	cmd := exec.Command(path, args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "qemu-img %v: %s", args, out)
	return string(out)
}

func writeFile(t testing.TB, dir, name string, b []byte) string {
	path := filepath.Join(dir, name)
	require.NoError(t, os.WriteFile(path, b, 0o600))
	return path
}

func random(seed uint64, n int) []byte {
	r := rand.New(rand.NewPCG(seed, 1))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

func readAll(t *testing.T, d Disk) []byte {
	b := make([]byte, d.Size())
	require.NoError(t, d.ReadAt([][]byte{b[:512], b[512:]}, 0))
	return b
}

func mustOpen(t testing.TB, o Options) Disk {
	t.Helper()
	d, err := Open(o)
	require.NoError(t, err)
	t.Cleanup(func() { _ = d.Close() })
	return d
}

func TestRawReadsAndWrites(t *testing.T) {
	for _, direct := range []bool{false, true} {
		want := random(1, 1<<20)
		path := writeFile(t, t.TempDir(), "d.raw", want)
		d, err := Open(Options{Path: path, Format: Raw, Direct: direct})
		if direct && err != nil && strings.Contains(err.Error(), "no direct I/O") {
			continue // tmpfs before Linux 6.6; the message is what a user must see
		}
		require.NoError(t, err)
		require.Equal(t, want, readAll(t, d))
		require.NoError(t, d.WriteAt([][]byte{[]byte("abc"), []byte("defg")}, 4095))
		copy(want[4095:], "abcdefg")
		require.NoError(t, d.WriteZeroes(8192, 10000, true))
		clear(want[8192 : 8192+10000])
		require.NoError(t, d.WriteZeroes(100000, 5000, false))
		clear(want[100000 : 100000+5000])
		require.NoError(t, d.Flush())
		require.Equal(t, want, readAll(t, d))
		require.NoError(t, d.Close())
		got, err := os.ReadFile(path)
		require.NoError(t, err)
		require.True(t, bytes.Equal(want, got))
	}
}

func TestRawDiscardGivesSpaceBack(t *testing.T) {
	path := writeFile(t, t.TempDir(), "d.raw", random(2, 4<<20))
	d := mustOpen(t, Options{Path: path, Format: Raw})
	var before, after unix.Stat_t
	require.NoError(t, unix.Stat(path, &before))
	require.NoError(t, d.Discard(1<<20, 2<<20))
	require.NoError(t, unix.Stat(path, &after))
	require.LessOrEqual(t, after.Blocks, before.Blocks-2<<20/512)
}

func TestLongBufferLists(t *testing.T) {
	path := writeFile(t, t.TempDir(), "d.raw", make([]byte, 1<<20))
	d := mustOpen(t, Options{Path: path, Format: Raw})
	var bufs [][]byte
	want := random(3, 3000*17)
	for i := range 3000 {
		bufs = append(bufs, want[i*17:(i+1)*17], nil)
	}
	require.NoError(t, d.WriteAt(bufs, 512))
	require.Equal(t, want, readAll(t, d)[512:512+len(want)])
}

func TestWhatIsRefused(t *testing.T) {
	dir := t.TempDir()
	raw := writeFile(t, dir, "d.raw", make([]byte, 1<<20))
	require.NoError(t, unix.Mkfifo(filepath.Join(dir, "fifo"), 0o600))
	noRead := writeFile(t, dir, "secret", make([]byte, 512))
	require.NoError(t, os.Chmod(noRead, 0))
	for _, c := range []struct {
		name string
		o    Options
		kind vm.Kind
		says string
	}{
		{"missing", Options{Path: dir + "/none", Format: Raw}, vm.KindNotFound, "none"},
		{"raw by content", Options{Path: raw}, vm.KindConfig, "say that its format is raw"},
		{"raw as qcow2", Options{Path: raw, Format: Qcow2}, vm.KindConfig, "not a qcow2 image"},
		{"unknown format", Options{Path: raw, Format: "vmdk"}, vm.KindConfig, "vmdk"},
		{"directory", Options{Path: dir, Format: Raw}, vm.KindConfig, "directory"},
		{"fifo", Options{Path: dir + "/fifo", Format: Raw}, vm.KindConfig, "neither a regular file nor a block device"},
		{"character device", Options{Path: "/dev/zero", Format: Raw}, vm.KindConfig, "neither"},
		{"empty", Options{Path: writeFile(t, dir, "empty", nil), Format: Raw}, vm.KindConfig, "0 bytes"},
		{"odd size", Options{Path: writeFile(t, dir, "odd", make([]byte, 513)), Format: Raw}, vm.KindConfig, "513"},
		{"two overlays", Options{Path: raw, Format: Raw, Temporary: true, Overlay: "x"}, vm.KindConfig, "both"},
		{"read-only overlay", Options{Path: raw, Format: Raw, ReadOnly: true, Temporary: true}, vm.KindConfig, "needs no overlay"},
		{"no scratch directory", Options{Path: raw, Format: Raw, Temporary: true, ScratchDir: dir + "/none"}, vm.KindNotFound, "none"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Open(c.o)
			require.ErrorIs(t, err, c.kind)
			require.ErrorContains(t, err, c.says)
		})
	}
	require.Empty(t, openIn(t, dir), "failures close what they opened")
}

// openIn lists the files below dir that this process has open.
func openIn(t *testing.T, dir string) []string {
	fds, err := os.ReadDir("/proc/self/fd")
	require.NoError(t, err)
	var out []string
	for _, fd := range fds {
		if to, err := os.Readlink("/proc/self/fd/" + fd.Name()); err == nil && strings.HasPrefix(to, dir) {
			out = append(out, to)
		}
	}
	return out
}

func TestLocks(t *testing.T) {
	path := writeFile(t, t.TempDir(), "d.raw", make([]byte, 1<<20))
	open := func(readOnly bool) (Disk, error) {
		return Open(Options{Path: path, Format: Raw, ReadOnly: readOnly})
	}
	w, err := open(false)
	require.NoError(t, err)
	for _, readOnly := range []bool{false, true} {
		_, err = open(readOnly)
		require.ErrorIs(t, err, vm.KindUnavailable)
		require.ErrorContains(t, err, "in use")
	}
	require.NoError(t, w.Close())
	r1, err := open(true)
	require.NoError(t, err)
	r2, err := open(true)
	require.NoError(t, err, "readers share")
	_, err = open(false)
	require.ErrorIs(t, err, vm.KindUnavailable)
	require.NoError(t, r1.Close())
	require.NoError(t, r2.Close())
	w, err = open(false)
	require.NoError(t, err)
	require.NoError(t, w.Close())
}

// A process forked by somebody has our descriptors until it calls exec. Here a
// duplicate stands for them: it is the same open file.
func TestLocksEndWithClose(t *testing.T) {
	o := Options{Path: writeFile(t, t.TempDir(), "d.raw", make([]byte, 1<<20)), Format: Raw}
	d, err := Open(o)
	require.NoError(t, err)
	fd, err := unix.Dup(d.(*rawDisk).fd)
	require.NoError(t, err)
	defer unix.Close(fd)
	require.NoError(t, d.Close())
	mustOpen(t, o)
}

func TestQEMUSeesTheLock(t *testing.T) {
	dir := t.TempDir()
	qemuImg(t, dir, "create", "-f", "qcow2", "d.qcow2", "1M")
	mustOpen(t, Options{Path: filepath.Join(dir, "d.qcow2")})
	cmd := exec.Command("qemu-img", "info", "d.qcow2")
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	require.Error(t, err)
	require.Contains(t, string(out), "lock")
}

func TestTemporaryOverlay(t *testing.T) {
	dir := t.TempDir()
	want := random(4, 1<<20)
	path := writeFile(t, dir, "d.raw", want)
	o := Options{Path: path, Format: Raw, Temporary: true, ScratchDir: dir}
	a, b := mustOpen(t, o), mustOpen(t, o)
	require.NoError(t, a.WriteAt([][]byte{[]byte("aaaa")}, 1000))
	require.NoError(t, b.WriteAt([][]byte{[]byte("bbbb")}, 1000))
	require.Equal(t, "aaaa", string(readAll(t, a)[1000:1004]))
	require.Equal(t, "bbbb", string(readAll(t, b)[1000:1004]))
	require.NoError(t, a.Close())
	require.NoError(t, b.Close())
	got, err := os.ReadFile(path)
	require.NoError(t, err)
	require.True(t, bytes.Equal(want, got), "the image is as it was")
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, left, 1, "nothing is left behind")
}

func TestKeptOverlay(t *testing.T) {
	dir := t.TempDir()
	want := random(5, 1<<20)
	path := writeFile(t, dir, "d.raw", want)
	o := Options{Path: path, Format: Raw, Overlay: filepath.Join(dir, "changes.qcow2")}
	for i := range 3 {
		d, err := Open(o)
		require.NoError(t, err)
		require.Equal(t, want, readAll(t, d))
		b := random(uint64(10+i), 70000)
		require.NoError(t, d.WriteAt([][]byte{b}, uint64(i*50001)))
		copy(want[i*50001:], b)
		require.NoError(t, d.Close())
	}
	qemuImg(t, dir, "check", "changes.qcow2")
	qemuImg(t, dir, "convert", "-O", "raw", "changes.qcow2", "flat.raw")
	got, err := os.ReadFile(filepath.Join(dir, "flat.raw"))
	require.NoError(t, err)
	require.True(t, bytes.Equal(want, got))
	other := writeFile(t, dir, "other.raw", make([]byte, 2<<20))
	_, err = Open(Options{Path: other, Format: Raw, Overlay: o.Overlay})
	require.ErrorIs(t, err, vm.KindConfig)
	require.ErrorContains(t, err, "give the image that the overlay was made for")
}

func TestBackingFilesStayInTheirDirectory(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(dir, "a"), 0o700))
	require.NoError(t, os.Mkdir(filepath.Join(dir, "b"), 0o700))
	writeFile(t, dir, "b/base.raw", random(6, 1<<20))
	qemuImg(t, dir, "create", "-q", "-f", "qcow2", "-b", filepath.Join(dir, "b/base.raw"), "-F", "raw", "a/top.qcow2")
	top := filepath.Join(dir, "a/top.qcow2")
	_, err := Open(Options{Path: top})
	require.ErrorIs(t, err, vm.KindConfig)
	require.ErrorContains(t, err, "outside the image's directory")
	d := mustOpen(t, Options{Path: top, BackingDirs: []string{filepath.Join(dir, "b")}})
	require.Equal(t, random(6, 1<<20), readAll(t, d))
	require.NoError(t, d.Close())

	require.NoError(t, os.Symlink(filepath.Join(dir, "b/base.raw"), filepath.Join(dir, "a/link.raw")))
	qemuImg(t, dir, "rebase", "-u", "-b", "link.raw", "-F", "raw", "a/top.qcow2")
	_, err = Open(Options{Path: top})
	require.ErrorContains(t, err, "outside the image's directory", "a link leads out")

	for _, name := range []string{"nbd://host/x", "json:{}", "file:base.raw"} {
		qemuImg(t, dir, "rebase", "-u", "-b", name, "-F", "raw", "a/top.qcow2")
		_, err = Open(Options{Path: top})
		require.ErrorContains(t, err, "not a plain path")
	}
	require.Empty(t, openIn(t, dir))
}

func TestBackingLoop(t *testing.T) {
	dir := t.TempDir()
	qemuImg(t, dir, "create", "-q", "-f", "qcow2", "a.qcow2", "1M")
	qemuImg(t, dir, "create", "-q", "-f", "qcow2", "-b", "a.qcow2", "-F", "qcow2", "b.qcow2")
	qemuImg(t, dir, "rebase", "-u", "-b", "b.qcow2", "-F", "qcow2", "a.qcow2")
	_, err := Open(Options{Path: filepath.Join(dir, "b.qcow2")})
	require.Error(t, err)
	require.ErrorIs(t, err, vm.KindConfig)
	require.Empty(t, openIn(t, dir))
}

func TestRootPartition(t *testing.T) {
	table := make([]byte, 1<<20) // an MBR, whose second entry is of type Linux
	table[510], table[511], table[446+16+4] = 0x55, 0xAA, 0x83
	d := mustOpen(t, Options{Path: writeFile(t, t.TempDir(), "d", table), Format: Raw, ReadOnly: true})
	n, err := RootPartition(d)
	require.NoError(t, err)
	require.Equal(t, 2, n)
}
