package cable

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/libcapsa/libcapsa/internal/net/link"
)

// prefixSize is what stands before each frame of a stream: its length in bytes, in
// network byte order (QEMU, net/stream.c and net/net.c, net_fill_rstate).
const prefixSize = 4

// errFraming ends a stream.
var errFraming = errors.New("the other end broke the framing")

// splitter takes a stream apart. The zero value is at the beginning of one.
type splitter struct {
	buf  []byte // what came; [from:to] is not used up yet
	from int
	to   int
}

// splitSize holds the longest frame, and many short ones.
const splitSize = 256 << 10

// space is where the next bytes go, never empty. Frames that next has returned are
// overwritten.
func (s *splitter) space() []byte {
	if s.buf == nil {
		s.buf = make([]byte, splitSize)
	}
	if s.from > 0 {
		s.to = copy(s.buf, s.buf[s.from:s.to])
		s.from = 0
	}
	return s.buf[s.to:]
}

// add says that n bytes have come into space.
func (s *splitter) add(n int) { s.to += n }

// next returns the next whole frame, nil if it is not there yet. A frame that is too
// short to be one is left out. After an error nothing more can be read.
func (s *splitter) next() ([]byte, error) {
	for {
		have := s.buf[s.from:s.to]
		if len(have) < prefixSize {
			return nil, nil
		}
		n := binary.BigEndian.Uint32(have)
		if n > link.MaxFrame {
			return nil, fmt.Errorf("%w: a frame of %d bytes; at most %d are possible", errFraming, n, link.MaxFrame)
		}
		if len(have) < prefixSize+int(n) {
			return nil, nil
		}
		s.from += prefixSize + int(n)
		if n >= etherSize {
			return have[prefixSize : prefixSize+n : prefixSize+n], nil
		}
	}
}
