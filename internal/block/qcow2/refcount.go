package qcow2

import (
	"encoding/binary"
	"fmt"
)

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
	high  uint64            // no cluster from here on was ever used: they read as zeroes
	meta  map[uint64]bool   // clusters that hold the image's own structures
	hold  map[uint64]bool   // free clusters that must not be used yet
}

// blockBytes bounds the refcount blocks in memory, in bytes: with 64 KiB clusters
// they count 256 GiB.
const blockBytes = 8 << 20

// minBlocks is the number of blocks kept however large they are.
const minBlocks = 8

// open reads the refcount table.
func (r *refcounts) open(s Storage, h *header, fileSize uint64) error {
	r.s, r.h = s, h
	r.block, r.dirty, r.fresh = make(map[uint64][]byte), make(map[uint64]bool), make(map[uint64]bool)
	r.meta, r.hold = make(map[uint64]bool), make(map[uint64]bool)
	r.high = (fileSize + h.clusterSize() - 1) >> h.clusterBits
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
	first, last := off>>r.h.clusterBits, (off+n-1)>>r.h.clusterBits
	for c := first; c <= last; c++ {
		if r.meta[c] {
			return errCorrupt("%s at %#x overlaps another structure", what, off)
		}
	}
	for c := first; c <= last; c++ {
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
	r.evict()
	r.block[b] = blk
	return blk, nil
}

// maxBlocks is how many blocks are kept in memory.
func (r *refcounts) maxBlocks() int { return max(minBlocks, int(blockBytes/r.h.clusterSize())) }

// evict makes room for a block. Dirty ones stay: crowded asks for them to be written.
func (r *refcounts) evict() {
	for b := range r.block {
		if len(r.block) < r.maxBlocks() {
			return
		}
		if !r.dirty[b] {
			delete(r.block, b)
		}
	}
}

// crowded says that too many blocks are dirty.
func (r *refcounts) crowded() bool { return len(r.dirty) > r.maxBlocks() }

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

// sync is the storage's Sync.
func (r *refcounts) sync() error {
	if err := r.s.Sync(); err != nil {
		return &unknownError{err}
	}
	return nil
}

// firstFree is the first cluster from c on that is not counted and not held.
func (r *refcounts) firstFree(c uint64) (uint64, error) {
	per, order := r.perBlock(), r.h.refcountOrder
	for {
		b := c / per
		blk, err := r.load(b)
		if err != nil {
			return 0, err
		}
		for ; c < (b+1)*per; c++ {
			if (blk == nil || readCount(blk, c%per, order) == 0) && !r.hold[c] {
				return c, nil
			}
		}
	}
}

// alloc finds up to want free clusters in a row, at least one, counts each once and
// returns the first one's offset and how many there are. fresh says that they read as
// zeroes. The file lacks the counts until write.
func (r *refcounts) alloc(want uint64) (off, got uint64, fresh bool, err error) {
	var c uint64
	for {
		if c, err = r.firstFree(r.hint); err != nil {
			return 0, 0, false, err
		}
		r.hint = c
		// Counting the cluster may place a refcount block right there: look again.
		placed, err := r.touch(c)
		if err != nil {
			return 0, 0, false, err
		}
		if !placed {
			break
		}
	}
	fresh = c >= r.high
	for ; got < want && (got == 0 || (c+got)%r.perBlock() != 0); got++ {
		free, err := r.isFree(c + got)
		if err == nil && free {
			err = r.set(c+got, 1)
		}
		if err != nil && got == 0 {
			return 0, 0, false, err
		}
		if err != nil || !free {
			break
		}
	}
	r.hint = c + got
	r.high = max(r.high, c+got)
	return c << r.h.clusterBits, got, fresh, nil
}

// isFree says whether cluster c may be used.
func (r *refcounts) isFree(c uint64) (bool, error) {
	n, err := r.get(c)
	switch {
	case err != nil:
		return false, err
	case n != 0 || r.hold[c]:
		return false, nil
	case r.meta[c]:
		return false, errCorrupt("cluster %d holds a structure and is not counted", c)
	}
	return true, nil
}

// touch makes sure that the block that counts cluster c exists, and says whether it
// had to be made.
func (r *refcounts) touch(c uint64) (placed bool, err error) {
	b := c / r.perBlock()
	blk, err := r.load(b)
	if err != nil || blk != nil {
		return false, err
	}
	_, err = r.newBlock(b)
	return true, err
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
	if err := r.sync(); err != nil {
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
