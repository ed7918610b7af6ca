package nat

import (
	"encoding/binary"
	"sync/atomic"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"

	"github.com/libcapsa/libcapsa/internal/net/frame"
)

// maxGSO is the longest packet that netstack makes: its headers go on top.
const maxGSO = 65536 - 256

// port is netstack's view of the link: a wire with one other station, which needs
// no address resolution. It always offers segmentation and partial checksums; the
// outlet does in software what the guest's driver does not take.
//
// It does not claim CapabilityTXChecksumOffload: segments that are not GSO's
// would then leave without a checksum. Theirs are short and cheap.
type port struct {
	e    *Engine
	up   atomic.Pointer[stack.NetworkDispatcher]
	head [frame.EtherSize]byte // of frames to the guest, without the type
}

var (
	_ stack.LinkEndpoint = (*port)(nil)
	_ stack.GSOEndpoint  = (*port)(nil)
)

func newPort(e *Engine) *port {
	p := &port{e: e}
	copy(p.head[0:], e.cfg.GuestMAC[:])
	copy(p.head[6:], e.cfg.GatewayMAC[:])
	return p
}

// Attach implements stack.LinkEndpoint.
func (p *port) Attach(d stack.NetworkDispatcher) {
	if d == nil {
		p.up.Store(nil)
		return
	}
	p.up.Store(&d)
}

// IsAttached implements stack.LinkEndpoint.
func (p *port) IsAttached() bool { return p.up.Load() != nil }

// MTU implements stack.LinkEndpoint.
func (p *port) MTU() uint32 { return uint32(p.e.cfg.MTU) }

// SetMTU implements stack.LinkEndpoint; the MTU stays.
func (p *port) SetMTU(uint32) {}

// MaxHeaderLength implements stack.LinkEndpoint.
func (p *port) MaxHeaderLength() uint16 { return frame.EtherSize }

// LinkAddress implements stack.LinkEndpoint.
func (p *port) LinkAddress() tcpip.LinkAddress { return tcpip.LinkAddress(p.e.cfg.GatewayMAC[:]) }

// SetLinkAddress implements stack.LinkEndpoint; the address stays.
func (p *port) SetLinkAddress(tcpip.LinkAddress) {}

// Capabilities implements stack.LinkEndpoint.
func (p *port) Capabilities() stack.LinkEndpointCapabilities {
	return stack.CapabilityRXChecksumOffload
}

// GSOMaxSize implements stack.GSOEndpoint.
func (p *port) GSOMaxSize() uint32 { return maxGSO }

// SupportedGSO implements stack.GSOEndpoint.
func (p *port) SupportedGSO() stack.SupportedGSO { return stack.HostGSOSupported }

// Wait implements stack.LinkEndpoint: there are no goroutines.
func (p *port) Wait() {}

// ARPHardwareType implements stack.LinkEndpoint.
func (p *port) ARPHardwareType() header.ARPHardwareType { return header.ARPHardwareEther }

// Close implements stack.LinkEndpoint.
func (p *port) Close() {}

// SetOnCloseAction implements stack.LinkEndpoint.
func (p *port) SetOnCloseAction(func()) {}

// AddHeader implements stack.LinkEndpoint. There is one station on the other side.
func (p *port) AddHeader(pkt *stack.PacketBuffer) {
	h := pkt.LinkHeader().Push(frame.EtherSize)
	copy(h, p.head[:])
	binary.BigEndian.PutUint16(h[12:], uint16(pkt.NetworkProtocolNumber))
}

// ParseHeader implements stack.LinkEndpoint. Injected packets have none.
func (p *port) ParseHeader(*stack.PacketBuffer) bool { return true }

// WritePackets implements stack.LinkEndpoint. What the guest has no room for waits
// or is dropped; to netstack that is a wire.
func (p *port) WritePackets(list stack.PacketBufferList) (int, tcpip.Error) {
	packets := list.AsSlice()
	if len(packets) == 1 && opens(packets[0]) {
		p.e.out.later(packets[0])
		p.e.start("nat handshake", p.e.out.drain)
		p.e.tcp.answered(flowOf(packets[0]))
	} else {
		p.e.out.packets(packets)
	}
	return len(packets), nil
}

// opens says whether a packet begins a connection. Netstack sends it with the
// endpoint locked, but not marked as in use, and spins when the answer is there
// before that ends: such packets leave from another goroutine.
func opens(pkt *stack.PacketBuffer) bool {
	h := header.TCP(pkt.TransportHeader().Slice())
	return pkt.TransportProtocolNumber == header.TCPProtocolNumber && len(h) >= header.TCPMinimumSize && h.Flags().Contains(header.TCPFlagSyn)
}

// flowOf is the flow of a TCP packet of netstack's.
func flowOf(pkt *stack.PacketBuffer) (id stack.TransportEndpointID) {
	n, h := pkt.Network(), header.TCP(pkt.TransportHeader().Slice())
	return stack.TransportEndpointID{
		LocalAddress: n.SourceAddress(), LocalPort: h.SourcePort(),
		RemoteAddress: n.DestinationAddress(), RemotePort: h.DestinationPort(),
	}
}

// inject gives netstack a packet without an Ethernet header.
func (p *port) inject(proto tcpip.NetworkProtocolNumber, pkt *stack.PacketBuffer) {
	if up := p.up.Load(); up != nil {
		(*up).DeliverNetworkPacket(proto, pkt)
	}
}
