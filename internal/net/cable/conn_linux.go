package cable

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/libcapsa/libcapsa/internal/net/link"
	"github.com/libcapsa/libcapsa/internal/safe"
)

// Config says how frames lie on a descriptor.
type Config struct {
	File   int  // taken over; it becomes non-blocking
	Stream bool // a length before each frame; otherwise a frame is a message
	Header bool // struct virtio_net_hdr before each frame, but not with Stream
}

// errEnded: the other end has closed.
var errEnded = errors.New("the other end was closed")

// conn is one descriptor, with what reads and writes it. Its goroutines end when the
// descriptor does.
type conn struct {
	cfg    Config
	file   *os.File
	raw    syscall.RawConn
	socket bool
	empty  bool // messages of no bytes are possible
	gone   atomic.Bool
	out    outbox
	tasks  sync.WaitGroup

	closing sync.Once
}

// newConn takes a descriptor over, also when it fails.
func newConn(cfg Config) (*conn, error) {
	c := &conn{cfg: cfg}
	kind, err := unix.GetsockoptInt(cfg.File, unix.SOL_SOCKET, unix.SO_TYPE)
	switch {
	case err == nil:
		c.socket, c.empty = true, kind == unix.SOCK_DGRAM
		if (kind == unix.SOCK_STREAM) != cfg.Stream {
			err = fmt.Errorf("a socket of type %d does not go with the framing: %w", kind, unix.EPROTOTYPE)
		}
	case errors.Is(err, unix.ENOTSOCK) && !cfg.Stream:
		err = nil
	default:
		err = os.NewSyscallError("getsockopt", err)
	}
	if err == nil {
		err = os.NewSyscallError("fcntl", unix.SetNonblock(cfg.File, true))
	}
	if err != nil {
		_ = unix.Close(cfg.File)
		return nil, err
	}
	if c.socket { // as far as the host allows, so that long frames do not wait for each other
		_ = unix.SetsockoptInt(cfg.File, unix.SOL_SOCKET, unix.SO_SNDBUF, socketBuffer)
	}
	c.file = os.NewFile(uintptr(cfg.File), "network cable")
	if c.raw, err = c.file.SyscallConn(); err != nil {
		return nil, errors.Join(err, c.file.Close())
	}
	c.out.init(c)
	return c, nil
}

// socketBuffer is how many bytes a socket is asked to hold.
const socketBuffer = 4 << 20

// start starts the goroutines. receive gets what comes, borrowed for the call, until
// the descriptor ends; ended is then told why, once.
func (c *conn) start(receive func(frames []link.Frame), room func(), ended func(error)) {
	c.tasks.Add(2)
	safe.Go("cable write", nil, func() {
		defer c.tasks.Done()
		c.out.run(room)
	})
	safe.Go("cable read", nil, func() {
		defer c.tasks.Done()
		err := c.read(receive)
		if c.gone.Load() {
			err = errEnded
		}
		c.out.stop()
		ended(err)
	})
}

// close ends the descriptor and joins its goroutines. Idempotent. Preconditions: not
// called by one of them.
func (c *conn) close() {
	c.closing.Do(func() {
		c.out.stop()
		if c.socket {
			_ = c.raw.Control(func(fd uintptr) { _ = unix.Shutdown(int(fd), unix.SHUT_RDWR) })
		}
		_ = c.file.Close()
	})
	c.tasks.Wait()
}

// lost ends the descriptor if an error of a write says that there is no other end: the
// end of a datagram socket shows in nothing else.
func (c *conn) lost(err error) {
	if !c.socket || !errors.Is(err, unix.ECONNREFUSED) && !errors.Is(err, unix.ECONNRESET) && !errors.Is(err, unix.ENOTCONN) &&
		!errors.Is(err, unix.EPIPE) {
		return
	}
	c.gone.Store(true)
	_ = c.file.Close() // wakes the reader, which a shutdown does not
}

func (c *conn) read(receive func(frames []link.Frame)) error {
	if c.cfg.Stream {
		return c.readStream(receive)
	}
	return c.readMessages(receive)
}

// readBatch is how many frames are handed on at once, at most.
const readBatch = 64

func (c *conn) readStream(receive func(frames []link.Frame)) error {
	var in splitter
	frames := make([]link.Frame, 0, readBatch)
	pieces := make([][]byte, readBatch)
	for {
		n, err := c.readOnce(in.space())
		if err != nil {
			return err
		}
		in.add(n)
		for more := true; more; {
			frames = frames[:0]
			for len(frames) < readBatch {
				f, err := in.next()
				if err != nil {
					return err
				}
				if more = f != nil; !more {
					break
				}
				i := len(frames)
				pieces[i] = f
				frames = append(frames, link.Frame{Data: pieces[i : i+1 : i+1]})
			}
			if len(frames) > 0 {
				receive(frames)
			}
		}
	}
}

// messageBuffers is how many messages are read before they are handed on, at most.
const messageBuffers = 8

func (c *conn) readMessages(receive func(frames []link.Frame)) error {
	const most = headerSize + link.MaxFrame + 1 // a byte more shows a longer one
	var bufs [messageBuffers][]byte
	pieces := make([][]byte, messageBuffers)
	frames := make([]link.Frame, 0, messageBuffers)
	for {
		frames = frames[:0]
		for i := range bufs {
			if bufs[i] == nil {
				bufs[i] = make([]byte, most)
			}
			n, err := c.readMessage(bufs[i], i == 0)
			if err != nil {
				return err
			}
			if n < 0 {
				break
			}
			k := len(frames)
			h, data, ok := c.message(bufs[i][:n])
			if !ok {
				c.out.malformed.Add(1)
				continue
			}
			pieces[k] = data
			frames = append(frames, link.Frame{Header: h, Data: pieces[k : k+1 : k+1]})
		}
		if len(frames) > 0 {
			receive(frames)
		}
	}
}

// message checks one message.
func (c *conn) message(b []byte) (h link.Header, data []byte, ok bool) {
	ok = true
	if c.cfg.Header {
		if len(b) < headerSize {
			return h, nil, false
		}
		data = b[headerSize:]
		h, ok = decodeHeader(b, len(data))
	} else {
		data = b
	}
	return h, data, ok && len(data) >= etherSize && len(data) <= link.MaxFrame
}

// readOnce waits for bytes.
func (c *conn) readOnce(b []byte) (n int, err error) {
	rawErr := c.raw.Read(func(fd uintptr) bool {
		n, err = retry(func() (int, error) { return unix.Read(int(fd), b) })
		return !errors.Is(err, unix.EAGAIN)
	})
	switch {
	case rawErr != nil:
		return 0, rawErr
	case err != nil:
		return 0, os.NewSyscallError("read", err)
	case n == 0:
		return 0, errEnded
	}
	return n, nil
}

// readMessage reads one message, and waits for it if it is to; -1: there is none.
func (c *conn) readMessage(b []byte, wait bool) (n int, err error) {
	rawErr := c.raw.Read(func(fd uintptr) bool {
		n, err = retry(func() (int, error) { return unix.Read(int(fd), b) })
		return !wait || !errors.Is(err, unix.EAGAIN)
	})
	switch {
	case rawErr != nil:
		return 0, rawErr
	case errors.Is(err, unix.EAGAIN):
		return -1, nil
	case err != nil:
		return 0, os.NewSyscallError("read", err)
	case n == 0 && !c.empty:
		return 0, errEnded
	}
	return n, nil
}

func retry(fn func() (int, error)) (n int, err error) {
	for {
		if n, err = fn(); !errors.Is(err, unix.EINTR) {
			return n, err
		}
	}
}
