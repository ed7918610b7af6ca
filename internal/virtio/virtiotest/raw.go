package virtiotest

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/libcapsa/libcapsa/internal/guestmem"
)

// Desc is one descriptor as it lies in memory (2.7.5).
type Desc struct {
	Addr  uint64
	Len   uint32
	Flags uint16
	Next  uint16
}

// Raw is the driver's side of a split ring with no rules: it writes whatever it is told.
type Raw struct {
	t    testing.TB
	mem  *guestmem.Memory
	Size uint16
	Desc uint64 // guest address of the descriptor table: 16*Size bytes
	// Guest address of the available ring: flags, idx, ring[Size], used_event; 6+2*Size bytes.
	Avail uint64
	// Guest address of the used ring: flags, idx, ring[Size] of id and len, avail_event; 6+8*Size bytes.
	Used uint64
}

// NewRaw places a ring at base, which is a multiple of 4096, and zeroes it. RawSize tells how much it takes.
func NewRaw(t testing.TB, mem *guestmem.Memory, base uint64, size uint16) *Raw {
	t.Helper()
	n := uint64(size)
	r := &Raw{t: t, mem: mem, Size: size, Desc: base}
	r.Avail = (r.Desc + descSize*n + 63) &^ 63
	r.Used = (r.Avail + 6 + 2*n + 63) &^ 63
	r.check(mem.WriteAt(make([]byte, RawSize(size)), base))
	return r
}

// RawSize is how many bytes NewRaw uses at its base.
func RawSize(size uint16) uint64 { return 26*uint64(size) + 12 + 128 }

// Mem is the memory the ring is in.
func (r *Raw) Mem() *guestmem.Memory { return r.mem }

func (r *Raw) check(err error) {
	r.t.Helper()
	require.NoError(r.t, err)
}

// SetDesc writes descriptor i of the queue's table.
func (r *Raw) SetDesc(i uint16, d Desc) { r.SetTable(r.Desc+descSize*uint64(i), d) }

// SetTable writes descriptors from addr on: an indirect table. addr need not be aligned.
func (r *Raw) SetTable(addr uint64, descs ...Desc) {
	r.t.Helper()
	r.check(WriteDescs(r.mem, addr, descs...))
}

// WriteDescs writes descriptors from addr on, each half with one atomic store where addr is a multiple of 8.
func WriteDescs(mem *guestmem.Memory, addr uint64, descs ...Desc) error {
	for i, d := range descs {
		at := addr + descSize*uint64(i)
		rest := uint64(d.Len) | uint64(d.Flags)<<32 | uint64(d.Next)<<48
		if addr%8 != 0 {
			var b [descSize]byte
			for k := range 8 {
				b[k], b[8+k] = byte(d.Addr>>(8*k)), byte(rest>>(8*k))
			}
			if err := mem.WriteAt(b[:], at); err != nil {
				return err
			}
			continue
		}
		if err := mem.Store64(at, d.Addr); err != nil {
			return err
		}
		if err := mem.Store64(at+8, rest); err != nil {
			return err
		}
	}
	return nil
}

// SetAvail writes a slot of the available ring.
func (r *Raw) SetAvail(slot, head uint16) { r.check(r.mem.Store16(r.Avail+4+2*uint64(slot), head)) }

// SetAvailIdx moves the available index.
func (r *Raw) SetAvailIdx(idx uint16) { r.check(r.mem.Store16(r.Avail+2, idx)) }

// AvailIdx is the available index.
func (r *Raw) AvailIdx() uint16 { return r.load16(r.Avail + 2) }

// SetAvailFlags writes the flags of the available ring.
func (r *Raw) SetAvailFlags(flags uint16) { r.check(r.mem.Store16(r.Avail, flags)) }

// SetUsedEvent writes used_event, behind the available ring.
func (r *Raw) SetUsedEvent(idx uint16) {
	r.check(r.mem.Store16(r.Avail+4+2*uint64(r.Size), idx))
}

// Expose makes chains available, after those that are.
func (r *Raw) Expose(heads ...uint16) {
	idx := r.AvailIdx()
	for _, h := range heads {
		r.SetAvail(idx&(r.Size-1), h)
		idx++
	}
	r.SetAvailIdx(idx)
}

// UsedIdx is the used index, which the device moves.
func (r *Raw) UsedIdx() uint16 { return r.load16(r.Used + 2) }

// UsedFlags are the flags of the used ring.
func (r *Raw) UsedFlags() uint16 { return r.load16(r.Used) }

// UsedElem is a slot of the used ring.
func (r *Raw) UsedElem(slot uint16) (id, length uint32) {
	var b [8]byte // plain reads: the load of the used index came first
	r.check(r.mem.ReadAt(b[:], r.Used+4+8*uint64(slot)))
	for k := range 4 {
		id |= uint32(b[k]) << (8 * k)
		length |= uint32(b[4+k]) << (8 * k)
	}
	return id, length
}

// AvailEvent is avail_event, behind the used ring.
func (r *Raw) AvailEvent() uint16 { return r.load16(r.Used + 4 + 8*uint64(r.Size)) }

func (r *Raw) load16(addr uint64) uint16 {
	v, err := r.mem.Load16(addr)
	r.check(err)
	return v
}
