package frame

import (
	"encoding/binary"

	"github.com/libcapsa/libcapsa/internal/net/link"
)

// Cut is a super-frame of ours that is cut into frames of the MTU: TCP over IPv4
// (without options) and IPv6 (without extensions), and UDP datagrams (USO).
type Cut struct {
	src            []byte
	l3, l4, body   int
	size           int  // payload of each frame
	at, n          int  // in the payload; which frame
	v6, udp, whole bool // whole: checksums are completed
}

// NewCut begins to cut a frame up. Its transport's checksum field holds the
// pseudo-header's sum or anything else. If whole, the frames' checksums are
// complete; else they are partial, with the header that Next returns. It is false
// for a frame that cannot be cut.
func NewCut(src []byte, h link.Header, whole bool) (Cut, bool) {
	c := Cut{src: src, l3: EtherSize, size: int(h.GSOSize), whole: whole}
	var proto uint8
	switch {
	case len(src) >= c.l3+20 && src[c.l3] == 0x45:
		c.l4, proto = c.l3+20, src[c.l3+9]
	case len(src) >= c.l3+40 && src[c.l3]>>4 == 6:
		c.l4, c.v6, proto = c.l3+40, true, src[c.l3+6]
	default:
		return c, false
	}
	switch {
	case proto == TCP && len(src) >= c.l4+20:
		c.body = c.l4 + int(src[c.l4+12]>>4)*4
		if c.body < c.l4+20 {
			return c, false
		}
	case proto == UDP && len(src) >= c.l4+8:
		c.body, c.udp = c.l4+8, true
	default:
		return c, false
	}
	return c, c.size > 0 && c.body < len(src)
}

// FrameSize is how many bytes Next writes at most.
func (c *Cut) FrameSize() int { return c.body + c.size }

// Next writes the next frame to dst and returns its length and header; the length
// is 0 after the last. Preconditions: dst has FrameSize bytes.
func (c *Cut) Next(dst []byte) (int, link.Header) {
	payload := c.src[c.body:]
	if c.at >= len(payload) {
		return 0, link.Header{}
	}
	piece := payload[c.at:min(c.at+c.size, len(payload))]
	last := c.at+len(piece) == len(payload)
	copy(dst, c.src[:c.body])
	n := c.body + copy(dst[c.body:], piece)
	dst = dst[:n]
	c.ip(dst)
	offset := csumTCP
	if c.udp {
		offset = csumUDP
		binary.BigEndian.PutUint16(dst[c.l4+4:], uint16(n-c.l4))
	} else {
		c.tcp(dst[c.l4:], last)
	}
	c.at += len(piece)
	c.n++
	return n, c.checksum(dst, offset)
}

// ip sets what differs in the IP header.
func (c *Cut) ip(dst []byte) {
	h := dst[c.l3:c.l4]
	if c.v6 {
		binary.BigEndian.PutUint16(h[4:], uint16(len(dst)-c.l4))
		return
	}
	binary.BigEndian.PutUint16(h[2:], uint16(len(dst)-c.l3))
	binary.BigEndian.PutUint16(h[4:], binary.BigEndian.Uint16(h[4:])+uint16(c.n))
	h[10], h[11] = 0, 0
	binary.BigEndian.PutUint16(h[10:], ^fold(sum(h)))
}

// tcp sets what differs in the TCP header: FIN and PSH stand in the last segment
// alone, CWR in the first (RFC 3168 section 6.1.2).
func (c *Cut) tcp(h []byte, last bool) {
	binary.BigEndian.PutUint32(h[4:], binary.BigEndian.Uint32(h[4:])+uint32(c.at))
	if !last {
		h[13] &^= FlagFIN | FlagPSH
	}
	if c.n > 0 {
		h[13] &^= FlagCWR
	}
}

func (c *Cut) checksum(dst []byte, offset int) link.Header {
	h := dst[c.l3:c.l4]
	from, to, proto := h[12:16], h[16:20], h[9]
	if c.v6 {
		from, to, proto = h[8:24], h[24:40], h[6]
	}
	binary.BigEndian.PutUint16(dst[c.l4+offset:], pseudo(from, to, proto, len(dst)-c.l4))
	if c.whole {
		Complete(dst, c.l4, offset)
		return link.Header{}
	}
	return link.Header{Flags: link.NeedsChecksum, CSumStart: uint16(c.l4), CSumOffset: uint16(offset)}
}
