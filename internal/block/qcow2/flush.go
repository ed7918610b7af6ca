package qcow2

import "slices"

// maxFreed is how many bytes of clusters may wait for a Flush to be freed: space that
// discards have not given back yet. They cannot give it back before, as the tables in
// the file may still refer to it; a Flush of its own for each would be slow.
const maxFreed = 4 << 20

// change is a part of a table as it shall be in the file.
type change struct {
	raw  []byte
	off  uint64
	mark *dirtyRange // of the table
	was  dirtyRange  // what mark was
}

// Flush makes everything written so far durable. What fails to be written, for want
// of space say, is kept and tried again at the next Flush. Callers that wait for each
// other share one.
func (m *Image) Flush() error {
	if !m.write {
		return nil
	}
	return m.flushSince(m.flushes.Load())
}

// flushSince is Flush of what was written when so many flushes had begun: one that
// began since then, and has ended, covers it.
func (m *Image) flushSince(before uint64) error {
	m.flushing.Lock()
	defer m.flushing.Unlock()
	if m.flushes.Load() != before && m.flushed == nil {
		return nil
	}
	m.flushes.Add(1)
	m.flushed = m.flush()
	return m.flushed
}

// flush is Flush. Preconditions: flushing is held.
func (m *Image) flush() error {
	u, err := m.collect()
	if err != nil {
		return err
	}
	if err := m.writeUpdate(u); err != nil {
		m.restore(u)
		return m.failLocked(err)
	}
	m.settle(u)
	m.reap(u.freed)
	return nil
}

// update is what a Flush brings to the file.
type update struct {
	changes []change
	freed   []uint64 // clusters that become free with it
	pinned  []*table
}

// writeUpdate makes data and counts durable, and then the tables that refer to them.
func (m *Image) writeUpdate(u update) error {
	if err := m.refs.sync(); err != nil || len(u.changes) == 0 {
		return err
	}
	for _, c := range u.changes {
		if err := m.s.WriteAt([][]byte{c.raw}, c.off); err != nil {
			return err
		}
	}
	return m.refs.sync()
}

// collect writes the counts and takes a copy of what changed in the tables, and of
// the list of clusters that become free with these changes. restore or settle follows.
func (m *Image) collect() (update, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.broken != nil {
		return update{}, m.broken
	}
	if err := m.refs.write(); err != nil {
		return update{}, m.fail(err)
	}
	u := update{pinned: m.l2.pinDirty(), freed: m.freed}
	for _, t := range u.pinned {
		u.changes = append(u.changes, takeChange(t.entries, &t.dirty, t.host))
	}
	if m.l1Dirty.any() {
		u.changes = append(u.changes, takeChange(m.l1, &m.l1Dirty, m.h.l1Offset))
	}
	m.freed = nil
	return u, nil
}

// takeChange copies the dirty range of a table at off and marks the table clean.
func takeChange(entries []uint64, d *dirtyRange, off uint64) change {
	c := change{raw: encodeTable(entries[d.from:d.to]), off: off + uint64(d.from)*8, mark: d, was: *d}
	*d = dirtyRange{}
	return c
}

// restore undoes collect: the changes are still to be written.
func (m *Image) restore(u update) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, c := range u.changes {
		c.mark.add(c.was.from)
		c.mark.add(c.was.to - 1)
	}
	m.freed = append(m.freed, u.freed...)
	m.l2.unpin(u.pinned)
}

// settle says that the file has the changes.
func (m *Image) settle(u update) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.l2.unpin(u.pinned)
}

// failLocked is fail for a caller without the lock.
func (m *Image) failLocked(err error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.fail(err)
}

// reap takes a user from each freed cluster, and gives the space of those without
// any back to the host. It waits for I/O that found them in a table. What fails here
// costs space and nothing else.
func (m *Image) reap(freed []uint64) {
	if len(freed) == 0 {
		return
	}
	m.mu.Lock()
	last := m.grace.turn()
	m.mu.Unlock()
	last.Wait()
	unused := m.dropAll(freed)
	// Nobody uses these clusters until they are let go below.
	slices.Sort(unused)
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
}

// dropAll takes a user from each cluster and holds those that have none left.
func (m *Image) dropAll(freed []uint64) (unused []uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.plain.forget()
	for _, c := range freed {
		if m.refs.meta[c] {
			continue // a corrupt image had it mapped as data too
		}
		if last, err := m.refs.drop(c); err == nil && last {
			m.refs.hold[c] = true
			unused = append(unused, c)
		}
	}
	_ = m.refs.writeBlocks() // no Sync, and another try later
	return unused
}

// relieve flushes when changes or freed clusters have piled up in memory.
func (m *Image) relieve() error {
	m.mu.RLock()
	crowded := uint64(len(m.freed))<<m.h.clusterBits >= maxFreed || m.l2.crowded() || m.refs.crowded()
	m.mu.RUnlock()
	if !crowded {
		return nil
	}
	return m.Flush()
}
