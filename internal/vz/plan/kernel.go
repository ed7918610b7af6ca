package plan

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/libcapsa/libcapsa/internal/vm"
)

// kernelHead is how much of a kernel tells what it is, in bytes: the setup header of
// x86 ends at 0x268 (Documentation/arch/x86/boot.rst).
const kernelHead = 0x400

// CheckKernel makes sure that a file is a kernel that the framework loads on that
// architecture: a raw Image on arm64, a bzImage on amd64. Of anything else the
// framework says only "Internal Virtualization error"; this error names what the file
// is and how to make of it what is wanted.
func CheckKernel(path, arch string) error {
	if _, err := regular(path); err != nil {
		return err
	}
	f, err := os.Open(path)
	if err != nil {
		return wrapFile(path, err)
	}
	defer f.Close()
	head := make([]byte, kernelHead)
	n, err := io.ReadFull(f, head)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		return wrapFile(path, err)
	}
	if why, hint := judge(head[:n], path, arch); why != "" {
		return fileError(vm.KindConfig, path, hint, "%s", why)
	}
	return nil
}

// judge says what is wrong with a kernel that begins with head, and what to do about
// it; "" when it is right.
func judge(head []byte, path, arch string) (why, hint string) {
	h := kernel{head}
	switch {
	case len(head) < kernelHead:
		return fmt.Sprintf("%d bytes are no kernel", len(head)), ""
	case h.image():
		if arch != "arm64" {
			return "it is a kernel for arm64, and this Mac has a processor of type x86-64", "take one for x86-64"
		}
		return h.imageFlags()
	case h.bzImage():
		if arch != "amd64" {
			return "it is a kernel for x86-64, and this Mac has Apple silicon", "take one for arm64"
		}
		return h.bzImageFlags()
	}
	return h.foreign(path, arch)
}

// kernel is the beginning of a kernel's file.
type kernel struct{ b []byte }

// image is the magic number of an arm64 Image (Documentation/arch/arm64/booting.rst).
func (k kernel) image() bool { return bytes.Equal(k.b[0x38:0x3c], []byte("ARM\x64")) }

// imageFlags checks the field flags of an arm64 Image: bit 0 is the byte order, bits 1
// and 2 are the page size.
func (k kernel) imageFlags() (why, hint string) {
	const big, pages64K = 1, 3
	flags := binary.LittleEndian.Uint64(k.b[0x18:])
	switch {
	case flags&big != 0:
		return "it is a big-endian kernel, which Apple's processors do not run", "build it without CONFIG_CPU_BIG_ENDIAN"
	case flags>>1&3 == pages64K:
		return "it has pages of 64 KiB, which Apple's processors do not have", "take a kernel with pages of 4 or 16 KiB"
	}
	return "", ""
}

// bzImage is the signature of the setup header of x86.
func (k kernel) bzImage() bool {
	return k.b[0x1fe] == 0x55 && k.b[0x1ff] == 0xaa && bytes.Equal(k.b[0x202:0x206], []byte("HdrS"))
}

// bzImageFlags: LOADED_HIGH of loadflags is what distinguishes bzImage from zImage,
// XLF_KERNEL_64 of xloadflags a kernel with a 64-bit entry.
func (k kernel) bzImageFlags() (why, hint string) {
	const loadedHigh, kernel64, withXLF = 1, 1, 0x20c
	version := binary.LittleEndian.Uint16(k.b[0x206:])
	switch {
	case k.b[0x211]&loadedHigh == 0:
		return "it is a zImage", "build a bzImage"
	case version < withXLF || k.b[0x236]&kernel64 == 0:
		return "it is a 32-bit kernel", "take one for x86-64"
	}
	return "", ""
}

// compressions are what kernels are packed with, by their magic numbers.
var compressions = []struct{ magic, name, unpack string }{
	{"\x1f\x8b", "gzip", "gunzip -c"},
	{"\xfd7zXZ\x00", "xz", "xz -dc"},
	{"\x28\xb5\x2f\xfd", "zstd", "zstd -dc"},
	{"\x04\x22\x4d\x18", "lz4", "lz4 -dc"},
	{"\x02\x21\x4c\x18", "lz4", "lz4 -dc"},
	{"BZh", "bzip2", "bunzip2 -c"},
	{"\x5d\x00\x00", "lzma", "xz --format=lzma -dc"},
}

// foreign names a file that is no kernel as the framework wants it.
func (k kernel) foreign(path, arch string) (why, hint string) {
	wanted := map[string]string{"arm64": "a raw arm64 Image", "amd64": "a bzImage"}[arch]
	quoted := shellQuote(path)
	for _, c := range compressions {
		if bytes.HasPrefix(k.b, []byte(c.magic)) {
			return fmt.Sprintf("it is compressed (%s); wanted is %s", c.name, wanted),
				fmt.Sprintf("unpack it: %s %s > Image", c.unpack, quoted)
		}
	}
	switch {
	case bytes.HasPrefix(k.b, []byte("MZ")) && bytes.Equal(k.b[4:8], []byte("zimg")):
		return "it is an EFI zboot image; wanted is " + wanted, k.zboot(quoted)
	case bytes.HasPrefix(k.b, []byte("MZ")):
		return "it is an EFI program without a kernel's header, such as a unified kernel image; wanted is " + wanted,
			"objcopy -O binary --only-section=.linux " + quoted + " Image takes the kernel out; or boot it by EFI, from a disk"
	case bytes.HasPrefix(k.b, []byte(elf.ELFMAG)):
		if arch == "arm64" {
			return "it is an ELF file (vmlinux); wanted is " + wanted,
				"take arch/arm64/boot/Image of the same build, or objcopy -O binary -R .note -R .comment -S " + quoted + " Image"
		}
		return "it is an ELF file (vmlinux); wanted is " + wanted, "take arch/x86/boot/bzImage of the same build"
	}
	return "it is no kernel; wanted is " + wanted, ""
}

// zboot is how to unpack an EFI zboot image (drivers/firmware/efi/libstub/
// zboot-header.S): payload offset at 8 and size at 12, the compression's name at 24.
func (k kernel) zboot(quoted string) string {
	le := binary.LittleEndian
	at, size := le.Uint32(k.b[8:]), le.Uint32(k.b[12:])
	name, _, _ := bytes.Cut(k.b[24:56], []byte{0})
	for _, c := range compressions {
		if bytes.HasPrefix(name, []byte(c.name)) { // "gzip", "zstd22", "xzkern"
			return fmt.Sprintf("unpack it: tail -c +%d %s | head -c %d | %s > Image", uint64(at)+1, quoted, size, c.unpack)
		}
	}
	return "take the Image of the same build"
}

// shellQuote makes one word of a shell's command line.
func shellQuote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }
