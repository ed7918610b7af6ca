package vz

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/libcapsa/libcapsa/internal/safe"
	"github.com/libcapsa/libcapsa/internal/vm"
)

// socketGrace is how long the end of a machine waits for what the guest has sent to
// arrive. The framework closes its ends at once.
const socketGrace = 250 * time.Millisecond

// sockets joins the guest's socket device to unix sockets of the host.
type sockets struct {
	log    func(format string, a ...any)
	report func(error) // of a bug

	ctx    context.Context // ends with close
	cancel context.CancelFunc
	up     chan struct{}  // closed once guest is there
	tasks  sync.WaitGroup // Add while closed is false, under mu
	flows  sync.WaitGroup // of guests' data on its way to the host; likewise

	mu     sync.Mutex
	guest  Guest                  // nil until it runs; guarded by mu
	closed bool                   // guarded by mu
	ports  map[uint32]*hostPort   // that the guest connects to; guarded by mu
	open   map[io.Closer]struct{} // what close closes; guarded by mu
	paths  []string               // that go with the machine; guarded by mu
}

// hostPort is a port of the host: each connection of the guest is joined to one to the
// unix socket at path.
type hostPort struct {
	number   uint32
	path     string
	own      bool     // the path is ours to remove
	listener Listener // nil until the guest runs; guarded by sockets.mu
}

// makeSockets binds the ports of the configuration. The error tells of all that cannot
// be bound.
func (m *machine) makeSockets(*Ends) error {
	if !m.cfg.Vsock.Enabled() {
		return nil
	}
	s := &sockets{
		log: m.logf, report: m.crashed, up: make(chan struct{}), ports: map[uint32]*hostPort{},
		open: map[io.Closer]struct{}{},
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	m.sockets = s
	m.undo = append(m.undo, s.close)
	var bad []error
	var problems vm.Problems
	for i, p := range m.cfg.Vsock.Ports {
		err := s.bind(p)
		if err == nil {
			continue
		}
		bad = append(bad, err)
		problems = append(problems, vm.Problem{Field: fmt.Sprintf("vsock.ports[%d]", i), Message: err.Error()})
	}
	switch len(bad) {
	case 0:
		return nil
	case 1:
		return bad[0]
	}
	return problems.Err(vm.KindOf(bad[0]), opNew)
}

// bind binds a port of the configuration.
func (s *sockets) bind(p vm.VsockPort) error {
	if p.Mode == vm.VsockConnect {
		s.ports[p.Port] = &hostPort{number: p.Port, path: p.Path} // nobody else has s yet
		return nil
	}
	fd, err := listenAt(p.Path, unix.SOMAXCONN)
	if err != nil {
		return err
	}
	f := os.NewFile(uintptr(fd), "vsock listener")
	l, err := net.FileListener(f)
	_ = f.Close()
	if err != nil {
		_ = os.Remove(p.Path)
		return err
	}
	s.paths = append(s.paths, p.Path)
	s.open[l] = struct{}{}
	s.goes("vsock port", func() { s.serve(l, p.Port) })
	return nil
}

// goes starts a goroutine that close joins, unless the sockets are closed.
func (s *sockets) goes(name string, fn func()) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.tasks.Add(1)
	safe.Go(name, s.report, func() {
		defer s.tasks.Done()
		fn()
	})
	return true
}

// hold makes close close c, unless it is too late: then it is closed now.
func (s *sockets) hold(c io.Closer) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		_ = c.Close()
		return false
	}
	s.open[c] = struct{}{}
	return true
}

// drop closes c.
func (s *sockets) drop(c io.Closer) {
	s.mu.Lock()
	delete(s.open, c)
	s.mu.Unlock()
	_ = c.Close()
}

// run begins to serve the guest, which has been started.
func (s *sockets) run(g Guest) {
	s.mu.Lock()
	s.guest = g
	var waiting []*hostPort
	for _, p := range s.ports {
		waiting = append(waiting, p)
	}
	s.mu.Unlock()
	for _, p := range waiting {
		if err := s.listen(p); err != nil {
			s.log("vsock port %d: %v", p.number, err)
		}
	}
	close(s.up)
}

// listen takes the guest's connections to a port.
func (s *sockets) listen(p *hostPort) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.guest == nil || s.closed || s.ports[p.number] != p || p.listener != nil {
		return nil
	}
	l, err := s.guest.Listen(p.number)
	if err != nil {
		return err
	}
	p.listener = l
	s.tasks.Add(1)
	safe.Go("vsock accept", s.report, func() {
		defer s.tasks.Done()
		s.accept(l, p.path)
	})
	return nil
}

