package console

import (
	"context"
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/libcapsa/libcapsa/internal/safe"
	"github.com/libcapsa/libcapsa/internal/sockpair"
)

// pumpChunk is how many bytes a pump carries at a time.
const pumpChunk = 32 << 10

// FD returns a new file descriptor that is the console: reading gives the
// output from the oldest byte kept on, writing types. It is one end of a unix
// stream socket pair, close-on-exec, non-blocking, and belongs to the caller. Every call returns another one with a position of its own.
//
// Closing it, or shutting it down for writing, types nothing. The end of the
// console is announced with a shutdown of both directions after the last byte,
// also to copies in forked processes.
func (c *Console) FD() (int, error) {
	own, theirs, err := sockpair.New()
	if err != nil {
		return -1, fmt.Errorf("console: file descriptor: %w", err)
	}
	s, err := c.newStream(own)
	if err != nil {
		_ = unix.Close(theirs)
		return -1, err
	}
	fail := func(error) { s.stop() }
	s.in.Add(1)
	safe.Go("console input pump", fail, s.pumpInput)
	safe.Go("console output pump", fail, s.pumpOutput)
	return theirs, nil
}

// stream carries bytes between the console and one descriptor given out. Two
// goroutines serve it; the output pump outlives the input pump and releases
// everything.
type stream struct {
	c      *Console
	file   *os.File
	raw    syscall.RawConn
	reader *Reader
	ctx    context.Context // ended by stop
	cancel context.CancelFunc
	in     sync.WaitGroup // the input pump
	done   chan struct{}  // closed when both pumps have ended and the socket is closed
}

// newStream takes over the socket own, which is non-blocking.
func (c *Console) newStream(own int) (*stream, error) {
	file := os.NewFile(uintptr(own), "console")
	raw, err := file.SyscallConn()
	if err != nil {
		_ = file.Close()
		return nil, fmt.Errorf("console: file descriptor: %w", err)
	}
	s := &stream{c: c, file: file, raw: raw, reader: c.NewReader(), done: make(chan struct{})}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.fds == nil {
		s.cancel()
		_ = file.Close()
		return nil, ErrClosed
	}
	c.fds[s] = struct{}{}
	return s, nil
}

// stop makes both pumps end without waiting for the descriptor's holder.
func (s *stream) stop() {
	s.cancel()
	_ = s.file.SetDeadline(time.Unix(0, 0))
}

// join returns when the pumps have ended and the socket is closed.
func (s *stream) join() { <-s.done }

// pumpOutput sends what the guest prints until the console ends, the stream is
// stopped or the holder has closed.
func (s *stream) pumpOutput() {
	defer s.release()
	buf := make([]byte, pumpChunk)
	for {
		n, err := s.reader.Read(s.ctx, buf)
		if err != nil {
			break
		}
		rest := s.sendAll(buf[:n])
		if len(rest) > 0 && s.ctx.Err() == nil {
			// The holder is gone. What it typed before still counts.
			s.in.Wait()
			return
		}
		if len(rest) > 0 && s.sendNow(rest) < len(rest) {
			return
		}
	}
	s.flush(buf)
}

// flush sends, without waiting, what the console still holds for the
// descriptor when the stream is stopped.
func (s *stream) flush(buf []byte) {
	for {
		v := s.c.ring.read(buf, s.reader.pos)
		if v.n == 0 || s.sendNow(buf[:v.n]) < v.n {
			return
		}
		s.reader.advance(v.at+uint64(v.n), v.at-s.reader.pos)
	}
}

// release announces the end, joins the input pump and frees the stream.
func (s *stream) release() {
	s.control(func(fd int) { _ = unix.Shutdown(fd, unix.SHUT_RDWR) })
	s.stop()
	s.in.Wait()
	s.control(drain)
	_ = s.file.Close()
	s.c.mu.Lock()
	delete(s.c.fds, s)
	s.c.mu.Unlock()
	close(s.done)
}

// pumpInput types what the holder writes, until it shuts down or closes.
func (s *stream) pumpInput() {
	defer s.in.Done()
	buf := make([]byte, pumpChunk)
	for {
		n, err := s.file.Read(buf)
		if err != nil || n == 0 {
			break
		}
		if _, err := s.c.Send(s.ctx, buf[:n]); err != nil {
			// Nothing takes input any more: the holder's writes fail from now
			// on, and one that waits for room is woken by the drain alone.
			s.control(func(fd int) {
				_ = unix.Shutdown(fd, unix.SHUT_RD)
				drain(fd)
			})
			return
		}
	}
	if s.hungUp() {
		s.cancel()
	}
}

// hungUp says whether the holder has closed its end altogether, rather than
// shut it down for writing.
func (s *stream) hungUp() bool {
	closed := false
	s.control(func(fd int) {
		p := []unix.PollFd{{Fd: int32(fd)}}
		if n, err := unix.Poll(p, 0); err == nil && n == 1 {
			closed = p[0].Revents&(unix.POLLHUP|unix.POLLERR) != 0
		}
	})
	return closed
}

// sendAll sends p, waiting for room, and returns what could not be sent.
func (s *stream) sendAll(p []byte) []byte {
	for len(p) > 0 {
		var n int
		var err error
		waitErr := s.raw.Write(func(fd uintptr) bool {
			n, err = send(int(fd), p)
			return err != unix.EAGAIN
		})
		if waitErr != nil || err != nil {
			return p
		}
		p = p[n:]
	}
	return nil
}

// sendNow sends as much of p as fits and returns how much that was.
func (s *stream) sendNow(p []byte) int {
	sent := 0
	for sent < len(p) {
		n, err := 0, error(nil)
		s.control(func(fd int) { n, err = send(fd, p[sent:]) })
		if err != nil || n == 0 {
			break
		}
		sent += n
	}
	return sent
}

// control runs fn on the socket unless it is closed. Deadlines do not matter to it.
func (s *stream) control(fn func(fd int)) {
	_ = s.raw.Control(func(fd uintptr) { fn(int(fd)) })
}

// send is one non-blocking send without SIGPIPE.
func send(fd int, p []byte) (int, error) {
	for {
		n, err := unix.SendmsgN(fd, p, nil, nil, sockpair.SendFlags)
		if err != unix.EINTR {
			return n, err
		}
	}
}

// drain discards what the holder wrote and nobody read. A unix socket closed
// with unread bytes would give the holder ECONNRESET instead of the end.
// Preconditions: the socket is shut down for reading, so that nothing more comes.
func drain(fd int) {
	buf := make([]byte, 4<<10)
	for {
		n, _, err := unix.Recvfrom(fd, buf, unix.MSG_DONTWAIT)
		if err == unix.EINTR {
			continue
		}
		if n <= 0 || err != nil {
			return
		}
	}
}
