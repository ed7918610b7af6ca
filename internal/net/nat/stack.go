package nat

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"gvisor.dev/gvisor/pkg/log"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv6"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"
)

// nicID is the number of netstack's only interface.
const nicID = 1

// Buffers of one TCP connection in bytes, one way. Until it is established, and
// when memory is short, it has the least.
const (
	leastBuffer = 32 << 10
	mostBuffer  = 4 << 20 // more makes nothing faster, less does
)

// Ports of the gateway: netstack's own, and those that stand for clients of
// forwarded UDP ports.
const (
	firstUDPPort  = 16384
	firstOwnPort  = 49152
	lastOwnPort   = 65535
	countUDPPorts = firstOwnPort - firstUDPPort
)

// newStack makes netstack with one interface that takes packets to every address,
// and sends from every address. It carries TCP, and UDP of Dial; it neither
// resolves addresses nor answers pings.
func newStack(e *Engine) (*stack.Stack, *port, error) {
	s := stack.New(stack.Options{
		NetworkProtocols: []stack.NetworkProtocolFactory{
			// Loopback addresses are the policy's business.
			ipv4.NewProtocolWithOptions(ipv4.Options{AllowExternalLoopbackTraffic: true}),
			ipv6.NewProtocolWithOptions(ipv6.Options{AllowExternalLoopbackTraffic: true}),
		},
		TransportProtocols: []stack.TransportProtocolFactory{tcp.NewProtocol, udp.NewProtocol},
	})
	p := newPort(e)
	if err := setUp(s, p, e.cfg); err != nil {
		s.Destroy()
		return nil, nil, err
	}
	return s, p, nil
}

// Netstack writes to this process's stderr about packets it finds strange. Its
// packages keep the logger they find when they are initialised, so it is that one
// that has to lose its voice, before anybody uses it.
func init() { log.Log().Emitter = nowhere{} }

// nowhere is a log.Emitter of nothing.
type nowhere struct{}

// Emit implements log.Emitter.
func (nowhere) Emit(int, log.Level, time.Time, string, ...any) {}

func setUp(s *stack.Stack, p *port, cfg Config) error {
	sack, moderate := tcpip.TCPSACKEnabled(true), tcpip.TCPModerateReceiveBufferOption(false)
	// CUBIC leaves slow start when round trips take longer (HyStart), which here is the
	// scheduler's doing and no queue: Reno is half as fast again to the guest, measured.
	cc := tcpip.CongestionControlOption("reno")
	// A connection in TIME_WAIT swallows the SYN that opens its successor: the link
	// holds no old duplicates, so there is nothing to wait for.
	wait := tcpip.TCPTimeWaitTimeoutOption(time.Millisecond)
	for _, o := range []tcpip.SettableTransportProtocolOption{
		&sack, &cc, &moderate, &wait,
		&tcpip.TCPReceiveBufferSizeRangeOption{Min: 4096, Default: leastBuffer, Max: mostBuffer},
		&tcpip.TCPSendBufferSizeRangeOption{Min: 4096, Default: leastBuffer, Max: mostBuffer},
	} {
		if err := s.SetTransportProtocolOption(tcp.ProtocolNumber, o); err != nil {
			return fmt.Errorf("nat: TCP option %T: %v", o, err)
		}
	}
	if err := s.SetPortRange(firstOwnPort, lastOwnPort); err != nil {
		return fmt.Errorf("nat: port range: %v", err)
	}
	if err := s.CreateNIC(nicID, p); err != nil {
		return fmt.Errorf("nat: interface: %v", err)
	}
	routes := []tcpip.Route{{Destination: header.IPv4EmptySubnet, NIC: nicID}}
	addrs := []netip.Addr{cfg.Gateway4}
	if cfg.Gateway6.IsValid() {
		routes = append(routes, tcpip.Route{Destination: header.IPv6EmptySubnet, NIC: nicID})
		addrs = append(addrs, cfg.Gateway6)
	}
	for _, a := range addrs {
		pa := tcpip.ProtocolAddress{Protocol: protocolOf(a), AddressWithPrefix: tcpip.AddrFromSlice(a.AsSlice()).WithPrefix()}
		if err := s.AddProtocolAddress(nicID, pa, stack.AddressProperties{}); err != nil {
			return fmt.Errorf("nat: address %v: %v", a, err)
		}
	}
	if s.SetPromiscuousMode(nicID, true) != nil || s.SetSpoofing(nicID, true) != nil {
		return errors.New("nat: netstack does not take packets to every address")
	}
	s.SetRouteTable(routes)
	return nil
}

func protocolOf(a netip.Addr) tcpip.NetworkProtocolNumber {
	if a.Is4() {
		return ipv4.ProtocolNumber
	}
	return ipv6.ProtocolNumber
}

func fullAddress(a netip.AddrPort) tcpip.FullAddress {
	return tcpip.FullAddress{NIC: nicID, Addr: tcpip.AddrFromSlice(a.Addr().AsSlice()), Port: a.Port()}
}

func addrPort(a tcpip.Address, port uint16) netip.AddrPort {
	ip, _ := netip.AddrFromSlice(a.AsSlice())
	return netip.AddrPortFrom(ip, port)
}
