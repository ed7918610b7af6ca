package guestmem

import "unsafe"

// AddrOf is the guest address of a slice of this memory, as Slice or a virtqueue gave it out; false for other memory. The
// memory's bytes are not looked at.
func (m *Memory) AddrOf(b []byte) (uint64, bool) {
	if len(b) == 0 {
		return 0, false
	}
	// SAFETY: addresses are compared, not used. Neither Go's heap nor a mapping moves.
	at := uintptr(unsafe.Pointer(unsafe.SliceData(b)))
	for i := range m.regions {
		r := &m.regions[i]
		off := uint64(at - uintptr(unsafe.Pointer(unsafe.SliceData(r.Bytes)))) // huge for an address before the region
		if off < r.Size && uint64(len(b)) <= r.Size-off {
			return r.Base + off, true
		}
	}
	return 0, false
}
