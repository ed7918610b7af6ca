package vsock

import (
	"errors"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/libcapsa/libcapsa/internal/vm"
	"github.com/libcapsa/libcapsa/internal/vsock/packet"
)

const (
	// acceptBatch is how many clients one door lets in before others are
	// served.
	acceptBatch = 64
	// doorBacklog is how many clients wait at a door, at most; the kernel bounds
	// it by net.core.somaxconn.
	doorBacklog = 4096
	// maxPath is the longest path of a unix socket in bytes, without the zero
	// that ends it (unix(7)).
	maxPath = 107
)

// Mode is which side begins the connections of a bound port.
type Mode uint8

const (
	// ModeConnect: the guest connects to a port of the host, and for each
	// connection the host connects to the unix socket at a path, where somebody
	// else listens.
	ModeConnect Mode = iota
	// ModeListen: the host listens at a path, and for each client that connects
	// there a connection to the guest's port is made.
	ModeListen
)

// service is where connections of the guest to a port of the host go.
type service struct {
	typ  packet.Type
	path string
	own  *ownName // the socket at path, if it was made here
}

// door is where clients of the host come in for a port of the guest.
type door struct {
	typ     packet.Type
	port    uint32 // of the guest
	own     *ownName
	fd      int
	ticket  ticket
	removed bool // guarded by Host.mu
	waiting bool // guarded by Host.mu: clients are left in the backlog
}

