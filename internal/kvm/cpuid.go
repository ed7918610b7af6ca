//go:build linux

package kvm

import (
	"math/bits"
	"slices"

	"github.com/libcapsa/libcapsa/internal/kvm/kvmsys"
)

// CPUID leaves. Intel SDM volume 2A, CPUID; AMD APM volume 3, appendix E; KVM's
// own: Documentation/virt/kvm/x86/cpuid.rst.
const (
	leafVendor      = 0x0
	leafFeatures    = 0x1
	leafCaches      = 0x4
	leafThermal     = 0x6
	leafExtFeatures = 0x7
	leafPMU         = 0xa
	leafTopology    = 0xb
	leafSGX         = 0x12
	leafTSC         = 0x15
	leafFrequency   = 0x16
	leafTopologyV2  = 0x1f
	leafKVM         = 0x4000_0000
	leafKVMTSC      = 0x4000_0010
	leafAMDFeatures = 0x8000_0001
	leafAMDPower    = 0x8000_0007
	leafAMDSizes    = 0x8000_0008
	leafAMDCaches   = 0x8000_001d
	leafAMDTopology = 0x8000_001e
	leafAMDPMU      = 0x8000_0022
)

// Bits of the leaves above.
const (
	ecxVMX         = 1 << 5  // leaf 1
	ecxTSCDeadline = 1 << 24 // leaf 1
	ecxHypervisor  = 1 << 31 // leaf 1
	edxHTT         = 1 << 28 // leaf 1: EBX has the number of logical processors
	eaxARAT        = 1 << 2  // leaf 6: the local APIC timer always runs
	ebxSGX         = 1 << 2  // leaf 7, subleaf 0
	ecxSGXLC       = 1 << 30 // leaf 7, subleaf 0
	ecxCmpLegacy   = 1 << 1  // leaf 0x80000001: every logical processor is a core
	ecxSVM         = 1 << 2  // leaf 0x80000001
	ecxPerfCore    = 1 << 23 // leaf 0x80000001
	ecxPerfNB      = 1 << 24 // leaf 0x80000001
	ecxPerfL2      = 1 << 28 // leaf 0x80000001

	edxInvariantTSC = 1 << 8 // leaf 0x80000007
)

// cpuModel is what the machine's processors are like, the same for all.
type cpuModel struct {
	supported   []kvmsys.CPUIDEntry // KVM_GET_SUPPORTED_CPUID
	cpus        int
	tscKHz      uint32 // 0: not known
	tscDeadline bool   // KVM_CAP_TSC_DEADLINE_TIMER
}

// coreBits is how many bits of the APIC id number the cores of the package.
// APIC ids are the vCPU numbers: one package, one thread a core.
func (m *cpuModel) coreBits() uint32 { return uint32(bits.Len(uint(m.cpus - 1))) }

// entries is the CPUID table of the vCPU with an APIC id.
//
// What KVM supports is passed on with these changes: the topology is one package
// of single-threaded cores; nested virtualisation, SGX and the performance
// counters are hidden (they need state and isolation that the machine does not
// provide); the TSC deadline timer, kvm-clock's frequency and, where it can be
// said exactly, the crystal's are announced, so that guests skip calibration.
func (m *cpuModel) entries(apicID uint32) []kvmsys.CPUIDEntry {
	table := make([]kvmsys.CPUIDEntry, 0, len(m.supported)+5)
	for _, e := range m.supported {
		switch e.Function {
		case leafTopology, leafTopologyV2, leafKVMTSC:
			continue // made below
		case leafTSC, leafFrequency:
			if m.crystal() != nil {
				continue // made below
			}
		}
		m.adjust(&e, apicID)
		table = append(table, e)
	}
	if m.maxLeaf() >= leafTopology {
		table = append(table, m.topology(leafTopology, apicID)...)
	}
	if m.maxLeaf() >= leafTopologyV2 {
		table = append(table, m.topology(leafTopologyV2, apicID)...)
	}
	table = append(table, m.crystal()...)
	if m.tscKHz != 0 {
		// EAX: the TSC's frequency, EBX: the local APIC timer's, both in kHz. KVM's
		// APIC bus runs at 1 GHz (arch/x86/kvm/lapic.h, APIC_BUS_CYCLE_NS_DEFAULT).
		table = append(table, kvmsys.CPUIDEntry{Function: leafKVMTSC, EAX: m.tscKHz, EBX: apicBusKHz})
	}
	return table
}

const apicBusKHz = 1_000_000

