package dhcp

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"time"

	"github.com/libcapsa/libcapsa/internal/net/ether"
)

// discover offers an address, or gives it at once to who asks for that (RFC 4039).
func (s *Server) discover(m *message, now time.Time) (Reply, bool) {
	slot := s.pool.take(m.chaddr, m.requested, now)
	if slot == nil {
		s.stats.Exhausted++
		return Reply{}, false
	}
	if m.rapid {
		return s.lend(m, slot, now), true
	}
	if slot.free(now) || slot.state == offered {
		slot.state, slot.ends = offered, now.Add(offerTime)
	}
	return s.answer(m, Offer, slot), true
}

// request is RFC 2131 section 4.3.2. The table there goes by which of the three
// addresses are given.
func (s *Server) request(m *message, now time.Time) (Reply, bool) {
	want, selecting := m.requested, m.server.IsValid()
	switch {
	case selecting && m.server != s.config.Server:
		// The client took another server's offer.
		if slot := s.pool.known(m.chaddr); slot != nil && slot.state == offered {
			slot.state = idle
		}
		return Reply{}, false
	case !want.IsValid(): // it renews, or rebinds
		want = m.ciaddr
	}
	slot := s.pool.take(m.chaddr, want, now)
	if slot == nil {
		s.stats.Exhausted++
	}
	if slot == nil || slot.addr != want {
		return s.refuse(m), true
	}
	return s.lend(m, slot, now), true
}

// lend begins or prolongs a lease.
func (s *Server) lend(m *message, slot *slot, now time.Time) Reply {
	slot.state, slot.ends = leased, now.Add(s.config.Lease)
	return s.answer(m, ACK, slot)
}

// inform tells a client that has an address of its own about the network.
func (s *Server) inform(m *message) (Reply, bool) {
	if !s.config.host(m.ciaddr) || m.ciaddr == s.config.Server {
		s.stats.Malformed++
		return Reply{}, false
	}
	reply := s.answer(m, ACK, nil)
	reply.Addr = m.ciaddr
	return reply, true
}

// decline and release count only for the client's own address.
func (s *Server) decline(m *message, now time.Time) {
	slot := s.pool.known(m.chaddr)
	if slot != nil && slot.addr == m.requested && m.server == s.config.Server && slot.state != idle {
		s.stats.Declined++
		s.pool.decline(slot, now.Add(declineTime))
	}
}

func (s *Server) release(m *message, now time.Time) {
	slot := s.pool.known(m.chaddr)
	if slot != nil && slot.addr == m.ciaddr && m.server == s.config.Server && slot.state == leased {
		slot.state, slot.ends = idle, now
	}
}

// refuse is a NAK. It is broadcast, since the client's address may be wrong on this
// link.
func (s *Server) refuse(m *message) Reply {
	w := s.begin(m, NAK)
	w.add(optMessage, []byte("address not available"))
	return s.finish(m, w, NAK, netip.Addr{})
}

// answer is an Offer or an ACK. Without a slot it answers an Inform: no address and
// no times (RFC 2131 section 4.3.5).
func (s *Server) answer(m *message, kind Type, slot *slot) Reply {
	w := s.begin(m, kind)
	hostname, given := "", netip.Addr{}
	if slot != nil {
		given, hostname = slot.addr, slot.host
		copy(w.b[offYIAddr:], given.AsSlice())
		w.addSeconds(optLease, s.config.Lease)
		w.addSeconds(optRenewal, s.config.Lease/2)
		w.addSeconds(optRebinding, s.config.Lease/8*7)
		if kind == ACK && m.kind == Discover {
			w.b = append(w.b, optRapid, 0)
		}
	} else if r, there := s.config.Reservations[m.chaddr]; there {
		hostname = r.Hostname
	}
	s.describe(m, w, hostname)
	return s.finish(m, w, kind, given)
}

// describe adds the network, what matters most first. What every client needs is
// sent to all of them, the rest to those that ask or do not say.
func (s *Server) describe(m *message, w *writer, hostname string) {
	c := &s.config
	w.add(optMask, mask(c.Network.Bits()))
	w.addAddr(optRouter, c.Router)
	var dns []byte
	for _, a := range c.DNS {
		dns = append(dns, a.AsSlice()...)
	}
	w.add(optDNS, dns)
	wants := func(code byte) bool { return m.wanted == nil || bytes.IndexByte(m.wanted, code) >= 0 }
	if wants(optMTU) && c.MTU != 0 {
		w.add(optMTU, binary.BigEndian.AppendUint16(nil, uint16(c.MTU)))
	}
	if wants(optRoutes) {
		w.add(optRoutes, routes(c.Routes, c.Router))
	}
	if wants(optBroadcast) {
		w.addAddr(optBroadcast, c.broadcast())
	}
	if wants(optHostname) {
		w.add(optHostname, []byte(hostname))
	}
	if wants(optDomain) {
		w.add(optDomain, []byte(c.Domain))
	}
	if wants(optSearch) {
		w.add(optSearch, names(c.Search))
	}
}

// begin writes the fixed part, and the options that every answer has.
func (s *Server) begin(m *message, kind Type) *writer {
	w := &writer{b: make([]byte, offOptions, minPayload), limit: m.limit}
	w.b[offOp], w.b[offHType], w.b[offHLen] = opReply, htypeEthernet, byte(len(m.chaddr))
	copy(w.b[offXID:], m.xid[:])
	binary.BigEndian.PutUint16(w.b[offFlags:], m.flags&flagBroadcast)
	if kind == ACK {
		copy(w.b[offCIAddr:], m.ciaddr.AsSlice())
	}
	copy(w.b[offCHAddr:], m.chaddr[:])
	binary.BigEndian.PutUint32(w.b[offCookie:], cookie)
	w.add(optType, []byte{byte(kind)})
	w.addAddr(optServer, s.config.Server)
	w.add(optClientID, m.clientID) // RFC 6842
	return w
}

// finish says where the answer goes (RFC 2131 section 4.1). A client without an
// address, that does not ask for a broadcast, takes datagrams to the address that it
// is about to get.
func (s *Server) finish(m *message, w *writer, kind Type, given netip.Addr) Reply {
	s.stats.LeftOut += uint64(w.left)
	reply := Reply{Payload: w.end(), MAC: m.chaddr, Type: kind, Addr: given}
	to := given
	switch {
	case kind == ACK && !m.ciaddr.IsUnspecified() && (!given.IsValid() || given == m.ciaddr):
		to = m.ciaddr
	case kind == NAK || m.flags&flagBroadcast != 0:
		to, reply.MAC = netip.AddrFrom4([4]byte{255, 255, 255, 255}), ether.Broadcast
	}
	reply.Dst = netip.AddrPortFrom(to, ClientPort)
	return reply
}
