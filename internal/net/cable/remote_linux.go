package cable

import (
	"os"

	"golang.org/x/sys/unix"

	"github.com/libcapsa/libcapsa/internal/net/link"
)

// Pair makes two connected descriptors for frames with headers, close-on-exec: one
// for a Host, one for a Remote. The error is an *os.SyscallError.
func Pair() (host, remote int, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return -1, -1, os.NewSyscallError("socketpair", err)
	}
	return fds[0], fds[1], nil
}

// Remote is a device in another process, at the other end of a descriptor, as its
// network sees it. That process does in software what its driver does not take.
type Remote struct {
	conn *conn
	host link.Host
}

var _ link.Guest = (*Remote)(nil)

// Serve attaches a device at the other end of a descriptor, which it takes over also
// when it fails, to its network, until the descriptor ends or Close.
func Serve(file int, host link.Host) (*Remote, error) {
	c, err := newConn(Config{File: file, Header: true})
	if err != nil {
		return nil, err
	}
	r := &Remote{conn: c, host: host}
	host.Attach(r, link.Offloads{Checksum: true, TSO4: true, TSO6: true, ECN: true, USO4: true, USO6: true})
	c.start(host.Send, host.Room, func(error) {})
	return r, nil
}

// Receive implements link.Guest.
func (r *Remote) Receive(frames []link.Frame) int { return r.conn.out.offer(frames) }

// Close detaches the device and joins what served it. Preconditions: called once.
func (r *Remote) Close() {
	r.conn.close()
	r.host.Detach()
}
