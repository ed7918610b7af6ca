package lan

import (
	"net/netip"
	"sync"
	"time"

	"github.com/libcapsa/libcapsa/internal/net/frame"
	"github.com/libcapsa/libcapsa/internal/net/policy"
)

// verdict is what becomes of a packet to another machine.
type verdict uint8

const (
	pass    verdict = iota
	denied          // by a policy
	refused         // by a policy that has its sender told
	stray           // of no flow, and none begins with it
	limited         // there are too many
)

const (
	// maxFlows is how many flows of one opener are tracked.
	maxFlows = 4096
	// maxParts is how many packets in fragments of one sender are under way.
	maxParts = 256
	// How long a flow lasts without a packet: an established TCP connection, one that
	// ends or begins, and others.
	idleTCP   = 2 * time.Hour
	idleShort = time.Minute
	idleOther = 3 * time.Minute
	// sweepEvery is how often a full table is searched for flows that are over.
	sweepEvery = time.Second
)

// flowKey is a flow as its opener sees it. ICMP has its identifier for a port.
type flowKey struct {
	src, dst netip.AddrPort
	proto    uint8
}

// flow is a flow between two machines.
type flow struct {
	opener, other *Port
	ask           policy.Flow // as the opener's policy sees it
	generations   [2]uint64   // of both policies, for which it is allowed
	used          time.Time
	answered      bool // the other has sent something
	ending        bool // TCP: an end or a reset was seen
}

func (f *flow) over(now time.Time) bool {
	idle := idleOther
	if f.ask.Protocol == policy.TCP {
		if idle = idleTCP; f.ending || !f.answered {
			idle = idleShort
		}
	}
	return now.Sub(f.used) > idle
}

// partKey is a packet in fragments.
type partKey struct {
	src, dst netip.Addr
	proto    uint8
	id       uint32
}

// part is one whose first fragment was let through.
type part struct {
	first int // bytes of the first fragment: what overlaps with it goes nowhere
	came  time.Time
}

// flows are the flows of a network.
type flows struct {
	now func() time.Time

	mu    sync.Mutex
	table map[flowKey]*flow          // guarded by mu
	count map[*Port]int              // of flows by opener; guarded by mu
	parts map[*Port]map[partKey]part // guarded by mu
	swept time.Time                  // guarded by mu
}

func (t *flows) init() {
	t.now = time.Now
	t.table, t.count, t.parts = map[flowKey]*flow{}, map[*Port]int{}, map[*Port]map[partKey]part{}
}

// forget drops the flows of a port.
func (t *flows) forget(p *Port) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for key, f := range t.table {
		if f.opener == p || f.other == p {
			t.drop(key, f)
		}
	}
	delete(t.count, p)
	delete(t.parts, p)
}

// drop takes a flow out. Preconditions: mu is held.
func (t *flows) drop(key flowKey, f *flow) {
	delete(t.table, key)
	t.count[f.opener]--
}

// judge decides about a packet of p to q, whose addresses are right.
func (t *flows) judge(p, q *Port, pk *frame.Packet) verdict {
	protocol, src, dst, open, ok := describe(pk)
	if !ok {
		if pk.Fragment && pk.FragOff > 0 {
			return t.later(p, pk)
		}
		if isError(pk) { // it quotes a flow, which its receiver looks for
			if p.group.Pass(1, uint64(pk.Size)) > 0 {
				return limited
			}
			return t.between(p, q)
		}
		return stray
	}
	key := flowKey{src, dst, pk.Proto}
	back := flowKey{dst, src, pk.Proto}
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.now()
	if f := t.table[key]; f != nil && f.opener == p && !f.over(now) {
		return t.packet(key, f, p, pk, now)
	}
	if f := t.table[back]; f != nil && f.opener == q && !f.over(now) {
		return t.packet(back, f, p, pk, now)
	}
	if !open {
		return stray
	}
	f := &flow{opener: p, other: q, ask: policy.Flow{Protocol: protocol, Src: src, Dst: dst, Now: now}}
	if old := t.table[key]; old != nil {
		t.drop(key, old)
	}
	if old := t.table[back]; old != nil {
		t.drop(back, old)
	}
	if v := f.allowed(); v != pass {
		return v
	}
	if t.count[p] >= maxFlows {
		if t.sweep(now); t.count[p] >= maxFlows {
			return limited
		}
	}
	t.table[key] = f
	t.count[p]++
	return t.packet(key, f, p, pk, now)
}

