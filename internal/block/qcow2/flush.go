package qcow2

// maxFreed is how many clusters may wait for a Flush to be freed: a bound on memory,
// and on the space that a busy guest's discards have not given back yet.
const maxFreed = 1 << 16

// change is a part of a table as it shall be in the file.
type change struct {
	raw  []byte
	off  uint64
	mark *dirtyRange // of the table
	was  dirtyRange  // what mark was
}

// Flush makes everything written so far durable. What fails to be written, for want
// of space say, is kept and tried again at the next Flush.
func (m *Image) Flush() error {
	if !m.write {
		return nil
	}
	m.flushing.Lock()
	defer m.flushing.Unlock()
	changes, freed, err := m.collect()
	if err != nil {
		return err
	}
	defer m.l2.unpin()
	// Data and counts, before a table refers to them.
	if err := m.s.Sync(); err != nil {
		return m.failLocked(err)
	}
	if len(changes) == 0 {
		return nil
	}
	for _, c := range changes {
		if err := m.s.WriteAt([][]byte{c.raw}, c.off); err != nil {
			m.restore(changes, freed)
			return err
		}
	}
	if err := m.s.Sync(); err != nil {
		return m.failLocked(err)
	}
	return m.reap(freed)
}

// collect writes the counts and takes a copy of what changed in the tables, and of
// the list of clusters that become free with these changes.
func (m *Image) collect() ([]change, []uint64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.broken != nil {
		return nil, nil, m.broken
	}
	if err := m.refs.write(); err != nil {
		return nil, nil, err
	}
	var out []change
	for _, t := range m.l2.pinDirty() {
		out = append(out, takeChange(t.entries, &t.dirty, t.host))
	}
	if m.l1Dirty.any() {
		out = append(out, takeChange(m.l1, &m.l1Dirty, m.h.l1Offset))
	}
	freed := m.freed
	m.freed = nil
	return out, freed, nil
}

// takeChange copies the dirty range of a table at off and marks the table clean.
func takeChange(entries []uint64, d *dirtyRange, off uint64) change {
	c := change{raw: encodeTable(entries[d.from:d.to]), off: off + uint64(d.from)*8, mark: d, was: *d}
	*d = dirtyRange{}
	return c
}

// restore undoes collect: the changes are still to be written.
func (m *Image) restore(changes []change, freed []uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, c := range changes {
		c.mark.add(c.was.from)
		c.mark.add(c.was.to - 1)
	}
	m.freed = append(m.freed, freed...)
}

// failLocked is fail for a caller without the lock.
func (m *Image) failLocked(err error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.fail(err)
}

// reap takes a user from each freed cluster, and gives the space of those without
// any back to the host.
func (m *Image) reap(freed []uint64) error {
	if len(freed) == 0 {
		return nil
	}
	unused, err := m.dropAll(freed)
	if err != nil {
		return err
	}
	// Nobody uses these clusters until they are let go below.
	for i := 0; i < len(unused); {
		n := 1
		for i+n < len(unused) && unused[i+n] == unused[i]+uint64(n) {
			n++
		}
		// A file system without holes keeps the space, which is no error.
		_ = m.s.PunchHole(unused[i]<<m.h.clusterBits, uint64(n)<<m.h.clusterBits)
		i += n
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, c := range unused {
		delete(m.refs.hold, c)
		m.refs.hint = min(m.refs.hint, c)
	}
	return nil
}

// dropAll takes a user from each cluster and holds those that have none left.
func (m *Image) dropAll(freed []uint64) ([]uint64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.plain.forget()
	var unused []uint64
	for _, c := range freed {
		last, err := m.refs.drop(c)
		if err != nil {
			return nil, m.fail(err)
		}
		if last {
			m.refs.hold[c] = true
			unused = append(unused, c)
		}
	}
	// Counts that are lost cost space only; so no Sync.
	if err := m.refs.write(); err != nil {
		return nil, m.fail(err)
	}
	return unused, nil
}

// relieve flushes when tables or freed clusters have piled up in memory.
func (m *Image) relieve() error {
	m.mu.RLock()
	crowded := len(m.freed) > maxFreed || m.l2.crowded()
	m.mu.RUnlock()
	if !crowded {
		return nil
	}
	return m.Flush()
}
