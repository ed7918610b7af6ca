package policy

import (
	"container/list"
	"net/netip"
	"sync"
	"time"
)

// Limits of the pins of one machine. Beyond them the address that was learnt
// longest ago is forgotten; what its machine loses, it has lost by its own queries.
const (
	MaxPinned   = 4096  // addresses
	MaxPins     = 16384 // names of all addresses together
	MaxPinNames = 64    // names of one address
)

// How long a pin lives: the answer's TTL within these limits, and some time for
// connections that are opened at the last moment.
const (
	MinTTL = 30 * time.Second
	MaxTTL = time.Hour
	Grace  = 30 * time.Second
)

// ClampTTL is the TTL to put into the answer that the machine gets, so that it asks
// again before its pin ends.
func ClampTTL(ttl time.Duration) time.Duration { return min(max(ttl, MinTTL), MaxTTL) }

// pins remembers which names led a machine to an address.
type pins struct {
	mu    sync.Mutex
	of    map[netip.Addr]*list.Element // of *pinned; guarded by mu
	order list.List                    // learnt last at the front; guarded by mu
	count int                          // names of all; guarded by mu
}

type pinned struct {
	addr  netip.Addr
	names []pin
}

type pin struct {
	name string // canonical
	ends time.Time
}

// learn adds a canonical name to an unmapped address.
func (p *pins) learn(name string, addr netip.Addr, ttl time.Duration, now time.Time) {
	ends := now.Add(ClampTTL(ttl) + Grace)
	p.mu.Lock()
	defer p.mu.Unlock()
	at, known := p.of[addr]
	if !known {
		if p.of == nil {
			p.of = make(map[netip.Addr]*list.Element)
		}
		at = p.order.PushFront(&pinned{addr: addr})
		p.of[addr] = at
	}
	p.order.MoveToFront(at)
	entry := at.Value.(*pinned)
	before := len(entry.names)
	entry.add(pin{name, ends}, now)
	p.count += len(entry.names) - before
	for p.order.Len() > MaxPinned || p.count > MaxPins {
		last := p.order.Remove(p.order.Back()).(*pinned)
		delete(p.of, last.addr)
		p.count -= len(last.names)
	}
}

// add forgets what has ended, and the name that ends first if there are too many.
func (e *pinned) add(fresh pin, now time.Time) {
	kept, first := e.names[:0], 0
	for _, old := range e.names {
		if old.name == fresh.name {
			if old.ends.After(fresh.ends) {
				fresh.ends = old.ends // another answer's, that still holds
			}
			continue
		}
		if !old.ends.After(now) {
			continue
		}
		kept = append(kept, old)
		if old.ends.Before(kept[first].ends) {
			first = len(kept) - 1
		}
	}
	clear(e.names[len(kept):])
	if len(kept) == MaxPinNames {
		kept[first] = kept[len(kept)-1]
		kept = kept[:len(kept)-1]
	}
	e.names = append(kept, fresh)
}

// names appends the names that an address has now.
func (p *pins) names(to []string, addr netip.Addr, now time.Time) []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	at, known := p.of[addr]
	if !known {
		return to
	}
	for _, pin := range at.Value.(*pinned).names {
		if pin.ends.After(now) {
			to = append(to, pin.name)
		}
	}
	return to
}
