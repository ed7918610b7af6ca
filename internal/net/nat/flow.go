package nat

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/waiter"

	"github.com/libcapsa/libcapsa/internal/net/frame"
	"github.com/libcapsa/libcapsa/internal/net/policy"
	"github.com/libcapsa/libcapsa/internal/safe"
)

// Why flows end before their time.
var (
	errDenied = errors.New("nat: denied by the policy")
	errReset  = errors.New("nat: reset")
)

// flow is one TCP connection through the host: an endpoint of netstack towards the
// guest, a socket on the host's side. Two goroutines carry its bytes, one each way.
type flow struct {
	e      *Engine
	counts *flowCounts
	id     stack.TransportEndpointID
	syn    [8]byte        // of the guest's SYN, for errors about it
	dst    netip.AddrPort // on the host's side
	grant  int64          // bytes of buffer, each way
	// service serves the connection at the gateway; nil: it goes through.
	service func(net.Conn)

	ctx    context.Context // until it ends
	cancel context.CancelFunc

	fromGuest, toGuest atomic.Uint64
	ours               atomic.Bool // our direction, towards the guest, has ended

	mu      sync.Mutex
	asked   policy.Flow // guarded by mu once the flow is in the table
	verdict policy.Verdict
	past    bool // the first flight was let through
	ep      tcpip.Endpoint
	host    hostConn
	over    error // why it was ended; nil: it was not
	waiting bool  // for the guest's handshake
}

func newFlow(e *Engine, c *flowCounts, asked policy.Flow) *flow {
	f := &flow{e: e, counts: c, asked: asked}
	f.ctx, f.cancel = context.WithCancel(e.ctx)
	return f
}

// accept reaches the destination, then the guest, and carries bytes between them.
// The guest's connection is established only if the host's is.
func (f *flow) accept(r *tcp.ForwarderRequest) {
	if f.service == nil {
		host, err := f.e.dial(f.ctx, f.dst)
		if err != nil {
			f.failed(r, err)
			return
		}
		defer f.closeHost(host)
		if !f.own(nil, host) {
			r.Complete(true)
			return
		}
	}
	wq := new(waiter.Queue)
	ep, terr := f.handshake(r, wq)
	r.Complete(false)
	f.e.tcp.settled(f)
	if terr != nil { // the guest has given up
		f.end(errReset)
		return
	}
	if f.service != nil {
		f.serveAtGateway(gonet.NewTCPConn(wq, ep), ep)
		return
	}
	if !f.own(ep, f.host) {
		ep.Abort()
		return
	}
	f.run(ep, wq)
}

func (f *flow) serveAtGateway(conn net.Conn, ep tcpip.Endpoint) {
	stop := context.AfterFunc(f.ctx, ep.Abort)
	defer stop()
	defer func() { _ = conn.Close() }()
	f.service(conn)
}

// failed tells the guest that its destination was not reached.
func (f *flow) failed(r *tcp.ForwarderRequest, err error) {
	f.mu.Lock()
	over, asked, verdict := f.over, f.asked, f.verdict
	f.mu.Unlock()
	if over != nil {
		r.Complete(verdict.Action == policy.Reject)
		return
	}
	f.counts.failed.Add(1)
	f.e.observer.say(Event{Kind: Failed, Flow: asked, Verdict: verdict, Err: err})
	reset, why, told := failure(err)
	r.Complete(reset)
	if told {
		f.e.unreachable(why, asked.Src.Addr(), asked.Dst.Addr(), frame.TCP, f.syn, 20, 0)
	}
}

// own makes what end ends. It is false if the flow has ended meanwhile.
func (f *flow) own(ep tcpip.Endpoint, host hostConn) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ep, f.host = ep, host
	return f.over == nil
}

// run carries bytes until both directions are done.
func (f *flow) run(ep tcpip.Endpoint, wq *waiter.Queue) {
	o := ep.SocketOptions()
	o.SetDelayOption(false) // whoever sends has decided about that
	o.SetReceiveBufferSize(f.grant, true)
	o.SetSendBufferSize(f.grant, true)
	f.counts.opened.Add(1)
	f.mu.Lock()
	opened := Event{Kind: Opened, Flow: f.asked, Verdict: f.verdict}
	f.mu.Unlock()
	f.e.observer.say(opened)
	defer f.report()

	watch := waiter.NewFunctionEntry(waiter.EventErr|waiter.EventHUp, func(waiter.EventMask) { f.watch(ep) })
	wq.EventRegister(&watch)
	defer wq.EventUnregister(&watch)
	f.mu.Lock()
	need := f.verdict.NeedName
	f.past = !need
	f.mu.Unlock()
	f.carry(newPump(f, ep, wq), need)
	if f.ended() != nil {
		ep.Abort()
	}
	f.linger(ep, wq)
}

