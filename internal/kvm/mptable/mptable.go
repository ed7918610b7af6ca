// Package mptable writes the tables of Intel's MultiProcessor Specification, version 1.4: how a guest without ACPI learns of
// its processors, IOAPIC and interrupt lines. It is a pure function of the number of processors.
package mptable

import (
	"encoding/binary"

	"github.com/libcapsa/libcapsa/internal/kvm/layout"
	"github.com/libcapsa/libcapsa/internal/vm"
)

// MaxCPUs is the most processors the tables can name: APIC identifiers are one byte, 255 addresses all of them, and the
// specification keeps one for the IOAPIC.
const MaxCPUs = 254

// Block is bytes and where in guest memory they go.
type Block struct {
	Addr  uint64
	Bytes []byte
}

// Sizes of the structures in bytes (MP 1.4, chapter 4).
const (
	floatingSize  = 16
	headerSize    = 44
	processorSize = 20
	entrySize     = 8 // of every other entry
)

// Types of entries (MP 1.4, table 4-3).
const (
	typeProcessor      = 0
	typeBus            = 1
	typeIOAPIC         = 2
	typeInterrupt      = 3
	typeLocalInterrupt = 4
)

const (
	specRevision = 4 // 1.4

	processorEnabled = 1 << 0
	processorBoot    = 1 << 1
	// processorSignature is family 6, model 0, stepping 0: guests read the real one with CPUID.
	processorSignature = 0x600
	// processorFeatures is what every processor here has of the flags: FPU (bit 0) and APIC (bit 9).
	processorFeatures = 0x201

	localAPICVersion = 0x14 // of KVM's local APIC (arch/x86/kvm/lapic.c, APIC_VERSION)
	ioapicVersion    = 0x11 // of KVM's IOAPIC (arch/x86/kvm/ioapic.h, IOAPIC_VERSION_ID)
	ioapicEnabled    = 1

	interruptVectored = 0 // types of interrupts (MP 1.4, table 4-11)
	interruptNMI      = 1
	interruptExtInt   = 3
	// activeHighEdge is what ISA lines are and what the devices do (MP 1.4, table 4-10): polarity 1, trigger mode 1.
	activeHighEdge = 1 | 1<<2
	// conforms leaves polarity and trigger mode to the bus.
	conforms = 0

	isaBus  = 0
	allCPUs = 0xFF
)

// Build makes the tables for cpus processors, 1 to MaxCPUs, with APIC identifiers from 0 on. The floating pointer is always
// at layout.MPTableAddr; the configuration table follows it there when it fits, and is a second block at layout.MPConfigAddr
// when it does not. The error is of kind LIMIT.
func Build(cpus int) ([]Block, error) {
	if cpus < 1 || cpus > MaxCPUs {
		return nil, vm.Errorf(vm.KindLimit, "mptable", "%d processors, MP tables can name 1 to %d", cpus, MaxCPUs).
			WithHint("leave ACPI on in the guest, or use fewer processors")
	}
	config := configTable(cpus)
	if floatingSize+len(config) <= layout.MPTableSize {
		at := uint64(layout.MPTableAddr + floatingSize)
		return []Block{{layout.MPTableAddr, append(floatingPointer(at), config...)}}, nil
	}
	return []Block{
		{layout.MPTableAddr, floatingPointer(layout.MPConfigAddr)},
		{layout.MPConfigAddr, config},
	}, nil
}

// floatingPointer is the MP floating pointer structure (MP 1.4, 4.1) for a configuration table at addr.
func floatingPointer(addr uint64) []byte {
	b := make([]byte, floatingSize)
	copy(b, "_MP_")
	binary.LittleEndian.PutUint32(b[4:], uint32(addr))
	b[8] = floatingSize / 16
	b[9] = specRevision
	// Feature bytes 0: a configuration table is present, and interrupts are in virtual wire mode.
	b[10] = checksum(b)
	return b
}

// configTable is the MP configuration table (MP 1.4, 4.2 and 4.3).
func configTable(cpus int) []byte {
	b := make([]byte, headerSize, configSize(cpus))
	entries := 0
	add := func(entry ...byte) {
		b = append(b, entry...)
		entries++
	}
	for id := range cpus {
		add(processor(id)...)
	}
	add(append([]byte{typeBus, isaBus}, "ISA   "...)...)
	ioapic := []byte{typeIOAPIC, layout.IOAPICID, ioapicVersion, ioapicEnabled}
	add(binary.LittleEndian.AppendUint32(ioapic, layout.IOAPICAddr)...)
	for line := range byte(layout.IOAPICPins) {
		add(typeInterrupt, interruptVectored, activeHighEdge, 0, isaBus, line, layout.IOAPICID, line)
	}
	add(typeLocalInterrupt, interruptExtInt, conforms, 0, isaBus, 0, 0, 0) // LINT0 of the boot processor
	add(typeLocalInterrupt, interruptNMI, conforms, 0, isaBus, 0, allCPUs, 1)

	le := binary.LittleEndian
	copy(b, "PCMP")
	le.PutUint16(b[4:], uint16(len(b)))
	b[6] = specRevision
	copy(b[8:16], "CAPSA   ")
	copy(b[16:28], "LIBCAPSA    ")
	le.PutUint16(b[34:], uint16(entries))
	le.PutUint32(b[36:], layout.LocalAPICAddr)
	b[7] = checksum(b)
	return b
}

// configSize is the size of the configuration table: one bus, one IOAPIC and two local interrupts besides what counts.
func configSize(cpus int) int {
	return headerSize + cpus*processorSize + (1+1+layout.IOAPICPins+2)*entrySize
}

func processor(id int) []byte {
	b := make([]byte, processorSize)
	b[0] = typeProcessor
	b[1] = byte(id)
	b[2] = localAPICVersion
	b[3] = processorEnabled
	if id == 0 {
		b[3] |= processorBoot
	}
	binary.LittleEndian.PutUint32(b[4:], processorSignature)
	binary.LittleEndian.PutUint32(b[8:], processorFeatures)
	return b
}

// checksum is the byte that makes all bytes of b sum up to 0. Its own place in b must be 0.
func checksum(b []byte) byte {
	var sum byte
	for _, v := range b {
		sum += v
	}
	return -sum
}
