package qcow2

// kind says what stands behind a guest cluster.
type kind int

const (
	unallocated kind = iota // the backing image, or zeroes
	zero                    // zeroes
	data                    // a host cluster that other users may share
	owned                   // a host cluster that may be written in place
	compressed              // a compressed cluster
)

// extent is a run of guest bytes with the same kind of mapping.
type extent struct {
	kind  kind
	host  uint64 // data and owned: where the run begins in the file
	entry uint64 // compressed: the L2 entry
	skip  uint64 // compressed: offset of the run in the cluster
	n     uint64 // bytes
}

// split gives the index in the L1 table and in the L2 table of a guest address.
func (m *Image) split(off uint64) (l1, l2 uint64) {
	c := off >> m.h.clusterBits
	return c >> m.h.l2Bits(), c & (1<<m.h.l2Bits() - 1)
}

// lookup returns the L2 table that maps off, or nil when there is none.
// Preconditions: mu is held.
func (m *Image) lookup(off uint64) (*table, uint64, error) {
	i, j := m.split(off)
	e := m.l1[i]
	host := e & offsetMask
	if host == 0 {
		return nil, j, nil
	}
	if host&(m.h.clusterSize()-1) != 0 {
		return nil, 0, errCorrupt("L1 entry %d is %#x", i, e)
	}
	t, err := m.l2.get(m.s, i, host, 1<<m.h.l2Bits())
	return t, j, err
}

// classify decodes an L2 entry.
func (m *Image) classify(e uint64) (kind, uint64, error) {
	switch host := e & offsetMask; {
	case e&compressedFlag != 0:
		return compressed, 0, nil
	case m.h.version >= 3 && e&zeroFlag != 0:
		return zero, host, nil
	case host == 0:
		return unallocated, 0, nil
	case host&(m.h.clusterSize()-1) != 0:
		return 0, 0, errCorrupt("L2 entry %#x", e)
	case e&copiedFlag != 0:
		return owned, host, nil
	default:
		return data, host, nil
	}
}

// extentAt returns the longest run from off on, of at most max bytes, that one I/O
// can serve: one kind, contiguous in the file, in one L2 table. Preconditions: mu is
// held; [off, off+max) is on the disk; max > 0.
func (m *Image) extentAt(off, max uint64) (extent, error) {
	size := m.h.clusterSize()
	in := off & (size - 1)
	t, j, err := m.lookup(off)
	if err != nil {
		return extent{}, err
	}
	if t == nil {
		// Nothing is mapped up to the end of the range of this L2 table.
		return extent{kind: unallocated, n: min(max, (1<<m.h.l2Bits()-j)*size-in)}, nil
	}
	k, host, err := m.classify(t.entries[j])
	if err != nil {
		return extent{}, err
	}
	x := extent{kind: k, n: size - in}
	switch k {
	case compressed:
		x.entry, x.skip = t.entries[j], in
		x.n = min(x.n, max)
		return x, nil
	case data, owned:
		x.host = host + in
	}
	for j++; x.n < max && j < uint64(len(t.entries)); j++ {
		k2, host2, err := m.classify(t.entries[j])
		if err != nil || k2 != k || (x.host != 0 && host2 != x.host+x.n) {
			break // a bad entry is reported when its turn comes
		}
		x.n += size
	}
	x.n = min(x.n, max)
	return x, nil
}
