package virtq_test

import (
	"testing"

	"github.com/libcapsa/libcapsa/internal/virtio/virtiotest"
)

// Alphabets: the interesting values of a descriptor.

// dataDescs are all plain descriptors in a table of n entries: two addresses, two lengths, all flags, and every next.
func dataDescs(n int, addrs []uint64, lengths []uint32) (descs []virtiotest.Desc) {
	for _, addr := range addrs {
		for _, length := range lengths {
			for flags := range uint16(4) {
				for next := 0; next == 0 || flags&virtiotest.DescNext != 0 && next <= n; next++ {
					descs = append(descs, virtiotest.Desc{Addr: addr, Len: length, Flags: flags, Next: uint16(next)})
				}
			}
		}
	}
	return descs
}

// tableDescs are descriptors of indirect tables, good and bad.
func tableDescs() (descs []virtiotest.Desc) {
	for _, addr := range []uint64{modelTable, modelHole} {
		for _, length := range []uint32{0, 16, 24, 32} {
			for _, flags := range []uint16{0, virtiotest.DescNext, virtiotest.DescWrite} {
				descs = append(descs, virtiotest.Desc{Addr: addr, Len: length, Flags: virtiotest.DescIndirect | flags})
			}
		}
	}
	return descs
}

// tuples calls fn with every sequence of n values; fn must not keep it.
func tuples[T any](n int, values []T, fn func([]T)) {
	tuple := make([]T, n)
	var fill func(i int)
	fill = func(i int) {
		if i == n {
			fn(tuple)
			return
		}
		for _, v := range values {
			tuple[i] = v
			fill(i + 1)
		}
	}
	fill(0)
}

// headLists are all sequences of up to count heads, each up to the size, which is no descriptor.
func headLists(size, count int) (lists [][]uint16) {
	var heads []uint16
	for h := range size + 1 {
		heads = append(heads, uint16(h))
	}
	for n := range count + 1 {
		tuples(n, heads, func(l []uint16) { lists = append(lists, append([]uint16(nil), l...)) })
	}
	return lists
}

// hasTable tells whether a state looks at the indirect table at all.
func hasTable(descs []virtiotest.Desc) bool {
	for _, d := range descs {
		if d.Flags&virtiotest.DescIndirect != 0 && d.Addr == modelTable {
			return true
		}
	}
	return false
}

// TestModelSmall: rings of one and two, with everything.
func TestModelSmall(t *testing.T) {
	m := newModel(t)
	bad, lengths := []uint64{modelData, modelHole}, []uint32{0, 8}
	var contents [][]virtiotest.Desc // of the table
	inner := append(dataDescs(2, []uint64{modelData}, []uint32{8}),
		virtiotest.Desc{Addr: modelHole, Len: 8}, virtiotest.Desc{Addr: modelTable, Len: 16, Flags: virtiotest.DescIndirect})
	tuples(2, inner, func(l []virtiotest.Desc) { contents = append(contents, append([]virtiotest.Desc(nil), l...)) })
	for size := 1; size <= 2; size++ {
		lists := headLists(size, size+1)
		tuples(size, append(dataDescs(size, bad, lengths), tableDescs()...), func(descs []virtiotest.Desc) {
			for _, heads := range lists {
				m.run(&state{size: size, descs: descs, table: contents[0], heads: heads})
				m.run(&state{size: size, descs: descs, table: contents[0], heads: heads, indirect: true})
			}
			if !hasTable(descs) {
				return
			}
			for _, table := range contents { // one chain each: what is in a table does not depend on the other entries
				for h := range uint16(size) {
					m.run(&state{size: size, descs: descs, table: table, heads: []uint16{h}, indirect: true})
				}
			}
		})
	}
	t.Logf("%d states", m.n)
}

// TestModelFour: rings of four, with one value for each rule a descriptor can break, and two chains at once.
func TestModelFour(t *testing.T) {
	m := newModel(t)
	const size = 4
	values := append(dataDescs(size, []uint64{modelData}, []uint32{8}),
		virtiotest.Desc{Addr: modelHole, Len: 8},
		virtiotest.Desc{Addr: modelHole, Len: 0},
		virtiotest.Desc{Addr: modelTable, Len: 32, Flags: virtiotest.DescIndirect})
	table := []virtiotest.Desc{{Addr: modelData, Len: 8, Flags: virtiotest.DescNext, Next: 1}, {Addr: modelData, Len: 8, Flags: virtiotest.DescWrite}}
	// Heads 0 and 1 first: by symmetry of the table, other pairs are the same chains under other numbers.
	lists := [][]uint16{{0}, {0, 1}, {1, 0, 2}, {0, 0}, {0, 4}, {3, 2, 1, 0}, {0, 1, 2, 3, 0}}
	tuples(size, values, func(descs []virtiotest.Desc) {
		for _, heads := range lists {
			m.run(&state{size: size, descs: descs, table: table, heads: heads, indirect: true})
		}
	})
	t.Logf("%d states", m.n)
}
