package nat

import (
	"context"
	"io"
	"net"
	"net/netip"
	"os"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/network/arp"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv6"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/icmp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"

	"github.com/libcapsa/libcapsa/internal/net/frame"
	"github.com/libcapsa/libcapsa/internal/net/link"
	"github.com/libcapsa/libcapsa/internal/net/policy"
)

var (
	gatewayMAC = frame.MAC{0x52, 0x54, 0, 0, 0, 1}
	guestMAC   = frame.MAC{0x52, 0x54, 0, 0, 0, 2}
	gateway4   = netip.MustParseAddr("10.0.2.2")
	guest4     = netip.MustParsePrefix("10.0.2.15/24")
	gateway6   = netip.MustParseAddr("fd00::2")
	guest6     = netip.MustParseAddr("fd00::15")
	prefix6    = netip.MustParsePrefix("fd00::/64")
)

// offloaded is a driver that takes everything.
var offloaded = link.Offloads{Checksum: true, TSO4: true, TSO6: true}

// guest is a machine's kernel: netstack behind a ring of so many frames.
type guest struct {
	stack *stack.Stack
	e     *Engine
	off   link.Offloads
	ring  int
	loss  int // one frame of so many is lost, each way; 0: none

	mu       sync.Mutex
	wake     *sync.Cond
	rx       []*stack.PacketBuffer
	protos   []tcpip.NetworkProtocolNumber
	tx       []link.Frame
	short    bool // Receive took less than all
	received int
	seen     int // frames that Receive was called with
	written  int
	closed   bool
	busy     bool // Send is running
	done     sync.WaitGroup
	tap      func(b []byte) // sees what Receive gets

	d stack.NetworkDispatcher
}

// Receive implements link.Guest.
func (g *guest) Receive(frames []link.Frame) int {
	g.mu.Lock()
	defer g.mu.Unlock()
	for i := range frames {
		if len(g.rx) >= g.ring {
			g.short = true
			return i
		}
		f := &frames[i]
		if g.seen++; g.loss > 0 && g.seen%g.loss == 0 {
			continue
		}
		v := buffer.NewView(f.Len())
		for _, d := range f.Data {
			_, _ = v.Write(d)
		}
		b := v.AsSlice()
		if g.tap != nil {
			g.tap(b)
		}
		if !g.fits(f) {
			panic("a frame that the driver does not take")
		}
		if f.Header.Flags&link.NeedsChecksum != 0 && f.Header.GSOType != link.GSOUDPL4 {
			frame.Complete(b, int(f.Header.CSumStart), int(f.Header.CSumOffset))
		}
		if f.Header.GSOType == link.GSOUDPL4 { // its stack has no such thing
			for c, ok := frame.NewCut(b, f.Header, true); ok; {
				one := make([]byte, c.FrameSize())
				var n int
				if n, _ = c.Next(one); n == 0 {
					break
				}
				g.take(one[:n])
			}
			continue
		}
		g.take(b)
	}
	return len(frames)
}

// take puts a frame into the ring. Preconditions: mu is held.
func (g *guest) take(b []byte) {
	v := buffer.NewViewWithData(b[frame.EtherSize:])
	g.protos = append(g.protos, tcpip.NetworkProtocolNumber(uint16(b[12])<<8|uint16(b[13])))
	g.rx = append(g.rx, stack.NewPacketBuffer(stack.PacketBufferOptions{Payload: buffer.MakeWithView(v)}))
	g.received++
	g.wake.Broadcast()
}

func (g *guest) fits(f *link.Frame) bool {
	switch f.Header.GSOType {
	case link.GSONone:
		return f.Len() <= 1514 && (f.Header.Flags == 0 || g.off.Checksum)
	case link.GSOTCPv4:
		return g.off.TSO4
	case link.GSOTCPv6:
		return g.off.TSO6
	case link.GSOUDPL4:
		return g.off.USO4 && g.off.USO6 && f.Header.GSOSize > 0 && f.Header.Flags == link.NeedsChecksum
	}
	return false
}

