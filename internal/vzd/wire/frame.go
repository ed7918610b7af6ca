package wire

import (
	"encoding/binary"

	"github.com/libcapsa/libcapsa/internal/vm"
)

// Kind is what a frame is.
type Kind uint8

// The kinds. Requests and cancels go to the daemon, responses, events and logs to
// the client, acks both ways.
const (
	KindRequest  Kind = 1
	KindResponse Kind = 2
	KindEvent    Kind = 3
	KindCancel   Kind = 4
	KindAck      Kind = 5
	KindLog      Kind = 6
)

const (
	// HeaderSize is the size of a frame's header, in bytes.
	HeaderSize = 16
	// MaxBody is the size of the largest body, in bytes: twice that of the largest
	// configuration (vm.MaxConfigJSON).
	MaxBody = 2 << 20
	// MaxFiles is the largest number of descriptors of a frame.
	MaxFiles = 8

	magic = 0x5a56 // tells a frame from what else a program may write: "VZ"
)

// Frame is one message.
type Frame struct {
	Kind  Kind
	ID    uint64
	Body  []byte
	Files Files
}

// header is the first HeaderSize bytes of a frame.
type header struct {
	size  uint32
	kind  Kind
	files uint8
	id    uint64
}

func (h header) encode() (b [HeaderSize]byte) {
	binary.LittleEndian.PutUint32(b[0:], h.size)
	b[4], b[5] = byte(h.kind), h.files
	binary.LittleEndian.PutUint16(b[6:], magic)
	binary.LittleEndian.PutUint64(b[8:], h.id)
	return b
}

// decodeHeader checks all that can be checked without the body.
func decodeHeader(b [HeaderSize]byte) (header, error) {
	h := header{
		size: binary.LittleEndian.Uint32(b[0:]), kind: Kind(b[4]), files: b[5], id: binary.LittleEndian.Uint64(b[8:]),
	}
	switch {
	case binary.LittleEndian.Uint16(b[6:]) != magic:
		return header{}, violation("%x is no frame", b[:])
	case h.size > MaxBody:
		return header{}, violation("a body of %d bytes; at most %d are allowed", h.size, MaxBody)
	case h.files > MaxFiles:
		return header{}, violation("%d descriptors; at most %d are allowed", h.files, MaxFiles)
	case h.kind < KindRequest || h.kind > KindLog:
		return header{}, violation("kind %d is not known", h.kind)
	}
	return h, nil
}

// violation is the error of a peer that breaks the protocol.
func violation(format string, a ...any) error {
	return vm.Errorf(vm.KindProtocol, "receive", format, a...).WithComponent("vzd")
}
