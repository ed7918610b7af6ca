package blk

import (
	"encoding/binary"
	"math/bits"
	"sync/atomic"
)

// Feature bits, virtio 1.2 section 5.2.3.
const (
	FeatureSegMax      uint64 = 1 << 2  // seg_max is valid
	FeatureRO          uint64 = 1 << 5  // the disk is read-only
	FeatureBlkSize     uint64 = 1 << 6  // blk_size is valid
	FeatureFlush       uint64 = 1 << 9  // FLUSH requests, and a cache to be flushed
	FeatureTopology    uint64 = 1 << 10 // the topology fields are valid
	FeatureConfigWCE   uint64 = 1 << 11 // the driver may turn the write cache on and off
	FeatureMQ          uint64 = 1 << 12 // more than one queue
	FeatureDiscard     uint64 = 1 << 13 // DISCARD requests
	FeatureWriteZeroes uint64 = 1 << 14 // WRITE_ZEROES requests
)

// SectorSize is the unit of a virtio disk, in bytes, whatever blk_size says
// (virtio 1.2 section 5.2.4).
const SectorSize = 512

// Fields of struct virtio_blk_config, virtio 1.2 section 5.2.4: offsets in
// bytes. Those between and behind belong to features that are not offered.
const (
	offCapacity          = 0  // le64, sectors
	offSegMax            = 12 // le32
	offBlkSize           = 20 // le32, bytes
	offPhysicalBlockExp  = 24 // u8, log2 of the logical blocks in a physical one
	offMinIOSize         = 26 // le16, logical blocks
	offWriteback         = 32 // u8: 1 when writes may stay in a cache
	offNumQueues         = 34 // le16
	offMaxDiscard        = 36 // le32, sectors
	offMaxDiscardSeg     = 40 // le32
	offDiscardAlign      = 44 // le32, sectors
	offMaxWriteZeroes    = 48 // le32, sectors
	offMaxWriteZeroesSeg = 52 // le32
	offMayUnmap          = 56 // u8: 1 when WRITE_ZEROES with unmap gives space back
	configSize           = 60
)

const (
	// queueSize is the number of descriptors of each queue: what QEMU and
	// Firecracker give a disk.
	queueSize = 256
	// segMax is how many buffers one request may have besides header and
	// status, so that a request fits into the ring without indirect tables.
	segMax = queueSize - 2
	// maxSegments is how many ranges one DISCARD or WRITE_ZEROES may have.
	maxSegments = 32
	// maxRange is the length of one of them, in sectors: 2 GiB. It is a round
	// number near what QEMU takes (BDRV_REQUEST_MAX_SECTORS).
	maxRange = 1 << 22
)

// configSpace is the device's configuration. Only writeback ever changes.
type configSpace struct {
	fields    [configSize]byte
	writeback atomic.Bool
}

// fill sets what the disk says of itself.
func (c *configSpace) fill(disk Backend, features uint64, queues int) {
	le := binary.LittleEndian
	f := c.fields[:]
	le.PutUint64(f[offCapacity:], disk.Size()/SectorSize)
	le.PutUint32(f[offSegMax:], segMax)
	// Logical blocks stay at one sector: partition tables are in units of
	// them, and an image is moved between hosts. What suits the host is told
	// by the topology.
	le.PutUint32(f[offBlkSize:], SectorSize)
	physical := max(disk.BlockSize()/SectorSize, 1)
	f[offPhysicalBlockExp] = byte(bits.Len32(physical) - 1)
	le.PutUint16(f[offMinIOSize:], uint16(min(physical, 1<<15)))
	le.PutUint16(f[offNumQueues:], uint16(queues))
	if features&FeatureDiscard != 0 {
		le.PutUint32(f[offMaxDiscard:], maxRange)
		le.PutUint32(f[offMaxDiscardSeg:], maxSegments)
		le.PutUint32(f[offDiscardAlign:], max(disk.Granularity()/SectorSize, 1))
	}
	if features&FeatureWriteZeroes != 0 {
		le.PutUint32(f[offMaxWriteZeroes:], maxRange)
		le.PutUint32(f[offMaxWriteZeroesSeg:], maxSegments)
		f[offMayUnmap] = 1
	}
	c.writeback.Store(true)
}

// read fills p from offset on, with zeroes beyond the end.
func (c *configSpace) read(offset uint32, p []byte) {
	clear(p)
	if offset >= configSize {
		return
	}
	copy(p, c.fields[offset:])
	if i := int(offWriteback) - int(offset); i >= 0 && i < len(p) && c.writeback.Load() {
		p[i] = 1
	}
}

// write changes writeback, the only field that a driver may write, with
// accesses of its own width.
func (c *configSpace) write(offset uint32, p []byte) {
	if offset == offWriteback && len(p) == 1 && p[0] <= 1 {
		c.writeback.Store(p[0] == 1)
	}
}
