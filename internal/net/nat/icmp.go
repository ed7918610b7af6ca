package nat

import (
	"encoding/binary"
	"net/netip"

	"github.com/libcapsa/libcapsa/internal/net/frame"
	"github.com/libcapsa/libcapsa/internal/net/link"
	"github.com/libcapsa/libcapsa/internal/net/policy"
)

// Types of echo messages (RFC 792, RFC 4443 section 4).
const (
	echoRequest4 = 8
	echoRequest6 = 128
	echoReply6   = 129
)

// icmp takes an ICMP message of the guest. Echo requests are passed on as far as the
// host lets us; they are never answered in another's name. Errors that the guest
// reports concern nobody: its sockets' other sides are sockets of this process.
func (e *Engine) icmp(f *link.Frame) {
	p := &e.packet
	request, reply := p.Type == echoRequest4, byte(0)
	if p.Proto == frame.ICMPv6 {
		request, reply = p.Type == echoRequest6, echoReply6
	}
	if !request || p.DstMAC.Group() {
		return
	}
	if e.isGateway(p.Dst) {
		e.answerEcho(f, reply)
		return
	}
	id := binary.BigEndian.Uint16(p.Head[p.L4+4:])
	key := sessionKey{p.Proto, netip.AddrPortFrom(p.Src, id), netip.AddrPortFrom(p.Dst, 0)}
	s := e.datagrams.find(key)
	if s == nil {
		if s = e.openPing(key); s == nil {
			return
		}
	}
	s.reach(p.TTL)
	head := quote(p)
	e.pieces = append(e.pieces[:0], head[:])
	frame.Range(f, p.Payload, p.End, func(b []byte) { e.pieces = append(e.pieces, b) })
	s.send(e.pieces)
	clear(e.pieces)
}

// openPing is openSession where the host allows it. The policy is asked first, so
// that what it denies is told to be denied.
func (e *Engine) openPing(key sessionKey) *session {
	if !e.datagrams.pingable() && e.pingAllowed(key) {
		e.counts.noPing.Add(1)
		return nil
	}
	return e.openSession(key, quote(&e.packet), e.packet.End-e.packet.L4)
}

func (e *Engine) pingAllowed(key sessionKey) bool {
	return e.cfg.Policy.Flow(policy.Flow{Protocol: policy.ICMP, Src: key.guest, Dst: key.remote}).Action == policy.Allow
}

// answerEcho answers in the gateway's name.
func (e *Engine) answerEcho(f *link.Frame, reply byte) {
	p := &e.packet
	b := make([]byte, headroom+p.End-p.L4)
	copy(b[headroom:], p.Head[p.L4:p.Payload])
	frame.Copy(b[headroom+8:], f, p.Payload, p.End)
	b[headroom] = reply
	e.out.raw(e.build.packet(nil, b, p.Proto, 2, p.Dst, p.Src, e.fragID.Add(1))...)
}
