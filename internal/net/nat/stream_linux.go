package nat

import (
	"context"
	"net/netip"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// stream is a connected TCP socket of the host, in the runtime's poller. It differs
// from package net's in what it costs: no address is asked for, and a destination
// that answers at once, as this host itself does, is not waited for.
type stream struct {
	*os.File
	raw syscall.RawConn
}

var _ hostConn = (*stream)(nil)

// dialStream connects, until the context ends.
func dialStream(ctx context.Context, dst netip.AddrPort) (hostConn, error) {
	domain := unix.AF_INET
	if dst.Addr().Is6() {
		domain = unix.AF_INET6
	}
	fd, err := unix.Socket(domain, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, unix.IPPROTO_TCP)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	to := sockaddr(dst)
	err = setStreamOptions(fd)
	waiting := false
	if err == nil {
		waiting, err = beginConnect(fd, to)
	}
	if err != nil {
		_ = unix.Close(fd)
		return nil, err
	}
	s := &stream{File: os.NewFile(uintptr(fd), "nat stream")}
	if s.raw, err = s.SyscallConn(); err == nil && waiting {
		err = s.established(ctx)
	}
	if err == nil && toItself(fd, to) {
		err = os.NewSyscallError("connect", unix.ECONNREFUSED)
	}
	if err != nil {
		_ = s.Close()
		return nil, err
	}
	return s, nil
}

// setStreamOptions: who sends has decided what a segment is, and nobody else would
// notice that the other side is gone.
func setStreamOptions(fd int) error {
	for _, o := range []struct{ level, name, value int }{
		{unix.IPPROTO_TCP, unix.TCP_NODELAY, 1},
		{unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1},
		{unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, int(keepAlive.Idle / time.Second)},
		{unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, int(keepAlive.Interval / time.Second)},
		{unix.IPPROTO_TCP, unix.TCP_KEEPCNT, keepAlive.Count},
	} {
		if err := unix.SetsockoptInt(fd, o.level, o.name, o.value); err != nil {
			return os.NewSyscallError("setsockopt", err)
		}
	}
	return nil
}

// beginConnect begins to connect. The answer of a near destination is there when the
// system call returns, but is processed after that: so it is asked for once more.
func beginConnect(fd int, to unix.Sockaddr) (waiting bool, err error) {
	for range 2 {
		switch err = unix.Connect(fd, to); err {
		case nil, unix.EISCONN:
			return false, nil
		case unix.EINPROGRESS, unix.EALREADY, unix.EINTR:
		default:
			return false, os.NewSyscallError("connect", err)
		}
	}
	return true, nil
}

// toItself says whether the kernel has chosen the destination for the source, which
// it does now and then where nobody listens (RFC 9293 section 3.5, simultaneous
// connection).
func toItself(fd int, to unix.Sockaddr) bool {
	from, err := unix.Getsockname(fd)
	if err != nil {
		return false
	}
	switch from := from.(type) {
	case *unix.SockaddrInet4:
		t, ok := to.(*unix.SockaddrInet4)
		return ok && from.Port == t.Port && from.Addr == t.Addr
	case *unix.SockaddrInet6:
		t, ok := to.(*unix.SockaddrInet6)
		return ok && from.Port == t.Port && from.Addr == t.Addr
	}
	return false
}

// established waits for the end of a connection's beginning.
func (s *stream) established(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { _ = s.SetDeadline(time.Unix(1, 0)) })
	var failed error
	err := s.raw.Write(func(fd uintptr) bool {
		n, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_ERROR)
		switch {
		case err != nil:
			failed = os.NewSyscallError("getsockopt", err)
			return true
		case n != 0:
			failed = os.NewSyscallError("connect", syscall.Errno(n))
			return true
		}
		_, err = unix.Getpeername(int(fd))
		return err == nil // else a wake-up for nothing
	})
	stopped := stop()
	switch {
	case failed != nil:
		return failed
	case !stopped:
		return ctx.Err()
	}
	return err
}

// CloseWrite sends a FIN behind what was written.
func (s *stream) CloseWrite() error {
	var failed error
	err := s.raw.Control(func(fd uintptr) { failed = os.NewSyscallError("shutdown", unix.Shutdown(int(fd), unix.SHUT_WR)) })
	if err != nil {
		return err
	}
	return failed
}

// SetLinger says what Close does with what is not acknowledged: after 0 seconds it
// is dropped, and the other side gets a reset.
func (s *stream) SetLinger(seconds int) error {
	var failed error
	err := s.raw.Control(func(fd uintptr) {
		l := unix.Linger{Onoff: 1, Linger: int32(seconds)}
		failed = os.NewSyscallError("setsockopt", unix.SetsockoptLinger(int(fd), unix.SOL_SOCKET, unix.SO_LINGER, &l))
	})
	if err != nil {
		return err
	}
	return failed
}
