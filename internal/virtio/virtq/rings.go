package virtq

import (
	"encoding/binary"
	"fmt"

	"github.com/libcapsa/libcapsa/internal/guestmem"
)

// Layout of the rings in guest memory, bytes (2.7.5, 2.7.6, 2.7.8). All fields are little-endian, as the host is.
const (
	descSize  = 16 // addr le64, len le32, flags le16, next le16
	descAlign = 16

	availAlign = 2
	availIdx   = 2 // after flags le16
	availRing  = 4 // le16 each; used_event le16 follows
	availEntry = 2

	usedAlign = 4
	usedFlags = 0 // flags le16, idx le16: written as one word, both are ours
	usedRing  = 4 // id le32, len le32 each; avail_event le16 follows
	usedEntry = 8

	eventSize = 2
)

// Flags of the rings and of descriptors.
const (
	availNoInterrupt = 1 // VIRTQ_AVAIL_F_NO_INTERRUPT (2.7.6)
	usedNoNotify     = 1 // VIRTQ_USED_F_NO_NOTIFY (2.7.8)

	descNext     = 1 // VIRTQ_DESC_F_NEXT (2.7.5)
	descWrite    = 2 // VIRTQ_DESC_F_WRITE
	descIndirect = 4 // VIRTQ_DESC_F_INDIRECT
)

// rings are the three parts of a split virtqueue, resolved once.
type rings struct {
	desc, avail, used guestmem.Words
	usedEvent         uint64 // offset in avail
	availEvent        uint64 // offset in used
}

// resolve checks alignment, overlap and range of the driver's addresses, and keeps where they are.
func (r *rings) resolve(mem *guestmem.Memory, cfg Config) *Fault {
	n := uint64(cfg.Size)
	parts := [...]struct {
		span  guestmem.Span
		align uint64
		words *guestmem.Words
	}{
		{guestmem.Span{Base: cfg.Desc, Size: descSize * n}, descAlign, &r.desc},
		{guestmem.Span{Base: cfg.Avail, Size: availRing + availEntry*n + eventSize}, availAlign, &r.avail},
		{guestmem.Span{Base: cfg.Used, Size: usedRing + usedEntry*n + eventSize}, usedAlign, &r.used},
	}
	for _, p := range parts {
		if p.span.Base%p.align != 0 {
			return &Fault{Reason: FaultRingAlign, Value: p.span.Base, Err: fmt.Errorf("multiple of %d expected", p.align)}
		}
		w, err := mem.Words(p.span.Base, p.span.Size)
		if err != nil {
			return &Fault{Reason: FaultRingRange, Value: p.span.Base, Err: fmt.Errorf("%v: %w", p.span, err)}
		}
		*p.words = w
	}
	for i, p := range parts { // none wraps: each is inside a region
		for _, o := range parts[:i] {
			if p.span.Overlaps(o.span) {
				return &Fault{Reason: FaultRingOverlap, Value: p.span.Base, Err: fmt.Errorf("%v and %v", o.span, p.span)}
			}
		}
	}
	r.usedEvent = availRing + availEntry*n
	r.availEvent = usedRing + usedEntry*n
	return nil
}

func (r *rings) availFlags() uint16         { return r.avail.Load16(0) }
func (r *rings) availIndex() uint16         { return r.avail.Load16(availIdx) }
func (r *rings) availEntry(i uint16) uint16 { return r.avail.Load16(availRing + availEntry*uint64(i)) }
func (r *rings) loadUsedEvent() uint16      { return r.avail.Load16(r.usedEvent) }

// putUsed writes an entry that the driver does not look at before publishUsed.
func (r *rings) putUsed(i, head uint16, written uint32) {
	off := usedRing + usedEntry*uint64(i)
	r.used.Put32(off, uint32(head))
	r.used.Put32(off+4, written)
}

// publishUsed orders everything before it ahead of the index, and is a full barrier for the loads after it.
func (r *rings) publishUsed(flags, idx uint16) {
	r.used.Store32(usedFlags, uint32(flags)|uint32(idx)<<16)
}

// storeAvailEvent is a full barrier for the loads after it.
func (r *rings) storeAvailEvent(idx uint16) { r.used.Store16(r.availEvent, idx) }

// descriptor is a copy of one entry of a descriptor table.
type descriptor struct {
	addr  uint64
	len   uint32
	flags uint16
	next  uint16
}

// table is the queue's descriptor table or an indirect one.
type table struct {
	entries uint32
	words   guestmem.Words
	raw     []byte // when not 8-byte aligned: the specification asks no alignment of indirect tables
}

// load copies one descriptor, reading each byte of it once. i < entries.
func (t *table) load(i uint16) descriptor {
	off := descSize * uint64(i)
	var addr, rest uint64
	if t.raw == nil {
		addr, rest = t.words.Load64(off), t.words.Load64(off+8)
	} else {
		var b [descSize]byte
		copy(b[:], t.raw[off:])
		addr, rest = binary.LittleEndian.Uint64(b[:8]), binary.LittleEndian.Uint64(b[8:])
	}
	return descriptor{addr: addr, len: uint32(rest), flags: uint16(rest >> 32), next: uint16(rest >> 48)}
}
