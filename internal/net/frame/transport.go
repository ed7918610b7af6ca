package frame

import (
	"encoding/binary"

	"github.com/libcapsa/libcapsa/internal/net/link"
)

// Where the checksum stands in the header of each protocol, in bytes.
const (
	csumTCP  = 16
	csumUDP  = 6
	csumICMP = 2
)

// transport reads the header above IP. Protocols that nobody here knows are left
// as they are.
func (p *Packet) transport() Reason {
	switch p.Proto {
	case TCP:
		return p.tcp()
	case UDP:
		h := p.bytes(p.L4, 8, p.End)
		if h == nil {
			return BadTransport
		}
		p.ports(h)
		length := int(binary.BigEndian.Uint16(h[4:]))
		if length < 8 || length > p.End-p.L4 {
			return BadTransport
		}
		p.Payload, p.End = p.L4+8, p.L4+length
	case ICMPv4, ICMPv6:
		if (p.Proto == ICMPv4) != (p.EtherType == TypeIPv4) {
			return BadProtocol
		}
		h := p.bytes(p.L4, 8, p.End)
		if h == nil {
			return BadTransport
		}
		p.Type, p.Code, p.Payload = h[0], h[1], p.L4+8
	default:
		return BadProtocol
	}
	return OK
}

func (p *Packet) ports(h []byte) {
	p.SrcPort, p.DstPort = binary.BigEndian.Uint16(h), binary.BigEndian.Uint16(h[2:])
}

func (p *Packet) tcp() Reason {
	h := p.bytes(p.L4, 20, p.End)
	if h == nil {
		return BadTransport
	}
	p.ports(h)
	n := int(h[12]>>4) * 4
	if n < 20 {
		return BadTransport
	}
	if h = p.bytes(p.L4, n, p.End); h == nil {
		return BadTransport
	}
	p.Flags, p.Payload = h[13], p.L4+n
	if p.SrcPort == 0 || p.DstPort == 0 {
		return BadTransport
	}
	for o := h[20:]; len(o) > 0 && o[0] != 0; { // RFC 9293 section 3.2
		if o[0] == 1 {
			o = o[1:]
			continue
		}
		if len(o) < 2 || o[1] < 2 || int(o[1]) > len(o) {
			return BadTransport
		}
		o = o[o[1]:]
	}
	return OK
}

// csumOffset is where the transport's checksum stands in its header, -1 if it is
// not known.
func (p *Packet) csumOffset() int {
	switch p.Proto {
	case TCP:
		return csumTCP
	case UDP:
		return csumUDP
	case ICMPv4, ICMPv6:
		return csumICMP
	}
	return -1
}

// offloads compares what virtio says about the frame with what is in it (virtio
// 1.2 section 5.1.6.2).
func (p *Packet) offloads(h *link.Header) Reason {
	p.GSO = h.GSOType &^ link.GSOECN
	if h.Flags&link.NeedsChecksum != 0 {
		start, offset := int(h.CSumStart), int(h.CSumOffset)
		if start < EtherSize || start+offset+2 > p.Size {
			return BadOffload
		}
		p.Partial = !p.Fragment && start == p.L4 && offset == p.csumOffset()
		p.Inner = !p.Partial
		if p.Inner && (p.Payload == 0 || start < p.Payload || start+offset+2 > p.End) {
			return BadOffload
		}
	}
	if p.GSO == link.GSONone {
		return OK
	}
	p.SegmentSize = int(h.GSOSize)
	if p.SegmentSize == 0 || !p.Partial {
		return BadOffload
	}
	switch {
	case p.GSO == link.GSOTCPv4 && p.Proto == TCP && p.EtherType == TypeIPv4,
		p.GSO == link.GSOTCPv6 && p.Proto == TCP && p.EtherType == TypeIPv6,
		p.GSO == link.GSOUDPL4 && p.Proto == UDP:
		return OK
	}
	return BadOffload
}

// Valid checks the transport's checksum over the frame it was parsed from. A
// partial one is valid by definition, and so is that of IPv4's UDP if there is
// none. Preconditions: not a fragment.
func (p *Packet) Valid(f *link.Frame) bool {
	if p.Partial {
		return true
	}
	var s Sum
	switch p.Proto {
	case ICMPv4:
	case UDP:
		if binary.BigEndian.Uint16(p.Head[p.L4+csumUDP:]) == 0 {
			return p.EtherType == TypeIPv4
		}
		fallthrough
	default:
		s.AddUint16(Pseudo(p.Src, p.Dst, p.Proto, p.End-p.L4))
	}
	s.Add(p.Head[p.L4:p.Payload])
	Range(f, p.Payload, p.End, s.Add)
	return s.Fold() == 0xffff
}

// Range calls fn with the pieces of a frame from one offset up to another. They
// are borrowed.
func Range(f *link.Frame, from, to int, fn func([]byte)) {
	for _, d := range f.Data {
		if to <= 0 {
			return
		}
		if from < len(d) {
			if piece := d[max(from, 0):min(to, len(d))]; len(piece) > 0 {
				fn(piece)
			}
		}
		from, to = from-len(d), to-len(d)
	}
}

// Copy copies the bytes of a frame from one offset up to another to dst, and
// returns how many.
func Copy(dst []byte, f *link.Frame, from, to int) (n int) {
	for _, d := range f.Data {
		if to <= 0 || n == len(dst) {
			break
		}
		if from < len(d) {
			n += copy(dst[n:], d[max(from, 0):min(to, len(d))])
		}
		from, to = from-len(d), to-len(d)
	}
	return n
}