// Listen returns a listening unix socket that accept(2) takes the guest's
// connections to a port of the host from. It is blocking, close-on-exec and the
// caller's, who closes it; its name, which getsockname(2) tells, is removed by
// Unbind or Close. Connections beyond the backlog are refused; the kernel bounds
// it by net.core.somaxconn.
//
// Errors: vm.KindInvalidArg, vm.KindExists for a port in use, vm.KindClosed, and
// what the system refuses.
func (h *Host) Listen(t packet.Type, port uint32, backlog int) (fd int, err error) {
	const op = "vsock.listen"
	if err := checkPort(op, t, port); err != nil {
		return -1, err
	}
	if backlog < 1 {
		return -1, vm.Errorf(vm.KindInvalidArg, op, "a backlog of %d takes nobody", backlog).WithComponent("vsock")
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if err := h.portFree(op, port); err != nil {
		return -1, err
	}
	fd, own, err := h.listener(t, "", "listen", port, backlog)
	if err != nil {
		return -1, wrap(op, err)
	}
	h.services[port] = &service{typ: t, path: own.path, own: own}
	return fd, nil
}

// Bind joins a port to a unix socket at a path. In ModeConnect it is a port of
// the host, and the path need not exist before a guest connects: until then it
// is refused. In ModeListen it is a port of the guest; the path must not exist,
// "" has one chosen, and the socket there is this user's only to connect to
// (0600). It returns the path.
//
// Errors: as for Listen; vm.KindExists also for a path that exists.
func (h *Host) Bind(t packet.Type, port uint32, path string, mode Mode) (string, error) {
	const op = "vsock.bind"
	if err := checkPort(op, t, port); err != nil {
		return "", err
	}
	if err := checkPath(op, path, mode); err != nil {
		return "", err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if mode == ModeConnect {
		if err := h.portFree(op, port); err != nil {
			return "", err
		}
		h.services[port] = &service{typ: t, path: path}
		return path, nil
	}
	if h.closed {
		return "", wrap(op, errClosed)
	}
	if h.doors[port] != nil {
		return "", vm.Errorf(vm.KindExists, op, "port %d of the guest has a path already", port).WithComponent("vsock")
	}
	fd, own, err := h.listener(t, path, "connect", port, doorBacklog)
	if err != nil {
		return "", wrap(op, err).WithPath(path)
	}
	d := &door{typ: t, port: port, own: own, fd: fd}
	if d.ticket, err = h.addDoor(d); err != nil {
		_ = unix.Close(fd)
		own.remove()
		return "", wrap(op, err)
	}
	h.doors[port] = d
	return own.path, nil
}

// addDoor begins to wait for clients. Preconditions: h.mu is held.
func (h *Host) addDoor(d *door) (ticket, error) {
	if err := unix.SetNonblock(d.fd, true); err != nil {
		return ticket{}, os.NewSyscallError("fcntl", err)
	}
	return h.poll.add(d.fd, d)
}

// Unbind undoes Listen and Bind for a port; ModeConnect stands for Listen too.
// Connections that exist go on. Errors: vm.KindNotFound.
func (h *Host) Unbind(port uint32, mode Mode) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if mode == ModeConnect && h.services[port] != nil {
		h.removeService(port)
		return nil
	}
	if mode == ModeListen && h.doors[port] != nil {
		h.removeDoor(port)
		return nil
	}
	return vm.Errorf(vm.KindNotFound, "vsock.unbind", "port %d is not bound", port).WithComponent("vsock")
}

// portFree checks that the guest's connections to a port go nowhere yet.
// Preconditions: h.mu is held.
func (h *Host) portFree(op string, port uint32) error {
	if h.closed {
		return wrap(op, errClosed)
	}
	if h.services[port] != nil {
		return vm.Errorf(vm.KindExists, op, "port %d is in use", port).WithComponent("vsock").
			WithHint("unbind it first, or use another")
	}
	return nil
}

// checkPath checks what a caller gives as a path.
func checkPath(op, path string, mode Mode) error {
	if path == "" && mode == ModeListen {
		return nil
	}
	if path == "" || path[0] == '@' || len(path) > maxPath {
		return vm.Errorf(vm.KindInvalidArg, op, "a unix socket has a path of 1 to %d bytes, not %d", maxPath, len(path)).
			WithComponent("vsock").WithPath(path)
	}
	for i := range len(path) {
		if path[i] == 0 {
			return vm.Errorf(vm.KindInvalidArg, op, "the path has a zero byte").WithComponent("vsock")
		}
	}
	return nil
}

// removeService forgets a port of the host. Preconditions: h.mu is held.
func (h *Host) removeService(port uint32) {
	h.services[port].own.remove()
	delete(h.services, port)
}

// removeDoor forgets a port of the guest and refuses who waits at its door.
// Preconditions: h.mu is held.
func (h *Host) removeDoor(port uint32) {
	d := h.doors[port]
	delete(h.doors, port)
	h.poll.remove(d.fd, d.ticket)
	d.removed = true
	_ = unix.Close(d.fd)
	d.own.remove()
}

// listener makes a listening socket at a path, or at one of an automatic name.
// Preconditions: h.mu is held.
func (h *Host) listener(t packet.Type, path, prefix string, port uint32, backlog int) (int, *ownName, error) {
	fd, err := newSocket(t, 0)
	if err != nil {
		return -1, nil, err
	}
	var own *ownName
	// The mode of a socket that is bound later is that of its file (unix_bind).
	err = os.NewSyscallError("fchmod", unix.Fchmod(fd, 0o600))
	if err == nil && path != "" {
		own, err = bindTo(fd, path)
	} else if err == nil {
		own, err = h.names.bind(fd, prefix, port)
	}
	if err == nil {
		if err = os.NewSyscallError("listen", unix.Listen(fd, backlog)); err != nil {
			own.remove()
		}
	}
	if err != nil {
		_ = unix.Close(fd)
		return -1, nil, err
	}
	return fd, own, nil
}

// ownName is a socket in the file system that was made here.
type ownName struct {
	path     string
	dev, ino uint64
}

// bindTo names a socket. A file that is there already is not touched.
func bindTo(fd int, path string) (*ownName, error) {
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: path}); err != nil {
		return nil, os.NewSyscallError("bind", err)
	}
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		return nil, os.NewSyscallError("lstat", err)
	}
	return &ownName{path: path, dev: st.Dev, ino: st.Ino}, nil
}

// remove removes the name, unless something else has it by now. nil is allowed.
func (o *ownName) remove() {
	if o == nil {
		return
	}
	var st unix.Stat_t
	if unix.Lstat(o.path, &st) == nil && st.Dev == o.dev && st.Ino == o.ino {
		_ = unix.Unlink(o.path)
	}
}

// inUse says whether a name exists.
func inUse(err error) bool { return errors.Is(err, syscall.EADDRINUSE) }
