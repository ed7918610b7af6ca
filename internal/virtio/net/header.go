package net

import (
	"encoding/binary"

	"github.com/libcapsa/libcapsa/internal/net/link"
)

// struct virtio_net_hdr (virtio 1.2 section 5.1.6), all little-endian: u8
// flags, u8 gso_type, le16 hdr_len, gso_size, csum_start, csum_offset,
// num_buffers. With VERSION_1 the last one is always there.
const (
	hdrFlags      = 0
	hdrGSOType    = 1
	hdrLen        = 2
	hdrGSOSize    = 4
	hdrCSumStart  = 6
	hdrCSumOffset = 8
	hdrNumBuffers = 10
	hdrSize       = 12
)

// decode takes a header apart. num_buffers of the driver means nothing.
func decode(raw *[hdrSize]byte) link.Header {
	le := binary.LittleEndian
	return link.Header{
		Flags:      raw[hdrFlags],
		GSOType:    raw[hdrGSOType],
		HdrLen:     le.Uint16(raw[hdrLen:]),
		GSOSize:    le.Uint16(raw[hdrGSOSize:]),
		CSumStart:  le.Uint16(raw[hdrCSumStart:]),
		CSumOffset: le.Uint16(raw[hdrCSumOffset:]),
	}
}

// encode puts a header together. A frame in one buffer has 1 in num_buffers
// even without MRG_RXBUF (section 5.1.6.4.1).
func encode(raw *[hdrSize]byte, h *link.Header, buffers int) {
	le := binary.LittleEndian
	raw[hdrFlags] = h.Flags
	raw[hdrGSOType] = h.GSOType
	le.PutUint16(raw[hdrLen:], h.HdrLen)
	le.PutUint16(raw[hdrGSOSize:], h.GSOSize)
	le.PutUint16(raw[hdrCSumStart:], h.CSumStart)
	le.PutUint16(raw[hdrCSumOffset:], h.CSumOffset)
	le.PutUint16(raw[hdrNumBuffers:], uint16(buffers))
}

const (
	// ethHeader is the length of an Ethernet header, and so of the shortest
	// frame: a link of virtio does not pad (IEEE 802.3 does, to 60 bytes).
	ethHeader = 14
	// vlanTag is what a tag of IEEE 802.1Q adds to it.
	vlanTag = 4
	// checksumSize is the length of a checksum of TCP or UDP.
	checksumSize = 2
)

// rules are what the headers of a driver's frames are held to.
type rules struct {
	features uint64
	mtu      int // 0: not negotiated
}

// check says why a frame of n bytes is dropped, dropNone for one that is not.
// It also clears the flags that mean nothing on the way to a device (section
// 5.1.6.2.2).
func (r *rules) check(h *link.Header, n int) drop {
	h.Flags &= link.NeedsChecksum
	switch {
	case n < ethHeader:
		return dropShort
	case n > link.MaxFrame:
		return dropLong
	case h.GSOType == link.GSONone && r.mtu != 0 && n > r.mtu+ethHeader+vlanTag:
		return dropLong // section 5.1.4.2
	case h.Flags != 0 && !r.checksum(h, n):
		return dropHeader
	case h.GSOType != link.GSONone && !r.gso(h):
		return dropHeader
	}
	return dropNone
}

// checksum says whether a partial checksum is allowed and lies in the frame.
func (r *rules) checksum(h *link.Header, n int) bool {
	return r.features&FeatureCSum != 0 && int(h.CSumStart)+int(h.CSumOffset)+checksumSize <= n
}

// gso says whether the kind of long frame was negotiated, and has what it needs
// (section 5.1.6.2.1): a partial checksum, and segments that are not empty.
func (r *rules) gso(h *link.Header) bool {
	var need uint64
	switch h.GSOType &^ link.GSOECN {
	case link.GSOTCPv4:
		need = FeatureHostTSO4
	case link.GSOTCPv6:
		need = FeatureHostTSO6
	case link.GSOUDPL4:
		need = FeatureHostUSO
	default:
		return false
	}
	if h.GSOType&link.GSOECN != 0 {
		if need == FeatureHostUSO {
			return false
		}
		need |= FeatureHostECN
	}
	return r.features&need == need && h.Flags&link.NeedsChecksum != 0 && h.GSOSize != 0
}
