package nat

import (
	"container/list"
	"encoding/binary"
	"net/netip"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/libcapsa/libcapsa/internal/net/frame"
	"github.com/libcapsa/libcapsa/internal/net/policy"
)

// session is one UDP or ping flow of the guest, with a connected socket: the kernel
// lets nobody else's datagrams in. Those of forwarded ports share the port's
// socket.
type session struct {
	e       *Engine
	key     sessionKey
	counts  *flowCounts
	asked   policy.Flow    // guarded by datagrams.mu
	verdict policy.Verdict // when it was opened
	sock    *socket
	mapped  *mapping // of UDP, outbound; guarded by datagrams.mu
	forward *Forward // nil: outbound
	client  netip.AddrPort

	place   *list.Element // guarded by datagrams.mu
	stamp   int64         // used when it was last moved; guarded by datagrams.mu
	used    atomic.Int64  // Unix time in nanoseconds of the last datagram
	replied atomic.Bool
	ended   atomic.Bool

	fromGuest, toGuest atomic.Uint64

	uso bool // the guest takes long UDP frames

	// Of the goroutine of Send.
	pieces  [][]byte // of one system call
	control []byte
	failed  error
	apart   bool // the kernel sends no runs on this way
	ttl     int  // of the socket; 0: the host's
	sending func(fd uintptr) bool
}

func (s *session) touch() { s.used.Store(time.Now().UnixNano()) }

func (s *session) timeout() time.Duration {
	switch {
	case s.key.proto != frame.UDP:
		return pingTimeout
	case !s.replied.Load():
		return unrepliedTimeout
	case s.key.remote.Port() == portDNS:
		return dnsTimeout
	}
	return repliedTimeout
}

// end closes the socket, at once, so that a flood of sessions does not pile up
// descriptors. That ends the goroutine, which is not waited for.
func (s *session) end() {
	if s.ended.Swap(true) {
		return
	}
	if s.sock != nil {
		_ = s.sock.file.Close()
	}
	if s.forward != nil {
		s.forward.forget(s)
	}
	up, down := s.fromGuest.Load(), s.toGuest.Load()
	s.counts.fromGuest.Add(up)
	s.counts.toGuest.Add(down)
	s.e.observer.say(Event{Kind: Closed, Flow: s.asked, Verdict: s.verdict, FromGuest: up, ToGuest: down})
}

// openSession decides about a new flow and opens its socket. It answers the guest
// if there will be none.
func (e *Engine) openSession(key sessionKey, q [8]byte, size int) *session {
	c, protocol := &e.counts.udp, policy.UDP
	if key.proto != frame.UDP {
		c, protocol = &e.counts.ping, policy.ICMP
	}
	s := &session{e: e, key: key, counts: c}
	s.asked = policy.Flow{Protocol: protocol, Src: key.guest, Dst: key.remote}
	s.verdict = e.cfg.Policy.Flow(s.asked)
	refuse := func(why unreachable) *session {
		e.unreachable(why, key.guest.Addr(), key.remote.Addr(), key.proto, q, size, 0)
		return nil
	}
	if s.verdict.Action != policy.Allow {
		e.denied(c, s.asked, s.verdict)
		if s.verdict.Action == policy.Reject {
			return refuse(prohibited)
		}
		return nil
	}
	s.asked.Names = s.verdict.Names
	if !e.admits() {
		c.limited.Add(1)
		return nil
	}
	dst := e.dialled(s.verdict.Dst)
	if key.proto == frame.UDP && dst == key.remote { // else two flows could have one destination
		s.mapped = e.datagrams.take(key.guest)
	}
	sock, err := dialSocket(key.proto, s.mapped, dst)
	if err != nil {
		e.datagrams.release(s)
		c.failed.Add(1)
		e.observer.say(Event{Kind: Failed, Flow: s.asked, Verdict: s.verdict, Err: err})
		if _, why, told := failure(err); told {
			return refuse(why)
		}
		return nil
	}
	s.sock = sock
	s.sending = s.trySend
	if s.uso = key.proto == frame.UDP && e.out.uso(key.guest.Addr().Is6()); s.uso {
		sock.coalesce()
	}
	if !e.datagrams.add(s) {
		e.datagrams.release(s)
		_ = sock.file.Close()
		return nil
	}
	if !e.start("nat datagrams", s.run) {
		e.datagrams.remove(s)
		return nil
	}
	c.opened.Add(1)
	e.observer.say(Event{Kind: Opened, Flow: s.asked, Verdict: s.verdict})
	if s.verdict.Generation != e.cfg.Policy.Generation() {
		e.datagrams.reevaluate()
	}
	return s
}

