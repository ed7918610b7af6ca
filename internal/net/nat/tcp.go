package nat

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"

	"github.com/libcapsa/libcapsa/internal/net/frame"
	"github.com/libcapsa/libcapsa/internal/net/policy"
	"github.com/libcapsa/libcapsa/internal/safe"
)

// dialTimeout is how long a destination may take to answer. After that the guest's
// next SYN begins anew; it is told nothing, as by a network that loses packets.
const dialTimeout = 30 * time.Second

// tcpTable holds the TCP flows of both directions.
type tcpTable struct {
	e         *Engine
	forwarder *tcp.Forwarder

	mu      sync.Mutex
	flows   map[*flow]struct{}
	pending map[stack.TransportEndpointID]*flow // opened by the guest, not established
	memory  int64                               // bytes that are not granted to a flow's buffers
}

func (t *tcpTable) init(e *Engine) {
	t.e, t.memory = e, e.cfg.Limits.Buffer
	t.flows, t.pending = map[*flow]struct{}{}, map[stack.TransportEndpointID]*flow{}
	// Its own limit is never reached: pending has the same entries, and a lower one.
	t.forwarder = tcp.NewForwarder(e.stack, mostBuffer, 2*e.cfg.Limits.Connecting, t.serve)
	e.stack.SetTransportProtocolHandler(tcp.ProtocolNumber, t.handle)
}

// handle takes a segment that belongs to no connection. False: netstack answers it
// with a reset. It is called by the goroutine of Send.
func (t *tcpTable) handle(id stack.TransportEndpointID, pkt *stack.PacketBuffer) bool {
	h := header.TCP(pkt.TransportHeader().Slice())
	if len(h) < header.TCPMinimumSize {
		return true
	}
	switch uint8(h.Flags()) & (frame.FlagSYN | frame.FlagACK | frame.FlagRST | frame.FlagFIN) {
	case frame.FlagSYN:
	case frame.FlagSYN | frame.FlagFIN:
		return true
	default:
		return false
	}
	t.mu.Lock()
	_, again := t.pending[id]
	full := len(t.pending) >= t.e.cfg.Limits.Connecting || len(t.flows) >= t.e.cfg.Limits.Flows
	t.mu.Unlock()
	switch {
	case again:
		return true
	case full || !t.e.admits():
		t.e.counts.tcp.limited.Add(1)
		return true
	}
	f, refuse := t.open(id)
	if f == nil {
		return !refuse
	}
	copy(f.syn[:], h)
	if !t.add(f, &id) {
		f.cancel()
		return true
	}
	if !t.forwarder.HandlePacket(id, pkt) {
		t.remove(f)
		t.e.tasks.Done()
	}
	return true
}

// open decides about a connection of the guest. If there will be none, refuse says
// whether the guest is told.
func (t *tcpTable) open(id stack.TransportEndpointID) (f *flow, refuse bool) {
	e := t.e
	src, dst := addrPort(id.RemoteAddress, id.RemotePort), addrPort(id.LocalAddress, id.LocalPort)
	f = newFlow(e, &e.counts.tcp, policy.Flow{Protocol: policy.TCP, Src: src, Dst: dst})
	if dst.Port() == portDNS && e.cfg.Services.DNSConn != nil && (e.isGateway(dst.Addr()) || e.intercept.Load()) {
		f.service = e.cfg.Services.DNSConn
		return f, false
	}
	if e.isGateway(dst.Addr()) && !e.cfg.HostAccess {
		e.counts.tcp.failed.Add(1)
		return nil, true
	}
	f.verdict = e.cfg.Policy.Flow(f.asked)
	if f.verdict.Action != policy.Allow {
		e.denied(f.counts, f.asked, f.verdict)
		return nil, f.verdict.Action == policy.Reject
	}
	f.asked.Names = f.verdict.Names
	f.dst = e.dialled(f.verdict.Dst)
	return f, false
}

// dialled is where a destination is on the host's side: the gateway is its loopback.
func (e *Engine) dialled(dst netip.AddrPort) netip.AddrPort {
	switch dst.Addr() {
	case e.cfg.Gateway4:
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), dst.Port())
	case e.cfg.Gateway6:
		return netip.AddrPortFrom(netip.IPv6Loopback(), dst.Port())
	}
	return dst
}

