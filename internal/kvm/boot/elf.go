package boot

import (
	"cmp"
	"debug/elf"
	"encoding/binary"
	"slices"

	"github.com/libcapsa/libcapsa/internal/guestmem"
	"github.com/libcapsa/libcapsa/internal/kvm/layout"
	"github.com/libcapsa/libcapsa/internal/vm"
)

// Sizes and offsets of ELF64 (System V ABI, chapters 4 and 5). debug/elf gives the constants; its reader is not used, as it
// reads the section table, which the loader does not need, of whatever size the file says.
const (
	elfHeaderSize  = 64
	elfProgSize    = 56
	elfType        = 16 // 2 bytes
	elfMachine     = 18 // 2
	elfEntry       = 24 // 8
	elfProgOffset  = 32 // 8
	elfProgEntSize = 54 // 2
	elfProgNum     = 56 // 2

	progType     = 0  // 4
	progOffset   = 8  // 8
	progPhysAddr = 24 // 8
	progFileSize = 32 // 8
	progMemSize  = 40 // 8

	// maxProgs bounds the program headers that are read: Linux's vmlinux has five or six.
	maxProgs = 128
)

// elfSegment is one part of a vmlinux that is loaded.
type elfSegment struct {
	addr     uint64 // physical
	memSize  uint64 // bytes of memory; what the file does not have stays zero
	offset   uint64 // in the file
	fileSize uint64 // bytes of the file
}

func (s elfSegment) span() guestmem.Span { return guestmem.Span{Base: s.addr, Size: s.memSize} }

// elfFile is what the headers of an ELF vmlinux say, checked.
type elfFile struct {
	segments []elfSegment // by ascending address, no overlap
	entry    uint64       // physical
}

func isELF(head []byte) bool {
	return len(head) >= len(elf.ELFMAG) && string(head[:len(elf.ELFMAG)]) == elf.ELFMAG
}

// parseELF checks the headers of a vmlinux. head is the start of the file.
// Preconditions: isELF(head).
func parseELF(f *image, head []byte) (*elfFile, error) {
	if len(head) < elfHeaderSize {
		return nil, damaged("ELF file ends after %d bytes, inside its header", len(head))
	}
	if err := checkELFKind(head); err != nil {
		return nil, err
	}
	progs, err := readProgs(f, head)
	if err != nil {
		return nil, err
	}
	k := &elfFile{entry: binary.LittleEndian.Uint64(head[elfEntry:])}
	for i := 0; i*elfProgSize < len(progs); i++ {
		p := progs[i*elfProgSize:][:elfProgSize]
		switch elf.ProgType(binary.LittleEndian.Uint32(p[progType:])) {
		case elf.PT_INTERP:
			return nil, notKernel("is a program that wants a dynamic loader")
		case elf.PT_LOAD:
			s, err := parseProg(i, p, f.size)
			if err != nil {
				return nil, err
			}
			if s.memSize > 0 {
				k.segments = append(k.segments, s)
			}
		}
	}
	return k, k.check()
}

func notKernel(format string, a ...any) error {
	return vm.Errorf(vm.KindUnsupported, opKernel, "ELF file "+format, a...).WithHint(hintX86)
}

func checkELFKind(head []byte) error {
	class, data := elf.Class(head[elf.EI_CLASS]), elf.Data(head[elf.EI_DATA])
	if class != elf.ELFCLASS64 || data != elf.ELFDATA2LSB {
		return notKernel("is %v %v, not 64-bit little-endian", class, data)
	}
	if m := elf.Machine(binary.LittleEndian.Uint16(head[elfMachine:])); m != elf.EM_X86_64 {
		return notKernel("is for %v", m)
	}
	if t := elf.Type(binary.LittleEndian.Uint16(head[elfType:])); t != elf.ET_EXEC {
		return notKernel("is of type %v, a vmlinux is of type %v", t, elf.ET_EXEC)
	}
	return nil
}

// readProgs reads the program headers, once their place was checked.
func readProgs(f *image, head []byte) ([]byte, error) {
	le := binary.LittleEndian
	off := le.Uint64(head[elfProgOffset:])
	num := uint64(le.Uint16(head[elfProgNum:]))
	switch size := le.Uint16(head[elfProgEntSize:]); {
	case num == 0:
		return nil, damaged("ELF file has no program headers")
	case num > maxProgs:
		return nil, damaged("ELF file has %d program headers, a kernel has fewer than %d", num, maxProgs)
	case size != elfProgSize:
		return nil, damaged("ELF file has program headers of %d bytes, ELF64 has %d", size, elfProgSize)
	case off > f.size || num*elfProgSize > f.size-off:
		return nil, damaged("ELF file has %d program headers at offset %d, the file ends after %d bytes", num, off, f.size)
	}
	progs := make([]byte, num*elfProgSize)
	return progs, f.readAt(progs, off)
}

// parseProg checks program header i against the file's size and the address space.
func parseProg(i int, p []byte, size uint64) (elfSegment, error) {
	le := binary.LittleEndian
	s := elfSegment{
		addr:     le.Uint64(p[progPhysAddr:]),
		memSize:  le.Uint64(p[progMemSize:]),
		offset:   le.Uint64(p[progOffset:]),
		fileSize: le.Uint64(p[progFileSize:]),
	}
	switch {
	case s.fileSize > s.memSize:
		return s, damaged("segment %d of the ELF file has %d bytes in the file but %d in memory", i, s.fileSize, s.memSize)
	case s.offset > size || s.fileSize > size-s.offset:
		return s, damaged("segment %d of the ELF file has %d bytes at offset %d, the file ends after %d bytes",
			i, s.fileSize, s.offset, size)
	case s.memSize > 0 && s.addr+(s.memSize-1) < s.addr:
		return s, damaged("segment %d of the ELF file has %d bytes at address %#x, which wraps around", i, s.memSize, s.addr)
	case s.memSize > 0 && s.addr < layout.ExtMemBase:
		return s, damaged("segment %d of the ELF file goes to address %#x, below %#x, where the boot parameters, page tables and command line are",
			i, s.addr, uint64(layout.ExtMemBase))
	case s.memSize > 0 && (s.addr >= layout.LowMemEnd || s.memSize > layout.LowMemEnd-s.addr):
		return s, damaged("segment %d of the ELF file has %s at address %#x, kernels end below %#x",
			i, human(s.memSize), s.addr, uint64(layout.LowMemEnd))
	}
	return s, nil
}

// check sorts the segments and checks them against each other and the entry point.
func (k *elfFile) check() error {
	if len(k.segments) == 0 {
		return damaged("ELF file has no segment to load")
	}
	slices.SortFunc(k.segments, func(a, b elfSegment) int { return cmp.Compare(a.addr, b.addr) })
	for i := 1; i < len(k.segments); i++ {
		if a, b := k.segments[i-1].span(), k.segments[i].span(); a.Overlaps(b) {
			return damaged("segments of the ELF file overlap: %v and %v", a, b)
		}
	}
	for _, s := range k.segments {
		if (guestmem.Span{Base: s.addr, Size: s.fileSize}).Contains(k.entry, 1) {
			return nil
		}
	}
	return damaged("ELF file starts at physical address %#x, which is in none of its segments", k.entry)
}

// span is all the memory from the first to the last segment.
func (k *elfFile) span() guestmem.Span {
	first, last := k.segments[0], k.segments[len(k.segments)-1]
	return guestmem.Span{Base: first.addr, Size: last.span().End() - first.addr}
}
