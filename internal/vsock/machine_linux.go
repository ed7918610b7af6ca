package vsock

import (
	"golang.org/x/sys/unix"

	"github.com/libcapsa/libcapsa/internal/vsock/packet"
)

// work is what is left to do about a packet without the lock. Its bits are done
// in the order they stand here.
type work uint8

const (
	workWrite  work = 1 << iota // hand the payload to the socket
	workDeafen                  // the host's user cannot send any more
	workFinish                  // what is pending is the last
	workAdmit                   // connect to the port's service
)

// handler does what a packet means for a connection. Preconditions: h.mu is
// held. nil stands for a packet that a guest does not send in that state: the
// connection is reset.
type handler func(h *Host, c *conn, p *packet.Packet) work

// machine is what each packet does in each state that is in the table.
var machine = [closing + 1][packet.NumOps]handler{
	requested: {
		packet.OpResponse: (*Host).onResponse,
		packet.OpReset:    (*Host).onReset,
	},
	established: {
		packet.OpData:          (*Host).onData,
		packet.OpShutdown:      (*Host).onShutdown,
		packet.OpReset:         (*Host).onReset,
		packet.OpCreditUpdate:  (*Host).onCreditUpdate,
		packet.OpCreditRequest: (*Host).onCreditRequest,
	},
	closing: {
		packet.OpData:          (*Host).onData,
		packet.OpShutdown:      (*Host).onShutdown,
		packet.OpReset:         (*Host).onReset,
		packet.OpCreditUpdate:  (*Host).onCreditUpdate,
		packet.OpCreditRequest: (*Host).onCreditRequest,
	},
}

// Send takes one packet of the guest. It is true when the packet is kept: then
// it stays as it is until Finished returns it. Only the device's transmit
// worker calls it.
func (h *Host) Send(p *packet.Packet) (kept bool) {
	c, todo := h.judge(p)
	if todo&workAdmit != 0 {
		h.admit(&p.Header)
	}
	if c == nil {
		return false
	}
	return h.perform(c, p, todo)
}

// Finished returns the next packet that was kept and is not any more, nil when
// there is none. Only the device's transmit worker calls it.
func (h *Host) Finished() *packet.Packet {
	h.mu.Lock()
	defer h.mu.Unlock()
	p, _ := h.finished.pop()
	return p
}

// judge decides what a packet does. A connection it returns is in use.
func (h *Host) judge(p *packet.Packet) (*conn, work) {
	h.mu.Lock()
	defer h.unlock()
	h.stats.Packets++
	hdr := &p.Header
	if hdr.SrcCID != h.cid {
		h.stats.Rejected++ // there is nobody to answer to
		return nil, 0
	}
	c := h.table[tuple{hdr.DstPort, hdr.SrcPort}]
	if hdr.DstCID != packet.HostCID {
		c = nil
	}
	if !h.sound(p) || c != nil && c.typ != hdr.Type {
		h.violated(c, hdr)
		return nil, 0
	}
	if c == nil {
		return nil, h.stray(hdr)
	}
	handle := machine[c.state][hdr.Op]
	if handle == nil || hdr.Op != packet.OpReset && !h.credited(c, hdr) {
		h.violated(c, hdr)
		return nil, 0
	}
	todo := handle(h, c, p)
	if todo == 0 || !h.use(c) {
		return nil, 0
	}
	return c, todo
}

// sound checks what does not depend on a connection. Preconditions: h.mu is
// held.
func (h *Host) sound(p *packet.Packet) bool {
	hdr := &p.Header
	switch {
	case hdr.Op == packet.OpInvalid || hdr.Op >= packet.NumOps:
		return false
	case hdr.Type != packet.Stream && (hdr.Type != packet.SeqPacket || !h.link.SeqPacket):
		return false
	case hdr.SrcPort == packet.PortAny || hdr.DstPort == packet.PortAny:
		return false
	case hdr.Len > packet.MaxPayload || int(hdr.Len) != p.Size:
		return false
	case hdr.Len != 0 && hdr.Op != packet.OpData:
		return false
	}
	return true
}

