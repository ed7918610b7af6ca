package qcow2

import (
	"sync"

	"github.com/libcapsa/libcapsa/internal/block/iovec"
)

// ReadAt fills bufs with the disk's bytes from off on.
func (m *Image) ReadAt(bufs [][]byte, off uint64) error {
	n := uint64(iovec.Len(bufs))
	if err := m.checkRange(off, n); err != nil {
		return err
	}
	var part [][]byte
	for done := uint64(0); done < n; {
		x, busy, err := m.find(off+done, n-done)
		if err != nil {
			return err
		}
		list := bufs
		if x.n != n {
			part = iovec.Slice(part[:0], bufs, int(done), int(x.n))
			list = part
		}
		if err := m.readFound(list, off+done, x, busy); err != nil {
			return err
		}
		done += x.n
	}
	return nil
}

// find looks up the run at off, of at most max bytes, and keeps its clusters from
// being freed until Done.
func (m *Image) find(off, max uint64) (extent, *sync.WaitGroup, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	x, err := m.extentAt(off, max)
	if err != nil {
		return x, nil, err
	}
	return x, m.grace.enter(), nil
}

// readFound is readExtent of what find found.
func (m *Image) readFound(bufs [][]byte, off uint64, x extent, busy *sync.WaitGroup) error {
	defer busy.Done()
	return m.readExtent(bufs, off, x)
}

// readExtent fills bufs, which are x.n bytes, from one extent.
func (m *Image) readExtent(bufs [][]byte, off uint64, x extent) error {
	switch x.kind {
	case data, owned:
		return m.s.ReadAt(bufs, x.host)
	case compressed:
		plain, err := m.decompress(x.entry)
		if err != nil {
			return err
		}
		iovec.CopyTo(bufs, 0, plain[x.skip:x.skip+x.n])
		return nil
	case unallocated:
		return m.readBacking(bufs, off, x.n)
	default:
		iovec.Zero(bufs)
		return nil
	}
}

// readBacking reads what is below. Beyond the end of a smaller backing image there
// are zeroes.
func (m *Image) readBacking(bufs [][]byte, off, n uint64) error {
	below := uint64(0)
	if m.backing != nil && off < m.backing.Size() {
		below = min(n, m.backing.Size()-off)
	}
	if below > 0 {
		if err := m.backing.ReadAt(iovec.Slice(nil, bufs, 0, int(below)), off); err != nil {
			return err
		}
	}
	if below < n {
		iovec.Zero(iovec.Slice(nil, bufs, int(below), int(n-below)))
	}
	return nil
}
