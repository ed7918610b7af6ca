package nat

import (
	"net/netip"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// socket is a connected datagram socket of the host, in the runtime's poller.
type socket struct {
	file *os.File
	raw  syscall.RawConn
	v6   bool
}

// dialSocket opens a UDP socket, or one for pings (see ping(7)'s ICMP_PROTO sockets),
// and connects it. from is the port it has; nil: any.
func dialSocket(proto uint8, from *mapping, dst netip.AddrPort) (*socket, error) {
	v6 := dst.Addr().Is6()
	fd, err := openSocket(v6, proto)
	if err != nil {
		return nil, err
	}
	s := &socket{file: os.NewFile(uintptr(fd), "nat datagrams"), v6: v6}
	if from != nil {
		err = from.bind(fd, v6)
	}
	if err != nil {
		_ = s.file.Close()
		return nil, err
	}
	if err = unix.Connect(fd, sockaddr(dst)); err != nil {
		err = os.NewSyscallError("connect", err)
	} else {
		if from != nil {
			forgetStrangers(fd)
		}
		s.raw, err = s.file.SyscallConn()
	}
	if err != nil {
		_ = s.file.Close()
		return nil, err
	}
	return s, nil
}

func sockaddr(a netip.AddrPort) unix.Sockaddr {
	if a.Addr().Is6() {
		return &unix.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16()}
	}
	return &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}
}

// sentError is an error that came back for a datagram.
type sentError struct {
	why unreachable
	mtu int
	hop netip.Addr // who says so; invalid: this host
	seq [2]byte    // of the ping
}

// unreachableOf says what an errno that came back for a datagram means to its sender.
func unreachableOf(errno syscall.Errno) (why unreachable, ok bool) {
	switch errno {
	case unix.ECONNREFUSED:
		return noPort, true
	case unix.EMSGSIZE:
		return tooBig, true
	case unix.EHOSTUNREACH, unix.EHOSTDOWN:
		return noHost, true
	case unix.ENETUNREACH:
		return noNetwork, true
	case unix.EACCES, unix.EPERM:
		return prohibited, true
	}
	return 0, false
}
