//go:build linux

package fuse

import (
	"math"

	"golang.org/x/sys/unix"
)

// maxRangesPerOwner bounds the record below.
const maxRangesPerOwner = 1024

// lockRange is one lock: the bytes from start to end, both included.
type lockRange struct {
	start, end int64
	typ        int16 // F_RDLCK or F_WRLCK; F_UNLCK takes away
}

// ranges are the locks of one owner, in order, not overlapping. They are kept
// to give back what was there when a wait is given up and yet granted later.
type ranges []lockRange

func rangeOf(lk *unix.Flock_t) lockRange {
	r := lockRange{start: lk.Start, end: math.MaxInt64, typ: lk.Type}
	if lk.Len > 0 {
		r.end = lk.Start + lk.Len - 1
	}
	return r
}

func (r lockRange) flock(typ int16) unix.Flock_t {
	lk := unix.Flock_t{Type: typ, Whence: unix.SEEK_SET, Start: r.start}
	if r.end < math.MaxInt64 {
		lk.Len = r.end - r.start + 1
	}
	return lk
}

// set puts a lock over what was there, in a new list.
func (rs ranges) set(n lockRange) ranges {
	out := make(ranges, 0, len(rs)+2)
	placed := n.typ == unix.F_UNLCK
	for _, r := range rs {
		if r.start < n.start {
			out = append(out, lockRange{r.start, min(r.end, n.start-1), r.typ})
		}
		if !placed && r.end > n.end {
			out = append(out, n)
			placed = true
		}
		if r.end > n.end {
			out = append(out, lockRange{max(r.start, n.end+1), r.end, r.typ})
		}
	}
	if !placed {
		out = append(out, n)
	}
	return out.joined()
}

// joined makes one of neighbours of the same type.
func (rs ranges) joined() ranges {
	out := rs[:0]
	for _, r := range rs {
		if k := len(out) - 1; k >= 0 && out[k].typ == r.typ && out[k].end+1 == r.start {
			out[k].end = r.end
			continue
		}
		out = append(out, r)
	}
	return out
}

// restore undoes a lock that was granted after its wait had been given up: the
// bytes go back to what the record says. Nothing of that can fail for want of
// a lock, since it only weakens what is held.
func (o *lockOwner) restore(lk *unix.Flock_t) {
	o.mu.Lock()
	defer o.mu.Unlock()
	area := rangeOf(lk)
	at := area.start
	put := func(r lockRange, typ int16) {
		if r.start <= r.end {
			f := r.flock(typ)
			_ = fcntlLock(o.file.fd, unix.F_OFD_SETLK, &f)
		}
	}
	for _, r := range o.ranges {
		if r.end < area.start || r.start > area.end {
			continue
		}
		put(lockRange{start: at, end: max(r.start, area.start) - 1}, unix.F_UNLCK)
		put(lockRange{start: max(r.start, area.start), end: min(r.end, area.end)}, r.typ)
		if at = r.end; at == math.MaxInt64 {
			return
		}
		at++
	}
	put(lockRange{start: at, end: area.end}, unix.F_UNLCK)
}
