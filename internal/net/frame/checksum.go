package frame

import (
	"encoding/binary"
	"math/bits"
	"net/netip"
)

// Sum is the Internet checksum (RFC 1071) while bytes are added to it.
type Sum struct {
	sum uint64 // folded lazily
	odd bool   // an odd number of bytes has been added
}

// Add adds bytes, which follow those added before.
func (s *Sum) Add(b []byte) {
	n := uint64(fold(sum(b)))
	if s.odd { // the bytes stand at the other half of their words
		n = uint64(bits.ReverseBytes16(uint16(n)))
	}
	s.sum += n
	s.odd = s.odd != (len(b)%2 == 1)
}

// AddUint16 adds a word. Preconditions: an even number of bytes came before.
func (s *Sum) AddUint16(v uint16) { s.sum += uint64(v) }

// Fold is the sum in one's complement, not inverted: 0xffff if what was added
// includes its own correct checksum.
func (s *Sum) Fold() uint16 { return fold(s.sum) }

// sum adds up words in network order, eight bytes at a time.
func sum(b []byte) uint64 {
	var acc, carry uint64
	for len(b) >= 32 {
		acc, carry = bits.Add64(acc, binary.BigEndian.Uint64(b), carry)
		acc, carry = bits.Add64(acc, binary.BigEndian.Uint64(b[8:]), carry)
		acc, carry = bits.Add64(acc, binary.BigEndian.Uint64(b[16:]), carry)
		acc, carry = bits.Add64(acc, binary.BigEndian.Uint64(b[24:]), carry)
		b = b[32:]
	}
	for len(b) >= 8 {
		acc, carry = bits.Add64(acc, binary.BigEndian.Uint64(b), carry)
		b = b[8:]
	}
	if len(b) > 0 {
		var last [8]byte
		copy(last[:], b)
		acc, carry = bits.Add64(acc, binary.BigEndian.Uint64(last[:]), carry)
	}
	return uint64(fold(acc)) + carry
}

func fold(v uint64) uint16 {
	v = v>>32 + v&0xffffffff
	v = v>>16&0xffff + v>>32 + v&0xffff
	v = v>>16 + v&0xffff
	v = v>>16 + v&0xffff
	return uint16(v)
}

// pseudo is the sum of the pseudo-header (RFC 9293 section 3.1, RFC 8200 section
// 8.1).
func pseudo(src, dst []byte, proto uint8, length int) uint16 {
	var s Sum
	s.Add(src)
	s.Add(dst)
	s.sum += uint64(proto) + uint64(length)
	return s.Fold()
}

// Pseudo is the sum of the pseudo-header of a packet, not inverted: what stands in
// the place of a checksum that is left to others. length is that of what follows
// the IP header, in bytes.
func Pseudo(src, dst netip.Addr, proto uint8, length int) uint16 {
	if src.Is4() {
		a, b := src.As4(), dst.As4()
		return pseudo(a[:], b[:], proto, length)
	}
	a, b := src.As16(), dst.As16()
	return pseudo(a[:], b[:], proto, length)
}

// Complete finishes the checksum of a frame that was left partial: it sums from
// start to the end, and stores at start+offset. It reports whether that lies
// within the frame.
func Complete(data []byte, start, offset int) bool {
	if start < 0 || offset < 0 || start+offset+2 > len(data) {
		return false
	}
	var s Sum
	s.Add(data[start:])
	v := ^s.Fold()
	if v == 0 {
		v = 0xffff // 0 says "none" in UDP, and is the same number elsewhere
	}
	binary.BigEndian.PutUint16(data[start+offset:], v)
	return true
}
