package layout

import "github.com/libcapsa/libcapsa/internal/guestmem"

// RAM tells which spans of guest-physical addresses a guest with size bytes of memory has: up to LowMemEnd, and the rest from
// HighMemBase upward. There are one or two spans, in ascending order; none for size 0.
func RAM(size uint64) []guestmem.Span {
	if size == 0 {
		return nil
	}
	spans := []guestmem.Span{{Base: 0, Size: min(size, LowMemEnd)}}
	if size > LowMemEnd {
		spans = append(spans, guestmem.Span{Base: HighMemBase, Size: size - LowMemEnd})
	}
	return spans
}

// E820Type is the kind of an e820 entry (ACPI 6.5, table 15.3).
type E820Type uint32

// The types that the machine uses.
const (
	E820RAM      E820Type = 1 // usable
	E820Reserved E820Type = 2 // not to be used, nor mapped over
)

// E820Entry is one line of the memory map that the kernel gets.
type E820Entry struct {
	guestmem.Span
	Type E820Type
}

// E820 is the memory map of a guest with size bytes of memory, ascending and without overlaps. What the firmware would own
// below 1 MiB is reserved; the MMIO window is in no entry.
func E820(size uint64) []E820Entry {
	var entries []E820Entry
	add := func(t E820Type, base, end uint64) {
		if base < end {
			entries = append(entries, E820Entry{guestmem.Span{Base: base, Size: end - base}, t})
		}
	}
	low := min(size, LowMemEnd)
	add(E820RAM, 0, min(low, BaseMemEnd))
	add(E820Reserved, BaseMemEnd, min(low, ExtMemBase))
	add(E820RAM, ExtMemBase, low)
	if size > LowMemEnd {
		add(E820RAM, HighMemBase, HighMemBase+(size-LowMemEnd))
	}
	return entries
}
