package boot

import (
	"bytes"
	"encoding/binary"

	"github.com/libcapsa/libcapsa/internal/kvm/layout"
	"github.com/libcapsa/libcapsa/internal/vm"
)

// Offsets in a bzImage and, for what is copied, in struct boot_params (boot.rst, "The Real-Mode Kernel Header").
const (
	hdrSetupSects    = 0x1F1 // 1 byte; sectors of real-mode code after the boot sector
	hdrSysSize       = 0x1F4 // 4; of the protected-mode code, in 16-byte paragraphs
	hdrBootFlag      = 0x1FE // 2
	hdrJump          = 0x201 // 1; header ends this many bytes after 0x202
	hdrMagic         = 0x202 // 4
	hdrVersion       = 0x206 // 2
	hdrTypeOfLoader  = 0x210 // 1
	hdrLoadFlags     = 0x211 // 1
	hdrCode32Start   = 0x214 // 4
	hdrRamdiskImage  = 0x218 // 4
	hdrRamdiskSize   = 0x21C // 4
	hdrCmdLinePtr    = 0x228 // 4
	hdrInitrdAddrMax = 0x22C // 4
	hdrAlignment     = 0x230 // 4
	hdrRelocatable   = 0x234 // 1
	hdrXLoadFlags    = 0x236 // 2
	hdrCmdlineSize   = 0x238 // 4; without the NUL
	hdrSetupData     = 0x250 // 8
	hdrPrefAddress   = 0x258 // 8
	hdrInitSize      = 0x260 // 4; memory needed from the load address on, bytes
	hdrMinEnd        = 0x264 // end of the fields that protocol 2.12 has for certain
	hdrMaxEnd        = 0x290 // where struct boot_params has its next field
)

const (
	bootFlag   = 0xAA55
	setupMagic = "HdrS"

	// minProtocol is 2.12 (Linux 3.8): the first with xloadflags, which say that there is a 64-bit entry point.
	minProtocol = 0x20C
	// entryOffset64 is where that is in the protected-mode code (boot.rst, "64-bit Boot Protocol").
	entryOffset64 = 0x200
	// defaultSetupSects is what setup_sects 0 means.
	defaultSetupSects = 4
	sectorSize        = 512
	paragraph         = 16

	xlfKernel64   = 1 << 0 // there is a 64-bit entry point
	xlfAbove4G    = 1 << 1 // kernel, boot_params, command line and initrd may be above 4 GiB
	loadedHigh    = 1 << 0 // of loadflags
	loaderUnknown = 0xFF   // type_of_loader of a boot loader without a number

	// defaultCmdlineMax is COMMAND_LINE_SIZE of x86 without the NUL (arch/x86/include/asm/setup.h).
	defaultCmdlineMax = 2047
)

// bzImage is what the setup header of a bzImage says, checked.
type bzImage struct {
	header        []byte // file bytes from hdrSetupSects to the end of the header
	payloadOffset uint64 // of the protected-mode code in the file
	payloadSize   uint64
	loadAddr      uint64 // where it goes
	initSize      uint64 // memory it needs there
	cmdlineSize   uint32
	initrdMax     uint64 // last address that an initrd may occupy
}

func isBzImage(head []byte) bool {
	return len(head) >= hdrMagic+len(setupMagic) &&
		binary.LittleEndian.Uint16(head[hdrBootFlag:]) == bootFlag &&
		bytes.Equal(head[hdrMagic:hdrMagic+len(setupMagic)], []byte(setupMagic))
}

// damaged is the error of a kernel file whose contents contradict themselves.
func damaged(format string, a ...any) error {
	return vm.Errorf(vm.KindBoot, opKernel, format, a...).WithHint("the file is damaged or incomplete; build or download it again")
}

