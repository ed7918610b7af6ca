package blk

import (
	"encoding/binary"
	"errors"

	"github.com/libcapsa/libcapsa/internal/virtio/virtq"
)

// Types of requests, virtio 1.2 section 5.2.6.
const (
	typeIn          = 0
	typeOut         = 1
	typeFlush       = 4
	typeGetID       = 8
	typeDiscard     = 11
	typeWriteZeroes = 13
)

// Values of the status byte, virtio 1.2 section 5.2.6.
const (
	statusOK          = 0
	statusIOErr       = 1
	statusUnsupported = 2
)

const (
	headerSize  = 16 // le32 type, le32 reserved, le64 sector
	segmentSize = 16 // le64 sector, le32 num_sectors, le32 flags
	idSize      = 20 // bytes of a GET_ID reply

	flagUnmap = 1 // of a WRITE_ZEROES segment
)

// errNoStatus: a request ends with a status byte that the device writes
// (virtio 1.2 section 5.2.6). Without one there is no way to answer.
var errNoStatus = errors.New("a request has no room for its status")

// request is one request of the driver. The header was copied out of guest
// memory; data and status are guest memory.
type request struct {
	chain  *virtq.Chain
	kind   uint32
	sector uint64
	data   [][]byte // IN: what to fill, OUT: what to write, else nil
	size   uint64   // bytes behind the header, or before the status
	status []byte   // one byte

	result  byte   // what the status byte says
	written uint32 // bytes written from the start of the writable part
	err     error  // why the host could not serve it
}

// parse reads the header and finds data and status, wherever the driver cut
// the buffers (virtio 1.2 section 2.7.4.1). It changes the chain's lists in
// place. A request that makes no sense has a result other than statusOK, and
// is not to be executed. The error says that it cannot be answered.
func (r *request) parse(c *virtq.Chain) error {
	*r = request{chain: c}
	n := len(c.Write)
	if n == 0 {
		return errNoStatus
	}
	last := c.Write[n-1] // never empty
	r.status = last[len(last)-1:]
	if last = last[:len(last)-1]; len(last) == 0 {
		c.Write = c.Write[:n-1]
	} else {
		c.Write[n-1] = last
	}
	var head [headerSize]byte
	if c.CopyIn(head[:], 0) != headerSize {
		r.result = statusIOErr
		return nil
	}
	r.kind = binary.LittleEndian.Uint32(head[0:])
	r.sector = binary.LittleEndian.Uint64(head[8:])
	switch r.kind {
	case typeIn, typeGetID:
		r.data, r.size = c.Write, uint64(c.WriteLen()-1)
	case typeOut:
		r.data, r.size = skip(c.Read, headerSize), uint64(c.ReadLen()-headerSize)
	default:
		r.size = uint64(c.ReadLen() - headerSize)
	}
	return nil
}

// finish writes the status byte, the last that is written of a request, and
// says how much of the writable part is valid from its start on (virtio 1.2
// section 2.7.8): all of it only when the data before the status is.
func (r *request) finish() {
	r.status[0] = r.result
	if uint64(r.written)+1 == uint64(r.chain.WriteLen()) {
		r.written++
	}
}

// moves is how many bytes of a rate limit the request costs.
func (r *request) moves() uint64 {
	if r.data == nil {
		return 0
	}
	return r.size
}

// segment is one range of a DISCARD or WRITE_ZEROES request.
type segment struct {
	sector, count uint64 // sectors
	flags         uint32
}

// segments copies the ranges of a request out of guest memory; ok is false
// when their number is none, broken or more than fits.
func (r *request) segments(out *[maxSegments]segment) (_ []segment, ok bool) {
	n := r.size / segmentSize
	if n == 0 || n > maxSegments || r.size%segmentSize != 0 {
		return nil, false
	}
	var raw [maxSegments * segmentSize]byte
	r.chain.CopyIn(raw[:r.size], headerSize)
	for i := range n {
		b := raw[i*segmentSize:]
		out[i] = segment{
			sector: binary.LittleEndian.Uint64(b[0:]),
			count:  uint64(binary.LittleEndian.Uint32(b[8:])),
			flags:  binary.LittleEndian.Uint32(b[12:]),
		}
	}
	return out[:n], true
}

// skip returns bufs without their first n bytes. It changes the list in place.
func skip(bufs [][]byte, n int) [][]byte {
	for len(bufs) > 0 && n >= len(bufs[0]) {
		n -= len(bufs[0])
		bufs = bufs[1:]
	}
	if len(bufs) > 0 && n > 0 {
		bufs[0] = bufs[0][n:]
	}
	return bufs
}

// head appends the first n bytes of bufs to dst, without copying them.
func head(dst, bufs [][]byte, n int) [][]byte {
	for _, b := range bufs {
		if n <= 0 {
			break
		}
		b = b[:min(n, len(b))]
		dst = append(dst, b)
		n -= len(b)
	}
	return dst
}
