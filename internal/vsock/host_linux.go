package vsock

import (
	"sync"

	"golang.org/x/sys/unix"

	"github.com/libcapsa/libcapsa/internal/safe"
	"github.com/libcapsa/libcapsa/internal/vm"
	"github.com/libcapsa/libcapsa/internal/vsock/packet"
)

// DefaultMaxConnections is Config.MaxConnections where that is 0. Each
// connection has a descriptor of this process.
const DefaultMaxConnections = 4096

// maxRefusals is how many refusals wait for the guest to take them, at most. A
// guest that makes no room for them gets no more.
const maxRefusals = 1024

// Config is what a host's side is made from.
type Config struct {
	// CID is the guest's address, from TakeCID or ReserveCID. It stays the
	// caller's, who returns it after Close.
	CID uint64
	// Dir is the directory of the sockets that are named automatically. It
	// exists, belongs to this user, and nobody else can enter it (0700). "": one
	// is made in the system's directory for temporary files when it is needed
	// first, and removed by Close.
	Dir string
	// MaxConnections bounds the connections. 0: DefaultMaxConnections.
	MaxConnections int
}

// Host is the host's side of one machine's sockets. Its methods may be called
// from everywhere, but for Send, Finished and Fill.
type Host struct {
	cid      uint64
	max      int
	incoming *message // of Fill
	outgoing *message // of Send

	pollerDone chan struct{}

	mu        sync.Mutex
	poll      *poller
	closed    bool
	broken    error       // the poller's goroutine has panicked
	link      packet.Link // its Guest is nil while no driver runs
	epoch     uint64      // counts drivers: what was kept of an earlier one is nobody's
	keep      int         // what may still be kept, by weight
	table     map[tuple]*conn
	lingering int // connections that are not in the table
	sockets   int // connections whose socket is not closed yet
	credits   budget
	port      uint32 // of the host, the next to try for Connect

	owing    fifo[*conn]
	ready    fifo[*conn]
	refusals fifo[packet.Header]
	finished fifo[*packet.Packet]

	dying    []*conn // without users: unlock closes their sockets
	breaking []*conn // in use: unlock drops what they owe

	services map[uint32]*service // by the host's port: where the guest's connections go
	doors    map[uint32]*door    // by the guest's port: where the host's come in
	names    names
	stats    Stats
}

// New makes a host's side with no ports. Close releases it. Errors:
// vm.KindInvalidArg, and what the system refuses.
func New(cfg Config) (*Host, error) {
	if !packet.ValidCID(cfg.CID) || cfg.MaxConnections < 0 {
		return nil, vm.Errorf(vm.KindInvalidArg, "vsock", "address %d with %d connections", cfg.CID, cfg.MaxConnections).
			WithComponent("vsock").WithHint("addresses are 3 to 4294967294")
	}
	p, err := newPoller()
	if err != nil {
		return nil, wrap("vsock", err)
	}
	h := &Host{
		cid:        cfg.CID,
		max:        cfg.MaxConnections,
		incoming:   new(message),
		outgoing:   new(message),
		pollerDone: make(chan struct{}),
		poll:       p,
		table:      map[tuple]*conn{},
		port:       firstEphemeral,
		services:   map[uint32]*service{},
		doors:      map[uint32]*door{},
		names:      names{dir: cfg.Dir},
	}
	if h.max == 0 {
		h.max = DefaultMaxConnections
	}
	safe.Go("vsock poller", h.fail, h.run)
	return h, nil
}

// fail ends everything after a panic of the poller's goroutine.
func (h *Host) fail(err error) {
	h.mu.Lock()
	h.broken = err
	h.endAll(err)
	h.unlock()
}

// GuestCID is the guest's address.
func (h *Host) GuestCID() uint64 { return h.cid }

// Attach begins to serve a driver. Detach comes between two calls.
func (h *Host) Attach(link packet.Link) {
	h.mu.Lock()
	h.epoch++
	h.link, h.keep = link, link.Keep
	h.mu.Unlock()
	link.Guest.Notify() // for who asked for a connection before
}

// Detach ends all connections: the driver is gone. The host's users read what
// has come for them and then the end. Connections that the driver was not asked
// for yet are left to the next one. Preconditions: neither Send nor Fill is
// running. Postconditions: no packet of the guest is kept.
func (h *Host) Detach() {
	h.mu.Lock()
	h.link = packet.Link{}
	h.epoch++
	h.refusals.clear()
	h.finished.clear()
	conns := h.useAll()
	h.mu.Unlock()
	for _, c := range conns {
		c.out.copyKept()
		h.mu.Lock()
		gone := h.guestGone(c)
		h.mu.Unlock()
		var r progress
		if gone {
			_ = unix.Shutdown(c.fd, unix.SHUT_RD)
			r = c.finish()
		}
		h.account(c, r)
	}
	h.mu.Lock()
	for _, c := range h.table {
		if c.state == closing { // these have no socket
			h.end(c, nil)
		}
	}
	h.unlock()
}

// guestGone takes note that the guest will not answer any more. It says whether
// the connection is to be finished. Preconditions: h.mu is held; c is in use.
func (h *Host) guestGone(c *conn) bool {
	switch {
	case c.state == established:
		h.leave(c)
		return true
	case c.state == requested && c.owed&newsRequest == 0:
		h.end(c, errReset)
	}
	return false
}

// Disconnect ends all connections at once and tells the driver so, by a
// transport reset: what was under way is lost. Ports stay. It is for a guest
// whose connections cannot be what they were, after a snapshot say.
func (h *Host) Disconnect() {
	h.mu.Lock()
	h.endAll(errReset)
	h.refusals.clear()
	guest := h.link.Guest
	h.unlock()
	if guest != nil {
		guest.TransportReset()
	}
}

// endAll ends all connections. Preconditions: h.mu is held, and is unlocked with
// unlock.
func (h *Host) endAll(why error) {
	for _, w := range h.poll.table {
		if c, ok := w.target.(*conn); ok {
			h.end(c, why)
		}
	}
	for _, c := range h.table { // those without a socket
		h.end(c, why)
	}
}

// Close ends everything and returns when nothing is left: connections, ports,
// names and the goroutine. What the guest had sent still reaches the host's
// users as far as their sockets have room. Idempotent. Preconditions: the
// device is closed.
func (h *Host) Close() error {
	h.mu.Lock()
	if h.closed {
		h.mu.Unlock()
		<-h.pollerDone
		return nil
	}
	h.closed = true
	for port := range h.services {
		h.removeService(port)
	}
	for port := range h.doors {
		h.removeDoor(port)
	}
	conns := h.useAll()
	h.mu.Unlock()

	h.poll.interrupt()
	<-h.pollerDone
	m := new(message)
	for _, c := range conns {
		widen(c.fd)
		h.account(c, h.flush(c, m))
	}
	h.mu.Lock()
	h.endAll(errClosed)
	h.unlock()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.poll.close()
	h.names.remove()
	return nil
}

// guest returns the running driver, nil if there is none.
func (h *Host) guest() packet.Guest {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.link.Guest
}

// Stats returns the counts of this moment.
func (h *Host) Stats() Stats {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := h.stats
	s.Connections, s.Sockets = h.count(), h.sockets
	s.Owed, s.Credit = h.owing.len(), uint64(h.credits.given)
	return s
}
