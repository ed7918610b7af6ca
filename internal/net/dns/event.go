package dns

import (
	"sync/atomic"
	"time"

	"github.com/libcapsa/libcapsa/internal/net/policy"
)

// Source is where an answer comes from.
type Source uint8

// The sources.
const (
	Nowhere  Source = iota // it was refused, malformed, or nobody answered
	Static                 // names of the configuration
	Cache                  // what a name server said before
	Upstream               // a name server
)

// Event is one query and what became of it.
type Event struct {
	Name      string // in lower case, without a dot at the end; empty: it was malformed
	Type      uint16 // of the records asked for
	Transport Transport
	// Verdict is the policy's: about the query, or about what it led to if that was
	// refused.
	Verdict policy.Verdict
	Source  Source
	RCode   uint16 // of the answer (RFC 1035 section 4.1.1)
	Dropped int    // addresses that the policy took out
	Latency time.Duration
}

// Stats counts since the proxy was made.
type Stats struct {
	Queries    uint64
	Malformed  uint64 // answered with an error, or not queries at all
	Refused    uint64 // by the policy
	Rebound    uint64 // addresses that were taken out of answers
	Static     uint64 // answered from the configuration
	Hits       uint64 // answered from the cache
	Negative   uint64 // of these, that there is no such thing
	Joined     uint64 // queries that waited for another's answer
	Overloaded uint64 // failed since too many were under way
	Failed     uint64 // no name server gave an answer

	Sent       uint64 // queries to name servers
	OverTCP    uint64 // of these
	Timeouts   uint64 // of name servers
	Unusable   uint64 // errors of name servers, and answers that make no sense
	Mismatched uint64 // messages that were no answer to what was asked
}

type counters struct {
	queries, malformed, refused, rebound, static, hits, negative, joined, overloaded, failed,
	sent, overTCP, timeouts, unusable, mismatched atomic.Uint64
}

// Stats is a copy of the counters.
func (p *Proxy) Stats() Stats {
	s := &p.stats
	return Stats{
		Queries: s.queries.Load(), Malformed: s.malformed.Load(), Refused: s.refused.Load(), Rebound: s.rebound.Load(),
		Static: s.static.Load(), Hits: s.hits.Load(), Negative: s.negative.Load(), Joined: s.joined.Load(),
		Overloaded: s.overloaded.Load(), Failed: s.failed.Load(), Sent: s.sent.Load(), OverTCP: s.overTCP.Load(),
		Timeouts: s.timeouts.Load(), Unusable: s.unusable.Load(), Mismatched: s.mismatched.Load(),
	}
}
