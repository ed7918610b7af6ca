package guestmem

import (
	"os"
	"slices"
)

// Image is bytes that never change, for placing into the RAM of many machines: a sealed memfd. It is safe for concurrent use.
// NewImage makes one.
type Image struct {
	file *os.File
	size uint64
}

// Close frees the image. Memory it was placed into keeps what it needs.
func (i *Image) Close() error { return i.file.Close() }

// Size is the image's size in bytes.
func (i *Image) Size() uint64 { return i.size }

// Place puts size bytes of an image, from off on, at addr. Whole pages are mapped copy-on-write, so that they take memory once
// for all machines until somebody writes to them; the rest is copied, as is everything where that cannot be: addr and off
// differ within a page, the memory has no file, the host refuses. The range lies in one region and is zeroed, as fresh memory
// is, and nobody uses it. Errors: ErrRange, ErrClosed, or what reading the image gave.
func (m *Memory) Place(addr uint64, img *Image, off, size uint64) error {
	b, err := m.Slice(addr, size)
	if err != nil {
		return err
	}
	if size > img.size || off > img.size-size {
		return ErrRange
	}
	page := uint64(os.Getpagesize())
	first, end := (addr+page-1)&^(page-1), (addr+size)&^(page-1)
	if addr%page == off%page && first < end && m.mapImage(first, img, off+(first-addr), end-first) {
		if _, err := img.file.ReadAt(b[:first-addr], int64(off)); err != nil {
			return err
		}
		b, off = b[end-addr:], off+(end-addr)
	}
	_, err = img.file.ReadAt(b, int64(off)) // inside of the file, whose size is an int64
	return err
}

// mapImage maps whole pages of an image, and says whether it could.
func (m *Memory) mapImage(addr uint64, img *Image, off, size uint64) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.backing != nil && !m.closed.Load() && m.backing.mapImage(m.find(addr, size), addr, img, off, size) == nil
}

// maxExtents bounds the pieces into which a guest can cut the images that were placed in its memory. Each costs the process a
// mapping, of which it has 65530 (vm.max_map_count).
const maxExtents = 256

// extents are spans of guest addresses, sorted and apart.
type extents []Span

// add puts in a span that overlaps none.
func (e *extents) add(s Span) {
	at, _ := slices.BinarySearchFunc(*e, s.Base, func(o Span, base uint64) int {
		if o.Base < base {
			return -1
		}
		return 1
	})
	*e = slices.Insert(*e, at, s)
}

// cut takes s out, for each piece of it that is there, where take agrees. A piece that would have to be split once there are
// maxExtents stays; it goes to keep, as does one that take refuses.
func (e *extents) cut(s Span, take func(Span) bool, keep func(Span)) {
	for i := 0; i < len(*e); i++ {
		o := (*e)[i]
		if !o.Overlaps(s) {
			continue
		}
		from, to := max(o.Base, s.Base), min(o.End(), s.End())
		piece := Span{Base: from, Size: to - from}
		left, right := Span{Base: o.Base, Size: from - o.Base}, Span{Base: to, Size: o.End() - to}
		splits := left.Size > 0 && right.Size > 0
		if splits && len(*e) >= maxExtents || !take(piece) {
			keep(piece)
			continue
		}
		var rest []Span
		for _, r := range []Span{left, right} {
			if r.Size > 0 {
				rest = append(rest, r)
			}
		}
		*e = slices.Replace(*e, i, i+1, rest...)
		i += len(rest) - 1
	}
}

// size is the sum, in bytes.
func (e extents) size() uint64 {
	var n uint64
	for _, s := range e {
		n += s.Size
	}
	return n
}
