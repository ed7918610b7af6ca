package virtq

import "io"

// Chain is one request: buffers in guest memory that the device reads, and buffers that it writes.
//
// The guest may change the buffers at any time. What is parsed is copied first (CopyIn, Reader); the slices themselves are for
// system calls and bulk copies. All of it is valid until Push.
type Chain struct {
	Head  uint16   // first descriptor, the chain's name in the rings
	Read  [][]byte // device-readable buffers, none empty
	Write [][]byte // device-writable buffers, none empty

	readLen, writeLen uint64 // bytes
	writable          bool   // a device-writable descriptor was seen
	reader            Reader
	writer            Writer
}

// reset empties the chain and keeps its storage.
func (c *Chain) reset(head uint16) {
	*c = Chain{Head: head, Read: c.Read[:0], Write: c.Write[:0]}
}

func (c *Chain) refuse(reason Reason, value uint64) *Fault {
	return &Fault{Reason: reason, Head: c.Head, Value: value}
}

// ReadLen is the number of bytes in the device-readable buffers; at most 2^32.
func (c *Chain) ReadLen() int { return int(c.readLen) }

// WriteLen is the number of bytes in the device-writable buffers; at most 2^32.
func (c *Chain) WriteLen() int { return int(c.writeLen) }

// CopyIn copies the device-readable bytes from off on to p, and returns how many there were.
func (c *Chain) CopyIn(p []byte, off int) int {
	done := 0
	for _, b := range c.Read {
		if done == len(p) {
			break
		}
		if off >= len(b) {
			off -= len(b)
			continue
		}
		if off < 0 {
			break
		}
		done += copy(p[done:], b[off:])
		off = 0
	}
	return done
}

// CopyOut copies p to the device-writable bytes from off on, and returns how many fitted.
func (c *Chain) CopyOut(p []byte, off int) int {
	done := 0
	for _, b := range c.Write {
		if done == len(p) {
			break
		}
		if off >= len(b) {
			off -= len(b)
			continue
		}
		if off < 0 {
			break
		}
		done += copy(b[off:], p[done:])
		off = 0
	}
	return done
}

// Reader returns a reader of copies of the device-readable bytes, at their start. There is one for each chain: a second call
// starts the same one anew.
func (c *Chain) Reader() *Reader {
	c.reader = Reader{buffers: c.Read}
	return &c.reader
}

// Writer returns a writer to the device-writable bytes, at their start. There is one for each chain.
func (c *Chain) Writer() *Writer {
	c.writer = Writer{buffers: c.Write}
	return &c.writer
}

// Reader reads the device-readable bytes of a chain once, from start to end.
type Reader struct {
	buffers [][]byte
	off     int // in the first buffer
	done    int
}

// Read copies to p. It returns io.EOF after the last byte.
func (r *Reader) Read(p []byte) (int, error) {
	n := 0
	for n < len(p) && len(r.buffers) > 0 {
		k := copy(p[n:], r.buffers[0][r.off:])
		n, r.off = n+k, r.off+k
		if r.off == len(r.buffers[0]) {
			r.buffers, r.off = r.buffers[1:], 0
		}
	}
	r.done += n
	if n == 0 && len(p) > 0 {
		return 0, io.EOF
	}
	return n, nil
}

// Count is the number of bytes read so far.
func (r *Reader) Count() int { return r.done }

// Writer fills the device-writable bytes of a chain, from start to end.
type Writer struct {
	buffers [][]byte
	off     int // in the first buffer
	done    int
}

// Write copies from p. It returns io.ErrShortWrite when the chain is full.
func (w *Writer) Write(p []byte) (int, error) {
	n := 0
	for n < len(p) && len(w.buffers) > 0 {
		k := copy(w.buffers[0][w.off:], p[n:])
		n, w.off = n+k, w.off+k
		if w.off == len(w.buffers[0]) {
			w.buffers, w.off = w.buffers[1:], 0
		}
	}
	w.done += n
	if n < len(p) {
		return n, io.ErrShortWrite
	}
	return n, nil
}

// Count is the number of bytes written so far: what Push wants to know.
func (w *Writer) Count() int { return w.done }
