package virtq_test

import (
	"encoding/binary"
	"slices"
	"testing"

	"github.com/libcapsa/libcapsa/internal/guestmem"
	"github.com/libcapsa/libcapsa/internal/virtio/virtiotest"
	"github.com/libcapsa/libcapsa/internal/virtio/virtq"
)

// state is one content of a small ring and of the one indirect table beside it.
type state struct {
	size     int
	descs    []virtiotest.Desc
	table    []virtiotest.Desc // at modelTable
	heads    []uint16          // made available at once
	indirect bool
}

// result is what a device may do with one available entry.
type result struct {
	refused bool
	reasons []virtq.Reason // when refused: any of these
	bufs    []virtiotest.Desc
}

// Guest memory of the model.
const (
	modelDesc  = 0x000
	modelAvail = 0x100
	modelUsed  = 0x200
	modelTable = 0x300
	modelData  = 0x400
	modelSize  = 0x500
	modelHole  = 0x10_0000
)

// oracle says what must happen to the available entries, one after the other; it ends with the first refusal. It is written
// from the specification's rules and the catalogue of bad inputs, over Go values, with no memory and no loop bounds.
func oracle(s *state) (results []result) {
	if len(s.heads) > s.size {
		return []result{refuse(virtq.FaultAvailIndex)}
	}
	taken := 0
	for _, h := range s.heads {
		r := result{}
		switch {
		case int(h) >= s.size:
			r = refuse(virtq.FaultHeadIndex)
		case taken>>h&1 != 0:
			r = refuse(virtq.FaultHeadInFlight)
		default:
			r = follow(s, s.descs, int(h), false, nil)
		}
		results = append(results, r)
		if r.refused {
			break
		}
		taken |= 1 << h
	}
	return results
}

func refuse(reasons ...virtq.Reason) result { return result{refused: true, reasons: reasons} }

// follow reads the rest of a chain from entry i of a table; bufs is what came before, with empty buffers.
func follow(s *state, table []virtiotest.Desc, i int, inside bool, bufs []virtiotest.Desc) result {
	visited := 0
	for {
		if visited>>i&1 != 0 {
			// A loop. Who walks it again may notice first that a readable buffer follows a writable one.
			return refuse(virtq.FaultChainLength, virtq.FaultBufferOrder)
		}
		visited |= 1 << i
		d := table[i]
		next, write := d.Flags&virtiotest.DescNext != 0, d.Flags&virtiotest.DescWrite != 0
		if d.Flags&virtiotest.DescIndirect != 0 {
			switch {
			case inside:
				return refuse(virtq.FaultIndirectNested)
			case !s.indirect:
				return refuse(virtq.FaultIndirectFeature)
			case next:
				return refuse(virtq.FaultIndirectNext)
			case d.Len == 0 || d.Len%16 != 0:
				return refuse(virtq.FaultIndirectLength)
			case d.Addr != modelTable:
				return refuse(virtq.FaultIndirectRange)
			}
			return follow(s, s.table[:d.Len/16], 0, true, bufs)
		}
		if len(bufs) > 0 && bufs[len(bufs)-1].Flags&virtiotest.DescWrite != 0 && !write {
			return refuse(virtq.FaultBufferOrder)
		}
		if d.Len > 0 && d.Addr != modelData {
			return refuse(virtq.FaultBufferRange)
		}
		bufs = append(bufs, d)
		if !next {
			return result{bufs: slices.DeleteFunc(bufs, func(d virtiotest.Desc) bool { return d.Len == 0 })}
		}
		if int(d.Next) >= len(table) {
			return refuse(virtq.FaultNextIndex)
		}
		i = int(d.Next)
	}
}

// model runs states through a Queue over one memory.
type model struct {
	t   *testing.T
	mem *guestmem.Memory
	ram []byte
	n   int // states run
}

func newModel(t *testing.T) *model {
	t.Helper()
	if raceDetector {
		t.Skip("one goroutine: the race detector has nothing to see, and takes ten times as long")
	}
	mem, err := guestmem.Heap(guestmem.Span{Base: 0, Size: modelSize})
	if err != nil {
		t.Fatal(err)
	}
	return &model{t: t, mem: mem, ram: mem.Regions()[0].Bytes}
}

func (m *model) put(addr int, descs []virtiotest.Desc) {
	for _, d := range descs {
		binary.LittleEndian.PutUint64(m.ram[addr:], d.Addr)
		binary.LittleEndian.PutUint32(m.ram[addr+8:], d.Len)
		binary.LittleEndian.PutUint16(m.ram[addr+12:], d.Flags)
		binary.LittleEndian.PutUint16(m.ram[addr+14:], d.Next)
		addr += 16
	}
}

// run compares a queue with the oracle. Every other state gives chains back at once, the others keep them in flight.
func (m *model) run(s *state) {
	m.n++
	m.put(modelDesc, s.descs)
	m.put(modelTable, s.table)
	clear(m.ram[modelUsed : modelUsed+0x40])
	for i, h := range s.heads {
		binary.LittleEndian.PutUint16(m.ram[modelAvail+4+2*(i%s.size):], h)
	}
	binary.LittleEndian.PutUint16(m.ram[modelAvail+2:], uint16(len(s.heads)))
	q, err := virtq.New(m.mem, virtq.Config{Size: uint16(s.size), Desc: modelDesc, Avail: modelAvail, Used: modelUsed, Indirect: s.indirect})
	if err != nil {
		m.t.Fatal(err)
	}
	pushed := 0
	for i, want := range oracle(s) {
		c, err := q.Pop()
		if !m.same(want, c, err) {
			m.t.Fatalf("state %+v: entry %d: got %+v, %v; want %+v", *s, i, c, err, want)
		}
		if c != nil && m.n%2 == 0 {
			q.Push(c, uint32(c.WriteLen()))
			pushed++
		}
	}
	if used := int(binary.LittleEndian.Uint16(m.ram[modelUsed+2:])); used != pushed {
		m.t.Fatalf("state %+v: used index %d, want %d", *s, used, pushed)
	}
}

func (m *model) same(want result, c *virtq.Chain, err error) bool {
	if want.refused {
		fault, ok := err.(*virtq.Fault)
		return c == nil && ok && slices.Contains(want.reasons, fault.Reason)
	}
	if err != nil || c == nil || len(c.Read)+len(c.Write) != len(want.bufs) {
		return false
	}
	for i, b := range slices.Concat(c.Read, c.Write) {
		write := i >= len(c.Read)
		if len(b) != int(want.bufs[i].Len) || &b[0] != &m.ram[modelData] || write != (want.bufs[i].Flags&virtiotest.DescWrite != 0) {
			return false
		}
	}
	return true
}
