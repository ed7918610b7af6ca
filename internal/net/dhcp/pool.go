package dhcp

import (
	"encoding/binary"
	"net/netip"
	"time"

	"github.com/libcapsa/libcapsa/internal/net/ether"
)

// slot is one address and whom it belongs to.
type slot struct {
	addr  netip.Addr
	mac   ether.MAC // the last client that had it; zero: nobody yet
	state slotState
	ends  time.Time // of the offer, the lease or the quarantine
	host  string
}

type slotState uint8

const (
	idle     slotState = iota // remembered for its client, or never used
	offered                   // until ends
	leased                    // until ends
	declined                  // somebody else uses it: nobody gets it until ends
)

// free: nobody has a claim to it now.
func (s *slot) free(now time.Time) bool { return s.state == idle || !s.ends.After(now) }

// pool is every address that can be given out. Its tables have a fixed size: one
// slot for each address, and at most one client for each slot.
type pool struct {
	slots    []slot
	at       map[netip.Addr]*slot
	of       map[ether.MAC]*slot // whom slots remember
	reserved map[ether.MAC]*slot
}

func newPool(c *Config) *pool {
	p := &pool{at: map[netip.Addr]*slot{}, of: map[ether.MAC]*slot{}, reserved: map[ether.MAC]*slot{}}
	kept := map[netip.Addr]bool{c.Server: true, c.Router: true}
	for mac, r := range c.Reservations {
		kept[r.Addr] = true
		p.reserved[mac] = &slot{addr: r.Addr, mac: mac, host: r.Hostname}
	}
	if !c.First.IsValid() {
		return p
	}
	for n := number(c.First); n <= number(c.Last); n++ {
		if a := fromNumber(n); !kept[a] {
			p.slots = append(p.slots, slot{addr: a})
		}
	}
	for i := range p.slots {
		p.at[p.slots[i].addr] = &p.slots[i]
	}
	return p
}

// known is the slot that a client has, or had last.
func (p *pool) known(mac ether.MAC) *slot {
	if s := p.reserved[mac]; s != nil {
		return s
	}
	return p.of[mac]
}

// take finds a slot for a client: its own; the one it wants, if that is free; or
// another, at first those that nobody ever had. It is nil when all are in use.
func (p *pool) take(mac ether.MAC, want netip.Addr, now time.Time) *slot {
	if s := p.known(mac); s != nil {
		return s
	}
	s := p.at[want]
	if s == nil || !s.free(now) {
		s = p.any(mac, now)
	}
	if s == nil {
		return nil
	}
	delete(p.of, s.mac)
	*s = slot{addr: s.addr, mac: mac}
	p.of[mac] = s
	return s
}

// any begins to look at a place that depends on the client, so that a client gets
// the same address from a server that starts anew.
func (p *pool) any(mac ether.MAC, now time.Time) *slot {
	var oldest *slot
	begin := hash(mac)
	for i := range p.slots {
		s := &p.slots[(begin+uint64(i))%uint64(len(p.slots))]
		switch {
		case !s.free(now):
		case s.mac == ether.MAC{} && s.state == idle:
			return s
		case oldest == nil || s.ends.Before(oldest.ends):
			oldest = s
		}
	}
	return oldest
}

// decline puts an address aside that its client found in use.
func (p *pool) decline(s *slot, until time.Time) {
	if p.reserved[s.mac] == s {
		s.state = idle // its owner wants it so
		return
	}
	delete(p.of, s.mac)
	*s = slot{addr: s.addr, state: declined, ends: until}
}

// hash is FNV-1a.
func hash(mac ether.MAC) uint64 {
	h := uint64(14695981039346656037)
	for _, b := range mac {
		h = (h ^ uint64(b)) * 1099511628211
	}
	return h
}

func number(a netip.Addr) uint32 {
	b := a.As4()
	return binary.BigEndian.Uint32(b[:])
}

func fromNumber(n uint32) netip.Addr {
	return netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, n)))
}
