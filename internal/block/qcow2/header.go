package qcow2

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
)

// Numbers of the format: docs/interop/qcow2.txt of QEMU, section "Header". All are
// big-endian.
const (
	Magic = "QFI\xfb"

	headerV2Size = 72  // the fields every version has
	headerV3Size = 104 // up to and including header_length
	typeOffset   = 104 // compression_type, present when header_length > 104

	minClusterBits = 9  // 512 bytes
	maxClusterBits = 21 // 2 MiB

	maxL1Size       = 32 << 20 // bytes; QEMU's QCOW_MAX_L1_SIZE
	maxRefTableSize = 8 << 20  // bytes; QEMU's QCOW_MAX_REFTABLE_SIZE
	maxBackingName  = 1023     // bytes

	incompatDirty       = 1 << 0
	incompatCorrupt     = 1 << 1
	incompatExternal    = 1 << 2
	incompatCompression = 1 << 3
	incompatExtendedL2  = 1 << 4

	extBackingFormat = 0xE2792ACA // header extension: name of the backing file's format
	extEnd           = 0

	compressionZlib = 0
	compressionZstd = 1
)

// ErrNotQcow2 says that the file does not begin with the magic number.
var ErrNotQcow2 = errors.New("not a qcow2 image")

// RefusedError says which property of a valid image this package does not take.
type RefusedError struct {
	Why  string // what the image has
	Hint string // what the person can do
}

func (e *RefusedError) Error() string { return e.Why }

// header is the decoded header.
type header struct {
	version         uint32
	backingFile     string
	backingFormat   string
	clusterBits     uint32
	size            uint64 // virtual size in bytes
	l1Size          uint32 // entries
	l1Offset        uint64
	refTableOffset  uint64
	refTableSize    uint32 // clusters
	snapshots       uint32
	incompatible    uint64
	autoclear       uint64
	refcountOrder   uint32 // log2 of the bits of one refcount
	length          uint32
	compressionType uint8
}

func (h *header) clusterSize() uint64 { return 1 << h.clusterBits }

// l2Bits is log2 of the number of entries of an L2 table: one cluster of 8-byte
// entries.
func (h *header) l2Bits() uint32 { return h.clusterBits - 3 }

// readHeader reads and checks the header. fileSize bounds every offset in it.
func readHeader(s Storage, fileSize uint64) (*header, error) {
	var raw [headerV3Size + 8]byte
	n := min(uint64(len(raw)), fileSize)
	if n < headerV2Size {
		return nil, ErrNotQcow2
	}
	if err := s.ReadAt([][]byte{raw[:n]}, 0); err != nil {
		return nil, err
	}
	if string(raw[:4]) != Magic {
		return nil, ErrNotQcow2
	}
	be := binary.BigEndian
	h := &header{
		version:        be.Uint32(raw[4:]),
		clusterBits:    be.Uint32(raw[20:]),
		size:           be.Uint64(raw[24:]),
		l1Size:         be.Uint32(raw[36:]),
		l1Offset:       be.Uint64(raw[40:]),
		refTableOffset: be.Uint64(raw[48:]),
		refTableSize:   be.Uint32(raw[56:]),
		snapshots:      be.Uint32(raw[60:]),
		refcountOrder:  4,
		length:         headerV2Size,
	}
	if crypt := be.Uint32(raw[32:]); crypt != 0 {
		return nil, &RefusedError{"the image is encrypted", "convert it with: qemu-img convert -O qcow2"}
	}
	switch h.version {
	case 2:
	case 3:
		if n < headerV3Size {
			return nil, errors.New("the header is cut off")
		}
		h.incompatible = be.Uint64(raw[72:])
		h.autoclear = be.Uint64(raw[88:])
		h.refcountOrder = be.Uint32(raw[96:])
		h.length = be.Uint32(raw[100:])
		if h.length > typeOffset && n > typeOffset {
			h.compressionType = raw[typeOffset]
		}
	default:
		return nil, &RefusedError{fmt.Sprintf("the image has qcow2 version %d", h.version), "versions 2 and 3 are known"}
	}
	if err := h.check(fileSize); err != nil {
		return nil, err
	}
	if err := h.readNames(s, be.Uint64(raw[8:]), be.Uint32(raw[16:]), fileSize); err != nil {
		return nil, err
	}
	return h, nil
}

