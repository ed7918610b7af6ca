//go:build linux

package fuse

import "sync/atomic"

// refs counts who uses an object. At 0 it is gone and cannot be taken again.
type refs struct{ n atomic.Int32 }

func (r *refs) tryGet() bool {
	for {
		v := r.n.Load()
		if v <= 0 {
			return false
		}
		if r.n.CompareAndSwap(v, v+1) {
			return true
		}
	}
}

// drop gives a use back and says whether it was the last.
func (r *refs) drop() bool { return r.n.Add(-1) == 0 }

const (
	chunkBits = 12
	chunkSize = 1 << chunkBits
	maxChunks = 1 << 10
	maxSlots  = maxChunks*chunkSize - chunkSize
)

// slots maps the numbers that the client gets to objects. A number is a slot
// and a generation, so that one which was given back is not taken for the one
// that has its slot now. get takes no lock; the rest is the owner's to lock.
type slots[T any] struct {
	chunks [maxChunks]atomic.Pointer[[chunkSize]atomic.Pointer[T]]
	free   []uint32
	next   uint32
	gen    uint32
}

// get returns what is in the slot of id. The caller compares generations.
func (s *slots[T]) get(id uint64) *T {
	i := uint32(id)
	if i>>chunkBits >= maxChunks {
		return nil
	}
	c := s.chunks[i>>chunkBits].Load()
	if c == nil {
		return nil
	}
	return c[i%chunkSize].Load()
}

// alloc returns a new number whose slot is empty; false when there are no more.
func (s *slots[T]) alloc() (uint64, bool) {
	var i uint32
	if n := len(s.free); n > 0 {
		i = s.free[n-1]
		s.free = s.free[:n-1]
	} else {
		i = s.next
		if i>>chunkBits >= maxChunks {
			return 0, false
		}
		s.next++
		if s.chunks[i>>chunkBits].Load() == nil {
			s.chunks[i>>chunkBits].Store(new([chunkSize]atomic.Pointer[T]))
		}
	}
	s.gen++
	return uint64(i) | uint64(s.gen)<<32, true
}

func (s *slots[T]) set(id uint64, v *T) {
	i := uint32(id)
	s.chunks[i>>chunkBits].Load()[i%chunkSize].Store(v)
}

// release empties the slot of id.
func (s *slots[T]) release(id uint64) {
	s.set(id, nil)
	s.free = append(s.free, uint32(id))
}

// each calls fn for every object.
func (s *slots[T]) each(fn func(*T)) {
	for i := range s.next {
		if v := s.get(uint64(i)); v != nil {
			fn(v)
		}
	}
}
