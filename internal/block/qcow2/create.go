package qcow2

import (
	"encoding/binary"
	"fmt"
)

// DefaultClusterBits is log2 of the cluster size of new images: 64 KiB, QEMU's
// choice.
const DefaultClusterBits = 16

// CreateOptions says what a new image is.
type CreateOptions struct {
	Size          uint64 // bytes
	ClusterBits   uint32 // log2 of the cluster size; 0: DefaultClusterBits
	BackingFile   string // name of the image below, "" for none
	BackingFormat string // "raw" or "qcow2", needed with BackingFile
}

// Create writes an empty image of version 3 to an empty storage.
func Create(s Storage, o CreateOptions) error {
	if o.ClusterBits == 0 {
		o.ClusterBits = DefaultClusterBits
	}
	if o.ClusterBits < minClusterBits || o.ClusterBits > maxClusterBits {
		return fmt.Errorf("cluster_bits %d is not in 9..21", o.ClusterBits)
	}
	if len(o.BackingFile) > maxBackingName {
		return fmt.Errorf("the backing file's name has %d bytes, and %d fit", len(o.BackingFile), maxBackingName)
	}
	size := uint64(1) << o.ClusterBits
	covered := o.ClusterBits + o.ClusterBits - 3
	l1Entries := max(1, (o.Size+1<<covered-1)>>covered)
	l1Clusters := (l1Entries*8 + size - 1) >> o.ClusterBits
	used := 3 + l1Clusters // header, refcount table, one refcount block, L1 table
	if l1Entries*8 > maxL1Size || used > size/2 {
		return fmt.Errorf("a disk of %d bytes needs larger clusters than %d bytes", o.Size, size)
	}
	head, err := encodeHeader(o, l1Entries)
	if err != nil {
		return err
	}
	image := make([]byte, used<<o.ClusterBits)
	copy(image, head)
	be := binary.BigEndian
	be.PutUint64(image[size:], 2*size) // the refcount table names the block
	for c := range used {
		be.PutUint16(image[2*size+c*2:], 1)
	}
	if err := s.WriteAt([][]byte{image}, 0); err != nil {
		return err
	}
	return s.Sync()
}

// encodeHeader is the header of a new image and its extension.
func encodeHeader(o CreateOptions, l1Entries uint64) ([]byte, error) {
	be := binary.BigEndian
	size := uint64(1) << o.ClusterBits
	h := make([]byte, headerV3Size+8) // compression_type and its padding
	copy(h, Magic)
	be.PutUint32(h[4:], 3)
	be.PutUint32(h[20:], o.ClusterBits)
	be.PutUint64(h[24:], o.Size)
	be.PutUint32(h[36:], uint32(l1Entries))
	be.PutUint64(h[40:], 3*size)
	be.PutUint64(h[48:], size)
	be.PutUint32(h[56:], 1)
	be.PutUint32(h[96:], 4) // refcounts of 16 bits
	be.PutUint32(h[100:], uint32(len(h)))
	if o.BackingFile == "" {
		return be.AppendUint64(h, extEnd), nil
	}
	h = be.AppendUint32(h, extBackingFormat)
	h = be.AppendUint32(h, uint32(len(o.BackingFormat)))
	h = append(h, o.BackingFormat...)
	for len(h)%8 != 0 {
		h = append(h, 0)
	}
	h = be.AppendUint64(h, extEnd)
	be.PutUint64(h[8:], uint64(len(h)))
	be.PutUint32(h[16:], uint32(len(o.BackingFile)))
	h = append(h, o.BackingFile...)
	if uint64(len(h)) > size {
		return nil, fmt.Errorf("the backing file's name does not fit into a cluster of %d bytes", size)
	}
	return h, nil
}
