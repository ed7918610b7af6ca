package virtq

// walk follows the chain that starts at c.Head and fills c. It takes at most Size steps in the queue's own table, and then at
// most as many in one indirect table as that has entries, bounded by Size or 1024.
func (q *Queue) walk(c *Chain) *Fault {
	t := table{entries: uint32(q.cfg.Size), words: q.rings.desc}
	limit := t.entries
	i, inside := c.Head, false
	for n := uint32(0); ; n++ {
		if n == limit {
			return c.refuse(FaultChainLength, uint64(n))
		}
		d := t.load(i)
		if d.flags&descIndirect != 0 {
			if inside {
				return c.refuse(FaultIndirectNested, uint64(i))
			}
			if f := q.enter(&t, c, d); f != nil {
				return f
			}
			limit = min(t.entries, max(uint32(q.cfg.Size), minChainBound))
			i, inside = 0, true
			n = ^uint32(0) // the loop's increment starts the count anew
			continue
		}
		if f := q.add(c, d); f != nil {
			return f
		}
		if d.flags&descNext == 0 {
			return nil
		}
		if uint32(d.next) >= t.entries {
			return c.refuse(FaultNextIndex, uint64(d.next))
		}
		i = d.next
	}
}

// enter checks a descriptor that refers to an indirect table and goes there. Its WRITE flag is ignored (2.7.5.3.2).
func (q *Queue) enter(t *table, c *Chain, d descriptor) *Fault {
	switch {
	case !q.cfg.Indirect:
		return c.refuse(FaultIndirectFeature, uint64(d.flags))
	case d.flags&descNext != 0:
		return c.refuse(FaultIndirectNext, uint64(d.flags))
	case d.len == 0 || d.len%descSize != 0 || d.len/descSize > maxIndirectTable:
		return c.refuse(FaultIndirectLength, uint64(d.len))
	}
	*t = table{entries: d.len / descSize}
	var err error
	if d.addr%8 == 0 {
		t.words, err = q.mem.Words(d.addr, uint64(d.len))
	} else {
		t.raw, err = q.mem.Slice(d.addr, uint64(d.len))
	}
	if err != nil {
		f := c.refuse(FaultIndirectRange, d.addr)
		f.Err = err
		return f
	}
	return nil
}

// add appends one buffer to the chain. An empty one is allowed, has no address worth checking, and adds nothing.
func (q *Queue) add(c *Chain, d descriptor) *Fault {
	write := d.flags&descWrite != 0
	if c.writable && !write {
		return c.refuse(FaultBufferOrder, d.addr)
	}
	c.writable = write
	if d.len == 0 {
		return nil
	}
	size := uint64(d.len)
	if c.readLen+c.writeLen+size > q.maxBytes {
		return c.refuse(FaultTotalLength, c.readLen+c.writeLen+size)
	}
	b, err := q.mem.Slice(d.addr, size)
	if err != nil {
		f := c.refuse(FaultBufferRange, d.addr)
		f.Err = err
		return f
	}
	if write {
		c.Write = append(c.Write, b)
		c.writeLen += size
	} else {
		c.Read = append(c.Read, b)
		c.readLen += size
	}
	return nil
}