// accept joins the guest's connections to those to a path.
func (s *sockets) accept(l Listener, path string) {
	for {
		guest, err := l.Accept()
		if err != nil {
			if !errors.Is(err, net.ErrClosed) {
				s.log("vsock: %v", err)
			}
			return
		}
		if !s.goes("vsock connection", func() {
			host, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: path, Net: "unix"})
			if err != nil {
				_ = guest.Close() // which the guest sees as a refusal that comes late
				return
			}
			s.join(guest, host)
		}) {
			_ = guest.Close()
		}
	}
}

// serve joins the connections of the host's clients to a port of the guest.
func (s *sockets) serve(l net.Listener, port uint32) {
	for {
		host, err := l.Accept()
		if err != nil {
			return
		}
		if !s.goes("vsock connection", func() {
			if !s.hold(host) { // until the guest answers
				return
			}
			guest, err := s.connect(s.ctx, port)
			if err != nil {
				s.drop(host)
				return
			}
			s.join(guest, host.(*net.UnixConn))
		}) {
			_ = host.Close()
		}
	}
}

// connect waits until the guest runs, and connects to a port of it.
func (s *sockets) connect(ctx context.Context, port uint32) (*net.UnixConn, error) {
	select {
	case <-s.up:
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-s.ctx.Done():
		return nil, net.ErrClosed
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.ctx, cancel)()
	return s.guest.Connect(ctx, port)
}

// join carries bytes in both directions until both have ended.
func (s *sockets) join(guest, host *net.UnixConn) {
	defer s.drop(host)
	defer s.drop(guest)
	if !s.hold(guest) || !s.hold(host) {
		return
	}
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return
	}
	s.flows.Add(1)
	s.mu.Unlock()
	toGuest := make(chan struct{})
	s.goes("vsock to guest", func() {
		defer close(toGuest)
		carry(guest, host)
	})
	carry(host, guest)
	s.flows.Done()
	select {
	case <-toGuest:
	case <-s.ctx.Done():
	}
}

// carry copies one direction to its end, and passes that on.
func carry(to, from *net.UnixConn) {
	if _, err := io.Copy(plain{to}, plain{from}); err != nil { // nobody is left to read, or the sender is broken
		_ = from.CloseRead()
	}
	_ = to.CloseWrite()
}

// plain hides what else a connection can do: splice(2), between unix sockets, takes a
// pipe more and is no faster.
type plain struct{ io.ReadWriter }

// close ends all connections, once what the guest has sent is through, and removes the
// paths. Preconditions: the guest has stopped.
func (s *sockets) close() {
	s.mu.Lock()
	s.closed = true
	ports := s.ports
	s.mu.Unlock()
	through := s.awaitFlows()
	s.cancel()
	for _, p := range ports {
		s.remove(p)
	}
	s.mu.Lock()
	open, paths := s.open, s.paths
	s.open = nil
	s.mu.Unlock()
	for c := range open {
		_ = c.Close()
	}
	<-through
	s.tasks.Wait()
	for _, path := range paths {
		_ = os.Remove(path)
	}
}

// awaitFlows waits for the guest's data, for socketGrace at most; the channel is closed
// when all is through. What is not then ends when its connections are closed.
func (s *sockets) awaitFlows() <-chan struct{} {
	through := make(chan struct{})
	safe.Go("vsock flows", s.report, func() {
		defer close(through)
		s.flows.Wait()
	})
	timer := time.NewTimer(socketGrace)
	defer timer.Stop()
	select {
	case <-through:
	case <-timer.C:
	}
	return through
}

// remove gives a port up.
func (s *sockets) remove(p *hostPort) {
	s.mu.Lock()
	if s.ports[p.number] == p {
		delete(s.ports, p.number)
	}
	l := p.listener
	s.mu.Unlock()
	if l != nil {
		_ = l.Close()
	}
	if p.own {
		_ = os.Remove(p.path)
	}
}

