package frame

import (
	"encoding/binary"
	"net/netip"

	"github.com/libcapsa/libcapsa/internal/net/link"
)

// MaxHeaders is how many bytes of a frame are copied and parsed: Ethernet, the
// longest IPv4 and TCP headers are 134, the rest is for IPv6 extensions. A frame
// whose headers are longer is refused.
const MaxHeaders = 256

// EtherSize is the length of an Ethernet header in bytes.
const EtherSize = 14

// EtherTypes (IEEE 802 numbers, IANA).
const (
	TypeIPv4 uint16 = 0x0800
	TypeARP  uint16 = 0x0806
	TypeIPv6 uint16 = 0x86dd
)

// Protocol numbers (IANA).
const (
	ICMPv4 uint8 = 1
	TCP    uint8 = 6
	UDP    uint8 = 17
	ICMPv6 uint8 = 58
)

// Flags of TCP (RFC 9293 section 3.1).
const (
	FlagFIN uint8 = 1
	FlagSYN uint8 = 2
	FlagRST uint8 = 4
	FlagPSH uint8 = 8
	FlagACK uint8 = 16
	FlagURG uint8 = 32
	FlagCWR uint8 = 128
)

// MAC is an Ethernet address.
type MAC [6]byte

// Broadcast is everybody.
var Broadcast = MAC{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}

// Group says whether it stands for more than one station.
func (m MAC) Group() bool { return m[0]&1 != 0 }

// Packet is one frame, parsed. Offsets are in bytes from the frame's beginning.
type Packet struct {
	Head [MaxHeaders]byte // the copy
	Size int              // of the frame

	DstMAC, SrcMAC MAC
	EtherType      uint16

	// Of IPv4 and IPv6.
	Src, Dst netip.Addr
	Proto    uint8 // after IPv6 extensions
	TOS, TTL uint8
	L4       int // where the transport's header begins, or the fragment's payload
	End      int // where the IP packet ends; padding may follow

	// Of fragments. The transport is not parsed, but for Proto.
	Fragment bool
	More     bool
	FragID   uint32
	FragOff  int // in bytes

	// Of TCP, UDP and ICMP.
	SrcPort, DstPort uint16
	Flags            uint8 // TCP
	Type, Code       uint8 // ICMP
	Payload          int   // where the transport's header ends

	// Partial: the transport's own checksum is partial, and need not be checked.
	Partial bool
	// Inner: another checksum, inside the payload, has to be completed.
	Inner bool
	// GSO is the kind of segmentation, link.GSONone if there is none; SegmentSize are
	// the bytes of payload of each segment.
	GSO         uint8
	SegmentSize int

	have int // bytes of Head
}

// Parse reads a frame. After anything but OK, what p holds is of no use.
func (p *Packet) Parse(f *link.Frame) Reason {
	head := p.Head
	*p = Packet{Head: head}
	p.copy(f)
	if p.Size < EtherSize {
		return Runt
	}
	if p.Size > link.MaxFrame {
		return Giant
	}
	p.DstMAC, p.SrcMAC = MAC(p.Head[0:6]), MAC(p.Head[6:12])
	p.EtherType = binary.BigEndian.Uint16(p.Head[12:])
	if p.SrcMAC.Group() {
		return BadMAC
	}
	r := OK
	switch p.EtherType {
	case TypeIPv4:
		r = p.ipv4()
	case TypeIPv6:
		r = p.ipv6()
	case TypeARP:
		p.L4, p.End = EtherSize, p.Size
	default:
		return BadEtherType
	}
	if r == OK && !p.Fragment && p.EtherType != TypeARP {
		r = p.transport()
	}
	if r == OK {
		r = p.offloads(&f.Header)
	}
	return r
}

// IP is the version of IP in the frame, 0 if it is another protocol.
func (p *Packet) IP() int {
	switch p.EtherType {
	case TypeIPv4:
		return 4
	case TypeIPv6:
		return 6
	}
	return 0
}

func (p *Packet) copy(f *link.Frame) {
	p.Size, p.have = 0, 0
	for _, d := range f.Data {
		p.Size += len(d)
		p.have += copy(p.Head[p.have:], d)
	}
}

// bytes returns n bytes of the copy, nil if there are not as many within limit.
func (p *Packet) bytes(at, n, limit int) []byte {
	if at < 0 || n < 0 || at+n > p.have || at+n > limit {
		return nil
	}
	return p.Head[at : at+n]
}

