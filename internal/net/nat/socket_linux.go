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
	s, err := dialSocket(frame.ICMPv4, netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), 0))
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
	if e.why, ok = unreachableOf(syscall.Errno(binary.NativeEndian.Uint32(b))); !ok {
		return e, false
	}
	if e.why == tooBig {
		e.mtu = int(binary.NativeEndian.Uint32(b[8:]))
	}
	return e, true
}
