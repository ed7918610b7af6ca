package dhcp

import (
	"encoding/binary"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/libcapsa/libcapsa/internal/net/ether"
)

// UDP ports (RFC 2131 section 4.1).
const (
	ServerPort = 67
	ClientPort = 68
)

// How long an address is kept for a client that was offered it, and how long one is
// not given out that a client found in use. Ours; RFC 2131 leaves both open.
const (
	offerTime   = time.Minute
	declineTime = 10 * time.Minute
)

// Server gives out addresses.
type Server struct {
	config Config

	mu    sync.Mutex
	pool  *pool // guarded by mu
	stats Stats // guarded by mu
}

// Reply is an answer. It goes from Config.Server, port ServerPort, in one frame.
type Reply struct {
	Payload []byte         // of the UDP datagram
	Dst     netip.AddrPort // 255.255.255.255 or the client's address
	MAC     ether.MAC      // of the frame: ether.Broadcast or the client's
	Type    Type           // Offer, ACK or NAK
	Addr    netip.Addr     // that was given, or is used by who sent an Inform; invalid with NAK
}

// Lease is an address that is in use.
type Lease struct {
	MAC  ether.MAC
	Addr netip.Addr
	Ends time.Time
}

// Stats counts since the server was made.
type Stats struct {
	Received  [9]uint64 // by Type, of those that were understood
	Sent      [9]uint64 // by Type
	Malformed uint64    // not a message, or one that contradicts itself
	Spoofed   uint64    // in another client's name
	Exhausted uint64    // no address was free
	Declined  uint64    // addresses that clients found in use
	LeftOut   uint64    // options that the client had no room for
}

// New makes a server. Its error says which part of the configuration is wrong. The
// configuration is copied.
func New(config Config) (*Server, error) {
	if err := config.check(); err != nil {
		return nil, err
	}
	config.Reservations = maps.Clone(config.Reservations)
	config.DNS, config.Search = slices.Clone(config.DNS), slices.Clone(config.Search)
	config.Routes = slices.Clone(config.Routes)
	if config.Lease == 0 {
		config.Lease = DefaultLease
	}
	return &Server{config: config, pool: newPool(&config)}, nil
}

// Handle answers one message. from is the source of its frame; a message in the name
// of another client is not answered. It is false where there is nothing to send. The
// payload is not kept.
func (s *Server) Handle(payload []byte, from ether.MAC, now time.Time) (Reply, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m, ok := parse(payload)
	if !ok {
		s.stats.Malformed++
		return Reply{}, false
	}
	if m.chaddr != from || !from.Unicast() {
		s.stats.Spoofed++
		return Reply{}, false
	}
	if int(m.kind) < len(s.stats.Received) {
		s.stats.Received[m.kind]++
	}
	reply, ok := s.dispatch(&m, now)
	if ok {
		s.stats.Sent[reply.Type]++
	}
	return reply, ok
}

func (s *Server) dispatch(m *message, now time.Time) (Reply, bool) {
	switch m.kind {
	case Discover:
		return s.discover(m, now)
	case Request:
		return s.request(m, now)
	case Inform:
		return s.inform(m)
	case Decline:
		s.decline(m, now)
	case Release:
		s.release(m, now)
	}
	return Reply{}, false
}

// Addr is the address that a client has leased now, or that is reserved for it.
func (s *Server) Addr(mac ether.MAC, now time.Time) (netip.Addr, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	slot := s.pool.known(mac)
	if slot == nil || s.pool.reserved[mac] == nil && (slot.state != leased || slot.free(now)) {
		return netip.Addr{}, false
	}
	return slot.addr, true
}

// Leases are those that have not ended, by address.
func (s *Server) Leases(now time.Time) []Lease {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []Lease
	add := func(slot *slot) {
		if slot.state == leased && !slot.free(now) {
			list = append(list, Lease{MAC: slot.mac, Addr: slot.addr, Ends: slot.ends})
		}
	}
	for i := range s.pool.slots {
		add(&s.pool.slots[i])
	}
	for _, slot := range s.pool.reserved {
		add(slot)
	}
	slices.SortFunc(list, func(a, b Lease) int { return a.Addr.Compare(b.Addr) })
	return list
}

// Stats is a copy of the counters.
func (s *Server) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stats
}

// mask of a network, as four bytes.
func mask(bits int) []byte { return binary.BigEndian.AppendUint32(nil, ^uint32(0)<<(32-bits)) }