// parseBzImage checks a setup header. head is the start of the file, size the size of all of it.
// Preconditions: isBzImage(head).
func parseBzImage(head []byte, size uint64) (*bzImage, error) {
	if len(head) < hdrMinEnd {
		return nil, damaged("bzImage ends after %d bytes, inside its setup header", len(head))
	}
	le := binary.LittleEndian
	if v := le.Uint16(head[hdrVersion:]); v < minProtocol {
		return nil, vm.Errorf(vm.KindUnsupported, opKernel, "bzImage has boot protocol %d.%02d, 2.12 is needed", v>>8, v&0xFF).
			WithHint("give a 64-bit kernel of Linux 3.8 or newer")
	}
	xlf := le.Uint16(head[hdrXLoadFlags:])
	if xlf&xlfKernel64 == 0 {
		return nil, vm.Errorf(vm.KindUnsupported, opKernel, "bzImage has no 64-bit entry point").
			WithHint("it is a 32-bit kernel; give one for x86-64")
	}
	end := min(hdrMagic+int(head[hdrJump]), hdrMaxEnd, len(head))
	if end < hdrMinEnd {
		return nil, damaged("bzImage's setup header ends at %#x, protocol 2.12 has fields up to %#x", end, hdrMinEnd)
	}
	bz := &bzImage{
		header:      bytes.Clone(head[hdrSetupSects:end]),
		initSize:    uint64(le.Uint32(head[hdrInitSize:])),
		cmdlineSize: le.Uint32(head[hdrCmdlineSize:]),
		initrdMax:   uint64(le.Uint32(head[hdrInitrdAddrMax:])),
	}
	if xlf&xlfAbove4G != 0 {
		bz.initrdMax = ^uint64(0)
	}
	if err := bz.setPayload(head, size); err != nil {
		return nil, err
	}
	return bz, bz.setLoadAddr(head)
}

// setPayload finds the protected-mode code in the file.
func (bz *bzImage) setPayload(head []byte, size uint64) error {
	sects := uint64(head[hdrSetupSects])
	if sects == 0 {
		sects = defaultSetupSects
	}
	bz.payloadOffset = (1 + sects) * sectorSize
	bz.payloadSize = uint64(binary.LittleEndian.Uint32(head[hdrSysSize:])) * paragraph
	switch {
	case bz.payloadOffset >= size:
		return damaged("bzImage has %d sectors of set-up code (setup_sects), the file ends after %d bytes", sects, size)
	case bz.payloadSize >= size-bz.payloadOffset+paragraph:
		return damaged("bzImage says that its code has %d bytes (syssize) after %d bytes of set-up, the file has %d bytes",
			bz.payloadSize, bz.payloadOffset, size)
	}
	// syssize counts paragraphs, so up to 15 bytes of it may be missing from the file.
	bz.payloadSize = min(bz.payloadSize, size-bz.payloadOffset)
	if bz.payloadSize <= entryOffset64 {
		return damaged("bzImage has %d bytes of code, its 64-bit entry point is at %d", bz.payloadSize, entryOffset64)
	}
	return nil
}

// setLoadAddr chooses where the code goes: a relocatable kernel to layout.KernelAddr or, when it wants to run further up, there;
// others where they must (boot.rst, pref_address).
func (bz *bzImage) setLoadAddr(head []byte) error {
	le := binary.LittleEndian
	pref := le.Uint64(head[hdrPrefAddress:])
	bz.loadAddr = pref
	if head[hdrRelocatable] != 0 {
		align := uint64(le.Uint32(head[hdrAlignment:]))
		if align == 0 || align&(align-1) != 0 {
			return damaged("bzImage wants an alignment of %#x (kernel_alignment), which is not a power of two", align)
		}
		if pref < layout.LowMemEnd {
			bz.loadAddr = alignUp(max(pref, layout.KernelAddr), align)
		}
	}
	switch {
	case bz.loadAddr < layout.ExtMemBase || bz.loadAddr >= layout.LowMemEnd:
		return damaged("bzImage wants to be loaded at %#x (pref_address), kernels go between %#x and %#x",
			pref, uint64(layout.ExtMemBase), uint64(layout.LowMemEnd))
	case bz.initSize == 0:
		return damaged("bzImage does not say how much memory it needs (init_size is 0)")
	}
	return nil
}

func (bz *bzImage) cmdlineMax() int {
	if bz.cmdlineSize == 0 {
		return defaultCmdlineMax
	}
	return int(min(bz.cmdlineSize, layout.CmdlineSize-1))
}

// alignUp rounds v up to a multiple of align, a power of two.
// Preconditions: v + align does not overflow.
func alignUp(v, align uint64) uint64 { return (v + align - 1) &^ (align - 1) }
