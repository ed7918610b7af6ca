package nat

import (
	"io"
	"time"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/tcpip"

	"github.com/libcapsa/libcapsa/internal/net/policy"
	"github.com/libcapsa/libcapsa/internal/net/policy/sniff"
)

// flightTimeout is how long the guest has for the name it wants.
const flightTimeout = 3 * time.Second

// flight collects the guest's first bytes.
type flight struct{ b []byte }

func (w *flight) Write(b []byte) (int, error) {
	n := min(len(b), sniff.MaxFlight-len(w.b))
	w.b = append(w.b, b[:n]...)
	if n < len(b) {
		return n, io.ErrShortWrite
	}
	return n, nil
}

// firstFlight holds the guest's first bytes until it is clear what name it says, and
// whether that is allowed. at once: the time runs from now on, not from the first
// byte.
func (p *pump) firstFlight(atOnce bool) bool {
	w := new(flight)
	var timer *time.Timer
	var expired <-chan time.Time
	defer func() {
		if timer != nil {
			timer.Stop()
		}
	}()
	for {
		if timer == nil && (atOnce || len(w.b) > 0) {
			timer = time.NewTimer(flightTimeout)
			expired = timer.C
		}
		_, stop := p.ep.Read(w, tcpip.ReadOptions{})
		res := sniff.Sniff(w.b)
		if res.Status != sniff.NeedMore && len(w.b) > 0 || len(w.b) >= sniff.MaxFlight {
			return p.decide(w.b, res, !atOnce)
		}
		switch stop.(type) {
		case nil:
			continue
		case *tcpip.ErrWouldBlock:
		case *tcpip.ErrClosedForReceive:
			return p.decide(w.b, res, !atOnce)
		default:
			return false
		}
		select {
		case <-p.readyR:
		case <-p.f.ctx.Done():
			return false
		case <-expired:
			return p.decide(w.b, res, !atOnce)
		}
	}
}

// decide asks the policy about what the guest said. wanted: only a name changes
// anything.
func (p *pump) decide(first []byte, res sniff.Result, wanted bool) bool {
	f := p.f
	p.held = first
	f.mu.Lock()
	defer f.mu.Unlock()
	f.past = true
	switch {
	case res.Status == sniff.Named:
		f.asked.Said, f.asked.Name = policy.SaidName, res.Name
	case res.Status == sniff.Unnamed, len(first) == 0:
		f.asked.Said = policy.SaidNone
		if wanted {
			return true
		}
	default: // broken, or cut off
		f.verdict.Action, f.verdict.Rule = policy.Reject, policy.RuleInvalid
		f.e.denied(f.counts, f.asked, f.verdict)
		return false
	}
	f.verdict = f.e.cfg.Policy.Flow(f.asked)
	if f.verdict.Action != policy.Allow {
		f.e.denied(f.counts, f.asked, f.verdict)
		return false
	}
	f.asked.Names = f.verdict.Names
	return true
}

// release writes what was held.
func (p *pump) release() bool {
	if len(p.held) == 0 {
		return true
	}
	w := new(socketWriter)
	err := p.host.Write(func(fd uintptr) bool {
		w.fd, w.n, w.err = int(fd), 0, nil
		n, _ := w.Write(p.held)
		p.held = p.held[n:]
		p.f.fromGuest.Add(uint64(n))
		return w.err != unix.EAGAIN
	})
	p.held = nil
	return err == nil && w.err == nil
}
