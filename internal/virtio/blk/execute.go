package blk

const (
	// maxPiece is how many bytes are read or written at once. A reset waits
	// for one piece, not for a request of 4 GiB.
	maxPiece = 16 << 20
	// maxErase is how many bytes are discarded or zeroed at once. It is a
	// multiple of every cluster size, and pieces end at multiples of it, so
	// that no cluster is cut in two.
	maxErase = 64 << 20
)

// execute serves a request that parse found nothing wrong with. It is called
// without a lock.
func (q *queue) execute(r *request) {
	if r.result != statusOK {
		return
	}
	switch r.kind {
	case typeIn, typeOut:
		q.transfer(r)
	case typeFlush:
		q.flush(r)
	case typeGetID:
		q.identify(r)
	case typeDiscard, typeWriteZeroes:
		q.erase(r)
	default:
		r.result = statusUnsupported
	}
}

// onDisk says whether a range, in sectors, is on the disk.
func (d *Device) onDisk(sector, count uint64) bool {
	capacity := d.disk.Size() / SectorSize
	return sector <= capacity && count <= capacity-sector
}

// transfer reads or writes.
func (q *queue) transfer(r *request) {
	d, write := q.dev, r.kind == typeOut
	if write && d.readOnly || r.size%SectorSize != 0 || !d.onDisk(r.sector, r.size/SectorSize) {
		r.result = statusIOErr
		return
	}
	if r.size > maxPiece {
		q.transferPieces(r, write)
	} else {
		q.move(r, r.data, r.sector*SectorSize, write)
	}
	if r.result != statusOK {
		return
	}
	if !write {
		r.written = uint32(r.size) // at most 2^32 - 2: the status has a byte of the chain's 2^32
		return
	}
	if !q.cached() {
		r.fail(d.disk.Flush())
	}
}

// move moves one piece.
func (q *queue) move(r *request, bufs [][]byte, off uint64, write bool) {
	if write {
		r.fail(q.dev.disk.WriteAt(bufs, off))
	} else {
		r.fail(q.dev.disk.ReadAt(bufs, off))
	}
}

// transferPieces moves a long request, and gives up when the queue stops: the
// request is discarded then.
func (q *queue) transferPieces(r *request, write bool) {
	var piece [][]byte
	rest, off := r.data, r.sector*SectorSize
	for left := r.size; left > 0 && r.result == statusOK; {
		if q.stopping() {
			r.result = statusIOErr
			return
		}
		n := min(left, maxPiece)
		piece = head(piece[:0], rest, int(n))
		q.move(r, piece, off, write)
		rest = skip(rest, int(n))
		off, left = off+n, left-n
	}
}

// fail notes what the host said. nil is no failure.
func (r *request) fail(err error) {
	if err != nil {
		r.result, r.err = statusIOErr, err
	}
}

// cached says whether a write may be acknowledged before it is durable (virtio
// 1.2 section 5.2.6.2): the driver chose so, or it knows how to flush.
func (q *queue) cached() bool {
	if q.features&FeatureConfigWCE != 0 {
		return q.dev.config.writeback.Load()
	}
	return q.features&FeatureFlush != 0
}

func (q *queue) flush(r *request) {
	if q.features&FeatureFlush == 0 {
		r.result = statusUnsupported
		return
	}
	r.fail(q.dev.disk.Flush())
}

// identify answers GET_ID: 20 bytes, padded with zeroes, and cut when there is
// less room.
func (q *queue) identify(r *request) {
	var id [idSize]byte
	copy(id[:], q.dev.serial)
	r.written = uint32(r.chain.CopyOut(id[:min(r.size, idSize)], 0))
}

// erase serves DISCARD and WRITE_ZEROES. All ranges are checked before the
// first is touched.
func (q *queue) erase(r *request) {
	feature, known := FeatureDiscard, uint32(0)
	if r.kind == typeWriteZeroes {
		feature, known = FeatureWriteZeroes, flagUnmap
	}
	if q.features&feature == 0 {
		r.result = statusUnsupported
		return
	}
	var space [maxSegments]segment
	segments, ok := r.segments(&space)
	if !ok {
		r.result = statusIOErr
		return
	}
	for _, s := range segments {
		if s.flags&^known != 0 { // virtio 1.2 section 5.2.6.2; unmap is not for DISCARD
			r.result = statusUnsupported
			return
		}
		if s.count > maxRange || !q.dev.onDisk(s.sector, s.count) {
			r.result = statusIOErr
			return
		}
	}
	for _, s := range segments {
		q.eraseRange(r, s)
	}
	if r.result == statusOK && !q.cached() {
		r.fail(q.dev.disk.Flush())
	}
}

// eraseRange works through one range unless the request has failed.
func (q *queue) eraseRange(r *request, s segment) {
	off, end := s.sector*SectorSize, (s.sector+s.count)*SectorSize
	for off < end && r.result == statusOK {
		if q.stopping() {
			r.result = statusIOErr
			return
		}
		n := min(end, off/maxErase*maxErase+maxErase) - off
		if r.kind == typeDiscard {
			r.fail(q.dev.disk.Discard(off, n))
		} else {
			r.fail(q.dev.disk.WriteZeroes(off, n, s.flags&flagUnmap != 0))
		}
		off += n
	}
}
