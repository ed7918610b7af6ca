package plan

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/libcapsa/libcapsa/internal/vm"
)

func head(start string, more ...func([]byte)) []byte {
	b := make([]byte, 4096)
	copy(b, start)
	for _, m := range more {
		m(b)
	}
	return b
}

func put(at int, s string) func([]byte) { return func(b []byte) { copy(b[at:], s) } }

func image(flags uint64) []byte {
	return head("MZ", put(0x38, "ARM\x64"), func(b []byte) { binary.LittleEndian.PutUint64(b[0x18:], flags) })
}

func bzImage(version uint16, loadflags, xloadflags byte) []byte {
	return head("MZ", put(0x1fe, "\x55\xaa"), put(0x202, "HdrS"), func(b []byte) {
		binary.LittleEndian.PutUint16(b[0x206:], version)
		b[0x211], b[0x236] = loadflags, xloadflags
	})
}

// zboot is an EFI zboot image, whose payload of 5000 bytes is at 0x1000.
func zboot(compression string) []byte {
	return head("MZ\x00\x00zimg", put(8, "\x00\x10\x00\x00\x88\x13\x00\x00"), put(24, compression))
}

// TestCheckKernel: every file that is taken for a kernel by mistake is named, with the
// way to a right one.
func TestCheckKernel(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		file []byte
		arch string
		want string // of the error; "": it is right
		hint string
	}{
		"image":                    {image(1 << 1), "arm64", "", ""},
		"image, old":               {image(0), "arm64", "", ""},
		"image, 16 KiB":            {image(2 << 1), "arm64", "", ""},
		"image, 64 KiB":            {image(3 << 1), "arm64", "pages of 64 KiB", "4 or 16"},
		"image, big-endian":        {image(1), "arm64", "big-endian", "CONFIG_CPU_BIG_ENDIAN"},
		"image, intel":             {image(1 << 1), "amd64", "kernel for arm64", "x86-64"},
		"bzImage":                  {bzImage(0x20f, 1, 1), "amd64", "", ""},
		"bzImage, silicon":         {bzImage(0x20f, 1, 1), "arm64", "kernel for x86-64", "arm64"},
		"bzImage, 32-bit":          {bzImage(0x20f, 1, 0), "amd64", "32-bit", "x86-64"},
		"bzImage, ancient":         {bzImage(0x20b, 1, 1), "amd64", "32-bit", "x86-64"},
		"zImage":                   {bzImage(0x20f, 0, 1), "amd64", "zImage", "bzImage"},
		"gzip":                     {head("\x1f\x8b\x08"), "arm64", "compressed (gzip); wanted is a raw arm64 Image", "gunzip -c '"},
		"gzip, intel":              {head("\x1f\x8b\x08"), "amd64", "compressed (gzip); wanted is a bzImage", "gunzip -c '"},
		"xz":                       {head("\xfd7zXZ\x00"), "arm64", "compressed (xz)", "xz -dc"},
		"zstd":                     {head("\x28\xb5\x2f\xfd"), "arm64", "compressed (zstd)", "zstd -dc"},
		"lz4":                      {head("\x04\x22\x4d\x18"), "arm64", "compressed (lz4)", "lz4 -dc"},
		"lz4, old":                 {head("\x02\x21\x4c\x18"), "arm64", "compressed (lz4)", "lz4 -dc"},
		"bzip2":                    {head("BZh9"), "arm64", "compressed (bzip2)", "bunzip2"},
		"lzma":                     {head("\x5d\x00\x00\x80"), "arm64", "compressed (lzma)", "--format=lzma"},
		"zboot gzip":               {zboot("gzip"), "arm64", "EFI zboot", "tail -c +4097 '"},
		"zboot gzip, unpacked":     {zboot("gzip"), "arm64", "EFI zboot", "head -c 5000 | gunzip -c > Image"},
		"zboot zstd":               {zboot("zstd22"), "arm64", "EFI zboot", "| zstd -dc > Image"},
		"zboot xz":                 {zboot("xzkern"), "arm64", "EFI zboot", "| xz -dc > Image"},
		"zboot of the future":      {zboot("brotli"), "arm64", "EFI zboot", "of the same build"},
		"unified kernel image":     {head("MZ"), "arm64", "EFI program", "--only-section=.linux"},
		"unified image on intel":   {head("MZ"), "amd64", "EFI program", "boot it by EFI"},
		"vmlinux":                  {head("\x7fELF"), "arm64", "ELF file (vmlinux)", "arch/arm64/boot/Image"},
		"vmlinux, intel":           {head("\x7fELF"), "amd64", "ELF file (vmlinux)", "arch/x86/boot/bzImage"},
		"a script":                 {head("#!/bin/sh"), "arm64", "no kernel; wanted is a raw arm64 Image", ""},
		"short":                    {[]byte("MZ"), "arm64", "2 bytes are no kernel", ""},
		"empty":                    {nil, "amd64", "0 bytes are no kernel", ""},
		"cut short in its header":  {image(1 << 1)[:0x3ff], "arm64", "1023 bytes are no kernel", ""},
		"as long as needs be read": {image(1 << 1)[:0x400], "arm64", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "it's a kernel")
			require.NoError(t, os.WriteFile(path, c.file, 0o600))
			err := CheckKernel(path, c.arch)
			if c.want == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorIs(t, err, vm.KindConfig)
			e := err.(*vm.Error)
			require.Equal(t, path, e.Path)
			require.Contains(t, e.Message(), c.want)
			require.Contains(t, e.Hint, c.hint)
			require.NotContains(t, e.Hint, "'"+path, "a quotation mark is quoted")
		})
	}
}

// FuzzKernel: any file is judged.
func FuzzKernel(f *testing.F) {
	for _, b := range [][]byte{image(2), bzImage(0x20f, 1, 1), zboot("gzip"), head("\x7fELF"), nil} {
		f.Add(b, "arm64")
		f.Add(b, "amd64")
	}
	f.Fuzz(func(t *testing.T, b []byte, arch string) {
		if len(b) > kernelHead {
			b = b[:kernelHead]
		}
		why, hint := judge(b, "/k", arch)
		if why == "" && hint != "" {
			t.Errorf("a hint and nothing wrong: %s", hint)
		}
	})
}

func TestDiskName(t *testing.T) {
	t.Parallel()
	for i, want := range map[int]string{0: "/dev/vda", 25: "/dev/vdz", 26: "/dev/vdaa", 27: "/dev/vdab", 26 * 27: "/dev/vdaaa"} {
		require.Equal(t, want, diskName(i))
	}
}
