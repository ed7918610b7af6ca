package nat

import (
	"encoding/binary"
	"net/netip"

	"github.com/libcapsa/libcapsa/internal/net/frame"
	"github.com/libcapsa/libcapsa/internal/net/link"
)

// maxNeighbor is the longest frame that is given to Services.Neighbor.
const maxNeighbor = 1514

// neighbor takes a frame of ARP or of neighbor discovery.
func (e *Engine) neighbor(f *link.Frame) {
	p := &e.packet
	if p.Size > maxNeighbor {
		e.counts.misdirected.Add(1)
		return
	}
	b := make([]byte, p.Size)
	frame.Copy(b, f, 0, p.Size)
	if p.Inner || p.Partial {
		frame.Complete(b[:p.End], int(f.Header.CSumStart), int(f.Header.CSumOffset))
	}
	switch {
	case e.cfg.Services.Neighbor != nil:
		e.cfg.Services.Neighbor(b, e.Inject)
	case p.EtherType == frame.TypeARP:
		e.answerARP(b[frame.EtherSize:])
	case p.Type == neighborSolicitation:
		e.answerSolicitation(b[p.L4:p.End])
	}
}

// answerARP answers a request for the gateway's address (RFC 826).
func (e *Engine) answerARP(q []byte) {
	if len(q) < 28 || [8]byte(q[:8]) != [8]byte{0, 1, 8, 0, 6, 4, 0, 1} {
		return
	}
	sender, target := netip.AddrFrom4([4]byte(q[14:18])), netip.AddrFrom4([4]byte(q[24:28]))
	if frame.MAC(q[8:14]) != e.cfg.GuestMAC || target != e.cfg.Gateway4 || sender != e.cfg.Guest4.Addr() && !sender.IsUnspecified() {
		return
	}
	b := make([]byte, frame.EtherSize+28)
	e.build.ethernet(b, frame.EtherSize, frame.TypeARP)
	a := b[frame.EtherSize:]
	copy(a, []byte{0, 1, 8, 0, 6, 4, 0, 2})
	copy(a[8:], e.cfg.GatewayMAC[:])
	copy(a[14:], q[24:28])
	copy(a[18:], q[8:18])
	e.Inject(b)
}

// Types of neighbor discovery (RFC 4861 section 4).
const (
	neighborSolicitation  = 135
	neighborAdvertisement = 136
)

// allNodes is where advertisements go for who has no address yet.
var allNodes = netip.MustParseAddr("ff02::1")

// answerSolicitation answers a solicitation for one of the gateway's addresses
// (RFC 4861 section 7.2.4).
func (e *Engine) answerSolicitation(q []byte) {
	p := &e.packet
	if len(q) < 24 || p.TTL != 255 {
		return
	}
	target := netip.AddrFrom16([16]byte(q[8:24]))
	if target != e.cfg.Gateway6 && target != e.linkLocal() {
		return
	}
	b := make([]byte, headroom+32)
	a := b[headroom:]
	a[0], a[4] = neighborAdvertisement, 0xe0 // router, solicited, override
	to, mac := p.Src, e.cfg.GuestMAC
	if p.Src.IsUnspecified() {
		to, mac, a[4] = allNodes, frame.MAC{0x33, 0x33, 0, 0, 0, 1}, 0xa0
	}
	copy(a[8:], q[8:24])
	a[24], a[25] = 2, 1 // target link-layer address
	copy(a[26:], e.cfg.GatewayMAC[:])
	build := e.build
	build.to = mac
	start := build.ipHeader(b, headroom, len(a), frame.ICMPv6, target, to)
	b[headroom-40+7] = 255
	binary.BigEndian.PutUint16(a[2:], frame.Pseudo(target, to, frame.ICMPv6, len(a)))
	frame.Complete(b, headroom, 2)
	e.Inject(b[start:])
}

// linkLocal is the gateway's link-local address (RFC 4291 appendix A).
func (e *Engine) linkLocal() netip.Addr {
	m := e.cfg.GatewayMAC
	return netip.AddrFrom16([16]byte{0xfe, 0x80, 0, 0, 0, 0, 0, 0, m[0] ^ 2, m[1], m[2], 0xff, 0xfe, m[3], m[4], m[5]})
}
