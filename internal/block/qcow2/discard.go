package qcow2

import "cmp"

// Discard tells that the range's contents are no longer needed. Whole clusters are
// given back and read as zeroes from now on; the rest of the range stays as it is.
func (m *Image) Discard(off, n uint64) error {
	if err := m.checkRange(off, n); err != nil || !m.write {
		return cmp.Or(err, errReadOnly)
	}
	from, to := m.wholeClusters(off, n)
	for from < to {
		next, err := m.unmapSome(from, to, true)
		if err != nil {
			return err
		}
		from = next
	}
	return m.relieve()
}

// WriteZeroes makes the range read as zeroes. unmap allows to give the space back.
func (m *Image) WriteZeroes(off, n uint64, unmap bool) error {
	if err := m.checkRange(off, n); err != nil || !m.write {
		return cmp.Or(err, errReadOnly)
	}
	from, to := m.wholeClusters(off, n)
	if from >= to || !unmap && m.h.version < 3 {
		return m.writeZeroBytes(off, off+n)
	}
	if err := m.writeZeroBytes(off, from); err != nil {
		return err
	}
	for at := from; at < to; {
		next, err := m.unmapSome(at, to, false)
		if err != nil {
			return err
		}
		if next == at { // version 2 cannot say zero over a backing image
			next = min(to, at+m.h.clusterSize())
			if err := m.writeZeroBytes(at, next); err != nil {
				return err
			}
		}
		at = next
	}
	if err := m.writeZeroBytes(to, off+n); err != nil {
		return err
	}
	return m.relieve()
}

// wholeClusters is the part of the range that consists of whole clusters. The last
// cluster of a disk is whole when the range reaches the disk's end.
func (m *Image) wholeClusters(off, n uint64) (from, to uint64) {
	mask := m.h.clusterSize() - 1
	from, to = (off+mask)&^mask, (off+n)&^mask
	if off+n == m.h.size {
		to = (off + n + mask) &^ mask
	}
	return from, to
}

// zeroChunk is how many zeroes are written at a time, in bytes.
const zeroChunk = 1 << 20

// writeZeroBytes writes zeroes to [from, to), where there are not already.
func (m *Image) writeZeroBytes(from, to uint64) error {
	to = min(to, m.h.size)
	var zeroes []byte
	for from < to {
		n, empty, err := m.emptyAt(from, to-from)
		if err != nil {
			return err
		}
		if !empty {
			n = min(n, zeroChunk)
			if uint64(len(zeroes)) < n {
				zeroes = make([]byte, n)
			}
			if err := m.WriteAt([][]byte{zeroes[:n]}, from); err != nil {
				return err
			}
		}
		from += n
	}
	return nil
}

// emptyAt returns the length of the run at off, of at most max bytes, and whether it
// surely reads as zeroes.
func (m *Image) emptyAt(off, max uint64) (uint64, bool, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	x, err := m.extentAt(off, max)
	return x.n, x.kind == zero || x.kind == unallocated && m.backing == nil, err
}

// unmapSome unmaps clusters from `from` on, up to `to` or the end of their L2 table,
// and returns where it stopped. For WriteZeroes it stops at once where version 2
// cannot express zeroes.
func (m *Image) unmapSome(from, to uint64, discard bool) (uint64, error) {
	for {
		next, busy, err := m.tryUnmap(from, to, discard)
		if busy == nil {
			return next, err
		}
		<-busy
	}
}

// tryUnmap is unmapSome; it returns a channel when the first cluster is being written
// to a new place, which must end first.
func (m *Image) tryUnmap(from, to uint64, discard bool) (uint64, chan struct{}, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.writable(); err != nil {
		return 0, nil, err
	}
	_, j := m.split(from)
	end := min(to, from+(1<<m.h.l2Bits()-j)<<m.h.clusterBits)
	t, _, err := m.lookup(from)
	if err != nil {
		return 0, nil, err
	}
	if t == nil && (m.backing == nil || discard) {
		return end, nil, nil // nothing is mapped: zeroes, or what a discard may leave
	}
	if m.backing != nil && m.h.version < 3 {
		if discard {
			return end, nil, nil
		}
		return from, nil, nil
	}
	if t, j, err = m.ownTable(from); err != nil {
		return 0, nil, err
	}
	empty := uint64(0)
	if m.backing != nil {
		empty = zeroFlag
	}
	for at := from; at < end; at, j = at+m.h.clusterSize(), j+1 {
		if busy := m.pending[at>>m.h.clusterBits]; busy != nil {
			if at > from {
				return at, nil, nil
			}
			return from, busy, nil
		}
		e := t.entries[j]
		if e == empty || discard && e == 0 {
			continue
		}
		m.release(e)
		t.set(int(j), empty)
	}
	return end, nil, nil
}
