package ndp

import (
	"encoding/binary"
	"net/netip"

	"github.com/libcapsa/libcapsa/internal/net/ether"
)

// The layout of a packet: the header of IPv6 (RFC 8200 section 3), then that of
// ICMPv6 (RFC 4443 section 2.1), in bytes.
const (
	headerSize   = 40
	offLength    = 4
	offNext      = 6
	offHopLimit  = 7
	offSrc       = 8
	offDst       = 24
	offType      = 0
	offCode      = 1
	offChecksum  = 2
	nextICMPv6   = 58
	hopLimit     = 255 // others come from beyond a router (RFC 4861 section 11.2)
	solicitation = 8   // bytes of a router solicitation without options
	neighbour    = 24  // bytes of a neighbour solicitation or advertisement without options
	offTarget    = 8
	offNAFlags   = 4
)

// Types of ICMPv6 (RFC 4861 section 4).
const (
	typeRouterSolicitation    = 133
	typeRouterAdvertisement   = 134
	typeNeighborSolicitation  = 135
	typeNeighborAdvertisement = 136
	typeRedirect              = 137
)

// Flags of a neighbour advertisement (RFC 4861 section 4.4), in its first byte.
const (
	flagRouter    = 0x80
	flagSolicited = 0x40
	flagOverride  = 0x20
)

var (
	allNodes   = netip.MustParseAddr("ff02::1")
	allRouters = netip.MustParseAddr("ff02::2")
	// soliciting is the prefix of solicited-node addresses (RFC 4291 section 2.7.1).
	soliciting = netip.MustParsePrefix("ff02::1:ff00:0/104")
)

// packet is a message of neighbour discovery with its header, checked as far as all
// kinds have it in common. body is borrowed.
type packet struct {
	src, dst netip.Addr
	from     ether.MAC
	kind     byte
	body     []byte // from the ICMPv6 header on
}

// isNDP tells, without judging it, whether a packet is one for this package.
func isNDP(b []byte) bool {
	return len(b) > headerSize && b[0]>>4 == 6 && b[offNext] == nextICMPv6 &&
		b[headerSize] >= typeRouterSolicitation && b[headerSize] <= typeRedirect
}

// parse checks what all messages have in common (RFC 4861 sections 6.1 and 7.1).
// Bytes after the packet are padding of the frame.
func parse(b []byte, from ether.MAC) (packet, bool) {
	size := int(binary.BigEndian.Uint16(b[offLength:]))
	if b[offHopLimit] != hopLimit || size < solicitation || len(b) < headerSize+size || !from.Unicast() {
		return packet{}, false
	}
	p := packet{
		src: netip.AddrFrom16([16]byte(b[offSrc:])), dst: netip.AddrFrom16([16]byte(b[offDst:])),
		from: from, kind: b[headerSize], body: b[headerSize : headerSize+size],
	}
	if p.body[offCode] != 0 || p.src.IsMulticast() || p.src.IsLoopback() || p.src.Is4In6() {
		return packet{}, false
	}
	return p, checksum(p.src, p.dst, p.body) == 0
}

// checksum is that of ICMPv6 with its pseudo-header (RFC 8200 section 8.1). Over a
// body whose checksum is right it is 0.
func checksum(src, dst netip.Addr, body []byte) uint16 {
	sum := uint32(len(body)) + nextICMPv6
	add := func(b []byte) {
		for ; len(b) > 1; b = b[2:] {
			sum += uint32(b[0])<<8 | uint32(b[1])
		}
		if len(b) == 1 {
			sum += uint32(b[0]) << 8
		}
	}
	add(src.AsSlice())
	add(dst.AsSlice())
	add(body)
	for sum > 0xffff {
		sum = sum&0xffff + sum>>16
	}
	return ^uint16(sum)
}

// pack makes a packet; the checksum of the body is filled in.
func pack(src, dst netip.Addr, body []byte) []byte {
	b := make([]byte, headerSize, headerSize+len(body))
	b[0] = 6 << 4
	binary.BigEndian.PutUint16(b[offLength:], uint16(len(body)))
	b[offNext], b[offHopLimit] = nextICMPv6, hopLimit
	copy(b[offSrc:], src.AsSlice())
	copy(b[offDst:], dst.AsSlice())
	b = append(b, body...)
	binary.BigEndian.PutUint16(b[headerSize+offChecksum:], checksum(src, dst, body))
	return b
}

// multicastMAC is where packets to a group go (RFC 2464 section 7).
func multicastMAC(group netip.Addr) ether.MAC {
	b := group.As16()
	return ether.MAC{0x33, 0x33, b[12], b[13], b[14], b[15]}
}

// solicitedNode is the group that the owner of an address is asked in (RFC 4291
// section 2.7.1).
func solicitedNode(a netip.Addr) netip.Addr {
	b, of := soliciting.Addr().As16(), a.As16()
	copy(b[13:], of[13:])
	return netip.AddrFrom16(b)
}
