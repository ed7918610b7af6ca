package qcow2

import (
	"bytes"
	"compress/flate"
	"fmt"
	"io"
	"sync"

	"github.com/klauspost/compress/zstd"

	"github.com/libcapsa/libcapsa/internal/safe"
)

// plainClusters is how many decompressed clusters are kept: neighbouring small reads
// fall into the same one.
const plainClusters = 8

// plainCache keeps decompressed clusters by their L2 entry, which says where and how
// long they are. Decompressed bytes are never changed.
type plainCache struct {
	mu      sync.Mutex
	entries [plainClusters]struct {
		entry uint64
		plain []byte
	}
	next int // the slot to be used next
}

func (c *plainCache) get(entry uint64) []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, e := range c.entries {
		if e.entry == entry {
			return e.plain
		}
	}
	return nil
}

func (c *plainCache) put(entry uint64, plain []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.entries[c.next].entry, c.entries[c.next].plain = entry, plain
	c.next = (c.next + 1) % plainClusters
}

// forget drops everything: host clusters were freed and may come to hold other data.
func (c *plainCache) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.entries[:])
}

// compressedRange decodes the L2 entry of a compressed cluster: where its bytes are
// in the file (docs/interop/qcow2.txt, "Compressed Clusters Descriptor").
func (m *Image) compressedRange(entry uint64) (off, n uint64) {
	x := 62 - (m.h.clusterBits - 8)
	off = entry & (1<<x - 1)
	sectors := (entry & (compressedFlag - 1)) >> x
	return off, (sectors+1)*512 - off&511
}

// decompress returns the bytes of a compressed cluster. They are shared and must not
// be changed.
func (m *Image) decompress(entry uint64) ([]byte, error) {
	if plain := m.plain.get(entry); plain != nil {
		return plain, nil
	}
	off, n := m.compressedRange(entry)
	packed := make([]byte, n) // at most two clusters, by the width of the field
	err := m.s.ReadAt([][]byte{packed}, off)
	if err != nil {
		return nil, err
	}
	plain := make([]byte, m.h.clusterSize())
	// The decoders are other people's, and this is anybody's data.
	if crash := safe.Run("qcow2 inflate", func() { err = m.inflate(plain, packed) }); crash != nil {
		err = crash
	}
	if err != nil {
		return nil, fmt.Errorf("the compressed cluster at %d: %w", off, err)
	}
	m.plain.put(entry, plain)
	return plain, nil
}

// inflate fills plain. What follows the compressed bytes in packed belongs to others
// and is ignored.
func (m *Image) inflate(plain, packed []byte) error {
	if m.h.compressionType == compressionZlib {
		_, err := io.ReadFull(flate.NewReader(bytes.NewReader(packed)), plain)
		return err
	}
	// The frame's own window is bounded by what it may produce: one cluster.
	d, err := zstd.NewReader(bytes.NewReader(packed), zstd.WithDecoderConcurrency(1),
		zstd.WithDecoderMaxMemory(maxZstdMemory), zstd.WithDecoderLowmem(true))
	if err != nil {
		return err
	}
	defer d.Close()
	_, err = io.ReadFull(d, plain)
	return err
}

// maxZstdMemory bounds what a zstd frame may ask for, in bytes: several of the
// largest clusters.
const maxZstdMemory = 16 << 20
