package virtq

// NeedsInterrupt decides, after one or more calls of Push or PushAll, whether the driver wants to be told (2.7.7). It counts the pushes since
// it was last asked; without any it is false.
//
// A used_event that makes no sense costs the guest a missing or a spurious interrupt, nobody else anything.
func (q *Queue) NeedsInterrupt() bool {
	pushed := q.unsent
	q.unsent = 0
	if pushed == 0 {
		return false
	}
	// The store of the used index in publish is a full barrier: the driver either sees that index before it decides that it has
	// nothing to do, or we see here that it has asked.
	if !q.cfg.EventIdx {
		return q.rings.availFlags()&availNoInterrupt == 0
	}
	// 2.7.7.2: interrupt when the used index moved past used_event. Indices wrap at 2^16; after as many pushes it has passed it.
	behind := q.used - q.rings.loadUsedEvent() - 1
	return uint32(behind) < pushed
}

// EnableKick asks the driver to kick for the next chain it makes available, and tells whether something is there already: then
// Pop again instead of waiting, as a kick may not come for it. On a queue that has stopped it is false.
func (q *Queue) EnableKick() bool {
	if q.fault != nil {
		return false
	}
	if q.cfg.EventIdx {
		q.rings.storeAvailEvent(q.next) // 2.7.10: kick when the available index moves past this
	} else if q.flags&usedNoNotify != 0 {
		q.flags &^= usedNoNotify
		q.rings.publishUsed(q.flags, q.used)
	}
	// Either store is a full barrier: the driver sees the request, or we see its index. Where no store was needed the
	// request has been in place since before the last look.
	return q.rings.availIndex() != q.next
}

// DisableKick tells the driver that kicks are not needed for now: the device looks by itself. It is only advice, and a
// driver may kick on. With EVENT_IDX nothing is written: avail_event stays behind, and the flag must be 0 (2.7.10).
func (q *Queue) DisableKick() {
	if q.fault != nil || q.cfg.EventIdx || q.flags&usedNoNotify != 0 {
		return
	}
	q.flags |= usedNoNotify
	q.rings.publishUsed(q.flags, q.used)
}
