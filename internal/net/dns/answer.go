package dns

import (
	"encoding/binary"
	"net/netip"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/libcapsa/libcapsa/internal/net/policy"
)

// Extended errors (RFC 8914 section 5.2); 0 here: none, as "Other" is not used.
const (
	edeNone        = 0
	edeBlocked     = 15
	edeUnreachable = 22 // no name server could be reached

	optionEDE = 15
)

// answer is a message that many queries can be answered with. It does not change.
type answer struct {
	// message has the question in lower case, and neither ID nor EDNS.
	message []byte
	ttls    []uint16 // where TTLs are, in order
	answers int      // how many of them are in the answer section
	rcode   dnsmessage.RCode
	ede     uint16
	source  Source

	name    string // that was asked for, with a dot at the end
	addrs   []netip.Addr
	pinned  bool          // addrs are, and the TTLs of the answer section are all ttl
	ttl     time.Duration // the smallest, of what is there or not there
	born    time.Time
	verdict policy.Verdict
	dropped int // addresses that the policy took out
}

// fresh: it may be given to who asks now, under this generation of the policy.
func (a *answer) fresh(now time.Time, generation uint64) bool {
	return now.Before(a.born.Add(a.ttl)) && !now.Before(a.born) && a.verdict.Generation == generation
}

// size is about what it costs to keep.
func (a *answer) size() int {
	return 256 + len(a.message) + 2*len(a.ttls) + 24*len(a.addrs) + 2*len(a.name)
}

// reply makes the message for one query.
func (a *answer) reply(q *query, now time.Time) []byte {
	b := make([]byte, len(a.message), len(a.message)+maxOPT)
	copy(b, a.message)
	q.head(b)
	copy(b[headerSize:], q.name)
	age := max(now.Sub(a.born), 0)
	for i, at := range a.ttls {
		ttl := time.Duration(binary.BigEndian.Uint32(b[at:])) * time.Second
		if a.pinned && i < a.answers {
			ttl = policy.ClampTTL(a.ttl - age)
		} else {
			ttl = max(ttl-age, 0)
		}
		binary.BigEndian.PutUint32(b[at:], uint32((ttl+time.Second-1)/time.Second))
	}
	return q.finish(b, a.ede)
}

// head fills in what the header takes from the query.
func (q *query) head(b []byte) {
	flags := binary.BigEndian.Uint16(b[2:]) | q.flags&(bitRecursion|bitUnchecked)
	if q.flags&bitAuthentic == 0 && !q.dnssec {
		flags &^= bitAuthentic // RFC 6840 section 5.8
	}
	binary.BigEndian.PutUint16(b, q.id)
	binary.BigEndian.PutUint16(b[2:], flags)
}

// maxOPT is the most that finish appends: EDNS with an extended error.
const maxOPT = 11 + 6

// finish adds EDNS, and takes everything out but the question if the machine has no
// room for more.
func (q *query) finish(b []byte, ede uint16) []byte {
	end := len(b)
	b = q.appendOPT(b, ede)
	if len(b) <= q.limit {
		return b
	}
	end = min(end, headerSize+len(q.name)+4)
	flags := binary.BigEndian.Uint16(b[2:]) | bitTruncated
	binary.BigEndian.PutUint16(b[2:], flags)
	clear(b[6:headerSize])
	return q.appendOPT(b[:end], ede)
}

// appendOPT adds the record of EDNS to a message without additional records, for
// machines that use it.
func (q *query) appendOPT(b []byte, ede uint16) []byte {
	if !q.edns {
		return b
	}
	binary.BigEndian.PutUint16(b[10:], 1)
	b = append(b, 0, 0, byte(dnsmessage.TypeOPT), ednsSize>>8, ednsSize&0xff)
	flags := byte(0)
	if q.dnssec {
		flags = 0x80
	}
	b = append(b, 0, 0, flags, 0) // extended code, version, flags
	if ede == edeNone {
		return append(b, 0, 0)
	}
	return append(b, 0, 6, 0, optionEDE, 0, 2, byte(ede>>8), byte(ede))
}

// fail is an answer without records.
func (q *query) fail(rcode dnsmessage.RCode, ede uint16) []byte {
	b := make([]byte, headerSize, headerSize+len(q.name)+4+maxOPT)
	binary.BigEndian.PutUint16(b[2:], bitResponse|q.flags&maskOpCode|uint16(rcode&maskRCode)|1<<7)
	q.head(b)
	if q.question {
		binary.BigEndian.PutUint16(b[4:], 1)
		b = append(b, q.name...)
		b = binary.BigEndian.AppendUint16(b, uint16(q.kind))
		b = binary.BigEndian.AppendUint16(b, uint16(q.class))
	}
	end := len(b)
	b = q.finish(b, ede)
	if q.edns && rcode > maskRCode {
		b[end+5] = byte(rcode >> 4)
	}
	return b
}
