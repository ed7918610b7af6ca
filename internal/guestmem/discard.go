package guestmem

import "os"

// Discard gives the host pages that lie wholly inside of [addr, addr+size) back to the host. From then on they read as zeroes,
// and take memory again when they are touched. Regions that touch are crossed; bytes at the ends that share a host page with
// others are left as they are. Memory of New and Heap is only zeroed.
//
// The caller holds a reference. Nobody else uses the range: an access at the same time meets the old contents or zeroes.
// Errors: ErrRange and ErrClosed, and then nothing was given back; *os.SyscallError.
func (m *Memory) Discard(addr, size uint64) error {
	if addr+size < addr {
		return ErrRange
	}
	if !m.covers(addr, size) {
		return ErrRange
	}
	m.mu.Lock()
	b, closed := m.backing, m.closed.Load()
	m.mu.Unlock()
	if closed {
		return ErrClosed
	}
	page := uint64(os.Getpagesize())
	for i := range m.regions {
		r := &m.regions[i]
		first := max(addr, r.Base)
		if first >= r.End() || first >= addr+size {
			continue
		}
		// Rounded inward by offset: a region's base, offset in the file and host address agree modulo the page.
		from := (first - r.Base + page - 1) &^ (page - 1)
		to := (min(addr+size, r.End()) - r.Base) &^ (page - 1)
		if from >= to {
			continue
		}
		if b == nil {
			clear(r.Bytes[from:to])
			continue
		}
		if err := b.discard(r, from, to-from); err != nil {
			return err
		}
	}
	return nil
}

// covers tells whether all of [addr, addr+size), which does not wrap, is RAM.
func (m *Memory) covers(addr, size uint64) bool {
	for i := range m.regions {
		r := &m.regions[i]
		if !r.Contains(addr, 0) {
			continue
		}
		n := min(size, r.Size-(addr-r.Base))
		if n == size {
			return true
		}
		addr, size = addr+n, size-n
	}
	return false
}

// Resident is how many bytes of host memory, or swap, the RAM takes: what was touched and not discarded since. Images that were
// placed count whole, for every machine. Memory of New and Heap takes all it has. 0 after Close.
func (m *Memory) Resident() uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.closed.Load():
		return 0
	case m.backing == nil:
		return m.Size()
	default:
		return m.backing.resident()
	}
}

// AdviseHuge says whether the host should use huge pages for this memory, as it does at first. Off keeps the host from filling
// small holes that Discard made (khugepaged does that in order to merge what is around them). Pages in use stay as they are.
func (m *Memory) AdviseHuge(on bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.closed.Load() && m.backing != nil {
		m.backing.adviseHuge(on)
	}
}
