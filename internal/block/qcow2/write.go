package qcow2

import (
	"sync"

	"github.com/libcapsa/libcapsa/internal/block/iovec"
)

// WriteAt writes bufs to the disk from off on.
func (m *Image) WriteAt(bufs [][]byte, off uint64) error {
	n := uint64(iovec.Len(bufs))
	if err := m.checkRange(off, n); err != nil {
		return err
	}
	changed := false
	for done := uint64(0); done < n; {
		got, err := m.writeInPlace(bufs, done, off+done, n-done)
		if err == nil && got == 0 {
			got, err = m.writeNew(bufs, done, off+done, n-done)
			changed = true
		}
		if err != nil {
			return err
		}
		done += got
	}
	if changed {
		return m.relieve()
	}
	return nil
}

// writeInPlace writes up to n bytes of bufs, from its byte skip on, when they go to
// clusters that are the image's own; it returns 0 when they do not.
func (m *Image) writeInPlace(bufs [][]byte, skip, off, n uint64) (uint64, error) {
	x, busy, err := m.findOwned(off, n)
	if err != nil || busy == nil {
		return 0, err
	}
	defer busy.Done()
	if skip != 0 || x.n != n {
		bufs = iovec.Slice(nil, bufs, int(skip), int(x.n))
	}
	return x.n, m.s.WriteAt(bufs, x.host)
}

// findOwned is find for writing: busy is nil when what is at off is not the image's
// own.
func (m *Image) findOwned(off, n uint64) (x extent, busy *sync.WaitGroup, err error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if err := m.writable(); err != nil {
		return x, nil, err
	}
	x, err = m.extentAt(off, n)
	if err != nil || x.kind != owned {
		return x, nil, err
	}
	for c := x.host >> m.h.clusterBits; c <= (x.host+x.n-1)>>m.h.clusterBits; c++ {
		if m.refs.meta[c] {
			return x, nil, errCorrupt("the disk's byte %d lies in a structure of the image", off)
		}
	}
	return x, m.grace.enter(), nil
}

// alloc reserves up to want clusters in a row. fresh says that they are behind all
// that was ever used: they read as zeroes. Preconditions: mu is held for writing.
func (m *Image) alloc(want uint64) (host, got uint64, fresh bool, err error) {
	host, got, fresh, err = m.refs.alloc(want)
	return host, got, fresh, m.fail(err)
}

// placement is a run of guest clusters that is being written to a new place.
type placement struct {
	first, count uint64 // guest clusters
	host         uint64 // where they go
	fresh        bool   // they read as zeroes
	done         chan struct{}
}

// writeNew writes up to n bytes of bufs, from its byte skip on, to new clusters and
// maps them. It returns 0 when the cluster at off was being written by somebody else
// meanwhile: the caller looks again.
func (m *Image) writeNew(bufs [][]byte, skip, off, n uint64) (uint64, error) {
	p, busy, err := m.place(off, n)
	if err != nil {
		return 0, err
	}
	if p == nil {
		if busy != nil {
			<-busy
		}
		return 0, nil
	}
	end := min(off+n, (p.first+p.count)<<m.h.clusterBits)
	err = m.fill(p, iovec.Slice(nil, bufs, int(skip), int(end-off)), off, end)
	if err := m.link(p, err); err != nil {
		return 0, err
	}
	return end - off, nil
}

// place reserves clusters for the run of unmapped or shared guest clusters at off.
// Without a placement the cluster at off is busy, or has become the image's own.
func (m *Image) place(off, n uint64) (*placement, chan struct{}, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.writable(); err != nil {
		return nil, nil, err
	}
	t, j, err := m.ownTable(off)
	if err != nil {
		return nil, nil, err
	}
	first := off >> m.h.clusterBits
	last := (off + n - 1) >> m.h.clusterBits
	want := uint64(0)
	for ; first+want <= last && j+want < uint64(len(t.entries)); want++ {
		if busy := m.pending[first+want]; busy != nil {
			if want == 0 {
				return nil, busy, nil
			}
			break
		}
		k, _, err := m.classify(t.entries[j+want])
		if err != nil {
			return nil, nil, err
		}
		if k == owned {
			break
		}
	}
	if want == 0 {
		return nil, nil, nil
	}
	host, got, fresh, err := m.alloc(want)
	if err != nil {
		return nil, nil, err
	}
	p := &placement{first: first, count: got, host: host, fresh: fresh, done: make(chan struct{})}
	for c := range got {
		m.pending[first+c] = p.done
	}
	return p, nil, nil
}