// denied notes a refusal.
func (e *Engine) denied(c *flowCounts, f policy.Flow, v policy.Verdict) {
	c.denied.Add(1)
	e.observer.say(Event{Kind: Denied, Flow: f, Verdict: v})
}

// add registers a flow, whose goroutine it counts. After it Reevaluate finds the
// flow; what was swapped before that is asked about here.
func (t *tcpTable) add(f *flow, id *stack.TransportEndpointID) bool {
	if !t.e.begin() {
		return false
	}
	t.mu.Lock()
	t.flows[f] = struct{}{}
	if id != nil {
		f.id = *id
		t.pending[f.id] = f
	}
	f.grant = min(mostBuffer, max(leastBuffer, t.memory/16))
	t.memory -= 2 * f.grant
	t.mu.Unlock()
	f.counts.open.Add(1)
	f.reevaluate(false)
	return true
}

// settled: the flow is established, its SYN waits no more.
func (t *tcpTable) settled(f *flow) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.pending[f.id] == f {
		delete(t.pending, f.id)
	}
}

func (t *tcpTable) remove(f *flow) {
	t.settled(f)
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, ok := t.flows[f]; ok {
		delete(t.flows, f)
		t.memory += 2 * f.grant
		f.counts.open.Add(-1)
	}
	f.cancel()
}

func (t *tcpTable) all() []*flow {
	t.mu.Lock()
	defer t.mu.Unlock()
	all := make([]*flow, 0, len(t.flows))
	for f := range t.flows {
		all = append(all, f)
	}
	return all
}

func (t *tcpTable) endAll() {
	for _, f := range t.all() {
		f.end(ErrClosed)
	}
}

// serve runs a connection of the guest, on a goroutine that netstack starts and
// handle has counted.
func (t *tcpTable) serve(r *tcp.ForwarderRequest) {
	defer t.e.tasks.Done()
	t.mu.Lock()
	f := t.pending[r.ID()]
	t.mu.Unlock()
	if f == nil { // cannot be: handle puts it there first
		r.Complete(true)
		return
	}
	defer t.remove(f)
	if err := safe.Run("nat tcp flow", func() { f.accept(r) }); err != nil {
		f.end(err)
		// Otherwise netstack would take the guest's next SYN for this one. It panics if
		// that was done already.
		_ = safe.Run("nat tcp flow: completion", func() { r.Complete(true) })
	}
}

// dial opens the host's side.
func (e *Engine) dial(ctx context.Context, dst netip.AddrPort) (hostConn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	if e.cfg.Dial == nil {
		return dialStream(ctx, dst)
	}
	conn, err := e.cfg.Dial(ctx, dst)
	if err != nil {
		return nil, err
	}
	host, ok := conn.(hostConn)
	if !ok {
		_ = conn.Close()
		return nil, fmt.Errorf("nat: connections to %v are %T, which has no descriptor", dst, conn)
	}
	return host, nil
}

// keepAlive makes the kernel notice that the other side of an idle connection is
// gone, which nobody else would.
var keepAlive = net.KeepAliveConfig{Enable: true, Idle: 5 * time.Minute, Interval: time.Minute, Count: 5}

// hostConn is a stream socket of the host.
type hostConn interface {
	syscall.Conn
	SetDeadline(t time.Time) error
	CloseWrite() error
	Close() error
}

// noResources: the host is short of something.
func noResources(err error) bool {
	for _, e := range []syscall.Errno{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.EADDRNOTAVAIL} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// failure says how the guest is told that a destination was not reached: by a
// reset, by an ICMP error, or not at all.
func failure(err error) (reset bool, why unreachable, told bool) {
	switch {
	case errors.Is(err, syscall.ENETUNREACH):
		return false, noNetwork, true
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.EHOSTDOWN):
		return false, noHost, true
	case errors.Is(err, syscall.EACCES), errors.Is(err, syscall.EPERM):
		return false, prohibited, true
	case noResources(err):
		return false, 0, false // the guest's next attempt may find some
	case errors.Is(err, syscall.ETIMEDOUT), errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return false, 0, false
	}
	return true, 0, false
}
