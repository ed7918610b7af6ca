// Package iovec works on scattered buffers: a list of byte slices that stands for
// one run of bytes. It allocates nothing but the lists it returns.
package iovec

// Len is the number of bytes in bufs.
func Len(bufs [][]byte) int {
	n := 0
	for _, b := range bufs {
		n += len(b)
	}
	return n
}

// Slice appends to dst the parts of bufs that hold its bytes [off, off+n) and
// returns dst. The bytes are not copied. It gives what there is when bufs is
// shorter.
func Slice(dst, bufs [][]byte, off, n int) [][]byte {
	for _, b := range bufs {
		if n <= 0 {
			break
		}
		if off >= len(b) {
			off -= len(b)
			continue
		}
		part := b[off:]
		off = 0
		if len(part) > n {
			part = part[:n]
		}
		dst = append(dst, part)
		n -= len(part)
	}
	return dst
}

// Zero fills bufs with zeroes.
func Zero(bufs [][]byte) {
	for _, b := range bufs {
		clear(b)
	}
}

// CopyTo copies src into bufs, starting at byte off of bufs, and returns the number
// of bytes copied.
func CopyTo(bufs [][]byte, off int, src []byte) int {
	done := 0
	for _, b := range bufs {
		if done == len(src) {
			break
		}
		if off >= len(b) {
			off -= len(b)
			continue
		}
		done += copy(b[off:], src[done:])
		off = 0
	}
	return done
}

// CopyFrom copies the bytes of bufs from byte off on into dst and returns their
// number.
func CopyFrom(dst []byte, bufs [][]byte, off int) int {
	done := 0
	for _, b := range bufs {
		if done == len(dst) {
			break
		}
		if off >= len(b) {
			off -= len(b)
			continue
		}
		done += copy(dst[done:], b[off:])
		off = 0
	}
	return done
}

// Advance returns bufs without its first n bytes. It changes the list in place.
func Advance(bufs [][]byte, n int) [][]byte {
	for len(bufs) > 0 && n >= len(bufs[0]) {
		n -= len(bufs[0])
		bufs = bufs[1:]
	}
	if len(bufs) > 0 {
		bufs[0] = bufs[0][n:]
	}
	return bufs
}
