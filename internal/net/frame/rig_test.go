package frame

import (
	"encoding/binary"
	"encoding/hex"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/libcapsa/libcapsa/internal/net/link"
)

// unhex reads hexadecimal with spaces.
func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.Join(strings.Fields(s), ""))
	require.NoError(t, err)
	return b
}

const (
	ether4 = "525400000001 525400000002 0800 "
	ether6 = "525400000001 525400000002 86dd "
	// 10.0.2.15 to 192.0.2.1, no payload: 40 bytes, TTL 64, TCP.
	ip4tcp = "45000028 00014000 4006 6cbf 0a00020f c0000201 "
	// fd00::15 to 2001:db8::1, payload length and protocol follow the first word.
	addrs6 = "fd000000000000000000000000000015 20010db8000000000000000000000001 "
	syn    = "9c400050 00000001 00000000 5002 ffff 0000 0000 "
)

// naive is the checksum as RFC 1071 defines it, word by word.
func naive(b []byte) uint16 {
	var s uint32
	for i := 0; i < len(b); i += 2 {
		w := uint32(b[i]) << 8
		if i+1 < len(b) {
			w |= uint32(b[i+1])
		}
		if s += w; s > 0xffff {
			s -= 0xffff
		}
	}
	return uint16(s)
}

// tcp4 makes a TCP segment over IPv4 with correct checksums.
func tcp4(payload []byte, flags uint8) []byte {
	b := make([]byte, 54+len(payload))
	copy(b, []byte{2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0, 0x45})
	binary.BigEndian.PutUint16(b[16:], uint16(40+len(payload)))
	b[22], b[23] = 64, TCP
	copy(b[26:], []byte{10, 0, 2, 15, 192, 0, 2, 1})
	binary.BigEndian.PutUint16(b[24:], ^naive(b[14:34]))
	copy(b[34:], []byte{0x9c, 0x40, 0, 80, 0xff, 0xff, 0xff, 0x00, 0, 0, 0, 1, 0x50, flags, 0xff, 0xff})
	copy(b[54:], payload)
	binary.BigEndian.PutUint16(b[50:], Pseudo4(b))
	Complete(b, 34, csumTCP)
	return b
}

// Pseudo4 is the pseudo-header's sum of an IPv4 frame.
func Pseudo4(b []byte) uint16 { return pseudo(b[26:30], b[30:34], b[23], len(b)-34) }

// ip6 makes a packet over IPv6 whose transport's checksum stands at offset.
func ip6(proto uint8, transport []byte, offset int) []byte {
	b := make([]byte, 54, 54+len(transport))
	copy(b, []byte{2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x86, 0xdd, 0x60})
	binary.BigEndian.PutUint16(b[18:], uint16(len(transport)))
	b[20], b[21] = proto, 64
	b[22], b[37], b[38], b[53] = 0xfd, 15, 0x20, 1
	b = append(b, transport...)
	binary.BigEndian.PutUint16(b[54+offset:], pseudo(b[22:38], b[38:54], proto, len(transport)))
	Complete(b, 54, offset)
	return b
}

func one(b []byte) *link.Frame { return &link.Frame{Data: [][]byte{b}} }
