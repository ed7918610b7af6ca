package nat

import (
	"errors"
	"io"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/waiter"

	"github.com/libcapsa/libcapsa/internal/net/policy"
	"github.com/libcapsa/libcapsa/internal/net/policy/sniff"
)

// flightTimeout is how long the guest has for the name it wants.
const flightTimeout = 3 * time.Second

// pump carries the bytes of one flow: straight from netstack's buffers into the
// socket, and from the socket into netstack's buffers. System calls are tried
// within the runtime's poller's callbacks, which keep the descriptor open and lose
// no wake-up; there they must not block.
type pump struct {
	f      *flow
	ep     tcpip.Endpoint
	host   syscall.RawConn
	wq     *waiter.Queue
	readyR chan struct{} // the endpoint has something to read
	readyW chan struct{} // or room
	entryR waiter.Entry
	entryW waiter.Entry
	held   []byte // the first flight, while it is held
}

func newPump(f *flow, ep tcpip.Endpoint, wq *waiter.Queue) *pump {
	p := &pump{f: f, ep: ep, wq: wq}
	p.host, _ = f.host.SyscallConn() // no error: it was just opened
	p.entryR, p.readyR = waiter.NewChannelEntry(waiter.ReadableEvents | waiter.EventHUp | waiter.EventErr)
	p.entryW, p.readyW = waiter.NewChannelEntry(waiter.WritableEvents | waiter.EventHUp | waiter.EventErr)
	wq.EventRegister(&p.entryR)
	wq.EventRegister(&p.entryW)
	return p
}

func (p *pump) close() {
	p.wq.EventUnregister(&p.entryR)
	p.wq.EventUnregister(&p.entryW)
}

// socketWriter writes what netstack reads out, as far as the socket has room.
type socketWriter struct {
	fd  int
	n   uint64
	err error
}

func (w *socketWriter) Write(b []byte) (int, error) {
	n := 0
	for n < len(b) {
		k, err := unix.SendmsgN(w.fd, b[n:], nil, nil, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			w.err = err
			break
		}
		n += k
	}
	w.n += uint64(n)
	if n < len(b) {
		return n, io.ErrShortWrite
	}
	return n, nil
}

// fromGuest carries the guest's direction to its end.
func (p *pump) fromGuest() {
	p.f.mu.Lock()
	want := p.f.verdict.WantName && p.f.asked.Said == policy.SaidUnknown
	p.f.mu.Unlock()
	if want && !p.firstFlight(false) {
		p.f.end(errDenied)
		return
	}
	if !p.release() {
		p.f.end(errReset)
		return
	}
	w := new(socketWriter)
	var stop tcpip.Error
	step := func(fd uintptr) bool {
		for {
			w.fd, w.n, w.err = int(fd), 0, nil
			_, stop = p.ep.Read(w, tcpip.ReadOptions{})
			p.f.fromGuest.Add(w.n)
			switch {
			case w.err == unix.EAGAIN:
				return false
			case w.err != nil || stop != nil:
				return true
			}
		}
	}
	for {
		if err := p.host.Write(step); err != nil {
			p.f.end(errReset)
			return
		}
		if w.err != nil {
			p.f.end(errReset)
			return
		}
		switch stop.(type) {
		case *tcpip.ErrWouldBlock:
			<-p.readyR
		case *tcpip.ErrClosedForReceive:
			p.closeWrite()
			return
		default:
			p.f.end(errReset)
			return
		}
	}
}

// closeWrite passes the guest's FIN on.
func (p *pump) closeWrite() {
	if p.f.ended() == nil {
		_ = p.f.host.CloseWrite()
	}
}

// socketReader is a tcpip.Payloader of exactly so many bytes as the socket has.
type socketReader struct {
	fd, left int
	err      error
}

// Len implements tcpip.Payloader.
func (r *socketReader) Len() int { return r.left }

// Read implements io.Reader. Netstack also reads nothing, to see whether that is the
// end; the socket would then say so.
func (r *socketReader) Read(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	for {
		n, _, err := unix.Recvfrom(r.fd, b, unix.MSG_DONTWAIT)
		if err == unix.EINTR {
			continue
		}
		if err != nil || n <= 0 {
			r.err = errors.Join(errReset, err)
			return 0, io.ErrUnexpectedEOF
		}
		r.left -= n
		return n, nil
	}
}

// fill asks how much the socket has. eof: nothing will come.
func (r *socketReader) fill() (eof, again bool) {
	n, err := unix.IoctlGetInt(r.fd, unix.TIOCINQ)
	if err == nil && n > 0 {
		r.left = n
		return false, false
	}
	var peek [1]byte
	for {
		n, _, err = unix.Recvfrom(r.fd, peek[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
		switch {
		case err == unix.EINTR:
			continue
		case err == unix.EAGAIN:
			return false, true
		case err != nil:
			r.err = err
			return false, false
		}
		r.left = n
		return n == 0, false
	}
}

// toGuest carries the other direction to its end.
func (p *pump) toGuest() {
	r := new(socketReader)
	var stop tcpip.Error
	var eof bool
	step := func(fd uintptr) bool {
		r.fd = int(fd)
		for {
			if r.left == 0 {
				var again bool
				if eof, again = r.fill(); again {
					return false
				}
				if eof || r.err != nil {
					return true
				}
			}
			var n int64
			n, stop = p.ep.Write(r, tcpip.WriteOptions{})
			p.f.toGuest.Add(uint64(n))
			if stop != nil {
				return true
			}
		}
	}
	for {
		err := p.host.Read(step)
		switch {
		case err != nil || r.err != nil:
			p.f.end(errReset)
			return
		case eof:
			p.f.ours.Store(true)
			p.ep.Shutdown(tcpip.ShutdownWrite)
			return
		}
		if _, ok := stop.(*tcpip.ErrWouldBlock); !ok {
			p.f.end(errReset)
			return
		}
		<-p.readyW
	}
}

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
