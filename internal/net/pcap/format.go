package pcap

import (
	"encoding/binary"
	"time"

	"github.com/libcapsa/libcapsa/internal/net/link"
)

// Block types (draft-ietf-opsawg-pcapng section 11.1).
const (
	blockSection    = 0x0A0D0D0A // Section Header Block, section 4.1
	blockInterface  = 0x00000001 // Interface Description Block, section 4.2
	blockStatistics = 0x00000005 // Interface Statistics Block, section 4.5
	blockPacket     = 0x00000006 // Enhanced Packet Block, section 4.3
)

const (
	byteOrderMagic = 0x1A2B3C4D
	versionMajor   = 1
	versionMinor   = 0
	linkEthernet   = 1 // LINKTYPE_ETHERNET
	nanoseconds    = 9 // if_tsresol: 10^-9 s
)

// Options (sections 3.5, 4.1, 4.2, 4.3, 4.5).
const (
	optEnd        = 0 // opt_endofopt
	optUserAppl   = 4 // shb_userappl, text
	optName       = 2 // if_name, text
	optResolution = 9 // if_tsresol, 1 byte
	optFlags      = 2 // epb_flags, 4 bytes
	optDropCount  = 4 // epb_dropcount, 8 bytes
	optStart      = 2 // isb_starttime, 8 bytes
	optStop       = 3 // isb_endtime, 8 bytes
	optReceived   = 4 // isb_ifrecv, 8 bytes
	optDropped    = 5 // isb_ifdrop, 8 bytes
)

// packetOverhead is the most that a packet block has besides the frame: its
// fixed fields, the padding, flags, the count of drops, and the end of options.
const packetOverhead = 32 + 3 + (4 + 4) + (4 + 8) + 4

// Direction is the way of a frame, as the guest sees it: the values of bits 0
// and 1 of epb_flags.
type Direction uint32

const (
	Received Direction = 1 // by the guest
	Sent     Direction = 2 // by the guest
)

var le = binary.LittleEndian

// begin starts a block, whose length end fills in.
func begin(b []byte, kind uint32) []byte {
	b = le.AppendUint32(b, kind)
	return le.AppendUint32(b, 0)
}

// end ends the block that began at from.
func end(b []byte, from int) []byte {
	n := uint32(len(b) - from + 4)
	le.PutUint32(b[from+4:], n)
	return le.AppendUint32(b, n)
}

// pad fills up to a multiple of 4 bytes; blocks begin at one.
func pad(b []byte, n int) []byte {
	const zeroes = "\x00\x00\x00"
	return append(b, zeroes[:-n&3]...)
}

func option(b []byte, code uint16, n int) []byte {
	b = le.AppendUint16(b, code)
	return le.AppendUint16(b, uint16(n))
}

func optionText(b []byte, code uint16, s string) []byte {
	b = append(option(b, code, len(s)), s...)
	return pad(b, len(s))
}

func option64(b []byte, code uint16, v uint64) []byte {
	return le.AppendUint64(option(b, code, 8), v)
}

// stamp is a time as two words of its nanoseconds, the high one first.
func stamp(b []byte, t time.Time) []byte {
	n := uint64(t.UnixNano())
	b = le.AppendUint32(b, uint32(n>>32))
	return le.AppendUint32(b, uint32(n))
}

// appendHeader adds what a file begins with: a section with one interface.
func appendHeader(b []byte, name string, snapLen int) []byte {
	from := len(b)
	b = begin(b, blockSection)
	b = le.AppendUint32(b, byteOrderMagic)
	b = le.AppendUint16(b, versionMajor)
	b = le.AppendUint16(b, versionMinor)
	b = le.AppendUint64(b, 1<<64-1) // the section's length is not given
	b = optionText(b, optUserAppl, "libcapsa")
	b = option(b, optEnd, 0)
	b = end(b, from)

	from = len(b)
	b = begin(b, blockInterface)
	b = le.AppendUint16(b, linkEthernet)
	b = le.AppendUint16(b, 0)
	b = le.AppendUint32(b, uint32(snapLen))
	if name != "" {
		b = optionText(b, optName, name)
	}
	b = pad(append(option(b, optResolution, 1), nanoseconds), 1)
	b = option(b, optEnd, 0)
	return end(b, from)
}

// packet is what is known of a frame besides its bytes.
type packet struct {
	when time.Time
	dir  Direction
	lost uint64 // frames that were not written since the last one that was
	snap int    // bytes that are written at most
}

// appendPacket adds a frame of n bytes. The bytes may be the guest's: each is
// read once.
func appendPacket(b []byte, p packet, f *link.Frame, n int) []byte {
	from := len(b)
	take := min(n, p.snap)
	b = begin(b, blockPacket)
	b = le.AppendUint32(b, 0) // the interface
	b = stamp(b, p.when)
	b = le.AppendUint32(b, uint32(take))
	b = le.AppendUint32(b, uint32(n))
	left := take
	for _, d := range f.Data {
		d = d[:min(len(d), left)]
		b = append(b, d...)
		left -= len(d)
	}
	b = pad(b, take)
	b = le.AppendUint32(option(b, optFlags, 4), uint32(p.dir))
	if p.lost > 0 {
		b = option64(b, optDropCount, p.lost)
	}
	b = option(b, optEnd, 0)
	return end(b, from)
}

// appendStatistics adds what a file ends with.
func appendStatistics(b []byte, start, stop time.Time, s Stats) []byte {
	from := len(b)
	b = begin(b, blockStatistics)
	b = le.AppendUint32(b, 0) // the interface
	b = stamp(b, stop)
	b = stamp(option(b, optStart, 8), start)
	b = stamp(option(b, optStop, 8), stop)
	b = option64(b, optReceived, s.Frames+s.Dropped)
	b = option64(b, optDropped, s.Dropped)
	b = option(b, optEnd, 0)
	return end(b, from)
}
