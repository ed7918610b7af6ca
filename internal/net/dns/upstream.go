package dns

import (
	"context"
	"errors"
	"io"
	"net/netip"
	"slices"
	"sync"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// timing is how long name servers have, ours. A machine's resolver asks again after
// five seconds by default (resolv.conf(5)), and then joins the flight.
type timing struct {
	first, second time.Duration // over UDP, in the first round and in the second
	least         time.Duration // in the first round, for a server that answers fast
	tcp           time.Duration
	total         time.Duration // after it no server is asked any more
	ill           time.Duration // how long a server comes last that did not answer; then twice that
	longest       time.Duration
}

var standard = timing{
	first: 1500 * time.Millisecond, second: 3 * time.Second, least: 400 * time.Millisecond,
	tcp: 3 * time.Second, total: 9 * time.Second, ill: 30 * time.Second, longest: 10 * time.Minute,
}

// maxSilence is how often in a row a server that has answered before may not answer,
// until it comes last: single names may be slow.
const maxSilence = 3

// upstream asks name servers.
type upstream struct {
	config *Config
	stats  *counters
	timing timing
	file   resolvConf

	mu     sync.Mutex
	health map[netip.AddrPort]*health // of the servers in use; guarded by mu
	open   map[io.Closer]struct{}     // sockets; guarded by mu
	closed bool                       // guarded by mu
}

// health is what is known about a server.
type health struct {
	rtt   time.Duration // smoothed; 0: it has never answered
	fails int           // in a row
	until time.Time     // it comes last until then
}

// Failures of one server.
var (
	errNobody  = errors.New("no name server answered")
	errTimeout = errors.New("a name server did not answer in time")
	errServer  = errors.New("a name server reported an error")
)

func newUpstream(config *Config, stats *counters) *upstream {
	return &upstream{
		config: config, stats: stats, timing: standard, file: resolvConf{path: config.ResolvConf},
		health: map[netip.AddrPort]*health{}, open: map[io.Closer]struct{}{},
	}
}

// close ends every query: their sockets are closed.
func (u *upstream) close() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.closed = true
	for c := range u.open {
		c.Close() // who waits for it says why
	}
}

// track notes a socket that close ends. It is false, and the socket closed, after
// close.
func (u *upstream) track(c io.Closer) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.closed {
		c.Close()
		return false
	}
	u.open[c] = struct{}{}
	return true
}

func (u *upstream) untrack(c io.Closer) {
	u.mu.Lock()
	delete(u.open, c)
	u.mu.Unlock()
	c.Close()
}

// exchange asks one server after the other until accept takes an answer. Those that
// were only slow are asked once more; those that cannot be reached, or say no, are
// not, so that it is over at once if nobody can be reached.
func (u *upstream) exchange(ctx context.Context, q *question, accept func([]byte) error) error {
	servers := u.servers()
	end := time.Now().Add(u.timing.total)
	for round := range 2 {
		var slow []netip.AddrPort
		for _, s := range servers {
			left := time.Until(end)
			if ctx.Err() != nil || left <= 0 {
				return errNobody
			}
			switch err := u.try(ctx, s, q, min(u.patience(s, round, len(servers)), left), accept); {
			case err == nil:
				return nil
			case errors.Is(err, errTimeout):
				slow = append(slow, s)
				u.silent(s)
			default:
				u.stats.unusable.Add(1)
			}
		}
		if servers = slow; len(servers) == 0 {
			break
		}
	}
	return errNobody
}

// try asks one server: over UDP, over TCP where that is not enough, and without EDNS
// if that is what it complains about (RFC 6891 section 7).
func (u *upstream) try(ctx context.Context, s netip.AddrPort, q *question, patience time.Duration, accept func([]byte) error) error {
	for _, edns := range []bool{true, false} {
		out := newOutgoing(q, edns)
		begin := time.Now()
		message, err := u.overUDP(ctx, s, &out, patience)
		if errors.Is(err, errTCP) {
			u.stats.overTCP.Add(1)
			message, err = u.overTCP(ctx, s, &out)
		} else if err == nil {
			u.answered(s, time.Since(begin))
		}
		if err != nil {
			return err
		}
		switch dnsmessage.RCode(message[3] & maskRCode) {
		case dnsmessage.RCodeSuccess, dnsmessage.RCodeNameError:
			return accept(message)
		case dnsmessage.RCodeFormatError, dnsmessage.RCodeNotImplemented:
		default:
			return errServer
		}
	}
	return errServer
}

// servers are those to ask, in order: as configured, but those that are ill last.
// What is known about servers that are not in use any more is forgotten.
func (u *upstream) servers() []netip.AddrPort {
	list := u.config.Servers
	if len(list) == 0 {
		list = u.file.nameservers()
	}
	list = slices.Clone(list)
	now := u.config.Now()
	u.mu.Lock()
	defer u.mu.Unlock()
	for s := range u.health {
		if !slices.Contains(list, s) {
			delete(u.health, s)
		}
	}
	ill := func(s netip.AddrPort) time.Time {
		if h := u.health[s]; h != nil && h.until.After(now) {
			return h.until
		}
		return time.Time{}
	}
	slices.SortStableFunc(list, func(a, b netip.AddrPort) int {
		return ill(a).Compare(ill(b))
	})
	return list
}

// patience is how long a server has. One that answers fast has less, if there is
// another to ask instead.
func (u *upstream) patience(s netip.AddrPort, round, servers int) time.Duration {
	if round > 0 {
		return u.timing.second
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if h := u.health[s]; h != nil && h.rtt > 0 && servers > 1 {
		return min(max(8*h.rtt, u.timing.least), u.timing.first)
	}
	return u.timing.first
}

// answered notes a server's answer. The average is that of RFC 6298.
func (u *upstream) answered(s netip.AddrPort, took time.Duration) {
	u.mu.Lock()
	defer u.mu.Unlock()
	h := u.known(s)
	if h.rtt == 0 {
		h.rtt = max(took, 1)
	}
	h.rtt += (took - h.rtt) / 8
	h.fails, h.until = 0, time.Time{}
}

// silent notes that a server did not answer in time.
func (u *upstream) silent(s netip.AddrPort) {
	u.stats.timeouts.Add(1)
	now := u.config.Now()
	u.mu.Lock()
	defer u.mu.Unlock()
	h := u.known(s)
	h.fails++
	over := h.fails
	if h.rtt > 0 {
		over -= maxSilence - 1
	}
	if over > 0 {
		h.until = now.Add(min(u.timing.ill<<min(over-1, 10), u.timing.longest))
	}
}

// known. Preconditions: mu is held.
func (u *upstream) known(s netip.AddrPort) *health {
	h := u.health[s]
	if h == nil {
		h = &health{}
		u.health[s] = h
	}
	return h
}