// adjust changes one supported entry for the vCPU.
func (m *cpuModel) adjust(e *kvmsys.CPUIDEntry, apicID uint32) {
	n := uint32(m.cpus)
	switch e.Function {
	case leafFeatures:
		e.EBX = e.EBX&0x0000_ffff | min(n, 255)<<16 | apicID<<24
		e.ECX = e.ECX&^(ecxVMX|ecxTSCDeadline) | ecxHypervisor
		if m.tscDeadline {
			e.ECX |= ecxTSCDeadline
		}
		e.EDX &^= edxHTT
		if n > 1 {
			e.EDX |= edxHTT
		}
	case leafCaches, leafAMDCaches:
		// Bits 14..25: threads that share the cache, less one. Caches up to the
		// second level belong to a core, the last one to the package. Bits 26..31
		// (leaf 4 only, reserved in AMD's): cores of the package, less one.
		shared := uint32(0)
		if level := e.EAX >> 5 & 7; level >= 3 {
			shared = 1<<m.coreBits() - 1
		}
		e.EAX = e.EAX&^(0xfff<<14) | min(shared, 0xfff)<<14
		if e.Function == leafCaches && e.EAX&0x1f != 0 {
			e.EAX = e.EAX&^(0x3f<<26) | min(uint32(1)<<m.coreBits()-1, 0x3f)<<26
		}
	case leafThermal:
		e.EAX |= eaxARAT
	case leafExtFeatures:
		if e.Index == 0 {
			e.EBX &^= ebxSGX
			e.ECX &^= ecxSGXLC
		}
	case leafPMU, leafSGX, leafAMDPMU:
		e.EAX, e.EBX, e.ECX, e.EDX = 0, 0, 0, 0
	case leafKVM:
		if m.tscKHz != 0 {
			e.EAX = max(e.EAX, leafKVMTSC)
		}
	case leafAMDFeatures:
		e.ECX &^= ecxSVM | ecxPerfCore | ecxPerfNB | ecxPerfL2 | ecxCmpLegacy
		if n > 1 && m.amd() {
			e.ECX |= ecxCmpLegacy
		}
	case leafAMDSizes:
		// ECX 0..7: cores less one; 12..15: bits of the APIC id that number them.
		e.ECX = e.ECX&^0xf0ff | min(n-1, 0xff) | m.coreBits()&0xf<<12
	case leafAMDTopology:
		e.EAX, e.EBX, e.ECX, e.EDX = apicID, apicID&0xff, 0, 0
	}
}

// topology makes the subleaves of an extended topology leaf: threads of a core,
// then cores of the package, then the end. Each has in EAX by how much to shift
// the APIC id for the next level, in EBX the processors at this level, in ECX
// the level's number and type, and in EDX the APIC id.
func (m *cpuModel) topology(leaf, apicID uint32) []kvmsys.CPUIDEntry {
	const typeThread, typeCore = 1 << 8, 2 << 8
	sub := func(index, eax, ebx, ecx uint32) kvmsys.CPUIDEntry {
		return kvmsys.CPUIDEntry{
			Function: leaf, Index: index, Flags: kvmsys.CPUIDSignificantIndex,
			EAX: eax, EBX: ebx, ECX: ecx, EDX: apicID,
		}
	}
	return []kvmsys.CPUIDEntry{
		sub(0, 0, 1, 0|typeThread),
		sub(1, m.coreBits(), uint32(m.cpus), 1|typeCore),
		sub(2, 0, 0, 2),
	}
}

// crystal makes leaves 0x15 and 0x16, or nil where they would not be right. The
// guest computes the TSC's frequency as ECX * EBX / EAX and takes ECX for the
// local APIC timer's, so ECX is KVM's APIC bus of 1 GHz. Linux multiplies the
// kHz in 32 bits (arch/x86/kernel/tsc.c, native_calibrate_tsc), so a ratio that
// would overflow is not given. Only Intel's processors have these leaves; on
// others, and where there are none, kvm-clock says it.
func (m *cpuModel) crystal() []kvmsys.CPUIDEntry {
	if m.tscKHz == 0 || m.vendor() != vendorIntel || m.maxLeaf() < leafFrequency {
		return nil
	}
	g := gcd(m.tscKHz, apicBusKHz)
	num, den := m.tscKHz/g, uint32(apicBusKHz)/g
	if uint64(num)*apicBusKHz > 1<<32-1 {
		return nil
	}
	mhz := m.tscKHz / 1000
	return []kvmsys.CPUIDEntry{
		{Function: leafTSC, EAX: den, EBX: num, ECX: apicBusKHz * 1000},
		{Function: leafFrequency, EAX: mhz, EBX: mhz, ECX: 100},
	}
}

func gcd(a, b uint32) uint32 {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// Vendor strings as leaf 0 has them in EBX, EDX, ECX.
var (
	vendorIntel = [3]uint32{0x756e6547, 0x49656e69, 0x6c65746e} // GenuineIntel
	vendorAMD   = [3]uint32{0x68747541, 0x69746e65, 0x444d4163} // AuthenticAMD
	vendorHygon = [3]uint32{0x6f677948, 0x6e65476e, 0x656e6975} // HygonGenuine
)

func (m *cpuModel) leaf0() kvmsys.CPUIDEntry {
	i := slices.IndexFunc(m.supported, func(e kvmsys.CPUIDEntry) bool { return e.Function == leafVendor })
	if i < 0 {
		return kvmsys.CPUIDEntry{}
	}
	return m.supported[i]
}

func (m *cpuModel) maxLeaf() uint32 { return m.leaf0().EAX }

func (m *cpuModel) vendor() [3]uint32 {
	e := m.leaf0()
	return [3]uint32{e.EBX, e.EDX, e.ECX}
}

func (m *cpuModel) amd() bool {
	v := m.vendor()
	return v == vendorAMD || v == vendorHygon
}

// invariantTSC says whether the time stamp counter runs at one rate in all
// states of the processor (leaf 0x80000007, EDX bit 8), so that a guest may use
// it as its clock.
func (m *cpuModel) invariantTSC() bool {
	return slices.ContainsFunc(m.supported, func(e kvmsys.CPUIDEntry) bool {
		return e.Function == leafAMDPower && e.EDX&edxInvariantTSC != 0
	})
}

// physBits is how many bits a physical address of the guest may have.
func (m *cpuModel) physBits() uint32 {
	for _, e := range m.supported {
		if e.Function == leafAMDSizes && e.EAX&0xff != 0 {
			return e.EAX & 0xff
		}
	}
	return 36 // the least that a processor with long mode has
}