// sendAll is send of frames that are there at once.
func (g *guest) sendAll(frames ...link.Frame) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.tx = append(g.tx, frames...)
	g.wake.Broadcast()
}

// receiver takes frames out of the ring.
func (g *guest) receiver() {
	defer g.done.Done()
	g.mu.Lock()
	defer g.mu.Unlock()
	for {
		for len(g.rx) == 0 && !g.closed {
			g.wake.Wait()
		}
		if g.closed {
			return
		}
		rx, protos, short := g.rx, g.protos, g.short
		g.rx, g.protos, g.short = nil, nil, false
		g.mu.Unlock()
		for i, p := range rx {
			g.d.DeliverNetworkPacket(protos[i], p)
			p.DecRef()
		}
		if short {
			g.e.Room()
		}
		g.mu.Lock()
	}
}

// sender is the device's transmit worker.
func (g *guest) sender() {
	defer g.done.Done()
	g.mu.Lock()
	defer g.mu.Unlock()
	for {
		for len(g.tx) == 0 && !g.closed {
			g.wake.Wait()
		}
		if g.closed {
			return
		}
		tx := g.tx
		g.tx, g.busy = nil, true
		g.mu.Unlock()
		g.e.Send(tx)
		g.mu.Lock()
		g.busy = false
	}
}

// send is how tests send frames of their own.
func (g *guest) send(f link.Frame) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.tx = append(g.tx, f)
	g.wake.Broadcast()
}

// guestPort is the guest's driver.
type guestPort struct {
	stack.LinkEndpoint // nil: not used
	g                  *guest
}

func (p *guestPort) MTU() uint32                             { return 1500 }
func (p *guestPort) MaxHeaderLength() uint16                 { return frame.EtherSize }
func (p *guestPort) LinkAddress() tcpip.LinkAddress          { return tcpip.LinkAddress(guestMAC[:]) }
func (p *guestPort) Attach(d stack.NetworkDispatcher)        { p.g.d = d }
func (p *guestPort) IsAttached() bool                        { return p.g.d != nil }
func (p *guestPort) Wait()                                   {}
func (p *guestPort) Close()                                  {}
func (p *guestPort) SetOnCloseAction(func())                 {}
func (p *guestPort) ARPHardwareType() header.ARPHardwareType { return header.ARPHardwareEther }
func (p *guestPort) ParseHeader(*stack.PacketBuffer) bool    { return true }
func (p *guestPort) GSOMaxSize() uint32                      { return 65000 }
func (p *guestPort) Capabilities() stack.LinkEndpointCapabilities {
	return stack.CapabilityResolutionRequired
}

func (p *guestPort) SupportedGSO() stack.SupportedGSO {
	if p.g.off.TSO4 {
		return stack.HostGSOSupported
	}
	return stack.GSONotSupported
}

func (p *guestPort) AddHeader(pkt *stack.PacketBuffer) {
	eth := header.Ethernet(pkt.LinkHeader().Push(frame.EtherSize))
	eth.Encode(&header.EthernetFields{SrcAddr: p.LinkAddress(), DstAddr: pkt.EgressRoute.RemoteLinkAddress, Type: pkt.NetworkProtocolNumber})
}

func (p *guestPort) WritePackets(list stack.PacketBufferList) (int, tcpip.Error) {
	g := p.g
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, pkt := range list.AsSlice() {
		g.written++
		if lost := g.loss > 0 && g.written%g.loss == 0; len(g.tx) < 4096 && !lost {
			g.tx = append(g.tx, link.Frame{Header: headerOf(pkt), Data: [][]byte{pkt.ToView().AsSlice()}})
		}
	}
	g.wake.Broadcast()
	return list.Len(), nil
}

// rig is a machine and its network.
type rig struct {
	*guest
	t   testing.TB
	e   *Engine
	pol *policy.Engine
}

// open is a policy without walls.
var open = policy.Policy{
	Default: policy.AllowAll,
	Unlock:  []policy.Group{policy.GroupLoopback, policy.GroupHost},
}

type option func(c *Config, g *guest)

