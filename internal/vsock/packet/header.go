// Package packet is what passes between a virtio socket device and the host's
// side of its connections: the packet header of virtio 1.2 section 5.10.6, and
// the two kinds of buffers, [Packet] from the guest and [Slot] to it.
//
// It parses and holds no state. A header is decoded from a copy of the guest's
// bytes; payload is never looked at, only handed on to system calls.
package packet

import (
	"encoding/binary"
	"strconv"
)

// HeaderSize is the length of struct virtio_vsock_hdr in bytes.
const HeaderSize = 44

// MaxPayload is the most payload that one packet has in either direction, in
// bytes. Linux sends no more (VIRTIO_VSOCK_MAX_PKT_BUF_SIZE in
// include/linux/virtio_vsock.h).
const MaxPayload = 64 << 10

// Addresses, section 5.10.4: 0, 1 and 2^32-1 are reserved, 2 is the host. The
// upper 32 bits of an address are zero.
const (
	HostCID     uint64 = 2
	FirstCID    uint64 = 3           // the lowest address a guest may have
	LastCID     uint64 = 1<<32 - 2   // the highest one
	PortAny     uint32 = 1<<32 - 1   // VMADDR_PORT_ANY of Linux: names no port
	MaxPort            = PortAny - 1 // the highest port
	reservedCID uint64 = 1<<32 - 1   // VMADDR_CID_ANY of Linux
)

// ValidCID says whether a guest may have an address.
func ValidCID(cid uint64) bool { return cid >= FirstCID && cid < reservedCID }

// Type is the kind of a socket.
type Type uint16

// The kinds of sockets, section 5.10.6.
const (
	Stream    Type = 1 // VIRTIO_VSOCK_TYPE_STREAM: bytes in order
	SeqPacket Type = 2 // VIRTIO_VSOCK_TYPE_SEQPACKET: messages in order
)

// String names the type, or gives its number.
func (t Type) String() string {
	switch t {
	case Stream:
		return "stream"
	case SeqPacket:
		return "seqpacket"
	default:
		return "type " + strconv.Itoa(int(t))
	}
}

// Op is what a packet is for.
type Op uint16

// The operations, section 5.10.6.
const (
	OpInvalid       Op = iota // VIRTIO_VSOCK_OP_INVALID
	OpRequest                 // asks for a connection
	OpResponse                // accepts one
	OpReset                   // refuses or ends one
	OpShutdown                // says which directions the sender has done with, in Flags
	OpData                    // VIRTIO_VSOCK_OP_RW: has payload
	OpCreditUpdate            // tells BufAlloc and FwdCnt
	OpCreditRequest           // asks for an OpCreditUpdate
	NumOps
)

var opNames = [NumOps]string{"invalid", "request", "response", "reset", "shutdown", "data", "credit update", "credit request"}

// String names the operation, or gives its number.
func (o Op) String() string {
	if o < NumOps {
		return opNames[o]
	}
	return "operation " + strconv.Itoa(int(o))
}

// Flags of OpShutdown, section 5.10.6.5: what the sender of the packet will not
// do any more.
const (
	ShutdownReceive uint32 = 1 << 0
	ShutdownSend    uint32 = 1 << 1
	ShutdownBoth           = ShutdownReceive | ShutdownSend
)

// Flags of OpData of a SeqPacket connection, section 5.10.6.6.
const (
	EndOfMessage uint32 = 1 << 0 // VIRTIO_VSOCK_SEQ_EOM: the message is complete
	EndOfRecord  uint32 = 1 << 1 // VIRTIO_VSOCK_SEQ_EOR: it was sent with MSG_EOR
)

// Header is struct virtio_vsock_hdr, its fields in order.
type Header struct {
	SrcCID   uint64
	DstCID   uint64
	SrcPort  uint32
	DstPort  uint32
	Len      uint32 // bytes of payload
	Type     Type
	Op       Op
	Flags    uint32
	BufAlloc uint32 // bytes of buffer the sender has for this connection
	FwdCnt   uint32 // bytes that left that buffer since the connection began, modulo 2^32
}

// Decode reads a header. Every value is possible; nothing is checked.
func Decode(b *[HeaderSize]byte) Header {
	le := binary.LittleEndian
	return Header{
		SrcCID:   le.Uint64(b[0:]),
		DstCID:   le.Uint64(b[8:]),
		SrcPort:  le.Uint32(b[16:]),
		DstPort:  le.Uint32(b[20:]),
		Len:      le.Uint32(b[24:]),
		Type:     Type(le.Uint16(b[28:])),
		Op:       Op(le.Uint16(b[30:])),
		Flags:    le.Uint32(b[32:]),
		BufAlloc: le.Uint32(b[36:]),
		FwdCnt:   le.Uint32(b[40:]),
	}
}

// Encode writes a header.
func (h *Header) Encode(b *[HeaderSize]byte) {
	le := binary.LittleEndian
	le.PutUint64(b[0:], h.SrcCID)
	le.PutUint64(b[8:], h.DstCID)
	le.PutUint32(b[16:], h.SrcPort)
	le.PutUint32(b[20:], h.DstPort)
	le.PutUint32(b[24:], h.Len)
	le.PutUint16(b[28:], uint16(h.Type))
	le.PutUint16(b[30:], uint16(h.Op))
	le.PutUint32(b[32:], h.Flags)
	le.PutUint32(b[36:], h.BufAlloc)
	le.PutUint32(b[40:], h.FwdCnt)
}
