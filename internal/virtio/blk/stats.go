package blk

// Stats are the counters of one disk, kept over its resets.
type Stats struct {
	Requests     uint64 // chains served, of any kind and with any outcome
	Reads        uint64 // IN requests that succeeded, and so on
	Writes       uint64
	Flushes      uint64
	Discards     uint64
	WriteZeroes  uint64
	BytesRead    uint64 // from the disk
	BytesWritten uint64
	Errors       uint64 // requests that the host could not serve
	Refused      uint64 // requests that made no sense
	Stalls       uint64 // times the ring had to wait because all workers were busy
	Throttled    uint64 // requests that waited for the rate limit
}

func (s *Stats) add(o *Stats) {
	s.Requests += o.Requests
	s.Reads += o.Reads
	s.Writes += o.Writes
	s.Flushes += o.Flushes
	s.Discards += o.Discards
	s.WriteZeroes += o.WriteZeroes
	s.BytesRead += o.BytesRead
	s.BytesWritten += o.BytesWritten
	s.Errors += o.Errors
	s.Refused += o.Refused
	s.Stalls += o.Stalls
	s.Throttled += o.Throttled
}

// count adds a request that has been served.
func (s *Stats) count(r *request) {
	s.Requests++
	switch {
	case r.err != nil:
		s.Errors++
		return
	case r.result != statusOK:
		s.Refused++
		return
	}
	switch r.kind {
	case typeIn:
		s.Reads++
		s.BytesRead += r.size
	case typeOut:
		s.Writes++
		s.BytesWritten += r.size
	case typeFlush:
		s.Flushes++
	case typeDiscard:
		s.Discards++
	case typeWriteZeroes:
		s.WriteZeroes++
	}
}
