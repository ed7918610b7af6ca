package qcow2

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// errFull says that the image cannot grow: its refcount structure is at its limit.
var errFull = errors.New("the image cannot grow any more: its clusters are too small for its size")

// refcounts counts the users of each host cluster. The counts are in refcount blocks
// of one cluster each, and the refcount table says where those are
// (docs/interop/qcow2.txt, "Host cluster management"). Not safe for concurrent use.
type refcounts struct {
	s     Storage
	h     *header
	table []uint64          // offsets of the blocks, 0: none, all its counts are 0
	block map[uint64][]byte // blocks in memory, by their index in table
	dirty map[uint64]bool   // blocks that the file lacks
	fresh map[uint64]bool   // blocks that the table in the file does not name yet
	hint  uint64            // no cluster below is free
	meta  map[uint64]bool   // clusters that hold the image's own structures
	hold  map[uint64]bool   // free clusters that must not be used yet
}

// open reads the refcount table.
func (r *refcounts) open(s Storage, h *header, fileSize uint64) error {
	r.s, r.h = s, h
	r.block, r.dirty, r.fresh = make(map[uint64][]byte), make(map[uint64]bool), make(map[uint64]bool)
	r.meta, r.hold = make(map[uint64]bool), make(map[uint64]bool)
	n := uint64(h.refTableSize) << h.clusterBits / 8
	t, err := readTable(s, h.refTableOffset, n)
	if err != nil {
		return fmt.Errorf("the refcount table: %w", err)
	}
	r.table = t
	if err := r.claim("the header", 0, h.clusterSize()); err != nil {
		return err
	}
	if err := r.claim("the L1 table", h.l1Offset, uint64(h.l1Size)*8); err != nil {
		return err
	}
	if err := r.claim("the refcount table", h.refTableOffset, n*8); err != nil {
		return err
	}
	for i, off := range t {
		if off == 0 {
			continue
		}
		if off&(h.clusterSize()-1) != 0 || off >= fileSize {
			return errCorrupt("refcount block %d is at %#x", i, off)
		}
		if err := r.claim("a refcount block", off, h.clusterSize()); err != nil {
			return err
		}
	}
	return nil
}

// claim notes that clusters hold a structure of the image. Two structures in one
// cluster would let the guest's data, written through one, change the other.
func (r *refcounts) claim(what string, off, n uint64) error {
	if n == 0 {
		return nil
	}
	for c := off >> r.h.clusterBits; c <= (off+n-1)>>r.h.clusterBits; c++ {
		if r.meta[c] {
			return errCorrupt("%s at %#x overlaps another structure", what, off)
		}
		r.meta[c] = true
	}
	return nil
}

func (r *refcounts) disclaim(off, n uint64) {
	for c := off >> r.h.clusterBits; n > 0 && c <= (off+n-1)>>r.h.clusterBits; c++ {
		delete(r.meta, c)
	}
}

// perBlock is the number of counts in a block.
func (r *refcounts) perBlock() uint64 { return r.h.clusterSize() * 8 >> r.h.refcountOrder }

// load returns block b, nil when it does not exist.
func (r *refcounts) load(b uint64) ([]byte, error) {
	if blk := r.block[b]; blk != nil {
		return blk, nil
	}
	if b >= uint64(len(r.table)) || r.table[b] == 0 {
		return nil, nil
	}
	blk := make([]byte, r.h.clusterSize())
	if err := r.s.ReadAt([][]byte{blk}, r.table[b]); err != nil {
		return nil, fmt.Errorf("refcount block %d: %w", b, err)
	}
	r.block[b] = blk
	return blk, nil
}

// get is the count of cluster c.
func (r *refcounts) get(c uint64) (uint64, error) {
	blk, err := r.load(c / r.perBlock())
	if err != nil || blk == nil {
		return 0, err
	}
	return readCount(blk, c%r.perBlock(), r.h.refcountOrder), nil
}

// set changes the count of cluster c in memory.
func (r *refcounts) set(c, n uint64) error {
	b := c / r.perBlock()
	blk, err := r.load(b)
	if err != nil {
		return err
	}
	if blk == nil {
		if blk, err = r.newBlock(b); err != nil {
			return err
		}
	}
	writeCount(blk, c%r.perBlock(), r.h.refcountOrder, n)
	r.dirty[b] = true
	return nil
}

// newBlock makes block b, which counts clusters that nothing has used so far, and
// places it in the first of them.
func (r *refcounts) newBlock(b uint64) ([]byte, error) {
	if b >= uint64(len(r.table)) {
		if err := r.growTable(b); err != nil {
			return nil, err
		}
		if blk := r.block[b]; blk != nil {
			return blk, nil // growing made it
		}
	}
	return r.placeBlock(b), nil
}

func (r *refcounts) placeBlock(b uint64) []byte {
	first := b * r.perBlock()
	blk := make([]byte, r.h.clusterSize())
	r.table[b] = first << r.h.clusterBits
	r.block[b] = blk
	r.dirty[b], r.fresh[b] = true, true
	r.meta[first] = true
	writeCount(blk, 0, r.h.refcountOrder, 1)
	return blk
}

