package nat

import (
	"encoding/binary"
	"net/netip"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/libcapsa/libcapsa/internal/net/frame"
)

// openSocket opens a socket whose errors, that come back for what it sends, are queued
// (IP_RECVERR), so that they can be told apart.
func openSocket(v6 bool, proto uint8) (fd int, err error) {
	domain, level, option := unix.AF_INET, unix.SOL_IP, unix.IP_RECVERR
	if v6 {
		domain, level, option = unix.AF_INET6, unix.SOL_IPV6, unix.IPV6_RECVERR
	}
	fd, err = unix.Socket(domain, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, int(proto))
	if err != nil {
		return -1, os.NewSyscallError("socket", err)
	}
	if err := unix.SetsockoptInt(fd, level, option, 1); err != nil {
		_ = unix.Close(fd)
		return -1, os.NewSyscallError("setsockopt", err)
	}
	return fd, nil
}

// readable is how much a socket has to read, in bytes.
func readable(fd int) (int, error) { return unix.IoctlGetInt(fd, unix.TIOCINQ) }

// coalesce lets the kernel hand over datagrams of one size together (UDP_GRO of
// udp(7)), if it can.
func (s *socket) coalesce() {
	_ = s.raw.Control(func(fd uintptr) { _ = unix.SetsockoptInt(int(fd), unix.SOL_UDP, unix.UDP_GRO, 1) })
}

// segmentControl is a control message that holds a uint16 (cmsg(3)).
type segmentControl [24]byte

func newSegmentControl(size uint16) (c segmentControl) {
	ne := binary.NativeEndian
	ne.PutUint64(c[0:], uint64(unix.CmsgLen(2)))
	ne.PutUint32(c[8:], unix.SOL_UDP)
	ne.PutUint32(c[12:], unix.UDP_SEGMENT)
	ne.PutUint16(c[16:], size)
	return c
}

// sendsRuns says whether the kernel sends several datagrams by one call.
const sendsRuns = true

// canPing asks whether the host lets us open sockets for pings
// (/proc/sys/net/ipv4/ping_group_range).
func canPing() bool {
	s, err := dialSocket(frame.ICMPv4, nil, netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), 0))
	if err != nil {
		return false
	}
	_ = s.file.Close()
	return true
}

// maxErrors is how many queued errors are read at once.
const maxErrors = 16

// errors reads the queued errors (recvmsg(2), MSG_ERRQUEUE).
func (s *socket) errors(fd int, _ error) (out []sentError) {
	var oob [512]byte
	var sent [8]byte // the beginning of what it is about: of a ping its header
	for range maxErrors {
		size, n, _, _, err := unix.Recvmsg(fd, sent[:], oob[:], unix.MSG_ERRQUEUE|unix.MSG_DONTWAIT)
		if err != nil {
			break
		}
		messages, err := unix.ParseSocketControlMessage(oob[:n])
		if err != nil {
			continue
		}
		for _, m := range messages {
			if e, ok := parseError(m.Data); ok {
				if size == len(sent) {
					e.seq = [2]byte(sent[6:])
				}
				out = append(out, e)
			}
		}
	}
	return out
}

// Of struct sock_extended_err (linux/errqueue.h): its length, where ee_origin is,
// and origins.
const (
	extendedError = 16
	errorOrigin   = 4 // and after it ee_type and ee_code
	originICMP    = 2 // SO_EE_ORIGIN_ICMP
	originICMP6   = 3 // SO_EE_ORIGIN_ICMP6
)

// parseError reads struct sock_extended_err: ee_errno, ee_origin, ee_type, ee_code
// and a byte, ee_info and ee_data; and the address of who found the error behind it.
func parseError(b []byte) (e sentError, ok bool) {
	if len(b) < extendedError {
		return e, false
	}
	if e.why, ok = unreachableOf(syscall.Errno(binary.NativeEndian.Uint32(b))); !ok {
		return e, false
	}
	if e.why == tooBig {
		e.mtu = int(binary.NativeEndian.Uint32(b[8:]))
	}
	switch [3]byte(b[errorOrigin:]) { // with the code: TTL exceeded in transit
	case [3]byte{originICMP, unreachable4[exceeded][0], unreachable4[exceeded][1]},
		[3]byte{originICMP6, unreachable6[exceeded][0], unreachable6[exceeded][1]}:
		e.why = exceeded
	}
	e.hop = offender(b[extendedError:])
	return e, true
}

// offender reads a struct sockaddr_in or sockaddr_in6.
func offender(b []byte) netip.Addr {
	switch {
	case len(b) >= unix.SizeofSockaddrInet4 && binary.NativeEndian.Uint16(b) == unix.AF_INET:
		return netip.AddrFrom4([4]byte(b[4:]))
	case len(b) >= unix.SizeofSockaddrInet6 && binary.NativeEndian.Uint16(b) == unix.AF_INET6:
		return netip.AddrFrom16([16]byte(b[8:]))
	}
	return netip.Addr{}
}

// setTTL sets how far a socket's packets go; 0: as far as others.
func setTTL(fd int, v6 bool, ttl int) {
	if ttl == 0 {
		ttl = -1
	}
	if v6 {
		_ = unix.SetsockoptInt(fd, unix.SOL_IPV6, unix.IPV6_UNICAST_HOPS, ttl)
	} else {
		_ = unix.SetsockoptInt(fd, unix.SOL_IP, unix.IP_TTL, ttl)
	}
}
