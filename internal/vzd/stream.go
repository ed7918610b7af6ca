package vzd

import (
	"os"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// stream is a socket to the client for bytes of the guest.
type stream struct {
	file *os.File
	sent atomic.Uint64 // bytes
}

// newStream takes over a descriptor, also when it fails.
func newStream(fd int) (*stream, error) {
	if err := unix.SetNonblock(fd, true); err != nil { // so that waiting takes no thread
		_ = unix.Close(fd)
		return nil, os.NewSyscallError("fcntl", err)
	}
	return &stream{file: os.NewFile(uintptr(fd), "vzd stream")}, nil
}

// Write implements io.Writer. It waits while the client, whose own buffers are
// bounded, does not take what was sent; only a client that is stopped does that.
// Bytes for a client that is gone are dropped.
func (s *stream) Write(p []byte) (int, error) {
	n, _ := s.file.Write(p)
	s.sent.Add(uint64(n))
	return len(p), nil
}

// shutdown ends both directions: calls under way return.
func (s *stream) shutdown() {
	raw, err := s.file.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) { _ = unix.Shutdown(int(fd), unix.SHUT_RDWR) })
}
