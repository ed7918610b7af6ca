package qcow2

import (
	"encoding/binary"
	"sync"
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
	host    uint64   // where it is in the file
	entries []uint64 // change under Image.mu held for writing
	dirty   dirtyRange
	used    uint64 // stamp of the last use; guarded by tableCache.mu
	pinned  bool   // Flush is writing it: the file is not up to date; guarded by tableCache.mu
}

func (t *table) set(i int, e uint64) {
	t.entries[i] = e
	t.dirty.add(i)
}

// tableCache holds L2 tables by their index in the L1 table.
type tableCache struct {
	mu     sync.Mutex
	max    int
	clock  uint64            // guarded by mu
	tables map[uint64]*table // guarded by mu
}

func (c *tableCache) init(clusterSize uint64) {
	c.max = max(minTables, int(cacheBytes/clusterSize))
	c.tables = make(map[uint64]*table)
}

// get returns the table of L1 entry i, which is at host, from memory or the file.
// Preconditions: Image.mu is held.
func (c *tableCache) get(s Storage, i, host uint64, entries uint64) (*table, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.clock++
	if t := c.tables[i]; t != nil {
		t.used = c.clock
		return t, nil
	}
	e, err := readTable(s, host, entries)
	if err != nil {
		return nil, err
	}
	t := &table{host: host, entries: e, used: c.clock}
	c.evict()
	c.tables[i] = t
	return t, nil
}

// put adds a table, in place of the one that was there.
func (c *tableCache) put(i uint64, t *table) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.clock++
	t.used = c.clock
	c.evict()
	c.tables[i] = t
}

// evict makes room for one more by dropping the clean table that was used longest
// ago. Dirty ones stay: they are written by Flush, which crowded asks for.
// Preconditions: mu is held.
func (c *tableCache) evict() {
	if len(c.tables) < c.max {
		return
	}
	oldest, found := uint64(0), false
	for i, t := range c.tables {
		if !t.dirty.any() && !t.pinned && (!found || t.used < c.tables[oldest].used) {
			oldest, found = i, true
		}
	}
	if found {
		delete(c.tables, oldest)
	}
}

// pinDirty lists the tables that the file lacks, and keeps them in memory until
// unpin. Preconditions: Image.mu is held for writing.
func (c *tableCache) pinDirty() []*table {
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []*table
	for _, t := range c.tables {
		if t.dirty.any() {
			t.pinned = true
			out = append(out, t)
		}
	}
	return out
}

// unpin undoes pinDirty.
func (c *tableCache) unpin() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, t := range c.tables {
		t.pinned = false
	}
}

// crowded says that more tables are in memory than should be: too many are dirty to
// be evicted.
func (c *tableCache) crowded() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.tables) > c.max
}