// growTable moves the refcount table to a larger place behind block b, in clusters
// that b counts. It is durable when growTable returns.
func (r *refcounts) growTable(b uint64) error {
	entries := max(uint64(len(r.table))*2, b+1)
	clusters := (entries*8 + r.h.clusterSize() - 1) >> r.h.clusterBits
	if clusters+1 >= r.perBlock() || clusters<<r.h.clusterBits > maxRefTableSize {
		return errFull
	}
	oldOff, oldSize := r.h.refTableOffset, uint64(len(r.table))*8
	t := make([]uint64, clusters<<r.h.clusterBits/8)
	copy(t, r.table)
	r.table = t
	blk := r.placeBlock(b)
	first := b*r.perBlock() + 1
	for i := range clusters {
		writeCount(blk, 1+i, r.h.refcountOrder, 1)
	}
	off := first << r.h.clusterBits
	if err := r.claim("the refcount table", off, clusters<<r.h.clusterBits); err != nil {
		return err
	}
	if err := r.writeBlocks(); err != nil {
		return err
	}
	if err := r.s.WriteAt([][]byte{encodeTable(t)}, off); err != nil {
		return err
	}
	if err := r.s.Sync(); err != nil {
		return err
	}
	var field [12]byte // refcount_table_offset and refcount_table_clusters
	binary.BigEndian.PutUint64(field[:], off)
	binary.BigEndian.PutUint32(field[8:], uint32(clusters))
	if err := r.s.WriteAt([][]byte{field[:]}, 48); err != nil {
		return err
	}
	if err := r.s.Sync(); err != nil {
		return err
	}
	clear(r.fresh)
	r.h.refTableOffset, r.h.refTableSize = off, uint32(clusters)
	r.disclaim(oldOff, oldSize)
	for c := oldOff >> r.h.clusterBits; c < (oldOff+oldSize)>>r.h.clusterBits; c++ {
		if _, err := r.drop(c); err != nil {
			return err
		}
	}
	return nil
}

// alloc finds up to want free clusters in a row, at least one, counts each once and
// returns the first one's offset and how many there are. The file lacks the counts
// until write.
func (r *refcounts) alloc(want uint64) (off, got uint64, err error) {
	c := r.hint
	for {
		n, err := r.get(c)
		if err != nil {
			return 0, 0, err
		}
		if n == 0 && !r.hold[c] {
			break
		}
		c++
	}
	r.hint = c
	// Counting the first cluster may place a refcount block right there: look again.
	if err := r.touch(c); err != nil {
		return 0, 0, err
	}
	if n, err := r.get(c); err != nil || n != 0 {
		if err != nil {
			return 0, 0, err
		}
		return r.alloc(want)
	}
	for got < want {
		n, err := r.get(c + got)
		if err != nil {
			return 0, 0, err
		}
		if n != 0 || r.hold[c+got] || (got > 0 && (c+got)%r.perBlock() == 0) {
			break
		}
		if r.meta[c+got] {
			return 0, 0, errCorrupt("cluster %d holds a structure and is not counted", c+got)
		}
		if err := r.set(c+got, 1); err != nil {
			return 0, 0, err
		}
		got++
	}
	r.hint = c + got
	return c << r.h.clusterBits, got, nil
}

// touch makes sure that the block that counts cluster c exists.
func (r *refcounts) touch(c uint64) error {
	b := c / r.perBlock()
	blk, err := r.load(b)
	if err == nil && blk == nil {
		_, err = r.newBlock(b)
	}
	return err
}

// drop takes one user from cluster c and says whether it was the last.
func (r *refcounts) drop(c uint64) (last bool, err error) {
	n, err := r.get(c)
	if err != nil {
		return false, err
	}
	if n == 0 {
		return false, errCorrupt("cluster %d is in use and not counted", c)
	}
	if err := r.set(c, n-1); err != nil {
		return false, err
	}
	if n == 1 {
		r.hint = min(r.hint, c)
	}
	return n == 1, nil
}

// write brings the file up to date: blocks, and then the table that names new ones.
func (r *refcounts) write() error {
	if err := r.writeBlocks(); err != nil {
		return err
	}
	if len(r.fresh) == 0 {
		return nil
	}
	// A table that names a block before the block is there would count nothing.
	if err := r.s.Sync(); err != nil {
		return err
	}
	for b := range r.fresh {
		e := encodeTable(r.table[b : b+1])
		if err := r.s.WriteAt([][]byte{e}, r.h.refTableOffset+b*8); err != nil {
			return err
		}
	}
	clear(r.fresh)
	return nil
}

func (r *refcounts) writeBlocks() error {
	for b := range r.dirty {
		if err := r.s.WriteAt([][]byte{r.block[b]}, r.table[b]); err != nil {
			return err
		}
		delete(r.dirty, b)
	}
	return nil
}

// readCount decodes count i of a block whose counts are 1<<order bits wide. Those of
// less than a byte begin at the least significant bit.
func readCount(blk []byte, i uint64, order uint32) uint64 {
	switch order {
	case 3:
		return uint64(blk[i])
	case 4:
		return uint64(binary.BigEndian.Uint16(blk[i*2:]))
	case 5:
		return uint64(binary.BigEndian.Uint32(blk[i*4:]))
	case 6:
		return binary.BigEndian.Uint64(blk[i*8:])
	default:
		bits := uint64(1) << order
		return uint64(blk[i*bits/8]) >> (i * bits % 8) & (1<<bits - 1)
	}
}

// writeCount is the inverse of readCount.
func writeCount(blk []byte, i uint64, order uint32, n uint64) {
	switch order {
	case 3:
		blk[i] = byte(n)
	case 4:
		binary.BigEndian.PutUint16(blk[i*2:], uint16(n))
	case 5:
		binary.BigEndian.PutUint32(blk[i*4:], uint32(n))
	case 6:
		binary.BigEndian.PutUint64(blk[i*8:], n)
	default:
		bits := uint64(1) << order
		shift := i * bits % 8
		mask := byte(1<<bits-1) << shift
		blk[i*bits/8] = blk[i*bits/8]&^mask | byte(n)<<shift
	}
}
