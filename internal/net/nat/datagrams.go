package nat

import (
	"container/list"
	"net/netip"
	"sync"
	"time"

	"github.com/libcapsa/libcapsa/internal/net/frame"
	"github.com/libcapsa/libcapsa/internal/net/policy"
	"github.com/libcapsa/libcapsa/internal/safe"
)

// How long a session lives after its last datagram (RFC 4787 section 4.3 asks for
// two minutes at least, DNS over UDP is over with its answer).
const (
	unrepliedTimeout = 30 * time.Second
	repliedTimeout   = 3 * time.Minute
	dnsTimeout       = 10 * time.Second
	pingTimeout      = time.Minute
)

// sweepInterval is how often sessions are looked at, while there are any.
const sweepInterval = 10 * time.Second

// sessionKey is how the guest sees a session. Of pings, guest's port is the
// identifier and remote's is 0.
type sessionKey struct {
	proto         uint8
	guest, remote netip.AddrPort
}

// datagrams holds the UDP and ping sessions. One timer runs while there are any.
type datagrams struct {
	e        *Engine
	pingable func() bool

	mu       sync.Mutex
	closed   bool
	sessions map[sessionKey]*session
	recent   list.List // of *session, the longest unused last; approximately, see evict
	pings    list.List // as recent, of pings
	timer    *time.Timer
	nextPort uint16
	mappings mappings
}

func (d *datagrams) init(e *Engine) {
	d.e = e
	d.sessions, d.mappings = map[sessionKey]*session{}, mappings{}
	d.pingable = sync.OnceValue(canPing)
}

// find returns the session of a datagram of the guest.
func (d *datagrams) find(key sessionKey) *session {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.sessions[key]
}

// take counts a flow of one of the guest's ports. The mapping's own port belongs to
// the goroutine of Send.
func (d *datagrams) take(guest netip.AddrPort) *mapping {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.mappings.take(guest)
}

// release ends that.
func (d *datagrams) release(s *session) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.unmap(s)
}

// unmap is release with d.mu held.
func (d *datagrams) unmap(s *session) {
	if s.mapped != nil {
		d.mappings.release(s.mapped)
		s.mapped = nil
	}
}

// listOf is the list that a session is in. Preconditions: d.mu is held.
func (d *datagrams) listOf(key sessionKey) (l *list.List, most int) {
	if key.proto == frame.UDP {
		return &d.recent, d.e.cfg.Limits.Datagrams
	}
	return &d.pings, d.e.cfg.Limits.Pings
}

// add puts a session into the table, in place of an old one if there are too many.
// It is false if the engine is closed, or the key taken.
func (d *datagrams) add(s *session) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed || d.sessions[s.key] != nil {
		return false
	}
	l, most := d.listOf(s.key)
	for l.Len() >= most {
		d.evict(l)
	}
	s.touch()
	s.stamp = s.used.Load()
	s.place = l.PushFront(s)
	d.sessions[s.key] = s
	s.counts.open.Add(1)
	if d.timer == nil {
		d.timer = time.AfterFunc(sweepInterval, d.sweep)
	}
	return true
}

// maxSecondChances is how many sessions evict looks at.
const maxSecondChances = 8

// evict ends a session for another one: among the oldest the first that has had no
// reply, else the one that was unused longest. Sessions move in their list only
// here, so that datagrams cost no lock: one that was used since goes to the front.
func (d *datagrams) evict(l *list.List) {
	var victim *session
	at := l.Back()
	for range min(maxSecondChances, l.Len()) {
		s := at.Value.(*session)
		at = at.Prev()
		if !s.replied.Load() {
			victim = s
			break
		}
		if used := s.used.Load(); used != s.stamp {
			s.stamp = used
			l.MoveToFront(s.place)
		} else if victim == nil {
			victim = s
		}
	}
	if victim == nil {
		victim = l.Back().Value.(*session)
	}
	victim.counts.limited.Add(1)
	d.drop(victim)
}

// drop takes a session out and ends it. Preconditions: d.mu is held.
func (d *datagrams) drop(s *session) {
	if d.sessions[s.key] != s {
		return
	}
	delete(d.sessions, s.key)
	l, _ := d.listOf(s.key)
	l.Remove(s.place)
	s.counts.open.Add(-1)
	s.end()
	d.unmap(s)
}

// remove is drop, from outside.
func (d *datagrams) remove(s *session) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.drop(s)
}

// sweep ends sessions whose time is over, and comes back while there are others.
func (d *datagrams) sweep() {
	_ = safe.Run("nat sessions", func() {
		now := time.Now().UnixNano()
		d.mu.Lock()
		defer d.mu.Unlock()
		for _, s := range d.sessions {
			if now-s.used.Load() > int64(s.timeout()) {
				d.drop(s)
			}
		}
		switch {
		case d.closed || len(d.sessions) == 0:
			d.timer = nil
		default:
			d.timer.Reset(sweepInterval)
		}
	})
}

// dropIf ends sessions.
func (d *datagrams) dropIf(which func(s *session) bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, s := range d.sessions {
		if which(s) {
			d.drop(s)
		}
	}
	if len(d.sessions) == 0 && d.timer != nil && d.timer.Stop() {
		d.timer = nil
	}
}

func (d *datagrams) endAll() { d.dropIf(func(*session) bool { return true }) }

func (d *datagrams) close() {
	d.mu.Lock()
	d.closed = true
	d.mu.Unlock()
	d.endAll()
}

// reevaluate ends sessions that the policy does not allow any more.
func (d *datagrams) reevaluate() {
	d.dropIf(func(s *session) bool {
		now := d.e.cfg.Policy.Flow(s.asked)
		if now.Action == policy.Allow {
			s.asked.Names = now.Names
			return false
		}
		d.e.denied(s.counts, s.asked, now)
		return true
	})
}
