package lan

import (
	"encoding/json"
	"net"
	"net/netip"
	"sync/atomic"

	"github.com/libcapsa/libcapsa/internal/net/ether"
	"github.com/libcapsa/libcapsa/internal/net/frame"
	"github.com/libcapsa/libcapsa/internal/net/gateway"
	"github.com/libcapsa/libcapsa/internal/net/link"
	"github.com/libcapsa/libcapsa/internal/net/shaper"
	"github.com/libcapsa/libcapsa/internal/vm"
)

const (
	// maxLearned is how many IPv6 addresses a port has: the stable one, some temporary
	// ones (RFC 8981), and those of both scopes.
	maxLearned = 16
	// groupRate and groupBurst bound what of a port reaches others without a flow: ARP,
	// neighbour discovery, errors, broadcasts; packets in a second.
	groupRate, groupBurst = 500, 1000
	// maxRun is how many frames to one machine are handed on at once.
	maxRun = 64
)

// Port is one machine's place in a network: the host's side of its device.
type Port struct {
	n       *Network
	name    string // in lower case
	mac     ether.MAC
	ip      netip.Addr
	gateway *gateway.Gateway
	ready   atomic.Bool // gateway is there
	group   *shaper.Shaper
	counts  counts

	learned []netip.Addr // IPv6 addresses, in the order in which they came; guarded by n.mu

	// Of the goroutine of Send.
	packet  frame.Packet
	run     []link.Frame   // for machine to
	to      *Port          //
	packets []frame.Packet // whose headers run has
	pieces  [][]byte
}

var _ link.Host = (*Port)(nil)

// counts are what becomes of a port's frames, besides what its gateway counts.
type counts struct {
	toPeers, spoofed, malformed, denied, stray, limited atomic.Uint64
}

func newPort(n *Network, name string) *Port {
	return &Port{
		n: n, name: name, packets: make([]frame.Packet, maxRun),
		group: shaper.New(shaper.Limits{Packets: shaper.Rate{PerSecond: groupRate, Burst: groupBurst}}, nil),
	}
}

// MAC is the address of the machine's interface.
func (p *Port) MAC() string { return net.HardwareAddr(p.mac[:]).String() }

// MTU is how many bytes packets have at most.
func (p *Port) MTU() int { return p.n.base.MTU }

// Addr is the machine's IPv4 address.
func (p *Port) Addr() netip.Addr { return p.ip }

// Attach implements link.Host.
func (p *Port) Attach(guest link.Guest, offloads link.Offloads) { p.gateway.Attach(guest, offloads) }

// Detach implements link.Host.
func (p *Port) Detach() { p.gateway.Detach() }

// Room implements link.Host.
func (p *Port) Room() { p.gateway.Room() }

// AddForward is as in vm.Networked, and so are those that follow.
func (p *Port) AddForward(f vm.Forward) (vm.Forward, error) { return p.gateway.AddForward(f) }

// RemoveForward closes a port.
func (p *Port) RemoveForward(id uint32) error { return p.gateway.RemoveForward(id) }

// Forwards are the ports that are open.
func (p *Port) Forwards() []vm.Forward { return p.gateway.Forwards() }

// SetPolicy puts another policy in force.
func (p *Port) SetPolicy(text json.RawMessage) error { return p.gateway.SetPolicy(text) }

// SetLimits changes how many flows the guest may open in a second.
func (p *Port) SetLimits(l vm.NetworkLimits) { p.gateway.SetLimits(l) }

// Stats are the counters of this moment, without what the device counts.
func (p *Port) Stats() vm.NetStats {
	s := p.gateway.Stats()
	c := &p.counts
	s.Malformed += c.malformed.Load()
	s.Spoofed += c.spoofed.Load()
	s.Stray += c.stray.Load()
	s.Peer = vm.PeerStats{Frames: c.toPeers.Load(), Denied: c.denied.Load(), Limited: c.limited.Load()}
	return s
}

// Close leaves the network and ends what the port holds. Preconditions: the device is
// closed.
func (p *Port) Close() error {
	p.n.leave(p)
	return p.gateway.Close()
}

// Send implements link.Host. Frames to one machine that follow each other are handed on
// together, and so are those to the gateway.
func (p *Port) Send(frames []link.Frame) {
	from := 0 // frames[from:i] are the gateway's
	for i := range frames {
		f := &frames[i]
		if p.forGateway(f) {
			p.flush()
			continue
		}
		if from < i {
			p.gateway.Send(frames[from:i])
		}
		from = i + 1
		p.switched(f, frames[i:i+1])
	}
	if from < len(frames) {
		p.gateway.Send(frames[from:])
	}
	p.flush()
}

// forGateway says whether a frame is addressed to the gateway, which checks all the
// rest. It looks at the address alone.
func (p *Port) forGateway(f *link.Frame) bool {
	var dst ether.MAC
	return frame.Copy(dst[:], f, 0, len(dst)) == len(dst) && dst == gateway.MAC
}

// push adds a frame that goes to another machine, with the headers that were checked.
func (p *Port) push(to *Port, pk *frame.Packet, f *link.Frame) {
	if p.to != to || len(p.run) == maxRun {
		p.flush()
	}
	p.to = to
	keep := &p.packets[len(p.run)]
	*keep = *pk
	head := min(pk.Size, headers(pk))
	at := len(p.pieces)
	p.pieces = append(p.pieces, keep.Head[:head])
	frame.Range(f, head, pk.Size, func(b []byte) { p.pieces = append(p.pieces, b) })
	p.run = append(p.run, link.Frame{Header: f.Header, Data: p.pieces[at:len(p.pieces):len(p.pieces)]})
}

// headers is how many bytes of a packet were checked.
func headers(pk *frame.Packet) int {
	switch {
	case pk.EtherType == frame.TypeARP:
		return frame.MaxHeaders
	case pk.Fragment:
		return min(pk.L4+8, pk.End) // with the ports
	}
	return pk.Payload
}

// flush hands on the frames to one machine.
func (p *Port) flush() {
	if len(p.run) == 0 {
		return
	}
	if p.to.ready.Load() {
		p.counts.toPeers.Add(uint64(len(p.run)))
		p.to.gateway.Deliver(p.run)
	}
	clear(p.run)
	clear(p.pieces)
	p.run, p.pieces, p.to = p.run[:0], p.pieces[:0], nil
}
