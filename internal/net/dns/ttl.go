package dns

import "encoding/binary"

const (
	bitLong = 0x80          // of the first byte of a compressed name (RFC 1035 section 4.1.4)
	fixed   = 2 + 2 + 4 + 2 // bytes of a record between its name and its data
)

// ttls finds the TTLs of a message, and counts those of the answer section.
// Preconditions: the message is one that a Builder made, of at most 64 KiB, without
// additional records.
func ttls(message []byte) (at []uint16, answers int) {
	answers = int(binary.BigEndian.Uint16(message[6:]))
	records := answers + int(binary.BigEndian.Uint16(message[8:]))
	at = make([]uint16, 0, records)
	off := skipName(message, headerSize) + 4
	for range records {
		off = skipName(message, off)
		at = append(at, uint16(off+4))
		off += fixed + int(binary.BigEndian.Uint16(message[off+8:]))
	}
	return at, answers
}

// skipName is where a name ends that may be compressed.
func skipName(message []byte, off int) int {
	for {
		switch n := message[off]; {
		case n == 0:
			return off + 1
		case n&bitLong != 0:
			return off + 2
		default:
			off += 1 + int(n)
		}
	}
}