// packet is one of a flow. Preconditions: mu is held.
func (t *flows) packet(key flowKey, f *flow, from *Port, pk *frame.Packet, now time.Time) verdict {
	if f.generations != f.current() {
		if v := f.allowed(); v != pass {
			t.drop(key, f)
			return v
		}
	}
	f.used = now
	f.answered = f.answered || from == f.other
	if pk.Proto == frame.TCP && !pk.Fragment {
		f.ending = pk.Flags&(frame.FlagFIN|frame.FlagRST) != 0 || f.ending && pk.Flags&frame.FlagSYN == 0
	}
	if pk.Fragment {
		return t.begin(from, pk, now)
	}
	return pass
}

// current are the generations of both policies.
func (f *flow) current() [2]uint64 {
	return [2]uint64{f.opener.gateway.Generation(), f.other.gateway.Generation()}
}

// allowed asks both policies. Who refuses tells.
func (f *flow) allowed() verdict {
	f.generations = f.current()
	in := f.ask
	in.Direction = policy.Inbound
	d := f.opener.gateway.Judge(f.ask)
	if d == policy.Allow {
		d = f.other.gateway.Judge(in)
	}
	switch d {
	case policy.Allow:
		return pass
	case policy.Reject:
		return refused
	}
	return denied
}

// sweep drops flows that are over, unless it just did. Preconditions: mu is held.
func (t *flows) sweep(now time.Time) {
	if now.Sub(t.swept) < sweepEvery {
		return
	}
	t.swept = now
	for key, f := range t.table {
		if f.over(now) {
			t.drop(key, f)
		}
	}
}

// between says whether there is any flow of two machines: an error is about one.
func (t *flows) between(p, q *Port) verdict {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, f := range t.table {
		if f.opener == p && f.other == q || f.opener == q && f.other == p {
			return pass
		}
	}
	return stray
}

// begin notes the first fragment of a packet. Preconditions: mu is held.
func (t *flows) begin(p *Port, pk *frame.Packet, now time.Time) verdict {
	parts := t.parts[p]
	if parts == nil {
		parts = map[partKey]part{}
		t.parts[p] = parts
	}
	if len(parts) >= maxParts {
		for key, old := range parts {
			if now.Sub(old.came) > idleShort {
				delete(parts, key)
			}
		}
		if len(parts) >= maxParts {
			clear(parts) // of one who sends no second fragments
		}
	}
	parts[partKey{pk.Src, pk.Dst, pk.Proto, pk.FragID}] = part{pk.End - pk.L4, now}
	return pass
}

// later is a fragment that is not the first. It goes through if the first did.
func (t *flows) later(p *Port, pk *frame.Packet) verdict {
	t.mu.Lock()
	defer t.mu.Unlock()
	key := partKey{pk.Src, pk.Dst, pk.Proto, pk.FragID}
	first, known := t.parts[p][key]
	switch {
	case !known || pk.FragOff < first.first:
		return stray
	case !pk.More:
		delete(t.parts[p], key)
	}
	return pass
}

// describe finds out which flow a packet is of, and whether one may begin with it.
func describe(pk *frame.Packet) (protocol policy.Protocol, src, dst netip.AddrPort, open, ok bool) {
	sport, dport := pk.SrcPort, pk.DstPort
	if pk.Fragment {
		if pk.FragOff > 0 || pk.Proto != frame.UDP && pk.Proto != frame.TCP {
			return
		}
		if sport, dport, ok = firstPorts(pk); !ok {
			return
		}
	}
	switch pk.Proto {
	case frame.TCP:
		if pk.Fragment { // no stack makes that
			return "", src, dst, false, false
		}
		protocol, open = policy.TCP, pk.Flags&(frame.FlagSYN|frame.FlagACK|frame.FlagRST|frame.FlagFIN) == frame.FlagSYN
	case frame.UDP:
		protocol, open = policy.UDP, sport != 0 && dport != 0
	case frame.ICMPv4, frame.ICMPv6:
		request, reply := uint8(8), uint8(0)
		if pk.Proto == frame.ICMPv6 {
			request, reply = 128, 129
		}
		id := uint16(pk.Head[pk.L4+4])<<8 | uint16(pk.Head[pk.L4+5])
		switch pk.Type {
		case request: // the identifier is the opener's port
			sport, dport, open = id, 0, true
		case reply:
			sport, dport = 0, id
		default:
			return "", src, dst, false, false
		}
		protocol = policy.ICMP
	default:
		return "", src, dst, false, false
	}
	return protocol, netip.AddrPortFrom(pk.Src, sport), netip.AddrPortFrom(pk.Dst, dport), open, true
}

// isError: ICMP errors (RFC 792; RFC 4443 section 2.1).
func isError(pk *frame.Packet) bool {
	if pk.Fragment {
		return false
	}
	return pk.Proto == frame.ICMPv4 && (pk.Type == 3 || pk.Type == 11 || pk.Type == 12) ||
		pk.Proto == frame.ICMPv6 && pk.Type >= 1 && pk.Type <= 4
}