// stray answers a packet that no connection in the table is meant by.
// Preconditions: h.mu is held.
func (h *Host) stray(hdr *packet.Header) work {
	switch {
	case hdr.Op == packet.OpReset:
		return 0
	case hdr.Op == packet.OpRequest && hdr.DstCID == packet.HostCID:
		return workAdmit
	default:
		h.refuse(hdr)
		return 0
	}
}

// violated resets the connection of a guest that broke the rules, if there is
// one. Preconditions: h.mu is held, and is unlocked with unlock.
func (h *Host) violated(c *conn, hdr *packet.Header) {
	h.stats.Rejected++
	if c != nil {
		h.stats.Resets++
		h.end(c, errProtocol)
	}
	if hdr.Op != packet.OpReset { // section 5.10.6.4: a reset is not answered
		h.refuse(hdr)
	}
}

// refuse queues the answer that there is no such connection. A guest that does
// not take them loses them. Preconditions: h.mu is held.
func (h *Host) refuse(hdr *packet.Header) {
	if h.refusals.len() >= maxRefusals {
		h.stats.Unanswered++
		return
	}
	h.refusals.push(packet.Header{
		SrcCID: hdr.DstCID, DstCID: h.cid, SrcPort: hdr.DstPort, DstPort: hdr.SrcPort, Type: hdr.Type, Op: packet.OpReset,
	})
}

// credited takes note of the guest's window. Preconditions: h.mu is held.
func (h *Host) credited(c *conn, hdr *packet.Header) bool {
	if !c.send.update(hdr.BufAlloc, hdr.FwdCnt) {
		return false
	}
	h.offer(c)
	return true
}

// perform does what judge left. Preconditions: c is in use.
func (h *Host) perform(c *conn, p *packet.Packet, todo work) (kept bool) {
	var r progress
	if todo&workWrite != 0 {
		r = h.write(c, p)
	}
	if todo&workDeafen != 0 {
		_ = unix.Shutdown(c.fd, unix.SHUT_RD)
	}
	if todo&workFinish != 0 {
		r = c.finish()
	}
	h.account(c, r)
	return r.kept
}

func (h *Host) onResponse(c *conn, p *packet.Packet) work {
	if c.owed&newsRequest != 0 { // it has not been asked yet
		h.violated(c, &p.Header)
		return 0
	}
	c.move(established)
	c.answered(nil)
	h.offer(c)
	return 0
}

func (h *Host) onReset(c *conn, _ *packet.Packet) work {
	if c.state == established {
		h.leave(c)
		return workDeafen | workFinish
	}
	h.end(c, errRefused)
	return 0
}

func (h *Host) onData(c *conn, p *packet.Packet) work {
	switch {
	case c.guestDone&packet.ShutdownSend != 0 || !c.receive.take(p.Header.Len):
		h.violated(c, &p.Header)
		return 0
	case c.state == established && !c.outShut:
		return workWrite
	}
	// The host's user takes no more, and the guest will learn of it.
	h.wrote(c, &progress{forward: p.Size, dropped: p.Size})
	return 0
}

// onShutdown: what a guest has done with stays done, however often it says so.
func (h *Host) onShutdown(c *conn, p *packet.Packet) work {
	c.guestDone |= p.Header.Flags & packet.ShutdownBoth
	if c.guestDone == packet.ShutdownBoth {
		// Section 5.10.6.5: the answer is a reset, after which the guest may use
		// the ports again. All it sent has arrived here.
		h.refuse(&p.Header)
		if c.state == closing {
			h.end(c, nil)
			return 0
		}
		h.leave(c)
		return workDeafen | workFinish
	}
	if c.state == closing {
		return 0
	}
	var todo work
	if c.guestDone&packet.ShutdownSend != 0 {
		todo |= workFinish
	}
	if c.guestDone&packet.ShutdownReceive != 0 {
		todo |= workDeafen
		c.inShut = true
		h.settle(c)
	}
	return todo
}

func (h *Host) onCreditUpdate(*conn, *packet.Packet) work { return 0 }

func (h *Host) onCreditRequest(c *conn, _ *packet.Packet) work {
	h.owe(c, newsCredit)
	return 0
}
