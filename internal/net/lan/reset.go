package lan

import (
	"encoding/binary"

	"github.com/libcapsa/libcapsa/internal/net/frame"
)

// reset is the answer to a segment that goes nowhere (RFC 9293 section 3.5.2), in the
// name of whom it was for. Preconditions: pk is of TCP, and no fragment.
func reset(pk *frame.Packet) []byte {
	const tcpSize = 20
	be := binary.BigEndian
	b := make([]byte, 0, frame.EtherSize+40+tcpSize)
	b = append(append(b, pk.SrcMAC[:]...), pk.DstMAC[:]...)
	b = be.AppendUint16(b, pk.EtherType)
	if pk.EtherType == frame.TypeIPv4 {
		at := len(b)
		b = append(b, 0x45, 0, 0, 20+tcpSize, 0, 0, 0x40, 0, 64, frame.TCP, 0, 0)
		b = append(append(b, pk.Dst.AsSlice()...), pk.Src.AsSlice()...)
		frame.Complete(b[at:], 0, 10)
	} else {
		b = append(b, 0x60, 0, 0, 0, 0, tcpSize, frame.TCP, 64)
		b = append(append(b, pk.Dst.AsSlice()...), pk.Src.AsSlice()...)
	}
	at := len(b)
	seq, ack := be.Uint32(pk.Head[pk.L4+4:]), be.Uint32(pk.Head[pk.L4+8:])
	b = be.AppendUint16(be.AppendUint16(b, pk.DstPort), pk.SrcPort)
	if pk.Flags&frame.FlagACK != 0 {
		b = append(be.AppendUint32(b, ack), 0, 0, 0, 0, 0x50, frame.FlagRST)
	} else {
		size := uint32(pk.End - pk.Payload)
		if pk.Flags&frame.FlagSYN != 0 {
			size++
		}
		b = append(be.AppendUint32(append(b, 0, 0, 0, 0), seq+size), 0x50, frame.FlagRST|frame.FlagACK)
	}
	b = append(b, 0, 0, 0, 0, 0, 0) // window, checksum, urgent pointer
	be.PutUint16(b[at+16:], frame.Pseudo(pk.Dst, pk.Src, frame.TCP, tcpSize))
	frame.Complete(b, at, 16)
	return b
}
