package gateway

import (
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"time"

	"github.com/libcapsa/libcapsa/internal/net/arp"
	"github.com/libcapsa/libcapsa/internal/net/dns"
	"github.com/libcapsa/libcapsa/internal/net/ether"
	"github.com/libcapsa/libcapsa/internal/safe"
)

// Ethernet (IEEE 802.3): the header's length in bytes, and types of what follows.
const (
	etherSize = 14
	typeARP   = 0x0806
	typeIPv6  = 0x86dd
)

// pack puts an Ethernet header before a packet.
func (g *Gateway) pack(to ether.MAC, kind uint16, packet []byte) []byte {
	b := make([]byte, 0, etherSize+len(packet))
	b = append(append(b, to[:]...), g.mac[:]...)
	return append(binary.BigEndian.AppendUint16(b, kind), packet...)
}

// owner is whose an address is.
func (g *Gateway) owner(a netip.Addr) (ether.MAC, bool) {
	switch {
	case a == g.cfg.Gateway, g.cfg.IPv6.IsValid() && a == g.gateway6():
		return g.mac, true
	case a == g.cfg.Guest:
		return g.guest, true
	}
	return ether.MAC{}, false
}

// serveNeighbor answers whole frames of ARP and of neighbour discovery.
func (g *Gateway) serveNeighbor(b []byte, reply func(frame []byte)) {
	if len(b) < etherSize {
		return
	}
	from, packet := ether.MAC(b[6:12]), b[etherSize:]
	switch kind := binary.BigEndian.Uint16(b[12:]); {
	case kind == typeARP:
		if r := arp.Handle(packet, from, g.owner); r.Reply != nil {
			reply(g.pack(r.To, typeARP, r.Reply))
		}
	case kind == typeIPv6 && g.router != nil:
		for _, p := range g.router.Handle(packet, from).Packets {
			reply(g.pack(p.To, typeIPv6, p.Bytes))
		}
	}
}

// serveDHCP answers for the guest alone: package nat lets no other frames through.
func (g *Gateway) serveDHCP(payload []byte, _ netip.AddrPort, reply func([]byte, netip.AddrPort)) {
	if r, ok := g.dhcp.Handle(payload, g.guest, time.Now()); ok {
		reply(r.Payload, r.Dst)
	}
}

func (g *Gateway) serveDHCP6(payload []byte, _, _ netip.AddrPort, reply func([]byte)) {
	if answer, ok := g.dhcp6.Handle(payload); ok {
		reply(answer)
	}
}

// serveDNS answers what is known at once. What name servers have to be asked for,
// another goroutine waits for; package dns bounds how many do.
func (g *Gateway) serveDNS(query []byte, _, _ netip.AddrPort, reply func([]byte)) {
	answer, err := g.dns.Local(query, dns.UDP)
	switch {
	case err != nil: // no query: no answer
	case answer != nil:
		reply(answer)
	default:
		query = bytes.Clone(query)
		g.start("gateway dns", func() {
			if answer, err := g.dns.Exchange(g.ctx, query, dns.UDP); err == nil {
				reply(answer)
			}
		})
	}
}

const (
	// maxResolvers is how many connections to the DNS a guest has at once; more are
	// closed. Ours.
	maxResolvers = 64
	// resolverIdle is how long a connection waits for a query (RFC 7766 section 6.2.3
	// asks for seconds), and for the guest to take an answer.
	resolverIdle = 20 * time.Second
)

// serveDNSConn answers queries over TCP, one after the other (RFC 1035 section 4.2.2).
func (g *Gateway) serveDNSConn(conn net.Conn) {
	select {
	case g.resolvers <- struct{}{}:
		defer func() { <-g.resolvers }()
	default:
		return
	}
	var size [2]byte
	for {
		if conn.SetDeadline(time.Now().Add(resolverIdle)) != nil {
			return
		}
		if _, err := io.ReadFull(conn, size[:]); err != nil {
			return
		}
		query := make([]byte, binary.BigEndian.Uint16(size[:]))
		if _, err := io.ReadFull(conn, query); err != nil {
			return
		}
		answer, err := g.dns.Exchange(g.ctx, query, dns.TCP)
		if err != nil || len(answer) > 1<<16-1 {
			return
		}
		if conn.SetDeadline(time.Now().Add(resolverIdle)) != nil {
			return
		}
		if _, err := conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(answer))), answer...)); err != nil {
			return
		}
	}
}

// advertiseInterval is less than half of a router's longest lifetime, so that one
// advertisement may get lost (RFC 4861 section 6.2.1 has shorter ones, for links with
// several routers).
const advertiseInterval = 8 * time.Hour

// advertise tells of the router now and then, as long as a guest is attached. The
// guest asks for the first advertisement itself.
func (g *Gateway) advertise() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.router == nil || g.closed || g.timer != nil {
		return
	}
	g.timer = time.AfterFunc(advertiseInterval, func() {
		_ = safe.Run("gateway advertisement", func() {
			p := g.router.Advertisement()
			g.engine.Inject(g.pack(p.To, typeIPv6, p.Bytes))
			g.mu.Lock()
			defer g.mu.Unlock()
			if g.timer != nil {
				g.timer.Reset(advertiseInterval)
			}
		})
	})
}

// hush ends that.
func (g *Gateway) hush() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.timer != nil {
		g.timer.Stop()
		g.timer = nil
	}
}
