package nat

import (
	"encoding/binary"
	"net/netip"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/libcapsa/libcapsa/internal/net/frame"
)

// socket is a connected datagram socket of the host, in the runtime's poller.
type socket struct {
	file *os.File
	raw  syscall.RawConn
	v6   bool
}

// dialSocket opens a UDP socket, or one for pings (see ping(7)'s ICMP_PROTO
// sockets), and connects it. Errors that come back for what it sends are queued
// (IP_RECVERR), so that they can be told apart.
func dialSocket(proto uint8, dst netip.AddrPort) (*socket, error) {
	domain, level, option := unix.AF_INET, unix.SOL_IP, unix.IP_RECVERR
	v6 := dst.Addr().Is6()
	if v6 {
		domain, level, option = unix.AF_INET6, unix.SOL_IPV6, unix.IPV6_RECVERR
	}
	fd, err := unix.Socket(domain, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, int(proto))
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	s := &socket{file: os.NewFile(uintptr(fd), "nat datagrams"), v6: v6}
	if err = unix.SetsockoptInt(fd, level, option, 1); err != nil {
		err = os.NewSyscallError("setsockopt", err)
	} else if err = unix.Connect(fd, sockaddr(dst)); err != nil {
		err = os.NewSyscallError("connect", err)
	} else {
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

// canPing asks whether the host lets us open sockets for pings
// (/proc/sys/net/ipv4/ping_group_range).
func canPing() bool {
	s, err := dialSocket(frame.ICMPv4, netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), 0))
	if err != nil {
		return false
	}
	_ = s.file.Close()
	return true
}

// sentError is an error that came back for a datagram.
type sentError struct {
	why unreachable
	mtu int
}

// maxErrors is how many queued errors are read at once.
const maxErrors = 16

// errors reads the queued errors (recvmsg(2), MSG_ERRQUEUE).
func (s *socket) errors(fd int) (out []sentError) {
	var oob [512]byte
	for range maxErrors {
		_, n, _, _, err := unix.Recvmsg(fd, nil, oob[:], unix.MSG_ERRQUEUE|unix.MSG_DONTWAIT)
		if err != nil {
			break
		}
		messages, err := unix.ParseSocketControlMessage(oob[:n])
		if err != nil {
			continue
		}
		for _, m := range messages {
			if e, ok := parseError(m.Data); ok {
				out = append(out, e)
			}
		}
	}
	return out
}

// parseError reads struct sock_extended_err (linux/errqueue.h): ee_errno, four
// bytes, ee_info.
func parseError(b []byte) (e sentError, ok bool) {
	if len(b) < 16 {
		return e, false
	}
	switch syscall.Errno(binary.NativeEndian.Uint32(b)) {
	case unix.ECONNREFUSED:
		e.why = noPort
	case unix.EMSGSIZE:
		e.why, e.mtu = tooBig, int(binary.NativeEndian.Uint32(b[8:]))
	case unix.EHOSTUNREACH, unix.EHOSTDOWN:
		e.why = noHost
	case unix.ENETUNREACH:
		e.why = noNetwork
	case unix.EACCES, unix.EPERM:
		e.why = prohibited
	default:
		return e, false
	}
	return e, true
}