// listenAt makes a listening unix socket at a path, where nothing may be yet. Only this
// user can connect: nobody can before listen(2).
func listenAt(path string, backlog int) (fd int, err error) {
	const op = "vsock"
	fd, err = unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		return -1, os.NewSyscallError("socket", err)
	}
	unix.CloseOnExec(fd)
	if err = unix.Bind(fd, &unix.SockaddrUnix{Name: path}); err != nil {
		_ = unix.Close(fd)
		kind := vm.KindOf(err)
		if errors.Is(err, unix.EADDRINUSE) {
			kind = vm.KindExists
		}
		return -1, vm.Errorf(kind, op, "%w", os.NewSyscallError("bind", err)).WithComponent(component).WithPath(path)
	}
	if err = os.Chmod(path, 0o600); err == nil {
		err = os.NewSyscallError("listen", unix.Listen(fd, backlog))
	}
	if err != nil {
		_ = unix.Close(fd)
		_ = os.Remove(path)
		return -1, vm.Errorf(vm.KindOf(err), op, "%w", err).WithComponent(component).WithPath(path)
	}
	return fd, nil
}

// socketsOf are the sockets, if a call may use them now.
func (m *machine) socketsOf(op string, t vm.VsockType, port uint32) (*sockets, error) {
	if err := m.late(op); err != nil {
		return nil, err
	}
	if err := m.cfg.CheckVsock(op, t, port); err != nil {
		return nil, err
	}
	if t == vm.VsockSeqPacket {
		if err := m.caps.Refuse(vm.FeatureVsockSeqPacket, op, component); err != nil {
			return nil, err
		}
	}
	return m.sockets, nil
}

// VsockConnect implements vm.Sockets. Before the guest's driver is up the framework
// refuses.
func (m *machine) VsockConnect(ctx context.Context, t vm.VsockType, port uint32) (int, error) {
	const op = "vsock connect"
	s, err := m.socketsOf(op, t, port)
	if err != nil {
		return -1, err
	}
	conn, err := s.connect(ctx, port)
	if err != nil {
		if late := m.late(op); late != nil {
			return -1, late
		}
		if ended := vm.ContextError(ctx, op); ended != nil {
			return -1, ended
		}
		return -1, vm.Errorf(vm.KindIO, op, "port %d: %w", port, err).WithComponent(component)
	}
	defer conn.Close()
	fd, err := descriptor(conn)
	return fd, wrap(op, err)
}

// descriptor is a copy of a connection's, blocking.
func descriptor(c *net.UnixConn) (fd int, err error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return -1, err
	}
	var failed error
	err = raw.Control(func(own uintptr) {
		if fd, failed = unix.FcntlInt(own, unix.F_DUPFD_CLOEXEC, 0); failed != nil {
			return
		}
		if failed = unix.SetNonblock(fd, false); failed != nil {
			_ = unix.Close(fd)
		}
	})
	if err = errors.Join(err, os.NewSyscallError("fcntl", failed)); err != nil {
		return -1, err
	}
	return fd, nil
}

// VsockListen implements vm.Sockets.
func (m *machine) VsockListen(t vm.VsockType, port uint32, backlog int) (int, error) {
	const op = "vsock listen"
	s, err := m.socketsOf(op, t, port)
	if err != nil {
		return -1, err
	}
	return s.listenFor(op, port, backlog)
}

// listenFor makes a port of the host with a listening socket for the caller.
func (s *sockets) listenFor(op string, port uint32, backlog int) (int, error) {
	var unique [4]byte
	_, _ = rand.Read(unique[:]) // never fails, see crypto/rand
	p := &hostPort{number: port, own: true}
	p.path = filepath.Join(os.TempDir(), fmt.Sprintf("v%d-%s", port, hex.EncodeToString(unique[:])))
	fd, err := listenAt(p.path, backlog)
	if err != nil {
		return -1, err
	}
	s.mu.Lock()
	_, taken := s.ports[port]
	closed := s.closed
	if !taken && !closed {
		s.ports[port] = p
	}
	s.mu.Unlock()
	switch {
	case taken:
		err = vm.Errorf(vm.KindExists, op, "port %d is in use", port).WithComponent(component)
	case closed:
		err = vm.Errorf(vm.KindState, op, "the machine has ended").WithComponent(component)
	default:
		err = wrap(op, s.listen(p))
	}
	if err != nil {
		_ = unix.Close(fd)
		s.remove(p)
		return -1, err
	}
	return fd, nil
}

// VsockUnlisten implements vm.Sockets.
func (m *machine) VsockUnlisten(port uint32) error {
	const op = "vsock unlisten"
	s, err := m.socketsOf(op, vm.VsockStream, port)
	if err != nil {
		return err
	}
	s.mu.Lock()
	p := s.ports[port]
	s.mu.Unlock()
	if p == nil {
		return vm.Errorf(vm.KindNotFound, op, "nobody listens at port %d", port).WithComponent(component)
	}
	s.remove(p)
	return nil
}
