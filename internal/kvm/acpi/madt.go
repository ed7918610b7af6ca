package acpi

import (
	"encoding/binary"

	"github.com/libcapsa/libcapsa/internal/kvm/layout"
)

const (
	madtRevision = 5

	// Types of interrupt controller structures (5.2.12, table 5.21).
	madtLocalAPIC    = 0
	madtIOAPIC       = 1
	madtLocalAPICNMI = 4
	madtLocalX2APIC  = 9
	madtX2APICNMI    = 10

	processorEnabled = 1 << 0
	// firstX2APIC is the first identifier that needs the long form: one byte holds those below, and 255 addresses all.
	firstX2APIC = 255
	lint1       = 1 // the local APIC's input for NMI
)

// madt is the body of the multiple APIC description table (5.2.12). Its flags are 0: there is no 8259 to be disabled. GSIs are
// the IOAPIC's pins, edge-triggered and active high unless a device says otherwise, hence no overrides.
func madt(cpus int) []byte {
	le := binary.LittleEndian
	b := le.AppendUint32(nil, layout.LocalAPICAddr)
	b = le.AppendUint32(b, 0)
	for id := range cpus {
		if id < firstX2APIC {
			b = append(b, madtLocalAPIC, 8, byte(id), byte(id))
			b = le.AppendUint32(b, processorEnabled)
			continue
		}
		b = append(b, madtLocalX2APIC, 16, 0, 0)
		b = le.AppendUint32(b, uint32(id))
		b = le.AppendUint32(b, processorEnabled)
		b = le.AppendUint32(b, uint32(id)) // processor UID
	}
	b = append(b, madtIOAPIC, 12, layout.IOAPICID, 0)
	b = le.AppendUint32(b, layout.IOAPICAddr)
	b = le.AppendUint32(b, 0) // first GSI
	b = append(b, madtLocalAPICNMI, 6, 0xFF, 0, 0, lint1)
	if cpus > firstX2APIC {
		b = append(b, madtX2APICNMI, 12, 0, 0)
		b = le.AppendUint32(b, 0xFFFF_FFFF) // all processors
		b = append(b, lint1, 0, 0, 0)
	}
	return b
}
