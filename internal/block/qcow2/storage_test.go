package qcow2

import (
	"errors"
	"sync"

	"github.com/libcapsa/libcapsa/internal/block/iovec"
)

// memory is a Storage in memory that can lose what was not synced.
type memory struct {
	mu      sync.Mutex
	now     []byte // guarded by mu
	durable []byte // as of the last Sync; guarded by mu
	writes  []func([]byte) []byte
	limit   uint64 // largest size, 0: none
	syncs   int
	fail    error // what Sync answers
}

var errNoSpace = errors.New("no space")

func (s *memory) ReadAt(bufs [][]byte, off uint64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	iovec.Zero(bufs)
	if off < uint64(len(s.now)) {
		iovec.CopyTo(bufs, 0, s.now[off:min(uint64(len(s.now)), off+uint64(iovec.Len(bufs)))])
	}
	return nil
}

func put(image, b []byte, off uint64) []byte {
	if end := off + uint64(len(b)); end > uint64(len(image)) {
		image = append(image, make([]byte, end-uint64(len(image)))...)
	}
	copy(image[off:], b)
	return image
}

func (s *memory) WriteAt(bufs [][]byte, off uint64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := make([]byte, iovec.Len(bufs))
	iovec.CopyFrom(b, bufs, 0)
	if s.limit != 0 && off+uint64(len(b)) > s.limit {
		return errNoSpace
	}
	s.now = put(s.now, b, off)
	s.writes = append(s.writes, func(image []byte) []byte { return put(image, b, off) })
	return nil
}

func (s *memory) Sync() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fail != nil {
		return s.fail
	}
	s.syncs++
	s.durable = append([]byte(nil), s.now...)
	s.writes = nil
	return nil
}

func (s *memory) PunchHole(off, n uint64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if off < uint64(len(s.now)) {
		clear(s.now[off:min(uint64(len(s.now)), off+n)])
	}
	s.writes = append(s.writes, func(image []byte) []byte {
		if off < uint64(len(image)) {
			clear(image[off:min(uint64(len(image)), off+n)])
		}
		return image
	})
	return nil
}

func (s *memory) Size() (uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return uint64(len(s.now)), nil
}

// powerCut returns what a disk may hold after a power cut: everything synced, and of
// the rest those writes for which keep says so, in any order that keep's calls imply.
func (s *memory) powerCut(keep func(i int) bool) *memory {
	s.mu.Lock()
	defer s.mu.Unlock()
	image := append([]byte(nil), s.durable...)
	for i, w := range s.writes {
		if keep(i) {
			image = w(image)
		}
	}
	return &memory{now: image, durable: append([]byte(nil), image...)}
}

// flat is a Storage in memory that remembers nothing else.
type flat struct {
	now   []byte
	limit uint64 // largest size
}

func (s *flat) ReadAt(bufs [][]byte, off uint64) error {
	iovec.Zero(bufs)
	if off < uint64(len(s.now)) {
		iovec.CopyTo(bufs, 0, s.now[off:min(uint64(len(s.now)), off+uint64(iovec.Len(bufs)))])
	}
	return nil
}

func (s *flat) WriteAt(bufs [][]byte, off uint64) error {
	for _, b := range bufs {
		if off > s.limit || off+uint64(len(b)) > s.limit {
			return errNoSpace
		}
		s.now = put(s.now, b, off)
		off += uint64(len(b))
	}
	return nil
}

func (s *flat) Sync() error { return nil }

func (s *flat) PunchHole(off, n uint64) error {
	if off < uint64(len(s.now)) {
		clear(s.now[off:min(uint64(len(s.now)), off+n)])
	}
	return nil
}

func (s *flat) Size() (uint64, error) { return uint64(len(s.now)), nil }