func withPolicy(p policy.Policy) option {
	return func(c *Config, _ *guest) { c.Policy, _ = policy.Compile(p) }
}

func withRing(n int) option { return func(_ *Config, g *guest) { g.ring = n } }

func withLoss(n int) option { return func(_ *Config, g *guest) { g.loss = n } }

func withOffloads(o link.Offloads) option { return func(_ *Config, g *guest) { g.off = o } }

// newRig makes a machine whose network leads the gateway's address to this host.
// At the end, nothing may be left.
func newRig(t testing.TB, options ...option) *rig {
	t.Helper()
	leaks(t)
	pol, err := policy.Compile(open)
	require.NoError(t, err)
	cfg := Config{
		GatewayMAC: gatewayMAC, GuestMAC: guestMAC, Gateway4: gateway4, Guest4: guest4,
		Gateway6: gateway6, Prefix6: prefix6, Guest6: guest6, Policy: pol, HostAccess: true,
	}
	g := &guest{off: offloaded, ring: 1024}
	g.wake = sync.NewCond(&g.mu)
	for _, o := range options {
		o(&cfg, g)
	}
	e, err := New(cfg)
	require.NoError(t, err)
	g.e = e
	g.boot(t)
	e.Attach(g, g.off)
	t.Cleanup(func() {
		g.halt()
		e.Detach()
		require.NoError(t, e.Close())
		require.NoError(t, e.Close())
		s := e.Stats()
		assert.Zero(t, s.TCP.Open+s.UDP.Open+s.Ping.Open+s.Inbound.Open)
		assert.Equal(t, cfg.limitsOf().Buffer, e.tcp.memory)
	})
	return &rig{guest: g, t: t, e: e, pol: cfg.Policy}
}

func (c Config) limitsOf() Limits {
	c, _ = c.withDefaults()
	return c.Limits
}

func (g *guest) boot(t testing.TB) {
	t.Helper()
	s := stack.New(stack.Options{
		NetworkProtocols:   []stack.NetworkProtocolFactory{ipv4.NewProtocol, arp.NewProtocol, ipv6.NewProtocol},
		TransportProtocols: []stack.TransportProtocolFactory{tcp.NewProtocol, udp.NewProtocol, icmp.NewProtocol4, icmp.NewProtocol6},
	})
	sack := tcpip.TCPSACKEnabled(true)
	require.Nil(t, s.SetTransportProtocolOption(tcp.ProtocolNumber, &sack))
	require.Nil(t, s.SetTransportProtocolOption(tcp.ProtocolNumber, &tcpip.TCPReceiveBufferSizeRangeOption{Min: 4096, Default: 4 << 20, Max: 8 << 20}))
	require.Nil(t, s.SetTransportProtocolOption(tcp.ProtocolNumber, &tcpip.TCPSendBufferSizeRangeOption{Min: 4096, Default: 4 << 20, Max: 8 << 20}))
	require.Nil(t, s.CreateNIC(1, &guestPort{g: g}))
	for _, a := range []netip.Addr{guest4.Addr(), guest6} {
		bits := 24
		if a.Is6() {
			bits = 64
		}
		require.Nil(t, s.AddProtocolAddress(1, tcpip.ProtocolAddress{Protocol: protocolOf(a), AddressWithPrefix: tcpip.AddressWithPrefix{
			Address: tcpip.AddrFromSlice(a.AsSlice()), PrefixLen: bits,
		}}, stack.AddressProperties{}))
	}
	s.SetRouteTable([]tcpip.Route{
		{Destination: subnet(guest4), NIC: 1}, {Destination: subnet(prefix6), NIC: 1},
		{Destination: header.IPv4EmptySubnet, NIC: 1, Gateway: tcpip.AddrFromSlice(gateway4.AsSlice())},
		{Destination: header.IPv6EmptySubnet, NIC: 1, Gateway: tcpip.AddrFromSlice(gateway6.AsSlice())},
	})
	g.stack = s
	g.done.Add(2)
	go g.receiver()
	go g.sender()
}

