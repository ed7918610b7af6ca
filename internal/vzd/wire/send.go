package wire

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/libcapsa/libcapsa/internal/sockpair"
)

// Send sends all of b, and descriptors with its first byte, over a socket that is
// non-blocking. It waits while the socket is full, without a thread. A peer that is
// gone is an error, EPIPE, and never a signal: SIGPIPE is the program's, in which
// this is a library.
func Send(raw syscall.RawConn, b []byte, files Files) error {
	var control []byte
	if len(files) > 0 {
		control = unix.UnixRights(files...)
	}
	for len(b) > 0 {
		var n int
		var err error
		waited := raw.Write(func(fd uintptr) bool {
			n, err = unix.SendmsgN(int(fd), b, control, nil, sockpair.SendFlags)
			return err != unix.EAGAIN
		})
		switch {
		case waited != nil:
			return waited
		case err == unix.EINTR:
		case err != nil:
			return os.NewSyscallError("sendmsg", err)
		default:
			b, control = b[n:], nil
		}
	}
	return nil
}
