//go:build linux

package block

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// Images that qemu-img makes read as they should, take writes, and are in order
// afterwards.
func TestImagesOfQEMU(t *testing.T) {
	const size = 3<<20 + 512
	for _, c := range []struct {
		name   string
		create []string // options of qemu-img convert
		clean  bool     // no write
	}{
		{"default", nil, false},
		{"compat 0.10", []string{"-o", "compat=0.10"}, false},
		{"512-byte clusters", []string{"-o", "cluster_size=512"}, false},
		{"2 MiB clusters", []string{"-o", "cluster_size=2M"}, false},
		{"1-bit refcounts", []string{"-o", "refcount_bits=1"}, false},
		{"4-bit refcounts", []string{"-o", "refcount_bits=4"}, false},
		{"64-bit refcounts", []string{"-o", "refcount_bits=64"}, false},
		{"preallocated", []string{"-o", "preallocation=full"}, false},
		{"zlib", []string{"-c"}, false},
		{"zstd", []string{"-c", "-o", "compression_type=zstd"}, false},
		{"zlib, 4 KiB clusters", []string{"-c", "-o", "cluster_size=4k"}, false},
		{"lazy refcounts", []string{"-o", "lazy_refcounts=on"}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			want := bytes.Repeat(random(7, 1000), size/1000+1)[:size]
			clear(want[1<<20 : 2<<20])
			writeFile(t, dir, "src.raw", want)
			qemuImg(t, dir, append(append([]string{"convert", "-f", "raw", "-O", "qcow2"}, c.create...), "src.raw", "d.qcow2")...)
			d := mustOpen(t, Options{Path: filepath.Join(dir, "d.qcow2")})
			require.True(t, bytes.Equal(want, readAll(t, d)))
			scribble(t, d, want, 60)
			require.True(t, bytes.Equal(want, readAll(t, d)))
			require.NoError(t, d.Close())
			compare(t, dir, "d.qcow2", want)
		})
	}
}

// scribble does random things to a disk and the same to want.
func scribble(t *testing.T, d Disk, want []byte, steps int) {
	r := rand.New(rand.NewPCG(uint64(len(want)), 9))
	sectors := uint64(len(want)) / SectorSize
	for range steps {
		at := r.Uint64N(sectors)
		n := min(1+r.Uint64N(400), sectors-at)
		off, size := at*SectorSize, n*SectorSize
		switch r.IntN(6) {
		case 0:
			require.NoError(t, d.WriteZeroes(off, size, r.IntN(2) == 0))
			clear(want[off : off+size])
		case 1:
			require.NoError(t, d.Flush())
		case 2:
			require.NoError(t, d.Discard(off, size))
			require.NoError(t, d.ReadAt([][]byte{want[off : off+size]}, off))
		default:
			b := random(r.Uint64(), int(size))
			require.NoError(t, d.WriteAt([][]byte{b}, off))
			copy(want[off:], b)
		}
	}
}

// compare lets QEMU check an image and read it.
func compare(t *testing.T, dir, name string, want []byte) {
	t.Helper()
	qemuImg(t, dir, "check", "-f", "qcow2", name)
	writeFile(t, dir, "want.raw", want)
	qemuImg(t, dir, "compare", "-f", "raw", "-F", "qcow2", "want.raw", name)
}

func TestSnapshotsStayAsTheyWere(t *testing.T) {
	dir := t.TempDir()
	old := random(8, 2<<20)
	writeFile(t, dir, "src.raw", old)
	qemuImg(t, dir, "convert", "-f", "raw", "-O", "qcow2", "src.raw", "d.qcow2")
	qemuImg(t, dir, "snapshot", "-c", "before", "d.qcow2")
	want := bytes.Clone(old)
	d := mustOpen(t, Options{Path: filepath.Join(dir, "d.qcow2")})
	scribble(t, d, want, 80)
	require.NoError(t, d.Close())
	compare(t, dir, "d.qcow2", want)
	qemuImg(t, dir, "snapshot", "-a", "before", "d.qcow2")
	compare(t, dir, "d.qcow2", old)
}

func TestChainOfQEMU(t *testing.T) {
	dir := t.TempDir()
	want := random(9, 2<<20)
	writeFile(t, dir, "0.raw", want)
	qemuImg(t, dir, "create", "-q", "-f", "qcow2", "-b", "0.raw", "-F", "raw", "1.qcow2", "3M")
	want = append(want, make([]byte, 1<<20)...)
	for i := 1; i <= 4; i++ {
		d := mustOpen(t, Options{Path: filepath.Join(dir, fmt.Sprintf("%d.qcow2", i))})
		scribble(t, d, want, 30)
		require.True(t, bytes.Equal(want, readAll(t, d)))
		require.NoError(t, d.Close())
		compare(t, dir, fmt.Sprintf("%d.qcow2", i), want)
		qemuImg(t, dir, "create", "-q", "-f", "qcow2", "-b", fmt.Sprintf("%d.qcow2", i), "-F", "qcow2", fmt.Sprintf("%d.qcow2", i+1))
	}
}

func TestRefusedImagesOfQEMU(t *testing.T) {
	dir := t.TempDir()
	for _, c := range []struct {
		args []string
		says string
	}{
		{[]string{"create", "-q", "-f", "qcow2", "-o", "data_file=ext.raw,data_file_raw=on", "ext.qcow2", "1M"}, "external file"},
		{[]string{"create", "-q", "-f", "qcow2", "-o", "extended_l2=on", "ext.qcow2", "1M"}, "extended L2"},
	} {
		qemuImg(t, dir, c.args...)
		_, err := Open(Options{Path: filepath.Join(dir, "ext.qcow2")})
		require.ErrorContains(t, err, c.says)
		require.NoError(t, os.Remove(filepath.Join(dir, "ext.qcow2")))
	}
	// QEMU measures the CPU before it encrypts, which fails on a busy one: by hand.
	qemuImg(t, dir, "create", "-q", "-f", "qcow2", "luks.qcow2", "1M")
	path := filepath.Join(dir, "luks.qcow2")
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	b[35] = 2 // crypt_method: LUKS
	require.NoError(t, os.WriteFile(path, b, 0o600))
	_, err = Open(Options{Path: path})
	require.ErrorContains(t, err, "encrypted")
}
