package boot

import (
	"bytes"

	"github.com/libcapsa/libcapsa/internal/guestmem"
	"github.com/libcapsa/libcapsa/internal/vm"
)

// Format is the form of a kernel file.
type Format string

// The formats that can be booted.
const (
	BzImage Format = "bzImage"
	ELF     Format = "ELF vmlinux"
)

// headSize is how much of a kernel file is looked at to recognise it: more than the longest setup header, and than an ELF
// header.
const headSize = 4096

// Kernel is an open and checked kernel file.
type Kernel struct {
	image
	format Format
	bz     *bzImage // BzImage only
	elf    *elfFile // ELF only
}

// Open opens a kernel and recognises it by content. The caller closes it. Errors are of kind NOT_FOUND, PERMISSION, CONFIG
// (not a regular file, empty), UNSUPPORTED (a kernel, but not one for this machine), BOOT (damaged) and IO.
func Open(path string) (*Kernel, error) {
	f, err := openImage(opKernel, path)
	if err != nil {
		return nil, err
	}
	k := &Kernel{image: *f}
	if err := k.recognise(); err != nil {
		_ = f.close() // the error above says more
		return nil, err
	}
	return k, nil
}

func (k *Kernel) recognise() error {
	head := make([]byte, min(k.size, headSize))
	if err := k.readAt(head, 0); err != nil {
		return err
	}
	var err error
	switch {
	case isBzImage(head):
		k.format = BzImage
		k.bz, err = parseBzImage(head, k.size)
	case isELF(head):
		k.format = ELF
		k.elf, err = parseELF(&k.image, head)
	default:
		err = unknownKernel(head)
	}
	return k.named(err)
}

// named adds the file's path to an error.
func (k *Kernel) named(err error) error {
	if e, ok := err.(*vm.Error); ok && e.Path == "" {
		return e.WithPath(k.path)
	}
	return err
}

// Format tells what the file is.
func (k *Kernel) Format() Format { return k.format }

// Size is the size of the file in bytes.
func (k *Kernel) Size() uint64 { return k.size }

// Close closes the file.
func (k *Kernel) Close() error { return k.close() }

// CmdlineMax is the longest command line that the kernel takes, in bytes without the NUL.
func (k *Kernel) CmdlineMax() int {
	if k.bz != nil {
		return k.bz.cmdlineMax()
	}
	return defaultCmdlineMax
}

// load puts the kernel where the plan says. A bzImage is copied: it decompresses itself over where it was, so that nothing of it
// would stay shared.
func (k *Kernel) load(mem *guestmem.Memory, h *Hold, p *plan) error {
	if k.bz != nil {
		return k.copyTo(mem, p.kernel.Base, k.bz.payloadOffset, k.bz.payloadSize)
	}
	pieces := make([]piece, len(k.elf.segments))
	for i, s := range k.elf.segments {
		pieces[i] = piece{run{s.offset, s.fileSize}, s.addr}
	}
	return k.place(mem, h, pieces...)
}

// magic is how a file that cannot be booted is recognised, to say something useful about it.
type magic struct {
	offset int
	bytes  string
	what   string
	hint   string
}

const (
	hintDecompress = "decompress it first; a bzImage, whatever its compression, boots as it is"
	hintX86        = "this machine is x86-64; give a bzImage (Debian: /boot/vmlinuz-*) or an ELF vmlinux"
)

var magics = []magic{
	{0, "\x1F\x8B", "a gzip file", hintDecompress},
	{0, "\xFD7zXZ\x00", "an xz file", hintDecompress},
	{0, "\x28\xB5\x2F\xFD", "a zstd file", hintDecompress},
	{0, "BZh", "a bzip2 file", hintDecompress},
	{0, "\x02\x21\x4C\x18", "an lz4 file", hintDecompress},
	{0, "\x04\x22\x4D\x18", "an lz4 file", hintDecompress},
	{0, "\x89LZO\x00", "an lzo file", hintDecompress},
	{0, "\x5D\x00\x00", "an lzma file", hintDecompress},
	{0x38, "ARM\x64", "a kernel for arm64", hintX86},
	{0x38, "RISCV", "a kernel for RISC-V", hintX86},
	{0, "070701", "a cpio archive", "is it the initrd? give it as such"},
	{0, "MZ", "an EFI program without a Linux setup header", "a unified kernel image holds the kernel in its section .linux; extract it"},
	{0, "#!", "a script", hintX86},
}

func unknownKernel(head []byte) error {
	for _, m := range magics {
		if len(head) >= m.offset && bytes.HasPrefix(head[m.offset:], []byte(m.bytes)) {
			return vm.Errorf(vm.KindUnsupported, opKernel, "is %s, not a kernel that can be booted", m.what).WithHint(m.hint)
		}
	}
	return vm.Errorf(vm.KindBoot, opKernel, "is neither a bzImage nor an ELF vmlinux (it begins with % x)", head[:min(len(head), 8)]).
		WithHint("give a bzImage (Debian: /boot/vmlinuz-*) or an ELF vmlinux")
}
