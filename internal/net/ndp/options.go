package ndp

import (
	"encoding/binary"
	"net/netip"
	"strings"

	"github.com/libcapsa/libcapsa/internal/net/ether"
)

// Options (RFC 4861 section 4.6, RFC 8106 section 5). Their length is in units of
// eight bytes, type and length included.
const (
	optSourceMAC = 1
	optTargetMAC = 2
	optPrefix    = 3
	optMTU       = 5
	optRDNSS     = 25
	optDNSSL     = 31

	optionUnit = 8
)

// Flags of a prefix (RFC 4861 section 4.6.2).
const (
	prefixOnLink     = 0x80
	prefixAutonomous = 0x40
)

// infinity is a lifetime without an end (RFC 4861 section 4.6.2).
const infinity = 0xffffffff

// macOption looks for a link-layer address among options. ok is false if an option
// has a length of 0, or one that goes beyond the end, or if the address is no
// interface's.
func macOption(b []byte, code byte) (mac ether.MAC, there, ok bool) {
	for len(b) > 0 {
		if len(b) < optionUnit {
			return mac, false, false
		}
		size := int(b[1]) * optionUnit
		if size == 0 || size > len(b) {
			return mac, false, false
		}
		if b[0] == code && !there {
			if size != optionUnit {
				return mac, false, false
			}
			mac, there = ether.MAC(b[2:]), true
			if !mac.Unicast() {
				return mac, false, false
			}
		}
		b = b[size:]
	}
	return mac, there, true
}

func appendMAC(b []byte, code byte, mac ether.MAC) []byte {
	return append(append(b, code, 1), mac[:]...)
}

func appendMTU(b []byte, mtu int) []byte {
	return binary.BigEndian.AppendUint32(append(b, optMTU, 1, 0, 0), uint32(mtu))
}

func appendPrefix(b []byte, prefix netip.Prefix) []byte {
	b = append(b, optPrefix, 4, byte(prefix.Bits()), prefixOnLink|prefixAutonomous)
	b = binary.BigEndian.AppendUint32(b, infinity) // valid
	b = binary.BigEndian.AppendUint32(b, infinity) // preferred
	b = append(b, 0, 0, 0, 0)
	return append(b, prefix.Masked().Addr().AsSlice()...)
}

func appendRDNSS(b []byte, servers []netip.Addr) []byte {
	if len(servers) == 0 {
		return b
	}
	b = append(b, optRDNSS, byte(1+2*len(servers)), 0, 0)
	b = binary.BigEndian.AppendUint32(b, infinity)
	for _, a := range servers {
		b = append(b, a.AsSlice()...)
	}
	return b
}

func appendDNSSL(b []byte, search []string) []byte {
	if len(search) == 0 {
		return b
	}
	begin := len(b)
	b = append(b, optDNSSL, 0, 0, 0)
	b = binary.BigEndian.AppendUint32(b, infinity)
	for _, name := range search {
		for label := range strings.SplitSeq(strings.TrimSuffix(name, "."), ".") {
			b = append(append(b, byte(len(label))), label...)
		}
		b = append(b, 0)
	}
	for (len(b)-begin)%optionUnit != 0 {
		b = append(b, 0)
	}
	b[begin+1] = byte((len(b) - begin) / optionUnit)
	return b
}
