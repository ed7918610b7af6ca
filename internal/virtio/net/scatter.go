package net

import "github.com/libcapsa/libcapsa/internal/virtio/virtq"

// scatter writes to the writable buffers of chains, one after the other.
type scatter struct {
	chains []*virtq.Chain // whose buffers come after bufs
	bufs   [][]byte       // that come after buf
	buf    []byte
}

// write copies p. Preconditions: there is room for it.
func (w *scatter) write(p []byte) {
	for len(p) > 0 {
		for len(w.buf) == 0 {
			for len(w.bufs) == 0 {
				w.bufs, w.chains = w.chains[0].Write, w.chains[1:]
			}
			w.buf, w.bufs = w.bufs[0], w.bufs[1:]
		}
		n := copy(w.buf, p)
		w.buf, p = w.buf[n:], p[n:]
	}
}
