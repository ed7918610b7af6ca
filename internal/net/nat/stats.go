package nat

import (
	"sync/atomic"

	"github.com/libcapsa/libcapsa/internal/net/frame"
)

// FlowStats are the counts of one class of flows.
type FlowStats struct {
	Open      int    // now
	Opened    uint64 // since the beginning, as are those below
	Denied    uint64 // by the policy
	Failed    uint64 // their destination could not be reached
	Limited   uint64 // refused, or ended early, because there were too many
	FromGuest uint64 // bytes of payload
	ToGuest   uint64
}

// Stats are the counts of one machine's network.
type Stats struct {
	TCP, UDP, Ping, Inbound FlowStats // Inbound: TCP and UDP through forwarded ports

	FramesFromGuest, FramesToGuest uint64
	Malformed                      [frame.Reasons]uint64 // frames of the guest, by what is wrong
	Spoofed                        uint64                // from an address that is not the guest's
	Misdirected                    uint64                // to an address that nobody has here, or too long for the MTU
	BadChecksum                    uint64                // of UDP and ICMP; TCP's are netstack's
	Fragments                      uint64                // received
	FragmentsLost                  uint64                // dropped: overlapping, too many, too late
	NoPing                         uint64                // echo requests that the host lets us not send
	QueueFull                      uint64                // frames to the guest that were dropped because it did not take them
	EventsLost                     uint64
}

// flowCounts is FlowStats while it is counted.
type flowCounts struct {
	open                            atomic.Int64
	opened, denied, failed, limited atomic.Uint64
	fromGuest, toGuest              atomic.Uint64
}

func (c *flowCounts) snapshot() FlowStats {
	return FlowStats{
		Open: int(c.open.Load()), Opened: c.opened.Load(), Denied: c.denied.Load(), Failed: c.failed.Load(),
		Limited: c.limited.Load(), FromGuest: c.fromGuest.Load(), ToGuest: c.toGuest.Load(),
	}
}

// counts is Stats while it is counted.
type counts struct {
	tcp, udp, ping, inbound                     flowCounts
	fromGuest, toGuest                          atomic.Uint64
	malformed                                   [frame.Reasons]atomic.Uint64
	spoofed, misdirected, checksum              atomic.Uint64
	fragments, fragmentsLost, noPing, queueFull atomic.Uint64
}

// Stats returns the counts of this moment.
func (e *Engine) Stats() Stats {
	c := &e.counts
	s := Stats{
		TCP: c.tcp.snapshot(), UDP: c.udp.snapshot(), Ping: c.ping.snapshot(), Inbound: c.inbound.snapshot(),
		FramesFromGuest: c.fromGuest.Load(), FramesToGuest: c.toGuest.Load(),
		Spoofed: c.spoofed.Load(), Misdirected: c.misdirected.Load(), BadChecksum: c.checksum.Load(),
		Fragments: c.fragments.Load(), FragmentsLost: c.fragmentsLost.Load(), NoPing: c.noPing.Load(),
		QueueFull: c.queueFull.Load(), EventsLost: e.observer.lost.Load(),
	}
	for i := range s.Malformed {
		s.Malformed[i] = c.malformed[i].Load()
	}
	return s
}
