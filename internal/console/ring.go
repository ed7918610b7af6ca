package console

import "sync"

// ringFirst is the size in bytes of a ring's first storage. It doubles up to
// the ring's limit, so that the console of an idle machine costs little.
const ringFirst = 4 << 10

// ring keeps the last bytes of an endless stream. Positions are offsets from
// the start of the stream and never wrap: 2^64 bytes are not printed in a
// machine's life.
type ring struct {
	mu    sync.Mutex
	limit int           // bytes kept at most
	data  []byte        // guarded by mu; storage, byte at offset o is data[o%len(data)]
	start uint64        // guarded by mu; offset of the oldest byte kept
	end   uint64        // guarded by mu; offset of the next byte to come
	ended bool          // guarded by mu; nothing comes any more
	wake  chan struct{} // guarded by mu; nil while nobody waits; closed at the next change
}

// write appends p, overwriting the oldest bytes. It reports false after end.
func (r *ring) write(p []byte) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ended {
		return false
	}
	if len(p) == 0 {
		return true
	}
	if skip := len(p) - r.limit; skip > 0 {
		// Only the last bytes can be kept; the stream's offsets count them all.
		r.end += uint64(skip)
		r.start = r.end
		p = p[skip:]
	}
	r.reserve(int(r.end-r.start) + len(p))
	for len(p) > 0 {
		n := copy(r.data[r.end%uint64(len(r.data)):], p)
		r.end += uint64(n)
		p = p[n:]
	}
	if kept := r.end - r.start; kept > uint64(len(r.data)) {
		r.start = r.end - uint64(len(r.data))
	}
	r.notify()
	return true
}

// reserve grows the storage to hold n bytes, or to the limit.
// Preconditions: mu is held.
func (r *ring) reserve(n int) {
	n = min(n, r.limit)
	if n <= len(r.data) {
		return
	}
	size := max(len(r.data), min(ringFirst, r.limit))
	for size < n {
		size *= 2
	}
	grown := make([]byte, min(size, r.limit))
	for at := r.start; at < r.end; {
		from := r.data[at%uint64(len(r.data)):]
		from = from[:min(uint64(len(from)), r.end-at)]
		at += uint64(copy(grown[at%uint64(len(grown)):], from))
	}
	r.data = grown
}

// finish marks the end of the stream and wakes every reader.
func (r *ring) finish() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ended = true
	r.notify()
}

// notify wakes everyone who waits. Preconditions: mu is held.
func (r *ring) notify() {
	if r.wake != nil {
		close(r.wake)
		r.wake = nil
	}
}

// view is what read found at an offset.
type view struct {
	n     int             // bytes copied
	at    uint64          // offset of the first of them: later than asked when bytes were overwritten
	ended bool            // n is 0 and nothing comes any more
	wake  <-chan struct{} // closed at the next change; set when n is 0 and more may come
}

// read copies bytes from offset at on into p, without waiting.
func (r *ring) read(p []byte, at uint64) view {
	r.mu.Lock()
	defer r.mu.Unlock()
	v := view{at: max(at, r.start)}
	if v.n = r.copyFrom(p, v.at); v.n > 0 {
		return v
	}
	if r.ended {
		v.ended = true
		return v
	}
	if r.wake == nil {
		r.wake = make(chan struct{})
	}
	v.wake = r.wake
	return v
}

// copyFrom copies bytes from offset at on into p and returns their number.
// Preconditions: mu is held and at is not before start.
func (r *ring) copyFrom(p []byte, at uint64) int {
	n := 0
	for n < len(p) && at < r.end {
		from := r.data[at%uint64(len(r.data)):]
		from = from[:min(uint64(len(from)), r.end-at)]
		m := copy(p[n:], from)
		n += m
		at += uint64(m)
	}
	return n
}

// bounds returns the offsets of the oldest byte kept and of the next to come.
func (r *ring) bounds() (start, end uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.start, r.end
}

// tail returns a copy of the last n bytes kept, or of as many as there are.
func (r *ring) tail(n int) []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make([]byte, max(0, min(n, int(r.end-r.start))))
	r.copyFrom(out, r.end-uint64(len(out)))
	return out
}
