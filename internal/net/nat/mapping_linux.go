package nat

import (
	"fmt"
	"net/netip"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// ownPorts are the ports that the host gives to whoever asks for any. A guest gets
// its own number among them only: others may be meant for a program of the host's
// that has not started yet.
var ownPorts = sync.OnceValue(func() (r [2]int) {
	b, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range")
	if err == nil {
		_, err = fmt.Sscan(string(b), &r[0], &r[1])
	}
	if err != nil {
		return [2]int{}
	}
	return r
})

// bind binds a socket to the port of its mapping. The first one binds alone, so that
// it takes a port from nobody; it shares the port then with the mapping's others.
func (p *mapping) bind(fd int, v6 bool) error {
	if v6 {
		_ = unix.SetsockoptInt(fd, unix.SOL_IPV6, unix.IPV6_V6ONLY, 1)
	}
	if p.port != 0 {
		if err := share(fd); err != nil {
			return err
		}
		_ = unix.Bind(fd, anyAddress(v6, p.port)) // else it gets any
		return nil
	}
	bound := false
	if r := ownPorts(); int(p.guest.Port()) >= r[0] && int(p.guest.Port()) <= r[1] {
		bound = unix.Bind(fd, anyAddress(v6, p.guest.Port())) == nil
	}
	if !bound {
		if err := unix.Bind(fd, anyAddress(v6, 0)); err != nil {
			return os.NewSyscallError("bind", err)
		}
	}
	at, err := unix.Getsockname(fd)
	if err != nil {
		return os.NewSyscallError("getsockname", err)
	}
	switch at := at.(type) {
	case *unix.SockaddrInet4:
		p.port = uint16(at.Port)
	case *unix.SockaddrInet6:
		p.port = uint16(at.Port)
	}
	return share(fd)
}

func share(fd int) error {
	return os.NewSyscallError("setsockopt", unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1))
}

func anyAddress(v6 bool, port uint16) unix.Sockaddr {
	if v6 {
		return sockaddr(netip.AddrPortFrom(netip.IPv6Unspecified(), port))
	}
	return sockaddr(netip.AddrPortFrom(netip.IPv4Unspecified(), port))
}

// forgetStrangers drops what has come to a bound socket before it was connected: it
// may be of anybody, and nothing of the other side's, to which nothing was sent.
func forgetStrangers(fd int) {
	var b [1]byte
	for {
		if _, _, err := unix.Recvfrom(fd, b[:], unix.MSG_DONTWAIT); err != nil && err != unix.EINTR {
			return
		}
	}
}
