package nat

import (
	"errors"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// openSocket opens a socket. Darwin has no queue of errors: each is what a call on a
// connected socket returns.
func openSocket(v6 bool, proto uint8) (fd int, err error) {
	domain := unix.AF_INET
	if v6 {
		domain = unix.AF_INET6
	}
	syscall.ForkLock.RLock() // Darwin has no SOCK_CLOEXEC
	fd, err = unix.Socket(domain, unix.SOCK_DGRAM, int(proto))
	if err == nil {
		unix.CloseOnExec(fd)
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return -1, os.NewSyscallError("socket", err)
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		_ = unix.Close(fd)
		return -1, os.NewSyscallError("fcntl", err)
	}
	return fd, nil
}

// fionread is FIONREAD (sys/filio.h): _IOR('f', 127, int).
const fionread = 0x4004667f

// readable is how much a socket has to read, in bytes.
func readable(fd int) (int, error) { return unix.IoctlGetInt(fd, fionread) }

// setTTL sets how far a socket's packets go; 0: as far as others.
func setTTL(fd int, v6 bool, ttl int) {
	if ttl == 0 {
		ttl = defaultTTL
	}
	if v6 {
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_UNICAST_HOPS, ttl)
	} else {
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_TTL, ttl)
	}
}

// bind: Darwin lets two sockets share a port only if both say so before they are bound,
// and then with everybody. So each flow has a port of its own.
func (p *mapping) bind(int, bool) error {
	p.port = 0
	return nil
}

func forgetStrangers(int) {}

// coalesce: Darwin hands over one datagram at a time.
func (s *socket) coalesce() {}

// segmentControl: Darwin sends one datagram at a time.
type segmentControl [0]byte

func newSegmentControl(uint16) segmentControl { return segmentControl{} }

// sendsRuns says whether the kernel sends several datagrams by one call.
const sendsRuns = false

// canPing: Darwin's sockets for pings give answers with their IP header, and do not tell
// those of one socket from those of another. The gateway itself answers.
func canPing() bool { return false }

// errors is the error that a call has just returned.
func (s *socket) errors(_ int, failed error) []sentError {
	errno, ok := errors.AsType[syscall.Errno](failed)
	if !ok {
		return nil
	}
	why, ok := unreachableOf(errno)
	if !ok {
		return nil
	}
	return []sentError{{why: why}}
}
