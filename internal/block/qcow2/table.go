package qcow2

import (
	"encoding/binary"
	"sync"
	"sync/atomic"
)

// Bits of L1 and L2 entries: docs/interop/qcow2.txt of QEMU, "Cluster mapping".
const (
	copiedFlag     = 1 << 63 // exactly one user: may be written in place
	compressedFlag = 1 << 62
	zeroFlag       = 1 << 0             // version 3: reads as zeroes
	offsetMask     = 0x00fffffffffffe00 // bits 9 to 55
)

// cacheBytes bounds the L2 tables in memory, in bytes: with 64 KiB clusters they map
// 256 GiB. It is what QEMU takes by default (l2-cache-size on Linux).
const cacheBytes = 32 << 20

// minTables is the number of tables kept however large they are.
const minTables = 16

// readTable reads n big-endian entries.
func readTable(s Storage, off, n uint64) ([]uint64, error) {
	raw := make([]byte, n*8)
	if err := s.ReadAt([][]byte{raw}, off); err != nil {
		return nil, err
	}
	t := make([]uint64, n)
	for i := range t {
		t[i] = binary.BigEndian.Uint64(raw[i*8:])
	}
	return t, nil
}

// encodeTable is the inverse: the bytes of entries.
func encodeTable(t []uint64) []byte {
	raw := make([]byte, len(t)*8)
	for i, e := range t {
		binary.BigEndian.PutUint64(raw[i*8:], e)
	}
	return raw
}

// dirtyRange is the range of entries that changed since the last write: [from, to).
type dirtyRange struct{ from, to int }

func (d *dirtyRange) add(i int) {
	if d.from == d.to {
		d.from, d.to = i, i+1
		return
	}
	d.from, d.to = min(d.from, i), max(d.to, i+1)
}

func (d *dirtyRange) any() bool { return d.from != d.to }

// table is an L2 table in memory.
type table struct {
	index   uint64   // in the L1 table
	host    uint64   // where it is in the file
	entries []uint64 // change under Image.mu held for writing
	dirty   dirtyRange
	used    atomic.Bool // since the eviction's hand passed
	pinned  bool        // Flush is writing it: the file is not up to date; guarded by tableCache.mu
}

func (t *table) set(i int, e uint64) {
	t.entries[i] = e
	t.dirty.add(i)
}

// tableCache holds L2 tables by their index in the L1 table. Finding one that is in
// memory takes no lock but Image.mu held for reading.
type tableCache struct {
	max   int
	slots []atomic.Pointer[table] // one for each L1 entry

	mu   sync.Mutex // for changes
	list []*table   // those in memory, a ring; guarded by mu
	hand int        // where the last eviction stopped; guarded by mu
}

func (c *tableCache) init(clusterSize uint64, l1Size int) {
	c.max = max(minTables, int(cacheBytes/clusterSize))
	c.slots = make([]atomic.Pointer[table], l1Size)
}

// get returns the table of L1 entry i, which is at host, from memory or the file.
// Preconditions: Image.mu is held.
func (c *tableCache) get(s Storage, i, host uint64, entries uint64) (*table, error) {
	if t := c.slots[i].Load(); t != nil {
		if !t.used.Load() {
			t.used.Store(true)
		}
		return t, nil
	}
	return c.load(s, i, host, entries)
}

func (c *tableCache) load(s Storage, i, host uint64, entries uint64) (*table, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if t := c.slots[i].Load(); t != nil { // another reader was first
		return t, nil
	}
	e, err := readTable(s, host, entries)
	if err != nil {
		return nil, err
	}
	t := &table{index: i, host: host, entries: e}
	c.insert(t)
	return t, nil
}

// put adds a table, in place of the one that was there. Preconditions: Image.mu is
// held for writing.
func (c *tableCache) put(t *table) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.insert(t)
}

// insert adds a table and, when there are enough, drops another. Preconditions: mu is
// held.
func (c *tableCache) insert(t *table) {
	t.used.Store(true)
	if old := c.slots[t.index].Swap(t); old != nil {
		for k, o := range c.list {
			if o == old {
				c.list[k] = t
				return
			}
		}
	}
	if len(c.list) >= c.max {
		if k := c.victim(); k >= 0 {
			c.slots[c.list[k].index].Store(nil)
			c.list[k] = t
			return
		}
	}
	c.list = append(c.list, t)
}

// victim is the place of a table that can be dropped: clean, not being written, and
// not used since the hand last passed. Dirty ones stay: they are written by Flush,
// which crowded asks for. -1: there is none. Preconditions: mu is held.
func (c *tableCache) victim() int {
	for range 2 * len(c.list) {
		c.hand = (c.hand + 1) % len(c.list)
		t := c.list[c.hand]
		if !t.dirty.any() && !t.pinned && !t.used.Swap(false) {
			return c.hand
		}
	}
	return -1
}

// pinDirty lists the tables that the file lacks, and keeps them in memory until
// unpin. Preconditions: Image.mu is held for writing.
func (c *tableCache) pinDirty() []*table {
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []*table
	for _, t := range c.list {
		if t.dirty.any() {
			t.pinned = true
			out = append(out, t)
		}
	}
	return out
}

// unpin undoes pinDirty, and drops what is in memory beyond the bound.
// Preconditions: Image.mu is held for writing.
func (c *tableCache) unpin(pinned []*table) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, t := range pinned {
		t.pinned = false
	}
	for len(c.list) > c.max {
		k := c.victim()
		if k < 0 {
			return
		}
		c.slots[c.list[k].index].Store(nil)
		last := len(c.list) - 1
		c.list[k] = c.list[last]
		c.list[last] = nil
		c.list = c.list[:last]
	}
}

// crowded says that more tables are in memory than should be: too many are dirty to
// be evicted.
func (c *tableCache) crowded() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.list) > c.max
}
