package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Version is the version of the protocol that this code speaks; there is one.
const Version = 1

// HelloSize is the size of a Hello and of a Welcome, in bytes.
const HelloSize = 64

// TokenSize is the size of a token, in bytes.
const TokenSize = 32

// Token is the secret of one machine and its agent.
type Token [TokenSize]byte

// The kinds of connections.
const (
	KindControl = 1
	KindStream  = 2
)

// What both begin with.
const (
	helloMagic   = "CAPSAGNT"
	welcomeMagic = "CAPSAHST"
)

// Hello is how the guest begins a connection. Numbers are little-endian:
//
//	0   8  "CAPSAGNT"
//	8   2  lowest version it speaks
//	10  2  highest version
//	12  1  kind
//	13  3  zero
//	16  8  number of the stream, of KindStream
//	24  32 token; zero on the first control connection
//	56  8  zero
type Hello struct {
	Min, Max uint16
	Kind     uint8
	Stream   uint64
	Token    Token
}

// Welcome is how the host answers a Hello of KindControl:
//
//	0   8  "CAPSAHST"
//	8   2  version; 0: refused
//	10  2  why it was refused
//	12  4  zero
//	16  32 token
//	48  16 zero
type Welcome struct {
	Version uint16
	Reason  uint16
	Token   Token
}

// Why a control connection is refused.
const (
	ReasonVersion = 1 // no version in common
	ReasonToken   = 2 // the token is wrong, or there is an agent already
)

// ErrMalformed is the error of bytes that are no Hello or Welcome.
var ErrMalformed = errors.New("not the agent's protocol")

// Bytes is the wire form.
func (h Hello) Bytes() []byte {
	b := make([]byte, HelloSize)
	copy(b, helloMagic)
	binary.LittleEndian.PutUint16(b[8:], h.Min)
	binary.LittleEndian.PutUint16(b[10:], h.Max)
	b[12] = h.Kind
	binary.LittleEndian.PutUint64(b[16:], h.Stream)
	copy(b[24:], h.Token[:])
	return b
}

// ParseHello reads the wire form.
func ParseHello(b []byte) (Hello, error) {
	if len(b) != HelloSize || string(b[:8]) != helloMagic {
		return Hello{}, ErrMalformed
	}
	h := Hello{
		Min: binary.LittleEndian.Uint16(b[8:]), Max: binary.LittleEndian.Uint16(b[10:]),
		Kind: b[12], Stream: binary.LittleEndian.Uint64(b[16:]), Token: Token(b[24:56]),
	}
	switch {
	case h.Kind != KindControl && h.Kind != KindStream:
		return Hello{}, fmt.Errorf("%w: connection of kind %d", ErrMalformed, h.Kind)
	case h.Min > h.Max:
		return Hello{}, fmt.Errorf("%w: versions %d to %d", ErrMalformed, h.Min, h.Max)
	case h.Kind == KindControl && h.Stream != 0:
		return Hello{}, fmt.Errorf("%w: a control connection with a stream", ErrMalformed)
	case !zero(b[13:16]) || !zero(b[56:]):
		return Hello{}, fmt.Errorf("%w: reserved bytes are set", ErrMalformed)
	}
	return h, nil
}

// ReadHello reads one from a connection.
func ReadHello(r io.Reader) (Hello, error) {
	var b [HelloSize]byte
	if _, err := io.ReadFull(r, b[:]); err != nil {
		return Hello{}, err
	}
	return ParseHello(b[:])
}

// Bytes is the wire form.
func (w Welcome) Bytes() []byte {
	b := make([]byte, HelloSize)
	copy(b, welcomeMagic)
	binary.LittleEndian.PutUint16(b[8:], w.Version)
	binary.LittleEndian.PutUint16(b[10:], w.Reason)
	copy(b[16:], w.Token[:])
	return b
}

// ParseWelcome reads the wire form.
func ParseWelcome(b []byte) (Welcome, error) {
	if len(b) != HelloSize || string(b[:8]) != welcomeMagic || !zero(b[12:16]) || !zero(b[48:]) {
		return Welcome{}, ErrMalformed
	}
	return Welcome{
		Version: binary.LittleEndian.Uint16(b[8:]), Reason: binary.LittleEndian.Uint16(b[10:]),
		Token: Token(b[16:48]),
	}, nil
}

// ReadWelcome reads one from a connection.
func ReadWelcome(r io.Reader) (Welcome, error) {
	var b [HelloSize]byte
	if _, err := io.ReadFull(r, b[:]); err != nil {
		return Welcome{}, err
	}
	return ParseWelcome(b[:])
}

func zero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}