func subnet(p netip.Prefix) tcpip.Subnet {
	p = p.Masked()
	return tcpip.AddressWithPrefix{Address: tcpip.AddrFromSlice(p.Addr().AsSlice()), PrefixLen: p.Bits()}.Subnet()
}

// halt ends the guest without a word.
func (g *guest) halt() {
	g.mu.Lock()
	g.closed = true
	g.wake.Broadcast()
	g.mu.Unlock()
	g.done.Wait()
	g.stack.Close()
	g.stack.Wait()
}

// dial connects from the guest.
func (r *rig) dial(to netip.AddrPort) (*gonet.TCPConn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	return r.dialContext(ctx, to)
}

func (r *rig) dialContext(ctx context.Context, to netip.AddrPort) (*gonet.TCPConn, error) {
	return gonet.DialContextTCP(ctx, r.stack, fullAddress(to), protocolOf(to.Addr()))
}

func (r *rig) mustDial(to netip.AddrPort) *gonet.TCPConn {
	r.t.Helper()
	c, err := r.dial(to)
	require.NoError(r.t, err)
	r.t.Cleanup(func() { _ = c.Close() })
	return c
}

// atGateway is how the guest reaches an address of this host's loopback.
func atGateway(a net.Addr) netip.AddrPort {
	var ap netip.AddrPort
	switch a := a.(type) {
	case *net.TCPAddr:
		ap = a.AddrPort()
	case *net.UDPAddr:
		ap = a.AddrPort()
	}
	if ap.Addr().Is6() {
		return netip.AddrPortFrom(gateway6, ap.Port())
	}
	return netip.AddrPortFrom(gateway4, ap.Port())
}

// server serves each connection to the host's loopback, and is waited for.
func server(t testing.TB, network string, serve func(c *net.TCPConn)) netip.AddrPort {
	t.Helper()
	address := "127.0.0.1:0"
	if network == "tcp6" {
		address = "[::1]:0"
	}
	l, err := net.Listen(network, address)
	require.NoError(t, err)
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer c.Close()
				serve(c.(*net.TCPConn))
			})
		}
	})
	t.Cleanup(func() { _ = l.Close(); wg.Wait() })
	return atGateway(l.Addr())
}

func echo(c *net.TCPConn) {
	_, _ = io.Copy(c, c)
	_ = c.CloseWrite()
}

// leaks compares goroutines and descriptors with those at the test's beginning. Its
// cleanup runs last, since it is called first.
func leaks(t testing.TB) {
	t.Helper()
	count := func() (int, int) {
		fds, err := os.ReadDir("/proc/self/fd")
		require.NoError(t, err)
		return runtime.NumGoroutine(), len(fds)
	}
	warm, err := net.Listen("tcp", "127.0.0.1:0") // starts the runtime's poller
	require.NoError(t, err)
	require.NoError(t, warm.Close())
	goroutines, fds := count()
	t.Cleanup(func() {
		g, f := count()
		for deadline := time.Now().Add(tooLong); (g > goroutines || f > fds) && time.Now().Before(deadline); g, f = count() {
			runtime.Gosched()
		}
		if g > goroutines || f > fds {
			b := make([]byte, 1<<20)
			t.Errorf("%d goroutines of %d, %d descriptors of %d:\n%s", g, goroutines, f, fds, b[:runtime.Stack(b, true)])
		}
	})
}

// events collects what the observer is told.
type events struct {
	mu  sync.Mutex
	all []Event
}

func (ev *events) option(c *Config, _ *guest) {
	c.Observe = func(e Event) {
		ev.mu.Lock()
		defer ev.mu.Unlock()
		ev.all = append(ev.all, e)
	}
}

func (ev *events) kinds() (out []string) {
	ev.mu.Lock()
	defer ev.mu.Unlock()
	for _, e := range ev.all {
		out = append(out, e.Kind.String())
	}
	return out
}

// tooLong is when a test gives up waiting; tick is how often it looks.
const (
	tooLong = 9 * time.Second
	tick    = 5 * time.Millisecond
)