// lingerTimeout is how long the guest may take for what it was sent before the end.
const lingerTimeout = time.Minute

// linger closes the endpoint, and waits until the guest has everything: what waits
// in its buffer is the flow's, and counts against the limits as long.
func (f *flow) linger(ep tcpip.Endpoint, wq *waiter.Queue) {
	entry, news := waiter.NewChannelEntry(waiter.EventHUp | waiter.EventErr)
	wq.EventRegister(&entry)
	defer wq.EventUnregister(&entry)
	ep.Close()
	var late <-chan time.Time
	for {
		switch tcp.EndpointState(ep.State()) {
		case tcp.StateClose, tcp.StateError, tcp.StateTimeWait:
			return
		}
		if late == nil {
			timer := time.NewTimer(lingerTimeout)
			defer timer.Stop()
			late = timer.C
		}
		select {
		case <-news:
		case <-f.ctx.Done():
			ep.Abort()
			return
		case <-late:
			ep.Abort()
			return
		}
	}
}

// watch is called with the endpoint's lock held: only what does not wait may be
// done. A reset after the guest's FIN makes no error, but a closed endpoint.
func (f *flow) watch(ep tcpip.Endpoint) {
	switch tcp.EndpointState(ep.State()) {
	case tcp.StateError:
		f.wake()
	case tcp.StateClose:
		if !f.ours.Load() {
			f.wake()
		}
	}
}

// carry returns when both directions are done. A panic in one ends the other.
func (f *flow) carry(p *pump, need bool) {
	defer p.close()
	if need && !p.firstFlight(true) {
		f.end(errDenied)
		return
	}
	done := make(chan struct{})
	if !f.e.start("nat tcp to guest", func() {
		defer close(done)
		f.contained("nat tcp to guest", p.toGuest)
	}) {
		f.end(ErrClosed)
		return
	}
	f.contained("nat tcp from guest", p.fromGuest)
	<-done
}

// contained ends the flow if fn panics.
func (f *flow) contained(name string, fn func()) {
	if err := safe.Run(name, fn); err != nil {
		f.end(err)
	}
}

// report counts the flow's bytes, and says that it is over.
func (f *flow) report() {
	up, down := f.fromGuest.Load(), f.toGuest.Load()
	f.counts.fromGuest.Add(up)
	f.counts.toGuest.Add(down)
	f.mu.Lock()
	ev := Event{Kind: Closed, Flow: f.asked, Verdict: f.verdict, FromGuest: up, ToGuest: down}
	f.mu.Unlock()
	f.e.observer.say(ev)
}

// end resets both sides. What carries the flow's bytes returns; it closes them.
func (f *flow) end(why error) {
	f.mu.Lock()
	if f.over == nil {
		f.over = why
	}
	ep := f.ep
	f.mu.Unlock()
	f.cancel()
	f.wake()
	if ep != nil {
		ep.Abort()
	}
}

// wake makes what waits for the host's socket return, without waiting for it.
func (f *flow) wake() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.over == nil {
		f.over = errReset
	}
	if f.host != nil {
		_ = f.host.SetDeadline(time.Unix(1, 0))
	}
}

func (f *flow) ended() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.over
}

// closeHost closes the host's socket: by a reset, if that is how the flow ended.
func (f *flow) closeHost(host hostConn) {
	if c, ok := host.(interface{ SetLinger(sec int) error }); ok && f.ended() != nil {
		_ = c.SetLinger(0)
	}
	_ = host.Close()
}

// reevaluate asks the policy again if it has changed. cut: the flow ends if it is
// denied now.
func (f *flow) reevaluate(always bool) {
	f.mu.Lock()
	asked, verdict, past := f.asked, f.verdict, f.past
	over := f.over != nil
	f.mu.Unlock()
	if f.service != nil || over || !always && verdict.Generation == f.e.cfg.Policy.Generation() {
		return
	}
	now := f.e.cfg.Policy.Flow(asked)
	if now.NeedName && past && asked.Said == policy.SaidUnknown {
		asked.Said = policy.SaidNone // it is too late to say one
		now = f.e.cfg.Policy.Flow(asked)
	}
	f.mu.Lock()
	if now.Action == policy.Allow {
		f.asked.Names = now.Names
	}
	f.verdict = now
	f.mu.Unlock()
	if now.Action != policy.Allow {
		f.e.denied(f.counts, asked, now)
		f.end(errDenied)
	}
}
