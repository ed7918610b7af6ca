package nat

import (
	"encoding/binary"
	"net/netip"

	"github.com/libcapsa/libcapsa/internal/net/frame"
	"github.com/libcapsa/libcapsa/internal/net/link"
)

// headroom is what stands before the transport's header in a packet that is being
// built: Ethernet and the longer IP header.
const headroom = frame.EtherSize + 40

// udpRoom is headroom and the UDP header.
const udpRoom = headroom + 8

// defaultTTL is the TTL of packets to the guest (RFC 1700).
const defaultTTL = 64

// builder makes frames to the guest.
type builder struct {
	from, to frame.MAC
	mtu      int
}

// mostL4 is how long a transport's header and payload can be in one packet.
func mostL4(like netip.Addr) int {
	if like.Is4() {
		return 65535 - 20
	}
	return 65535
}

// ipHeader writes an IP header before b[at:], which holds length bytes, and an
// Ethernet header before that. It returns where the frame begins.
func (m *builder) ipHeader(b []byte, at, length int, proto uint8, src, dst netip.Addr) int {
	if src.Is4() {
		h := b[at-20 : at]
		clear(h)
		h[0] = 0x45
		binary.BigEndian.PutUint16(h[2:], uint16(20+length))
		h[8], h[9] = defaultTTL, proto
		s, d := src.As4(), dst.As4()
		copy(h[12:], s[:])
		copy(h[16:], d[:])
		checksum4(h)
		return m.ethernet(b, at-20, frame.TypeIPv4)
	}
	h := b[at-40 : at]
	clear(h[:8])
	h[0] = 0x60
	binary.BigEndian.PutUint16(h[4:], uint16(length))
	h[6], h[7] = proto, defaultTTL
	s, d := src.As16(), dst.As16()
	copy(h[8:], s[:])
	copy(h[24:], d[:])
	return m.ethernet(b, at-40, frame.TypeIPv6)
}

// fits says whether a datagram of so many bytes is one packet.
func (m *builder) fits(like netip.Addr, size int) bool {
	if like.Is4() {
		return 20+8+size <= m.mtu
	}
	return 40+8+size <= m.mtu
}

func checksum4(h []byte) {
	h[10], h[11] = 0, 0
	var s frame.Sum
	s.Add(h)
	binary.BigEndian.PutUint16(h[10:], ^s.Fold())
}

func (m *builder) ethernet(b []byte, at int, typ uint16) int {
	h := b[at-frame.EtherSize : at]
	copy(h, m.to[:])
	copy(h[6:], m.from[:])
	binary.BigEndian.PutUint16(h[12:], typ)
	return at - frame.EtherSize
}

// packet makes the frames of one packet, whose transport's header and payload are
// b[headroom:]; the checksum stands at offset in them and is not filled in. Packets
// longer than the MTU become fragments. It appends to out; the frames point into b,
// or to copies.
func (m *builder) packet(out []link.Frame, b []byte, proto uint8, offset int, src, dst netip.Addr, id uint32) []link.Frame {
	l4 := b[headroom:]
	header := 40
	if src.Is4() {
		header = 20
	}
	var sum uint16
	if proto != frame.ICMPv4 {
		sum = frame.Pseudo(src, dst, proto, len(l4))
	}
	binary.BigEndian.PutUint16(l4[offset:], sum)
	if header+len(l4) > m.mtu {
		frame.Complete(b, headroom, offset)
		return m.fragments(out, l4, proto, src, dst, id)
	}
	start := m.ipHeader(b, headroom, len(l4), proto, src, dst)
	f := link.Frame{Data: [][]byte{b[start:]}}
	if proto == frame.UDP {
		f.Header = link.Header{Flags: link.NeedsChecksum, CSumStart: uint16(headroom - start), CSumOffset: uint16(offset)}
	} else {
		frame.Complete(b, headroom, offset)
	}
	return append(out, f)
}

// fragments cuts a packet up (RFC 791 section 3.2, RFC 8200 section 4.5).
func (m *builder) fragments(out []link.Frame, l4 []byte, proto uint8, src, dst netip.Addr, id uint32) []link.Frame {
	room := m.mtu - 20
	if !src.Is4() {
		room = m.mtu - 40 - 8
	}
	room &^= 7
	for at := 0; at < len(l4); at += room {
		piece := l4[at:min(at+room, len(l4))]
		more := at+len(piece) < len(l4)
		b := make([]byte, headroom+8+len(piece))
		copy(b[headroom+8:], piece)
		var start int
		if src.Is4() {
			start = m.ipHeader(b, headroom+8, len(piece), proto, src, dst)
			h := b[headroom+8-20:]
			binary.BigEndian.PutUint16(h[4:], uint16(id))
			binary.BigEndian.PutUint16(h[6:], uint16(at/8)|flag(more)<<13)
			checksum4(h[:20])
		} else {
			start = m.ipHeader(b, headroom, 8+len(piece), 44, src, dst)
			h := b[headroom:]
			h[0] = proto
			binary.BigEndian.PutUint16(h[2:], uint16(at)|flag(more))
			binary.BigEndian.PutUint32(h[4:], id)
		}
		out = append(out, link.Frame{Data: [][]byte{b[start:]}})
	}
	return out
}

func flag(b bool) uint16 {
	if b {
		return 1
	}
	return 0
}

// udpHeader fills in the header before the payload b[udpRoom:].
func udpHeader(b []byte, from, to uint16) {
	h := b[headroom:]
	binary.BigEndian.PutUint16(h, from)
	binary.BigEndian.PutUint16(h[2:], to)
	binary.BigEndian.PutUint16(h[4:], uint16(len(b)-headroom))
}

// unreachable is why a packet of the guest did not get where it should.
type unreachable uint8

// The reasons.
const (
	noNetwork unreachable = iota
	noHost
	noPort
	prohibited
	tooBig
	exceeded // its TTL was not enough
	reasonsUnreachable
)

// Types and codes of ICMP (RFC 792, RFC 1122 section 3.2.2.1) and ICMPv6 (RFC 4443
// section 3).
var (
	unreachable4 = [reasonsUnreachable][2]byte{{3, 0}, {3, 1}, {3, 3}, {3, 13}, {3, 4}, {11, 0}}
	unreachable6 = [reasonsUnreachable][2]byte{{1, 0}, {1, 3}, {1, 4}, {1, 1}, {2, 0}, {3, 0}}
)

// icmpError makes the error about a packet from the guest to dst whose transport's
// header begins with l4, of which eight bytes are quoted. size is the packet's
// payload in bytes, mtu that of the path for tooBig.
func (m *builder) icmpError(why unreachable, from, guest, dst netip.Addr, proto uint8, l4 [8]byte, size, mtu int) []link.Frame {
	header, types, icmp := 40, unreachable6[why], frame.ICMPv6
	if guest.Is4() {
		header, types, icmp = 20, unreachable4[why], frame.ICMPv4
	}
	quote := make([]byte, headroom, headroom+8)
	quote = append(quote, l4[:]...)
	m.ipHeader(quote, headroom, size, proto, guest, dst)

	b := make([]byte, headroom+8, headroom+8+header+8)
	b = append(b, quote[headroom-header:]...)
	b[headroom], b[headroom+1] = types[0], types[1]
	if why == tooBig {
		binary.BigEndian.PutUint32(b[headroom+4:], uint32(mtu))
	}
	return m.packet(nil, b, icmp, 2, from, guest, 0)
}
