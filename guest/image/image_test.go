package image

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// golden is a whole archive, spelled out: a directory made on the way, a file
// of five bytes, a link and a device.
const golden = "" +
	"070701" + "00000001" + "000041ED" + "00000000" + "00000000" + "00000002" + "00000000" + "00000000" +
	"00000000" + "00000000" + "00000000" + "00000000" + "00000002" + "00000000" + "a\x00" +
	"070701" + "00000002" + "000081ED" + "00000000" + "00000000" + "00000001" + "00000000" + "00000005" +
	"00000000" + "00000000" + "00000000" + "00000000" + "00000004" + "00000000" + "a/f\x00" + "\x00\x00" + "hello\x00\x00\x00" +
	"070701" + "00000003" + "0000A1FF" + "00000000" + "00000000" + "00000001" + "00000000" + "00000003" +
	"00000000" + "00000000" + "00000000" + "00000000" + "00000002" + "00000000" + "l\x00" + "a/f\x00" +
	"070701" + "00000004" + "00002180" + "00000000" + "00000000" + "00000001" + "00000000" + "00000000" +
	"00000000" + "00000000" + "00000005" + "00000001" + "00000002" + "00000000" + "c\x00" +
	"070701" + "00000000" + "00000000" + "00000000" + "00000000" + "00000001" + "00000000" + "00000000" +
	"00000000" + "00000000" + "00000000" + "00000000" + "0000000B" + "00000000" + "TRAILER!!!\x00" + "\x00\x00\x00"

func TestArchiveBytes(t *testing.T) {
	var b bytes.Buffer
	w := NewWriter(&b)
	require.NoError(t, w.File("/a/f", 0o755, strings.NewReader("hello"), 5))
	require.NoError(t, w.Symlink("l", "a/f"))
	require.NoError(t, w.Device("c", 0o600, 5, 1))
	require.NoError(t, w.Close())
	require.Equal(t, golden, b.String()[:len(golden)])
	require.Zero(t, b.Len()%512)
	require.Empty(t, strings.Trim(b.String()[len(golden):], "\x00"))
}

func TestWriterRefuses(t *testing.T) {
	cases := []struct {
		name string
		do   func(w *Writer) error
		want string
	}{
		{"empty name", func(w *Writer) error { return w.Mkdir("/", 0o755) }, "empty name"},
		{"NUL", func(w *Writer) error { return w.Symlink("a\x00b", "x") }, "NUL"},
		{"trailer", func(w *Writer) error { return w.Symlink(trailer, "x") }, "format's own"},
		{"twice", func(w *Writer) error { return errors.Join(w.Symlink("a", "x"), w.Symlink("a", "y")) }, "there already"},
		{"too large", func(w *Writer) error { return w.File("a", 0, strings.NewReader(""), 1<<32) }, "do not fit"},
		{"short", func(w *Writer) error { return w.File("a", 0, strings.NewReader("abc"), 4) }, "unexpected EOF"},
		{"long", func(w *Writer) error { return w.File("a", 0, strings.NewReader("abc"), 2) }, "more than the 2 bytes"},
		{"closed", func(w *Writer) error { return errors.Join(w.Close(), w.Mkdir("a", 0)) }, "after close"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			require.ErrorContains(t, c.do(NewWriter(io.Discard)), c.want)
		})
	}
}

// TestCpioReadsIt checks the writer against an independent reader.
func TestCpioReadsIt(t *testing.T) {
	if _, err := exec.LookPath("cpio"); err != nil {
		t.Skip("cpio is not installed; TestArchiveBytes holds the format")
	}
	file := filepath.Join(t.TempDir(), "f")
	require.NoError(t, os.WriteFile(file, []byte("odd"), 0o600))
	var b bytes.Buffer
	image := Initrd{
		Files:   []File{{Name: "init", Source: file, Perm: 0o755}},
		Links:   []Link{{"bin/sh", "busybox"}},
		Modules: []Module{{Name: "m", Path: file}},
		Pad:     1001,
	}
	require.NoError(t, image.Write(&b))
	cmd := exec.Command("cpio", "-t", "--quiet")
	cmd.Stdin = &b
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Equal(t, "dev\nproc\nsys\ntmp\ndev/console\ndev/null\ninit\nbin\nbin/sh\nlib\nlib/modules\nlib/modules/m.ko\netc\netc/modules\nfiller\n", string(out))
}

func TestSameInputSameBytes(t *testing.T) {
	var a, b bytes.Buffer
	image := Initrd{Pad: 12345}
	require.NoError(t, image.Write(&a))
	require.NoError(t, image.Write(&b))
	require.Equal(t, a.Bytes(), b.Bytes())
}

func TestParseDepends(t *testing.T) {
	require.Equal(t, []string{"virtio", "virtio_ring"}, parseDepends([]byte("license=GPL\x00depends=virtio,virtio_ring\x00name=x\x00")))
	require.Nil(t, parseDepends([]byte("depends=\x00")))
	require.Nil(t, parseDepends([]byte("xdepends=a")))
}

// moduleELF is a minimal relocatable ELF file with a .modinfo section.
func moduleELF(t *testing.T, dir, name, depends string) {
	t.Helper()
	src := filepath.Join(dir, name+".s")
	text := ".section .modinfo,\"a\"\n.asciz \"depends=" + depends + "\"\n"
	require.NoError(t, os.WriteFile(src, []byte(text), 0o600))
	out, err := exec.Command("as", "-o", filepath.Join(dir, name+".ko"), src).CombinedOutput()
	require.NoError(t, err, "%s", out)
}

func TestResolve(t *testing.T) {
	if _, err := exec.LookPath("as"); err != nil {
		t.Skip("no assembler to make module files with")
	}
	dir := t.TempDir()
	moduleELF(t, dir, "virtio", "")
	moduleELF(t, dir, "virtio-ring", "virtio")
	moduleELF(t, dir, "virtio_mmio", "virtio,virtio_ring")
	moduleELF(t, dir, "broken", "absent")
	moduleELF(t, dir, "loop", "loop")
	m, err := OpenModules(dir)
	require.NoError(t, err)
	got, err := m.Resolve("virtio_mmio", "virtio")
	require.NoError(t, err)
	var names []string
	for _, x := range got {
		names = append(names, x.Name)
	}
	require.Equal(t, []string{"virtio", "virtio_ring", "virtio_mmio"}, names)
	_, err = m.Resolve("broken")
	require.ErrorContains(t, err, "absent, which broken needs")
	_, err = m.Resolve("loop")
	require.ErrorContains(t, err, "depends on itself")
	_, err = m.Resolve("nope")
	require.ErrorContains(t, err, "nope is not there")
	_, err = OpenModules(filepath.Join(dir, "nowhere"))
	require.Error(t, err)
}