// Numbers of IPv4 options that say where to go (RFC 791 section 3.1).
const (
	optionLSRR = 131
	optionSSRR = 137
)

func (p *Packet) ipv4() Reason {
	h := p.bytes(EtherSize, 20, p.Size)
	if h == nil || h[0]>>4 != 4 {
		return BadIPHeader
	}
	ihl := int(h[0]&15) * 4
	total := int(binary.BigEndian.Uint16(h[2:]))
	if ihl < 20 || total < ihl {
		return BadIPHeader
	}
	if total > p.Size-EtherSize {
		return BadIPLength
	}
	if h = p.bytes(EtherSize, ihl, p.Size); h == nil {
		return BadIPHeader
	}
	if fold(sum(h)) != 0xffff {
		return BadIPChecksum
	}
	if !goodOptions(h[20:]) {
		return BadIPOption
	}
	p.TOS, p.TTL, p.Proto = h[1], h[8], h[9]
	p.Src, p.Dst = netip.AddrFrom4([4]byte(h[12:16])), netip.AddrFrom4([4]byte(h[16:20]))
	p.L4, p.End = EtherSize+ihl, EtherSize+total
	frag := binary.BigEndian.Uint16(h[6:])
	p.FragID = uint32(binary.BigEndian.Uint16(h[4:]))
	p.More, p.FragOff = frag&0x2000 != 0, int(frag&0x1fff)*8
	p.Fragment = p.More || p.FragOff != 0
	return p.goodFragment()
}

// goodOptions walks IPv4 options; those that choose the route are refused.
func goodOptions(o []byte) bool {
	for len(o) > 0 {
		switch o[0] {
		case 0: // end of list
			return true
		case 1: // no operation
			o = o[1:]
			continue
		case optionLSRR, optionSSRR:
			return false
		}
		if len(o) < 2 || o[1] < 2 || int(o[1]) > len(o) {
			return false
		}
		o = o[o[1]:]
	}
	return true
}

// goodFragment: all but the last carry a multiple of eight bytes, none ends beyond
// the longest packet.
func (p *Packet) goodFragment() Reason {
	if !p.Fragment {
		return OK
	}
	n := p.End - p.L4
	if n == 0 || p.More && n%8 != 0 || p.FragOff+n > 65535 {
		return BadFragment
	}
	return OK
}

// IPv6 extension headers (RFC 8200 section 4).
const (
	extHopByHop    = 0
	extRouting     = 43
	extFragment    = 44
	extDestination = 60
)

func (p *Packet) ipv6() Reason {
	h := p.bytes(EtherSize, 40, p.Size)
	if h == nil || h[0]>>4 != 6 {
		return BadIPHeader
	}
	length := int(binary.BigEndian.Uint16(h[4:]))
	if length > p.Size-EtherSize-40 {
		return BadIPLength
	}
	p.TOS, p.TTL = h[0]<<4|h[1]>>4, h[7]
	p.Src, p.Dst = netip.AddrFrom16([16]byte(h[8:24])), netip.AddrFrom16([16]byte(h[24:40]))
	p.L4, p.End = EtherSize+40, EtherSize+40+length
	return p.extensions(h[6])
}

// extensions walks the chain of headers. Each is at least eight bytes long and
// lies in the copy, which bounds the walk.
func (p *Packet) extensions(next uint8) Reason {
	for first := true; ; first = false {
		switch next {
		case extHopByHop, extDestination:
			if next == extHopByHop && !first {
				return BadExtension
			}
			h := p.bytes(p.L4, 2, p.End)
			if h == nil {
				return BadExtension
			}
			n := int(h[1])*8 + 8
			if p.bytes(p.L4, n, p.End) == nil {
				return BadExtension
			}
			next = h[0]
			p.L4 += n
		case extFragment:
			h := p.bytes(p.L4, 8, p.End)
			if h == nil {
				return BadExtension
			}
			off := binary.BigEndian.Uint16(h[2:])
			p.FragID = binary.BigEndian.Uint32(h[4:])
			p.More, p.FragOff = off&1 != 0, int(off&^7)
			p.Fragment = p.More || p.FragOff != 0
			next = h[0]
			p.L4 += 8
			if p.Fragment {
				p.Proto = next
				return p.goodFragment()
			}
		case extRouting: // chooses the route
			return BadExtension
		default:
			p.Proto = next
			return OK
		}
	}
}
