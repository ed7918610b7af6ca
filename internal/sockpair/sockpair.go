// Package sockpair makes the unix stream sockets on which the library talks to its
// caller and to its own daemon.
package sockpair

import "golang.org/x/sys/unix"

// New returns two connected unix stream sockets, close-on-exec and non-blocking. On
// Darwin they raise no SIGPIPE; on Linux SendFlags see to that. The error is an
// *os.SyscallError.
func New() (ours, theirs int, err error) { return pair(unix.SOCK_STREAM) }

// Datagrams returns two connected unix datagram sockets, close-on-exec and
// non-blocking, with buffers of that many bytes, or as many as the system gives. The
// error is an *os.SyscallError.
func Datagrams(sendBuffer, receiveBuffer int) (ours, theirs int, err error) {
	ours, theirs, err = pair(unix.SOCK_DGRAM)
	if err == nil {
		setBuffers(ours, sendBuffer, receiveBuffer)
		setBuffers(theirs, sendBuffer, receiveBuffer)
	}
	return ours, theirs, err
}

// setBuffers asks for the sizes of a socket's buffers. Less is slower, and no error.
func setBuffers(fd, sendBuffer, receiveBuffer int) {
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, sendBuffer)
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, receiveBuffer)
}
