package vsock

import (
	"context"
	"errors"
	"fmt"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/libcapsa/libcapsa/internal/vm"
	"github.com/libcapsa/libcapsa/internal/vsock/packet"
)

// firstEphemeral is the lowest port of the host that connections to the guest
// come from: far from the ports that people choose.
const firstEphemeral = 1 << 30

// Connect connects to a port of the guest and returns a connected unix socket of
// the same type: blocking, close-on-exec, the caller's. Shutting it down for
// writing shows the guest the end; reading it gives the end when the guest has
// shut its side down, and after a reset.
//
// It waits until the guest answers, also for a driver to come, or ctx ends.
// Errors: vm.KindIO with ECONNREFUSED when the guest refuses and ECONNRESET when
// its driver goes away, vm.KindTimeout and vm.KindCancelled for ctx,
// vm.KindLimit, vm.KindClosed, vm.KindUnsupported when the driver that runs has
// no such sockets.
func (h *Host) Connect(ctx context.Context, t packet.Type, port uint32) (fd int, err error) {
	const op = "vsock.connect"
	if err := checkPort(op, t, port); err != nil {
		return -1, err
	}
	ours, theirs, err := newPair(t)
	if err != nil {
		return -1, wrap(op, err)
	}
	c, answer, err := h.request(t, port, ours)
	if err != nil {
		_, _ = unix.Close(ours), unix.Close(theirs)
		return -1, wrap(op, err)
	}
	h.notify()
	select {
	case err = <-answer:
	case <-ctx.Done():
		err = h.cancel(ctx, c, answer)
		h.notify()
	}
	if err != nil {
		_ = unix.Close(theirs)
		return -1, wrap(op, fmt.Errorf("port %d of the guest: %w", port, err))
	}
	return theirs, nil
}

// checkPort checks what callers say of a guest's or host's port.
func checkPort(op string, t packet.Type, port uint32) error {
	if t != packet.Stream && t != packet.SeqPacket {
		return vm.Errorf(vm.KindInvalidArg, op, "sockets of %v do not exist", t).WithComponent("vsock")
	}
	if port > packet.MaxPort {
		return vm.Errorf(vm.KindInvalidArg, op, "%d names no port", port).WithComponent("vsock")
	}
	return nil
}

// request asks the guest for a connection to one of its ports. The socket is the
// connection's from then on, unless there is an error.
func (h *Host) request(t packet.Type, port uint32, fd int) (*conn, <-chan error, error) {
	h.mu.Lock()
	defer h.unlock()
	if h.link.Guest != nil && t == packet.SeqPacket && !h.link.SeqPacket {
		return nil, nil, &cause{"the guest's driver has no sockets of type seqpacket", vm.KindUnsupported}
	}
	c, err := h.open(tuple{h.ephemeral(port), port}, t, fd, requested)
	if err != nil {
		return nil, nil, err
	}
	answer := make(chan error, 1)
	c.answer = answer
	h.owe(c, newsRequest)
	return c, answer, nil
}

// notify has the guest served soon. Preconditions: h.mu is not held.
func (h *Host) notify() {
	if guest := h.guest(); guest != nil {
		guest.Notify()
	}
}

// ephemeral returns a port of the host that nothing to the guest's port uses.
// There are more of them than connections. Preconditions: h.mu is held.
func (h *Host) ephemeral(guest uint32) uint32 {
	for {
		port := h.port
		if h.port++; h.port > packet.MaxPort {
			h.port = firstEphemeral
		}
		_, inUse := h.table[tuple{port, guest}]
		_, taken := h.services[port]
		if !inUse && !taken {
			return port
		}
	}
}

// cancel gives up to wait for an answer, unless it has come meanwhile.
func (h *Host) cancel(ctx context.Context, c *conn, answer <-chan error) error {
	h.mu.Lock()
	defer h.unlock()
	if c.state != requested {
		return <-answer // it has been sent
	}
	c.answer = nil
	h.withdraw(c, nil)
	return vm.ContextError(ctx, "vsock.connect")
}

// admit connects a guest that asks for it to the port's service, or refuses. It
// is called by the device's transmit worker, as all that handles packets is.
func (h *Host) admit(hdr *packet.Header) {
	path, ok := h.serviceFor(hdr)
	fd, err := -1, errRefused
	if ok {
		fd, err = dial(hdr.Type, path)
	}
	h.mu.Lock()
	defer h.unlock()
	if err == nil {
		err = h.establish(hdr, fd)
	}
	if err != nil {
		h.stats.Refused++
		h.refuse(hdr)
	}
}

// serviceFor returns the path of the socket that a guest's request goes to.
func (h *Host) serviceFor(hdr *packet.Header) (path string, ok bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := h.services[hdr.DstPort]
	if s == nil || s.typ != hdr.Type || h.count() >= h.max {
		return "", false
	}
	return s.path, true
}

// establish makes a connection that the guest asked for. Preconditions: h.mu is
// held.
func (h *Host) establish(hdr *packet.Header, fd int) error {
	t := tuple{hdr.DstPort, hdr.SrcPort}
	if h.table[t] != nil { // of Connect, meanwhile
		_ = unix.Close(fd)
		return errRefused
	}
	c, err := h.open(t, hdr.Type, fd, established)
	if err != nil {
		_ = unix.Close(fd)
		return err
	}
	c.send.update(hdr.BufAlloc, hdr.FwdCnt)
	h.owe(c, newsResponse)
	return nil
}

// accept lets in who came through a door.
func (h *Host) accept(d *door) {
	for range acceptBatch {
		fd, err := acceptOne(h, d)
		if err != nil {
			return
		}
		err = prepare(fd, d.typ)
		if err == nil {
			_, _, err = h.request(d.typ, d.port, fd)
		}
		if err != nil {
			_ = unix.Close(fd) // the client reads the end
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.poll.ask(d.fd, d.ticket, askRead) // has another event sent if there are more
}

// acceptOne takes one client off a door's backlog. One that there is no room for
// stays there until there is.
func acceptOne(h *Host, d *door) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if d.removed {
		return -1, errClosed
	}
	if h.count() >= h.max {
		d.waiting = true
		return -1, errFull
	}
	for {
		fd, _, err := unix.Accept4(d.fd, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
		switch {
		case err == nil:
			return fd, nil
		case errors.Is(err, syscall.EINTR) || errors.Is(err, syscall.ECONNABORTED):
			continue
		case !errors.Is(err, syscall.EAGAIN):
			d.waiting = true // for descriptors or memory: tried again when a connection ends
		}
		return -1, err
	}
}

// welcome has the doors looked at again behind which clients wait. Preconditions:
// h.mu is held.
func (h *Host) welcome() {
	if h.closed || h.count() >= h.max {
		return
	}
	for _, d := range h.doors {
		if d.waiting {
			d.waiting = false
			h.poll.ask(d.fd, d.ticket, askRead)
		}
	}
}
