package vsock

import (
	"os"

	"golang.org/x/sys/unix"

	"github.com/libcapsa/libcapsa/internal/vsock/packet"
)

// unixType is the type of the unix socket that stands for one of the guest's.
func unixType(t packet.Type) int {
	if t == packet.SeqPacket {
		return unix.SOCK_SEQPACKET
	}
	return unix.SOCK_STREAM
}

// newSocket returns a unix socket, close-on-exec.
func newSocket(t packet.Type, flags int) (int, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unixType(t)|unix.SOCK_CLOEXEC|flags, 0)
	if err != nil {
		return -1, os.NewSyscallError("socket", err)
	}
	return fd, nil
}

// newPair returns two connected sockets, close-on-exec: ours does not block, the
// caller's does, as one from accept(2).
func newPair(t packet.Type) (ours, theirs int, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unixType(t)|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, -1, os.NewSyscallError("socketpair", err)
	}
	err = unix.SetNonblock(fds[0], true)
	if err == nil {
		err = prepare(fds[0], t)
	}
	if err == nil && t == packet.SeqPacket { // for the largest messages that a guest takes by default
		err = unix.SetsockoptInt(fds[1], unix.SOL_SOCKET, unix.SO_SNDBUF, maxMessageCredit)
	}
	if err != nil {
		_, _ = unix.Close(fds[0]), unix.Close(fds[1])
		return -1, -1, os.NewSyscallError("socketpair", err)
	}
	return fds[0], fds[1], nil
}

// dial connects to the socket at a path and does not wait: a listener whose
// backlog is full refuses with EAGAIN.
func dial(t packet.Type, path string) (int, error) {
	fd, err := newSocket(t, unix.SOCK_NONBLOCK)
	if err != nil {
		return -1, err
	}
	for {
		err = unix.Connect(fd, &unix.SockaddrUnix{Name: path})
		if err != unix.EINTR {
			break
		}
	}
	if err == nil {
		err = prepare(fd, t)
	}
	if err != nil {
		_ = unix.Close(fd)
		return -1, os.NewSyscallError("connect", err)
	}
	return fd, nil
}

// prepare makes a connected socket ready for use. Messages are read piece by
// piece where they are, in the kernel, which takes a peek offset; and they must
// fit into the socket whole, see maxMessageCredit.
func prepare(fd int, t packet.Type) error {
	if t != packet.SeqPacket {
		return nil
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PEEK_OFF, 0); err != nil {
		return err
	}
	return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, maxMessageCredit)
}

// widen lets a socket take as much as the system allows, for what it gets before
// it is closed. Without the right to more than net.core.wmem_max that is what
// the kernel makes of it.
func widen(fd int) {
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, 2*int(tiers[0].credit))
}

// hangUp closes a socket such that the host's user reads what it was sent and
// then the end. A unix socket closed with unread bytes would give it ECONNRESET
// instead, so those are read first; nothing more comes after the shutdown.
func hangUp(fd int) {
	_ = unix.Shutdown(fd, unix.SHUT_RD)
	buf := make([]byte, 16<<10)
	for {
		n, _, err := unix.Recvfrom(fd, buf, unix.MSG_DONTWAIT)
		if err == unix.EINTR {
			continue
		}
		if n <= 0 || err != nil {
			break
		}
	}
	_ = unix.Close(fd)
}
