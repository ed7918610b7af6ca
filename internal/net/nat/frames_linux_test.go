package nat

import (
	"encoding/binary"
	"net/netip"

	"github.com/libcapsa/libcapsa/internal/net/frame"
	"github.com/libcapsa/libcapsa/internal/net/link"
)

func oneFrame(b []byte) link.Frame { return link.Frame{Data: [][]byte{b}} }

// fromGuest makes frames as the guest would.
var fromGuest = builder{from: guestMAC, to: gatewayMAC, mtu: 1500}

func sourceFor(dst netip.Addr) netip.Addr {
	if dst.Is4() {
		return guest4.Addr()
	}
	return guest6
}

// rawFrame makes a frame with a complete checksum, of l4 with its checksum at offset.
func rawFrame(src, dst netip.Addr, proto uint8, l4 []byte, offset int) link.Frame {
	b := append(make([]byte, headroom), l4...)
	f := fromGuest.packet(nil, b, proto, offset, src, dst, 1)[0]
	if f.Header.Flags != 0 {
		frame.Complete(f.Data[0], int(f.Header.CSumStart), int(f.Header.CSumOffset))
	}
	return oneFrame(f.Data[0])
}

func tcpFrame(dst netip.AddrPort, from uint16, flags uint8) link.Frame {
	l4 := make([]byte, 20)
	binary.BigEndian.PutUint16(l4, from)
	binary.BigEndian.PutUint16(l4[2:], dst.Port())
	l4[7], l4[12], l4[13], l4[14] = 1, 0x50, flags, 0xff
	return rawFrame(sourceFor(dst.Addr()), dst.Addr(), frame.TCP, l4, 16)
}

func synFrame(from uint16) link.Frame {
	return tcpFrame(netip.MustParseAddrPort("192.0.2.1:80"), from, frame.FlagSYN)
}

func udpPayload(from, to uint16, payload []byte) []byte {
	l4 := make([]byte, 8, 8+len(payload))
	binary.BigEndian.PutUint16(l4, from)
	binary.BigEndian.PutUint16(l4[2:], to)
	binary.BigEndian.PutUint16(l4[4:], uint16(8+len(payload)))
	return append(l4, payload...)
}

func udpFrame(dst netip.AddrPort, from uint16, payload []byte) link.Frame {
	return rawFrame(sourceFor(dst.Addr()), dst.Addr(), frame.UDP, udpPayload(from, dst.Port(), payload), 6)
}

func echoFrame(dst netip.Addr, id uint16) link.Frame {
	l4 := []byte{8, 0, 0, 0, byte(id >> 8), byte(id), 0, 1, 'p', 'i', 'n', 'g'}
	proto := frame.ICMPv4
	if dst.Is6() {
		l4[0], proto = 128, frame.ICMPv6
	}
	return rawFrame(sourceFor(dst), dst, proto, l4, 2)
}
