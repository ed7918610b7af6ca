//go:build linux

package kvmsys

// Regs is struct kvm_regs: the general purpose registers.
type Regs struct {
	RAX, RBX, RCX, RDX uint64
	RSI, RDI, RSP, RBP uint64
	R8, R9, R10, R11   uint64
	R12, R13, R14, R15 uint64
	RIP, RFLAGS        uint64
}

// Segment is struct kvm_segment: a segment register with its hidden part.
type Segment struct {
	Base                      uint64
	Limit                     uint32
	Selector                  uint16
	Type, Present, DPL, DB    uint8
	S, L, G, AVL, Unusable, _ uint8
}

// DTable is struct kvm_dtable: the GDT or IDT register.
type DTable struct {
	Base  uint64
	Limit uint16
	_     [3]uint16
}

// Sregs is struct kvm_sregs: segment, control and table registers.
type Sregs struct {
	CS, DS, ES, FS, GS, SS  Segment
	TR, LDT                 Segment
	GDT, IDT                DTable
	CR0, CR2, CR3, CR4, CR8 uint64
	EFER                    uint64
	APICBase                uint64
	InterruptBitmap         [4]uint64
}

// FPU is struct kvm_fpu: x87 and SSE state.
type FPU struct {
	FPR        [8][16]uint8
	FCW, FSW   uint16
	FTWX, _    uint8
	LastOpcode uint16
	LastIP     uint64
	LastDP     uint64
	XMM        [16][16]uint8
	MXCSR      uint32
	_          uint32
}

// CPUIDEntry is struct kvm_cpuid_entry2: one leaf, or one subleaf when Flags
// has CPUIDSignificantIndex.
type CPUIDEntry struct {
	Function, Index, Flags uint32
	EAX, EBX, ECX, EDX     uint32
	_                      [3]uint32
}

// CPUIDSignificantIndex (KVM_CPUID_FLAG_SIGNIFCANT_INDEX) says that Index
// selects between subleaves.
const CPUIDSignificantIndex = 1

// maxCPUIDEntries is KVM_MAX_CPUID_ENTRIES of arch/x86/kvm/cpuid.h.
const maxCPUIDEntries = 256

// cpuid2 is struct kvm_cpuid2 with room for every entry.
type cpuid2 struct {
	Nent, _ uint32
	Entries [maxCPUIDEntries]CPUIDEntry
}

// MSREntry is struct kvm_msr_entry.
type MSREntry struct {
	Index, _ uint32
	Data     uint64
}

// MSR makes an entry.
func MSR(index uint32, data uint64) MSREntry { return MSREntry{Index: index, Data: data} }

// maxMSRs bounds one KVM_GET_MSRS or KVM_SET_MSRS call (MAX_IO_MSRS in
// arch/x86/kvm/x86.c is 256).
const maxMSRs = 256

// msrs is struct kvm_msrs with room for maxMSRs entries.
type msrs struct {
	NMSRs, _ uint32
	Entries  [maxMSRs]MSREntry
}

// LAPIC is struct kvm_lapic_state: the registers of the local APIC, one
// 32-bit register every 16 bytes.
type LAPIC struct{ Regs [1024]uint8 }

// userMemoryRegion is struct kvm_userspace_memory_region.
type userMemoryRegion struct {
	Slot, Flags   uint32
	GuestPhysAddr uint64
	MemorySize    uint64
	UserspaceAddr uint64
}

// ioeventfd is struct kvm_ioeventfd.
type ioeventfd struct {
	DataMatch, Addr uint64
	Len             uint32
	FD              int32
	Flags           uint32
	_               [36]uint8
}

// irqRoutingEntry is struct kvm_irq_routing_entry with its irqchip member.
type irqRoutingEntry struct {
	GSI, Type, Flags, _ uint32
	IRQChip, Pin        uint32
	_                   [6]uint32
}

// maxRoutes is enough for 24 IOAPIC pins and 16 PIC pins.
const maxRoutes = 64

// irqRouting is struct kvm_irq_routing with room for maxRoutes entries.
type irqRouting struct {
	NR, Flags uint32
	Entries   [maxRoutes]irqRoutingEntry
}

// irqLevel is struct kvm_irq_level.
type irqLevel struct{ IRQ, Level uint32 }

// pitConfig is struct kvm_pit_config.
type pitConfig struct {
	Flags uint32
	_     [15]uint32
}

// enableCap is struct kvm_enable_cap.
type enableCap struct {
	Cap, Flags uint32
	Args       [4]uint64
	_          [64]uint8
}

// Route sends a GSI to a pin of one of the interrupt controllers.
type Route struct{ GSI, Chip, Pin uint32 }
