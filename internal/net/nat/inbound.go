package nat

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/waiter"
)

// reach connects to the guest for a connection that the host has accepted, and
// carries its bytes.
func (f *flow) reach(host hostConn, guest netip.AddrPort) {
	defer f.closeHost(host)
	if !f.own(nil, host) {
		return
	}
	wq := new(waiter.Queue)
	ep, err := f.connectGuest(wq, guest)
	if err != nil {
		f.counts.failed.Add(1)
		f.mu.Lock()
		ev := Event{Kind: Failed, Flow: f.asked, Verdict: f.verdict, Err: err}
		f.mu.Unlock()
		f.e.observer.say(ev)
		f.end(errReset)
		return
	}
	if !f.own(ep, host) {
		ep.Abort()
		return
	}
	f.run(ep, wq)
}

// connectGuest opens a connection from the gateway. Netstack's own number of
// attempts ends it.
func (f *flow) connectGuest(wq *waiter.Queue, guest netip.AddrPort) (tcpip.Endpoint, error) {
	ep, terr := f.e.stack.NewEndpoint(tcp.ProtocolNumber, protocolOf(guest.Addr()), wq)
	if terr != nil {
		return nil, errors.New(terr.String())
	}
	ep.SocketOptions().SetReceiveBufferSize(f.grant, true)
	entry, ready := waiter.NewChannelEntry(waiter.WritableEvents | waiter.EventErr | waiter.EventHUp)
	wq.EventRegister(&entry)
	defer wq.EventUnregister(&entry)
	terr = ep.Bind(fullAddress(netip.AddrPortFrom(f.e.gateway(guest.Addr()), 0)))
	if terr == nil {
		terr = ep.Connect(fullAddress(guest))
	}
	if _, started := terr.(*tcpip.ErrConnectStarted); started {
		select {
		case <-ready:
			terr = ep.LastError()
		case <-f.ctx.Done():
			terr = &tcpip.ErrAborted{}
		}
	}
	if terr != nil {
		ep.Abort()
		return nil, errors.New(terr.String())
	}
	return ep, nil
}

// Dial connects to the guest from the gateway, for the machine's owner; the policy
// is not asked. network is "tcp" or "udp", also with "4" or "6"; address is a port,
// or an address of the guest and a port. Errors: those, ErrClosed, and that of the
// connection.
func (e *Engine) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	guest, err := e.guestAddress(network, address)
	if err != nil {
		return nil, fmt.Errorf("nat: dial %s %q: %w", network, address, err)
	}
	if !e.begin() {
		return nil, ErrClosed
	}
	defer e.tasks.Done()
	local := fullAddress(netip.AddrPortFrom(e.gateway(guest.Addr()), 0))
	remote, proto := fullAddress(guest), protocolOf(guest.Addr())
	if network[:3] == "udp" {
		return gonet.DialUDP(e.stack, &local, &remote, proto)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(e.ctx, cancel)()
	conn, err := gonet.DialTCPWithBind(ctx, e.stack, local, remote, proto)
	if err != nil {
		return nil, err // not conn: it would be an interface that holds nil
	}
	return conn, nil
}

func (e *Engine) guestAddress(network, address string) (netip.AddrPort, error) {
	var v6 bool
	switch network {
	case "tcp", "tcp4", "udp", "udp4":
	case "tcp6", "udp6":
		v6 = true
	default:
		return netip.AddrPort{}, errors.New(`the network is "tcp" or "udp", with "4" or "6" or neither`)
	}
	host, text, err := net.SplitHostPort(address)
	if err != nil {
		host, text = "", address
	}
	port, err := strconv.ParseUint(text, 10, 16)
	if err != nil || port == 0 {
		return netip.AddrPort{}, fmt.Errorf("%q is no port", text)
	}
	guest := e.cfg.Guest4.Addr()
	if v6 {
		guest = e.cfg.Guest6
	}
	if host != "" {
		if guest, err = netip.ParseAddr(host); err != nil {
			return netip.AddrPort{}, err
		}
	}
	if guest != e.cfg.Guest4.Addr() && (!e.cfg.Gateway6.IsValid() || !e.cfg.Prefix6.Contains(guest)) {
		return netip.AddrPort{}, fmt.Errorf("%v is not an address of the guest", guest)
	}
	return netip.AddrPortFrom(guest, uint16(port)), nil
}
