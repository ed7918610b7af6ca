package acpi

import "encoding/binary"

// Resource descriptors (6.4).
const (
	tagIO            = 0x47 // I/O port, small, 7 bytes follow; 6.4.2.5
	decode16         = 1
	tagMemory32Fixed = 0x86 // 6.4.3.4
	memoryReadWrite  = 1
	tagInterrupt     = 0x89 // extended interrupt, 6.4.3.6
	// consumerEdgeHigh: bit 0 consumer, bit 1 edge-triggered, bit 2 (active low) and bit 3 (shared) clear.
	consumerEdgeHigh = 1<<0 | 1<<1
	tagEnd           = 0x79 // 6.4.2.9
)

// ioPorts is IO(Decode16, base, base, 1, count).
func ioPorts(base uint16, count byte) term {
	b := binary.LittleEndian.AppendUint16(term{tagIO, decode16}, base) // lowest
	b = binary.LittleEndian.AppendUint16(b, base)                      // highest
	return append(b, 1, count)
}

// memory32Fixed is Memory32Fixed(ReadWrite, base, size).
func memory32Fixed(base, size uint32) term {
	b := term{tagMemory32Fixed, 9, 0, memoryReadWrite}
	b = binary.LittleEndian.AppendUint32(b, base)
	return binary.LittleEndian.AppendUint32(b, size)
}

// interrupt is Interrupt(ResourceConsumer, Edge, ActiveHigh, Exclusive){gsi}.
func interrupt(gsi uint32) term {
	return binary.LittleEndian.AppendUint32(term{tagInterrupt, 6, 0, consumerEdgeHigh, 1}, gsi)
}

// resources is ResourceTemplate(){descriptors}. A checksum of 0 in the end tag means that there is none.
func resources(descriptors ...term) term {
	return buffer(concat(concat(descriptors...), term{tagEnd, 0}))
}