// check holds the fields against the format's limits and the file's size.
func (h *header) check(fileSize uint64) error {
	if err := h.refusals(); err != nil {
		return err
	}
	if h.clusterBits < minClusterBits || h.clusterBits > maxClusterBits {
		return fmt.Errorf("cluster_bits is %d, not in 9..21", h.clusterBits)
	}
	if h.refcountOrder > 6 {
		return fmt.Errorf("refcount_order is %d, over 6", h.refcountOrder)
	}
	if h.version == 3 && (h.length < headerV3Size || h.length%8 != 0 || uint64(h.length) > h.clusterSize()) {
		return fmt.Errorf("header_length is %d", h.length)
	}
	// One L1 entry covers an L2 table's clusters.
	covered := h.clusterBits + h.l2Bits()
	need := h.size >> covered
	if h.size&(1<<covered-1) != 0 {
		need++
	}
	if uint64(h.l1Size) < need || uint64(h.l1Size)*8 > maxL1Size {
		return fmt.Errorf("the L1 table has %d entries, and %d bytes of disk need %d", h.l1Size, h.size, need)
	}
	mask := h.clusterSize() - 1
	for _, f := range []struct {
		name      string
		off, size uint64
	}{
		{"the L1 table", h.l1Offset, uint64(h.l1Size) * 8},
		{"the refcount table", h.refTableOffset, uint64(h.refTableSize) << h.clusterBits},
	} {
		if f.off&mask != 0 || f.off > fileSize || f.size > fileSize-f.off {
			return fmt.Errorf("%s (offset %d, %d bytes) is not in the file of %d bytes", f.name, f.off, f.size, fileSize)
		}
	}
	if h.refTableSize == 0 || uint64(h.refTableSize)<<h.clusterBits > maxRefTableSize {
		return fmt.Errorf("the refcount table has %d clusters", h.refTableSize)
	}
	return nil
}

// refusals names what a valid image may have and this package does not take.
func (h *header) refusals() error {
	switch bits := h.incompatible; {
	case bits&incompatExternal != 0:
		return &RefusedError{"the image keeps its data in an external file", "convert it with: qemu-img convert -O qcow2"}
	case bits&incompatCorrupt != 0:
		return &RefusedError{"the image is marked corrupt", "repair it with: qemu-img check -r all"}
	case bits&incompatExtendedL2 != 0:
		return &RefusedError{"the image has extended L2 entries", "convert it with: qemu-img convert -O qcow2 -o extended_l2=off"}
	case bits&^(incompatDirty|incompatCompression) != 0:
		return &RefusedError{fmt.Sprintf("the image has unknown incompatible features %#x", bits), "convert it with: qemu-img convert -O qcow2"}
	case h.compressionType != compressionZlib && h.compressionType != compressionZstd:
		return &RefusedError{fmt.Sprintf("the image has unknown compression type %d", h.compressionType), "zlib and zstd are known"}
	case bits&incompatCompression == 0 && h.compressionType != compressionZlib:
		return errors.New("a compression type without its feature bit")
	}
	return nil
}

// readNames reads the backing file's name and the extension that names its format.
func (h *header) readNames(s Storage, off uint64, n uint32, fileSize uint64) error {
	end := min(h.clusterSize(), fileSize)
	first := make([]byte, end)
	if err := s.ReadAt([][]byte{first}, 0); err != nil {
		return err
	}
	if off != 0 {
		if n > maxBackingName || off > end || uint64(n) > end-off {
			return fmt.Errorf("the backing file's name (offset %d, %d bytes) is not in the first cluster", off, n)
		}
		h.backingFile = string(first[off : off+uint64(n)])
		if strings.ContainsRune(h.backingFile, 0) {
			return errors.New("the backing file's name has a zero byte")
		}
	}
	for pos := uint64(h.length); pos+8 <= end; {
		kind := binary.BigEndian.Uint32(first[pos:])
		size := uint64(binary.BigEndian.Uint32(first[pos+4:]))
		pos += 8
		if kind == extEnd {
			break
		}
		if size > end-pos {
			return fmt.Errorf("the header extension %#x runs out of the first cluster", kind)
		}
		if kind == extBackingFormat {
			h.backingFormat = string(first[pos : pos+size])
		}
		pos += (size + 7) &^ 7
	}
	return nil
}
