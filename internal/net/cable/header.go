package cable

import (
	"encoding/binary"

	"github.com/libcapsa/libcapsa/internal/net/link"
)

// headerSize is that of struct virtio_net_hdr_v1 in bytes (virtio 1.2 section 5.1.6):
// u8 flags, gso_type; le16 hdr_len, gso_size, csum_start, csum_offset, num_buffers.
const headerSize = 12

// etherSize is that of an Ethernet header, and so of the shortest frame.
const etherSize = 14

func encodeHeader(to []byte, h *link.Header) {
	le := binary.LittleEndian
	to[0], to[1] = h.Flags, h.GSOType
	le.PutUint16(to[2:], h.HdrLen)
	le.PutUint16(to[4:], h.GSOSize)
	le.PutUint16(to[6:], h.CSumStart)
	le.PutUint16(to[8:], h.CSumOffset)
	le.PutUint16(to[10:], 0) // means something to drivers alone
}

// decodeHeader takes a header apart and checks it against a frame of n bytes, as a
// device does with one of its driver.
func decodeHeader(from []byte, n int) (h link.Header, ok bool) {
	le := binary.LittleEndian
	h = link.Header{
		Flags: from[0] & (link.NeedsChecksum | link.DataValid), GSOType: from[1],
		HdrLen: le.Uint16(from[2:]), GSOSize: le.Uint16(from[4:]),
		CSumStart: le.Uint16(from[6:]), CSumOffset: le.Uint16(from[8:]),
	}
	partial := h.Flags&link.NeedsChecksum != 0
	if partial && int(h.CSumStart)+int(h.CSumOffset)+2 > n {
		return h, false
	}
	switch h.GSOType {
	case link.GSONone:
		return h, true
	case link.GSOTCPv4, link.GSOTCPv6, link.GSOTCPv4 | link.GSOECN, link.GSOTCPv6 | link.GSOECN, link.GSOUDPL4:
		return h, partial && h.GSOSize != 0
	}
	return h, false
}