// fill writes the new clusters: what bufs has for [off, end), and around it what the
// guest sees there now. Zeroes around it are not written where there are zeroes.
func (m *Image) fill(p *placement, bufs [][]byte, off, end uint64) error {
	from := p.first << m.h.clusterBits
	to := from + p.count<<m.h.clusterBits
	head, err := m.surroundings(from, off, p.fresh)
	if err != nil {
		return err
	}
	tail, err := m.surroundings(end, to, p.fresh)
	if err != nil {
		return err
	}
	at := p.host
	if len(head) == 0 {
		at += off - from
	}
	if len(head)+len(tail) == 0 {
		return m.s.WriteAt(bufs, at)
	}
	all := make([][]byte, 0, len(bufs)+2)
	if len(head) > 0 {
		all = append(all, head)
	}
	all = append(all, bufs...)
	if len(tail) > 0 {
		all = append(all, tail)
	}
	return m.s.WriteAt(all, at)
}

// surroundings reads the disk's bytes [from, to), zeroes beyond its end. It is empty
// when there are only zeroes and these need not be written.
func (m *Image) surroundings(from, to uint64, skipZeroes bool) ([]byte, error) {
	if from == to {
		return nil, nil
	}
	on := max(min(to, m.h.size), from) - from
	if skipZeroes {
		empty := true
		if on > 0 {
			n, zero, err := m.emptyAt(from, on)
			if err != nil {
				return nil, err
			}
			empty = zero && n == on
		}
		if empty {
			return nil, nil
		}
	}
	b := make([]byte, to-from) // less than a cluster
	if on == 0 {
		return b, nil
	}
	return b, m.ReadAt([][]byte{b[:on]}, from)
}

// link maps the clusters of p, or gives them back when writing them failed with err.
func (m *Image) link(p *placement, err error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	defer close(p.done)
	for c := range p.count {
		delete(m.pending, p.first+c)
	}
	if err == nil {
		err = m.remap(p)
	}
	if err == nil {
		return nil
	}
	for c := range p.count {
		if _, err := m.refs.drop(p.host>>m.h.clusterBits + c); err != nil {
			return m.fail(err)
		}
	}
	return err
}

// remap points the L2 entries of p at its clusters. Preconditions: mu is held for
// writing.
func (m *Image) remap(p *placement) error {
	// The table was evicted, perhaps, but it is the image's own since place.
	t, j, err := m.lookup(p.first << m.h.clusterBits)
	if err != nil {
		return err
	}
	for c := range p.count {
		m.release(t.entries[j+c])
		t.set(int(j+c), (p.host+c<<m.h.clusterBits)|copiedFlag)
	}
	return nil
}

// release notes that the clusters behind an L2 entry lose a user, once the tables
// without the entry are durable. Preconditions: mu is held for writing.
func (m *Image) release(e uint64) {
	var off, n uint64
	switch k, host, _ := m.classify(e); {
	case k == compressed:
		off, n = m.compressedRange(e)
	case host != 0:
		off, n = host, m.h.clusterSize()
	default:
		return
	}
	for c := off >> m.h.clusterBits; c <= (off+n-1)>>m.h.clusterBits; c++ {
		m.freed = append(m.freed, c)
	}
}

// ownTable returns the L2 table that maps off, made or copied first when there is
// none or a snapshot shares it. Preconditions: mu is held for writing.
func (m *Image) ownTable(off uint64) (*table, uint64, error) {
	i, j := m.split(off)
	t, _, err := m.lookup(off)
	if err != nil {
		return nil, 0, err
	}
	if t != nil && m.l1[i]&copiedFlag != 0 {
		return t, j, nil
	}
	host, _, _, err := m.alloc(1)
	if err != nil {
		return nil, 0, err
	}
	own := &table{index: i, host: host, entries: make([]uint64, 1<<m.h.l2Bits())}
	if t != nil {
		// A data cluster of the old table has a user in the snapshot, which must not
		// see what is written from now on: no entry keeps the flag.
		for k, e := range t.entries {
			own.entries[k] = e &^ copiedFlag
		}
	}
	// Flush writes changes only, and the L1 entry may reach the disk before them.
	if err := m.s.WriteAt([][]byte{encodeTable(own.entries)}, host); err != nil {
		if _, err := m.refs.drop(host >> m.h.clusterBits); err != nil {
			return nil, 0, m.fail(err)
		}
		return nil, 0, err
	}
	if t != nil {
		m.refs.disclaim(t.host, m.h.clusterSize())
		m.freed = append(m.freed, t.host>>m.h.clusterBits)
	}
	if err := m.refs.claim("an L2 table", host, m.h.clusterSize()); err != nil {
		return nil, 0, m.fail(err)
	}
	m.l1[i] = host | copiedFlag
	m.l1Dirty.add(int(i))
	m.l2.put(own)
	return own, j, nil
}

// claimTables notes where the L2 tables are.
func (m *Image) claimTables() error {
	for i, e := range m.l1 {
		host := e & offsetMask
		if host == 0 {
			continue
		}
		if host&(m.h.clusterSize()-1) != 0 {
			return errCorrupt("L1 entry %d is %#x", i, e)
		}
		if err := m.refs.claim("an L2 table", host, m.h.clusterSize()); err != nil {
			return err
		}
	}
	return nil
}
