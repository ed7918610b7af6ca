package virtiotest

import "math"

// chainRows are A5 to A7: buffers.
func chainRows() []row {
	var rows []row
	for _, b := range badBuffers() {
		rows = append(rows, row{"A5 " + b.name, func(a *attack) {
			a.start(0)
			a.expose(Desc{Addr: b.addr, Len: b.len, Flags: a.direction()})
			a.refusedUnused()
		}}, row{"A5 second of the chain: " + b.name, func(a *attack) {
			a.start(0)
			first := a.buffer()
			first.Flags, first.Next = first.Flags|DescNext, 1
			a.expose(first, Desc{Addr: b.addr, Len: b.len, Flags: a.direction()})
			a.refusedUnused()
		}})
	}
	return append(append(rows, lengthRows()...), orderRows()...)
}

type badBuffer struct {
	name string
	addr uint64
	len  uint32
}

func badBuffers() []badBuffer {
	return []badBuffer{
		{"buffer in the device window", Hole, 16},
		{"buffer above RAM", High.End(), 16},
		{"buffer at the top of the address space", math.MaxUint64, 1},
		{"buffer that wraps around", math.MaxUint64 - 7, 16},
		{"buffer that wraps around to RAM", math.MaxUint64 - 7, 8 + 4096},
		{"buffer that starts in RAM and ends in a hole", Low.End() - 8, 16},
		{"buffer in two regions that touch", Main.End() - 8, 16},
		{"buffer that ends one byte behind RAM", High.End() - 15, 16},
		{"A6 length 0xFFFFFFFF", Main.Base, math.MaxUint32},
	}
}

// endOfRAM allocates so that the last byte of a buffer is the last byte of RAM; a second buffer ends another region.
func endOfRAM() func(size uint64) uint64 {
	ends := []uint64{High.End(), Low.End(), Next.End()}
	return func(size uint64) uint64 {
		end := ends[0]
		ends = ends[1:]
		return end - size
	}
}

func lengthRows() []row {
	return []row{
		{"A5 buffers that end exactly where RAM does", func(a *attack) {
			a.start(0)
			a.expose(a.request(0, endOfRAM())...)
			a.served(1)
		}},
		{"A6 length 0", func(a *attack) {
			a.start(0)
			b := a.buffer()
			b.Len = 0
			a.expose(b)
			a.usedOrRefused(1)
		}},
		{"A6 more than 4 GiB together", func(a *attack) {
			a.start(FeatureIndirect)
			const entries = 1024
			table := make([]Desc, entries) // each entry names all of the biggest region: 8 GiB
			for i := range table {
				table[i] = Desc{Addr: Main.Base, Len: uint32(Main.Size), Flags: a.direction() | DescNext, Next: uint16(i + 1)}
			}
			table[entries-1].Flags &^= DescNext
			addr := a.d.Alloc(entries * descSize)
			a.r.SetTable(addr, table...)
			a.expose(Desc{Addr: addr, Len: entries * descSize, Flags: DescIndirect})
			a.refusedUnused()
		}},
	}
}

func orderRows() []row {
	return []row{
		{"A7 readable buffer after a writable one", func(a *attack) {
			a.start(0)
			w, r := a.buffer(), a.buffer()
			w.Flags, w.Next = DescWrite|DescNext, 1
			r.Flags = 0
			a.expose(w, r)
			a.refusedUnused()
		}},
		{"A7 buffers of the wrong direction only", func(a *attack) {
			a.start(0)
			b := a.buffer()
			b.Flags ^= DescWrite
			a.expose(b)
			a.usedOrRefused(1)
			if !a.d.needsReset() && b.Flags&DescWrite == 0 {
				_, n := a.r.UsedElem(0)
				a.zero(n)
			}
		}},
	}
}

// zero requires that the device claims to have written nothing, where there was nothing to write to.
func (a *attack) zero(n uint32) {
	a.t.Helper()
	if n != 0 {
		a.t.Fatalf("the device claims %d bytes written to a chain without writable buffers", n)
	}
}

// indirectRows are A8: indirect tables.
func indirectRows() []row {
	bad := func(name string, features uint64, build func(a *attack) Desc) row {
		return row{"A8 " + name, func(a *attack) {
			a.start(features)
			a.expose(build(a))
			a.refusedUnused()
		}}
	}
	// table makes an indirect descriptor of a table with one good buffer.
	table := func(a *attack) Desc {
		addr := a.d.Alloc(descSize)
		a.r.SetTable(addr, a.buffer())
		return Desc{Addr: addr, Len: descSize, Flags: DescIndirect}
	}
	length := func(name string, n uint32) row {
		return bad(name, FeatureIndirect, func(a *attack) Desc {
			d := table(a)
			d.Addr, d.Len = Main.Base, n // much memory follows
			return d
		})
	}
	at := func(name string, addr uint64) row {
		return bad(name, FeatureIndirect, func(*attack) Desc { return Desc{Addr: addr, Len: descSize, Flags: DescIndirect} })
	}
	return append([]row{
		bad("not negotiated", 0, table),
		length("table of length 0", 0),
		length("table of 15 bytes", descSize-1),
		length("table of 17 bytes", descSize+1),
		length("table of 32769 entries", 32769*descSize),
		length("table of almost 4 GiB", math.MaxUint32&^(descSize-1)),
		at("table in the device window", Hole),
		at("table that wraps around", math.MaxUint64&^(descSize-1)),
		at("table that ends behind RAM", High.End()-8),
		bad("table with a next descriptor", FeatureIndirect, func(a *attack) Desc {
			d := table(a)
			d.Flags |= DescNext
			return d
		}),
	}, tableRows(bad)...)
}

// tableRows are A8 rows about what is in a table.
func tableRows(bad func(string, uint64, func(*attack) Desc) row) []row {
	// of makes an indirect descriptor of a table with these entries.
	of := func(a *attack, entries ...Desc) Desc {
		addr := a.d.Alloc(uint64(descSize * len(entries)))
		a.r.SetTable(addr, entries...)
		return Desc{Addr: addr, Len: uint32(descSize * len(entries)), Flags: DescIndirect}
	}
	return []row{
		bad("table in a table", FeatureIndirect, func(a *attack) Desc { return of(a, of(a, a.buffer())) }),
		bad("table that loops", FeatureIndirect, func(a *attack) Desc { return of(a, a.linked(2, 0)...) }),
		bad("next is the table's length", FeatureIndirect, func(a *attack) Desc { return of(a, a.linked(2, 2)...) }),
		bad("bad buffer in a table", FeatureIndirect, func(a *attack) Desc {
			return of(a, Desc{Addr: Hole, Len: 16, Flags: a.direction()})
		}),
		{"A8 good table, its WRITE flag ignored, at an odd address", func(a *attack) {
			a.start(FeatureIndirect)
			descs := a.request(0, a.d.Alloc)
			addr := a.d.Alloc(256) + 1
			a.r.SetTable(addr, descs...)
			a.expose(Desc{Addr: addr, Len: uint32(descSize * len(descs)), Flags: DescIndirect | DescWrite})
			a.served(1)
		}},
	}
}
