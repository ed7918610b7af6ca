//go:build linux

package kvmsys

import (
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"
)

// Sizes and offsets as the C compiler gives them for linux/kvm.h on x86-64.
func TestStructureSizes(t *testing.T) {
	for _, c := range []struct {
		name      string
		got, want uintptr
	}{
		{"kvm_regs", unsafe.Sizeof(Regs{}), 144},
		{"kvm_segment", unsafe.Sizeof(Segment{}), 24},
		{"kvm_dtable", unsafe.Sizeof(DTable{}), 16},
		{"kvm_sregs", unsafe.Sizeof(Sregs{}), 312},
		{"kvm_fpu", unsafe.Sizeof(FPU{}), 416},
		{"kvm_cpuid_entry2", unsafe.Sizeof(CPUIDEntry{}), 40},
		{"kvm_cpuid2", unsafe.Offsetof(cpuid2{}.Entries), 8},
		{"kvm_msr_entry", unsafe.Sizeof(MSREntry{}), 16},
		{"kvm_msrs", unsafe.Offsetof(msrs{}.Entries), 8},
		{"kvm_lapic_state", unsafe.Sizeof(LAPIC{}), 1024},
		{"kvm_userspace_memory_region", unsafe.Sizeof(userMemoryRegion{}), 32},
		{"kvm_ioeventfd", unsafe.Sizeof(ioeventfd{}), 64},
		{"kvm_irq_routing", unsafe.Offsetof(irqRouting{}.Entries), 8},
		{"kvm_irq_routing_entry", unsafe.Sizeof(irqRoutingEntry{}), 48},
		{"kvm_irq_level", unsafe.Sizeof(irqLevel{}), 8},
		{"kvm_pit_config", unsafe.Sizeof(pitConfig{}), 64},
		{"kvm_enable_cap", unsafe.Sizeof(enableCap{}), 104},
		{"kvm_sregs.cr0", unsafe.Offsetof(Sregs{}.CR0), 224},
		{"kvm_fpu.mxcsr", unsafe.Offsetof(FPU{}.MXCSR), 408},
		{"kvm_ioeventfd.flags", unsafe.Offsetof(ioeventfd{}.Flags), 24},
	} {
		t.Run(c.name, func(t *testing.T) { require.Equal(t, c.want, c.got) })
	}
}

// The size field of an ioctl number (bits 16 to 29) is that of its structure.
func TestNumbersCarrySizes(t *testing.T) {
	for _, c := range []struct {
		name   string
		number uintptr
		size   uintptr
	}{
		{"KVM_GET_SUPPORTED_CPUID", ioGetSupportedCPUID, unsafe.Offsetof(cpuid2{}.Entries)},
		{"KVM_SET_CPUID2", ioSetCPUID2, unsafe.Offsetof(cpuid2{}.Entries)},
		{"KVM_SET_USER_MEMORY_REGION", ioSetUserMemory, unsafe.Sizeof(userMemoryRegion{})},
		{"KVM_SET_IDENTITY_MAP_ADDR", ioSetIdentityMapAddr, 8},
		{"KVM_IRQ_LINE", ioIRQLine, unsafe.Sizeof(irqLevel{})},
		{"KVM_SET_GSI_ROUTING", ioSetGSIRouting, unsafe.Offsetof(irqRouting{}.Entries)},
		{"KVM_CREATE_PIT2", ioCreatePIT2, unsafe.Sizeof(pitConfig{})},
		{"KVM_IOEVENTFD", ioIOEventFD, unsafe.Sizeof(ioeventfd{})},
		{"KVM_GET_REGS", ioGetRegs, unsafe.Sizeof(Regs{})},
		{"KVM_SET_REGS", ioSetRegs, unsafe.Sizeof(Regs{})},
		{"KVM_GET_SREGS", ioGetSregs, unsafe.Sizeof(Sregs{})},
		{"KVM_SET_SREGS", ioSetSregs, unsafe.Sizeof(Sregs{})},
		{"KVM_GET_MSRS", ioGetMSRs, unsafe.Offsetof(msrs{}.Entries)},
		{"KVM_SET_MSRS", ioSetMSRs, unsafe.Offsetof(msrs{}.Entries)},
		{"KVM_SET_FPU", ioSetFPU, unsafe.Sizeof(FPU{})},
		{"KVM_GET_LAPIC", ioGetLAPIC, unsafe.Sizeof(LAPIC{})},
		{"KVM_SET_LAPIC", ioSetLAPIC, unsafe.Sizeof(LAPIC{})},
		{"KVM_GET_MP_STATE", ioGetMPState, 4},
		{"KVM_SET_MP_STATE", ioSetMPState, 4},
		{"KVM_ENABLE_CAP", ioEnableCap, unsafe.Sizeof(enableCap{})},
	} {
		t.Run(c.name, func(t *testing.T) { require.Equal(t, c.size, c.number>>16&0x3fff) })
	}
}

func TestExitReasonString(t *testing.T) {
	require.Equal(t, "mmio", ExitMMIO.String())
	require.Equal(t, "exit_13", ExitReason(13).String())
	require.Equal(t, "exit_4294967295", ExitReason(1<<32-1).String())
}

// Whatever the kernel might write there, the accessors stay inside the area.
func TestRunAccessorsBounded(t *testing.T) {
	all := func(b byte) Run {
		mem := make([]byte, 4096)
		for i := range mem {
			mem[i] = b
		}
		return Run{mem: mem}
	}
	for _, b := range []byte{0x00, 0x01, 0x08, 0x7f, 0xff} {
		r := all(b)
		_, _ = r.IO()
		_, _ = r.MMIO()
		_, d := r.Internal()
		require.LessOrEqual(t, len(d), maxInternal)
		_, d = r.SystemEvent()
		require.LessOrEqual(t, len(d), maxInternal)
		require.LessOrEqual(t, len(r.FailedInsn()), maxInsn)
	}
	ones := all(0xff)
	_, ok := ones.IO()
	require.False(t, ok)
	_, ok = ones.MMIO()
	require.False(t, ok)
}
