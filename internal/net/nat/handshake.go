package nat

import (
	"context"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv6"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/waiter"

	"github.com/libcapsa/libcapsa/internal/safe"
)

// handshake completes the guest's handshake. Netstack waits for it without a way to
// give up, and hands out no endpoint before. A flow that ends meanwhile looks the
// endpoint up and aborts it. If it is not registered yet, that is done when its
// SYN-ACK leaves, which is after that (see port.WritePackets).
// (To notify the queue that netstack waits on would wake it too, but with its endpoint
// half open, on which its dispatcher panics.)
func (f *flow) handshake(r *tcp.ForwarderRequest, wq *waiter.Queue) (tcpip.Endpoint, tcpip.Error) {
	f.setWaiting(true)
	defer f.setWaiting(false)
	defer context.AfterFunc(f.ctx, f.abandon)()
	return r.CreateEndpoint(wq)
}

func (f *flow) setWaiting(on bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.waiting = on
}

// abandon aborts the endpoint that netstack waits for, from a goroutine of its own:
// whoever calls may hold the endpoint's lock.
func (f *flow) abandon() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.waiting {
		return
	}
	f.e.tasks.Add(1) // the goroutine that waits is counted, so nobody has stopped waiting for it
	safe.Go("nat handshake", nil, func() {
		defer f.e.tasks.Done()
		if ep := f.e.stack.FindTransportEndpoint(f.network(), tcp.ProtocolNumber, f.id, nicID); ep != nil {
			ep.Abort()
		}
	})
}

// network is the protocol of the flow's addresses.
func (f *flow) network() tcpip.NetworkProtocolNumber {
	if f.id.LocalAddress.Len() == header.IPv4AddressSize {
		return ipv4.ProtocolNumber
	}
	return ipv6.ProtocolNumber
}

// answered says that a SYN-ACK leaves: there is an endpoint.
func (t *tcpTable) answered(id stack.TransportEndpointID) {
	t.mu.Lock()
	f := t.pending[id]
	t.mu.Unlock()
	if f != nil && f.ctx.Err() != nil {
		f.abandon()
	}
}
