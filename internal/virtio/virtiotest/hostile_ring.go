package virtiotest

// ringRows are A1 to A4: the available ring and the links of chains.
func ringRows() []row {
	rows := availRows()
	links := []struct {
		name  string
		build func(a *attack) []Desc
	}{
		{"A4 chain of one that loops", func(a *attack) []Desc { return a.linked(1, 0) }},
		{"A4 loop of two", func(a *attack) []Desc { return a.linked(2, 0) }},
		{"A4 loop of all descriptors", func(a *attack) []Desc { return a.linked(int(a.r.Size), 0) }},
		{"A4 loop that does not come back to the head", func(a *attack) []Desc { return a.linked(3, 1) }},
		{"A4 next is the queue's size", func(a *attack) []Desc { return a.linked(1, a.r.Size) }},
		{"A4 next is 0xFFFF", func(a *attack) []Desc { return a.linked(2, 0xFFFF) }},
	}
	for _, l := range links {
		rows = append(rows, row{l.name, func(a *attack) {
			a.start(FeatureIndirect)
			a.expose(l.build(a)...)
			a.refusedUnused()
		}})
	}
	return rows
}

// linked is a chain of n buffers whose last one goes on to next.
func (a *attack) linked(n int, next uint16) []Desc {
	b := a.buffer()
	descs := make([]Desc, n)
	for i := range descs {
		descs[i] = b
		descs[i].Flags |= DescNext
		descs[i].Next = uint16(i + 1)
	}
	descs[n-1].Next = next
	return descs
}

func availRows() []row {
	jump := func(name string, by func(size uint16) uint16) row {
		return row{name, func(a *attack) {
			a.start(0)
			// In one step: the device may look at any moment, and the first buffer is in order.
			a.r.SetDesc(0, a.buffer())
			a.r.SetAvail(0, 0)
			a.r.SetAvailIdx(by(a.r.Size))
			a.refusedUnused()
		}}
	}
	head := func(name string, head func(size uint16) uint16) row {
		return row{name, func(a *attack) {
			a.start(0)
			a.r.Expose(head(a.r.Size))
			a.refusedUnused()
		}}
	}
	return []row{
		jump("A1 index one more than the size", func(size uint16) uint16 { return size + 1 }),
		jump("A1 index jumps to 0x8000 and more", func(size uint16) uint16 { return 0x8000 + size + 1 }),
		jump("A1 index goes backwards past 0", func(uint16) uint16 { return 0xFFFF }),
		{"A1 index goes backwards after use", func(a *attack) {
			a.start(0)
			a.expose(a.request(0, a.d.Alloc)...)
			a.served(1)
			a.r.SetAvailIdx(0)
			a.refused()
		}},
		head("A2 head is the size", func(size uint16) uint16 { return size }),
		head("A2 head is 0xFFFF", func(uint16) uint16 { return 0xFFFF }),
		{"A3 one head twice in a batch", func(a *attack) {
			a.start(0)
			for i, d := range a.request(0, a.d.Alloc) {
				a.r.SetDesc(uint16(i), d)
			}
			a.r.Expose(0, 0)
			a.refused()
		}},
		{"A3 one head fills the ring", func(a *attack) {
			a.start(0)
			for i, d := range a.request(0, a.d.Alloc) {
				a.r.SetDesc(uint16(i), d)
			}
			a.r.Expose(make([]uint16, a.r.Size)...)
			a.refused()
		}},
	}
}
