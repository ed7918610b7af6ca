package qcow2

import (
	"encoding/binary"
	"errors"
)

// errFull says that the image cannot grow: its refcount structure is at its limit.
var errFull = errors.New("the image cannot grow any more: its clusters are too small for its size")

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
	return r.placeBlock(b, 1)
}

// placeBlock makes block b in memory and counts its first n clusters, of which it
// takes the first. They must not hold anything, counted or not.
func (r *refcounts) placeBlock(b, n uint64) ([]byte, error) {
	first := b * r.perBlock()
	if err := r.claim("a refcount block", first<<r.h.clusterBits, n<<r.h.clusterBits); err != nil {
		return nil, err
	}
	blk := make([]byte, r.h.clusterSize())
	for i := range n {
		writeCount(blk, i, r.h.refcountOrder, 1)
	}
	r.table[b] = first << r.h.clusterBits
	r.block[b] = blk
	r.dirty[b], r.fresh[b] = true, true
	r.high = max(r.high, first+n)
	return blk, nil
}

// unplaceBlock undoes placeBlock.
func (r *refcounts) unplaceBlock(b, n uint64) {
	r.disclaim(b*r.perBlock()<<r.h.clusterBits, n<<r.h.clusterBits)
	delete(r.block, b)
	delete(r.dirty, b)
	delete(r.fresh, b)
}

// growTable moves the refcount table to a larger place behind block b, in clusters
// that b counts. It is durable when growTable returns; after an error that is not an
// unknownError nothing has happened.
func (r *refcounts) growTable(b uint64) error {
	entries := max(uint64(len(r.table))*2, b+1)
	clusters := (entries*8 + r.h.clusterSize() - 1) >> r.h.clusterBits
	if clusters+1 >= r.perBlock() || clusters<<r.h.clusterBits > maxRefTableSize {
		return errFull
	}
	old := r.table
	r.table = make([]uint64, clusters<<r.h.clusterBits/8)
	copy(r.table, old)
	if _, err := r.placeBlock(b, 1+clusters); err != nil {
		r.table = old
		return err
	}
	off := (b*r.perBlock() + 1) << r.h.clusterBits
	err := r.writeBlocks()
	if err == nil {
		err = r.s.WriteAt([][]byte{encodeTable(r.table)}, off)
	}
	if err != nil { // nothing in the file refers to what was written
		r.unplaceBlock(b, 1+clusters)
		r.table = old
		return err
	}
	return r.switchTable(off, clusters)
}

// switchTable makes the header name the refcount table at off and frees the old one.
func (r *refcounts) switchTable(off, clusters uint64) error {
	if err := r.sync(); err != nil {
		return err
	}
	var field [12]byte // refcount_table_offset and refcount_table_clusters
	binary.BigEndian.PutUint64(field[:], off)
	binary.BigEndian.PutUint32(field[8:], uint32(clusters))
	if err := r.s.WriteAt([][]byte{field[:]}, 48); err != nil {
		return &unknownError{err}
	}
	if err := r.sync(); err != nil {
		return err
	}
	clear(r.fresh)
	old, n := r.h.refTableOffset, uint64(r.h.refTableSize)<<r.h.clusterBits
	r.h.refTableOffset, r.h.refTableSize = off, uint32(clusters)
	r.disclaim(old, n)
	for c := old >> r.h.clusterBits; c < (old+n)>>r.h.clusterBits; c++ {
		if _, err := r.drop(c); err != nil {
			return err
		}
	}
	return nil
}
