package gateway

import (
	"fmt"
	"sync"
	"time"

	"github.com/libcapsa/libcapsa/internal/net/dns"
	"github.com/libcapsa/libcapsa/internal/net/nat"
	"github.com/libcapsa/libcapsa/internal/net/policy"
	"github.com/libcapsa/libcapsa/internal/vm"
)

// limiter lets so many events through in each second, so that a guest that is
// refused a thousand times does not push other events out of the queue.
type limiter struct {
	mu     sync.Mutex
	second int64  // guarded by mu
	passed int    // in that second; guarded by mu
	missed uint64 // since the last that passed; guarded by mu
}

// maxDenied is how many refusals are told in a second. Ours.
const maxDenied = 10

// pass also returns how many were held back before this one.
func (l *limiter) pass(now time.Time) (missed uint64, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s := now.Unix(); s != l.second {
		l.second, l.passed = s, 0
	}
	if l.passed >= maxDenied {
		l.missed++
		return 0, false
	}
	l.passed++
	missed, l.missed = l.missed, 0
	return missed, true
}

// deny tells of a refusal.
func (g *Gateway) deny(format string, a ...any) {
	if g.event == nil {
		return
	}
	missed, ok := g.denied.pass(time.Now())
	if !ok {
		return
	}
	text := fmt.Sprintf(format, a...)
	if missed > 0 {
		text += fmt.Sprintf(" (and %d refusals before it)", missed)
	}
	g.event(vm.Event{Type: vm.EventPolicyDeny, Component: component, Message: text})
}

// observe is told of flows by package nat.
func (g *Gateway) observe(ev nat.Event) {
	if ev.Kind != nat.Denied {
		return
	}
	name := ""
	if ev.Flow.Name != "" {
		name = fmt.Sprintf(" (%q)", ev.Flow.Name)
	}
	g.deny("%s from %v to %v%s: %v", ev.Flow.Protocol, ev.Flow.Src, ev.Flow.Dst, name, ev.Verdict)
}

// resolved is told of queries by package dns.
func (g *Gateway) resolved(ev dns.Event) {
	if ev.Source == dns.Nowhere && ev.Name != "" && ev.Verdict.Action != policy.Allow {
		g.deny("dns query for %q: %v", ev.Name, ev.Verdict)
	}
}

// bound tells of a port.
func (g *Gateway) bound(f vm.Forward) {
	if g.event == nil {
		return
	}
	where := f.Path
	if where == "" {
		where = f.Host.String()
	}
	g.event(vm.Event{
		Type: vm.EventPortBound, Component: component, Forward: &f,
		Message: fmt.Sprintf("%s %s leads to port %d", f.Protocol, where, f.Guest),
	})
}
