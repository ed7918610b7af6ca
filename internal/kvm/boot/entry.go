package boot

import (
	"encoding/binary"
	"sync"

	"github.com/libcapsa/libcapsa/internal/kvm/layout"
)

// Segment is one segment register, in the terms of struct kvm_segment.
type Segment struct {
	Base     uint64
	Limit    uint32
	Selector uint16
	Type     uint8 // of the descriptor: 11 code (execute, read, accessed), 3 data (read, write, accessed), 11 busy TSS
	Present  uint8
	DPL      uint8
	DB       uint8
	S        uint8 // 1: code or data, 0: system
	L        uint8 // 1: 64-bit code
	G        uint8
}

// Entry is the state in which the boot processor starts; what is not named is zero or as KVM resets it.
type Entry struct {
	RIP    uint64
	RSP    uint64
	RBP    uint64
	RSI    uint64 // address of struct boot_params
	RFLAGS uint64

	CR0, CR3, CR4, EFER uint64

	GDTBase  uint64
	GDTLimit uint16
	Code     Segment // CS
	Data     Segment // DS, ES, FS, GS, SS
	TSS      Segment // TR: Intel processors refuse to enter 64-bit mode without a busy TSS; never used
}

// Selectors that the boot protocol asks for: __BOOT_CS and __BOOT_DS (boot.rst, 64-bit boot protocol).
const (
	bootCS  = 0x10
	bootDS  = 0x18
	bootTSS = 0x20
)

// Bits of control registers (Intel SDM volume 3, 2.5 and 2.2.1).
const (
	cr0PE   = 1 << 0 // protected mode
	cr0ET   = 1 << 4 // reads as 1
	cr0NE   = 1 << 5
	cr0PG   = 1 << 31
	cr4PAE  = 1 << 5
	eferLME = 1 << 8
	eferLMA = 1 << 10

	rflagsReserved = 1 << 1 // reads as 1
)

var (
	codeSegment = Segment{Limit: 0xFFFF_FFFF, Selector: bootCS, Type: 11, Present: 1, S: 1, L: 1, G: 1}
	dataSegment = Segment{Limit: 0xFFFF_FFFF, Selector: bootDS, Type: 3, Present: 1, DB: 1, S: 1, G: 1}
	tssSegment  = Segment{Limit: 0x67, Selector: bootTSS, Type: 11, Present: 1}
)

// entryState is the state for a kernel that starts at rip: 64-bit mode, interrupts off, everything below 4 GiB mapped.
func entryState(rip uint64) Entry {
	return Entry{
		RIP:      rip,
		RSP:      layout.StackTop,
		RBP:      layout.StackTop,
		RSI:      layout.ZeroPageAddr,
		RFLAGS:   rflagsReserved,
		CR0:      cr0PE | cr0ET | cr0NE | cr0PG,
		CR3:      layout.PageTablesAddr,
		CR4:      cr4PAE,
		EFER:     eferLME | eferLMA,
		GDTBase:  layout.GDTAddr,
		GDTLimit: uint16(len(gdtBytes()) - 1),
		Code:     codeSegment,
		Data:     dataSegment,
		TSS:      tssSegment,
	}
}

// descriptor is the 8-byte form of a segment (Intel SDM volume 3, 3.4.5).
func (s Segment) descriptor() uint64 {
	limit := uint64(s.Limit)
	if s.G == 1 {
		limit >>= 12
	}
	access := uint64(s.Type) | uint64(s.S)<<4 | uint64(s.DPL)<<5 | uint64(s.Present)<<7
	flags := uint64(s.L)<<1 | uint64(s.DB)<<2 | uint64(s.G)<<3
	return limit&0xFFFF | s.Base&0xFF_FFFF<<16 | access<<40 | limit>>16&0xF<<48 | flags<<52 | s.Base>>24&0xFF<<56
}

// gdtBytes is the table: null, unused, code, data, TSS (two entries in 64-bit mode, the upper one being zero).
func gdtBytes() []byte {
	b := make([]byte, 6*8)
	for _, s := range []Segment{codeSegment, dataSegment, tssSegment} {
		binary.LittleEndian.PutUint64(b[s.Selector:], s.descriptor())
	}
	return b
}

// Bits of page table entries (Intel SDM volume 3, 4.5).
const (
	ptePresent = 1 << 0
	pteWrite   = 1 << 1
	pteLarge   = 1 << 7 // in a page directory: a page of 2 MiB

	entriesPerTable = 512
	largePage       = 2 << 20
	mappedGiB       = 4
)

// pageTables maps the first 4 GiB onto themselves in pages of 2 MiB, which every 64-bit processor has: kernel, initrd, zero
// page and command line are below, and the kernel makes its own tables before it needs more. They are made once, and not to be written.
var pageTables = sync.OnceValue(func() []byte {
	b := make([]byte, 0, (2+mappedGiB)*layout.PageSize)
	table := func(used int, entry func(i int) uint64) {
		for i := range entriesPerTable {
			var e uint64
			if i < used {
				e = entry(i) | ptePresent | pteWrite
			}
			b = binary.LittleEndian.AppendUint64(b, e)
		}
	}
	const pointers = layout.PageTablesAddr + layout.PageSize
	table(1, func(int) uint64 { return pointers })
	table(mappedGiB, func(i int) uint64 { return pointers + uint64(1+i)*layout.PageSize })
	for g := range mappedGiB {
		table(entriesPerTable, func(i int) uint64 { return uint64(g*entriesPerTable+i)*largePage | pteLarge })
	}
	return b
})

// resetCode is what F000:FFF0 holds. A kernel that knows no other way reboots by jumping there in real mode; Debian's cloud
// kernel does, as hardware-reduced ACPI makes it try EFI first and the BIOS next (arch/x86/kernel/reboot.c).
var resetCode = []byte{
	0xB0, 0xFE, // mov al, 0xFE: pulse the reset line
	0xE6, layout.I8042StatusPort, // out 0x64, al
	0xF4,       // hlt
	0xEB, 0xFD, // jmp to the hlt
}
