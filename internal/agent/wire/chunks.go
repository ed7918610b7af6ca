package wire

import (
	"encoding/binary"
	"fmt"
	"io"
)

// MaxChunk is the largest piece of a stream in chunks, in bytes.
const MaxChunk = 256 << 10

// A stream in chunks can be cut off so that its reader knows: it is chunks of four
// bytes of length, little-endian, and as many of data, and one of no data at the end.

// WriteChunks copies r to w in chunks and returns the number of bytes of data. When r
// fails there is no end.
func WriteChunks(w io.Writer, r io.Reader) (int64, error) {
	buf := make([]byte, 4+MaxChunk)
	total := int64(0)
	for {
		n, err := r.Read(buf[4:])
		if n > 0 {
			binary.LittleEndian.PutUint32(buf, uint32(n))
			if _, err := w.Write(buf[:4+n]); err != nil {
				return total, &WriteError{err}
			}
			total += int64(n)
		}
		switch err {
		case nil:
		case io.EOF:
			if _, err := w.Write(make([]byte, 4)); err != nil {
				return total, &WriteError{err}
			}
			return total, nil
		default:
			return total, err
		}
	}
}

// WriteError is the error of WriteChunks that is the writer's.
type WriteError struct{ Err error }

func (e *WriteError) Error() string { return e.Err.Error() }

// Unwrap is the writer's error.
func (e *WriteError) Unwrap() error { return e.Err }

// Chunks reads the data of a stream in chunks.
type Chunks struct {
	R    io.Reader
	left uint32
	over bool
}

// Read gives io.EOF at the end, and io.ErrUnexpectedEOF when the stream was cut off.
func (c *Chunks) Read(p []byte) (int, error) {
	if c.over {
		return 0, io.EOF
	}
	if len(p) == 0 {
		return 0, nil
	}
	if c.left == 0 {
		var header [4]byte
		if _, err := io.ReadFull(c.R, header[:]); err != nil {
			return 0, unexpected(err)
		}
		c.left = binary.LittleEndian.Uint32(header[:])
		if c.left > MaxChunk {
			return 0, fmt.Errorf("%w: a chunk of %d bytes", ErrMalformed, c.left)
		}
		if c.left == 0 {
			c.over = true
			return 0, io.EOF
		}
	}
	n, err := c.R.Read(p[:min(uint64(len(p)), uint64(c.left))])
	c.left -= uint32(n)
	if n > 0 {
		return n, nil // an error comes again
	}
	return 0, unexpected(err)
}

func unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
