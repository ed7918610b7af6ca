package frame

import (
	"encoding/binary"

	"github.com/libcapsa/libcapsa/internal/net/link"
)

// Fits says whether a guest with these offloads takes a frame as it is.
func Fits(h *link.Header, ether uint16, o link.Offloads) bool {
	if h.Flags&link.NeedsChecksum != 0 && !o.Checksum || h.GSOType&link.GSOECN != 0 && !o.ECN {
		return false
	}
	switch h.GSOType &^ link.GSOECN {
	case link.GSOTCPv4:
		return o.TSO4
	case link.GSOTCPv6:
		return o.TSO6
	case link.GSOUDPL4:
		return ether == TypeIPv6 && o.USO6 || ether == TypeIPv4 && o.USO4
	}
	return true
}

// Fit makes a frame fit offloads: put gets it, or what it becomes, in order. data is
// the whole frame, and changes; what put gets is borrowed. A frame that cannot be cut is
// lost, and the result false.
func Fit(data []byte, h link.Header, o link.Offloads, put func(h link.Header, data []byte)) bool {
	if len(data) < EtherSize {
		return false
	}
	if Fits(&h, binary.BigEndian.Uint16(data[12:]), o) {
		put(h, data)
		return true
	}
	if h.GSOType == link.GSONone {
		if !Complete(data, int(h.CSumStart), int(h.CSumOffset)) {
			return false
		}
		put(link.Header{}, data)
		return true
	}
	cut, ok := NewCut(data, h, !o.Checksum)
	if !ok {
		return false
	}
	piece := make([]byte, cut.FrameSize())
	for {
		n, h := cut.Next(piece)
		if n == 0 {
			return true
		}
		put(h, piece[:n])
	}
}