// send sends one datagram, whose bytes may lie in guest memory.
func (s *session) send(pieces [][]byte) {
	n := 0
	for _, b := range pieces {
		n += len(b)
	}
	s.touch()
	_ = s.sendOne(pieces, n, 0) // what the socket has no room for is lost
}

// maxFailures is how many errors in a row, without one that was queued or a
// datagram in between, end a session.
const maxFailures = 8

// run carries datagrams to the guest until the session ends.
func (s *session) run() {
	defer s.e.datagrams.remove(s)
	room := udpRoom
	if s.key.proto != frame.UDP {
		room = headroom
	}
	var in *incoming
	var failed error
	var queued []sentError
	step := func(fd uintptr) bool {
		in = incomings.Get().(*incoming)
		queued = nil
		failed = in.receive(int(fd), room)
		if failed == unix.EAGAIN {
			incomings.Put(in)
			return false
		}
		if failed != nil {
			queued = s.sock.errors(int(fd), failed)
		}
		return true
	}
	for failures := 0; failures < maxFailures; {
		if s.sock.raw.Read(step) != nil {
			return
		}
		if in.n > 0 {
			s.deliver(in)
		}
		incomings.Put(in)
		for _, q := range queued {
			s.lost(q)
		}
		if failures++; failed == nil || len(queued) > 0 {
			failures = 0
		}
	}
}

// farTTL is what programs do not choose that look for the hops on a way.
const farTTL = 33

// reach sets how far what is sent next goes: as far as the guest has said, less the
// hop that this is. Preconditions: nothing waits to be sent.
func (s *session) reach(ttl uint8) {
	want := 0
	if ttl < farTTL {
		want = int(ttl) - 1
	}
	if s.forward != nil || want == s.ttl {
		return
	}
	s.ttl = want
	_ = s.sock.raw.Control(func(fd uintptr) { setTTL(int(fd), s.sock.v6, want) })
}

// lost tells the guest of an error that came back.
func (s *session) lost(q sentError) {
	e, guest, remote := s.e, s.key.guest.Addr(), s.key.remote.Addr()
	from := e.gateway(guest)
	switch {
	case q.why == noPort:
		from = remote
	case q.hop.Is4() == guest.Is4() && q.hop.IsGlobalUnicast() && !q.hop.Is4In6() && !e.cfg.Guest4.Contains(q.hop) && !e.cfg.Prefix6.Contains(q.hop):
		from = q.hop
	}
	e.out.raw(e.build.icmpError(q.why, from, guest, remote, s.key.proto, s.quote(q.seq), 8, q.mtu)...)
}

// quote is the header of what the guest sent.
func (s *session) quote(seq [2]byte) (q [8]byte) {
	if s.key.proto == frame.UDP {
		binary.BigEndian.PutUint16(q[0:], s.key.guest.Port())
		binary.BigEndian.PutUint16(q[2:], s.key.remote.Port())
		binary.BigEndian.PutUint16(q[4:], 8)
		return q
	}
	q[0] = 8
	if s.key.proto == frame.ICMPv6 {
		q[0] = 128
	}
	binary.BigEndian.PutUint16(q[4:], s.key.guest.Port())
	copy(q[6:], seq[:])
	return q
}
