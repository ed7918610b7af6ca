package wire

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// controlRoom is the number of descriptors for which a receive has room. It is
// more than MaxFiles, as macOS leaks those that do not fit.
const controlRoom = 64

// Conn is a connection. One goroutine may receive and one may send at a time.
type Conn struct {
	c       *net.UnixConn
	control []byte // of Receive
}

// NewConn makes a connection of a connected unix stream socket, which it takes
// over, also when it fails.
func NewConn(fd int) (*Conn, error) {
	f := os.NewFile(uintptr(fd), "vzd control")
	defer f.Close()
	c, err := net.FileConn(f)
	if err != nil {
		return nil, fmt.Errorf("descriptor %d: %w", fd, err)
	}
	u, ok := c.(*net.UnixConn)
	if !ok || u.LocalAddr().Network() != "unix" {
		_ = c.Close()
		return nil, fmt.Errorf("descriptor %d is no unix stream socket", fd)
	}
	return &Conn{c: u, control: make([]byte, unix.CmsgSpace(4*controlRoom))}, nil
}

// Shutdown ends both directions. What has arrived can still be received, here and
// at the peer, which then sees the end even if other processes hold the socket too.
func (c *Conn) Shutdown() {
	_ = c.withFD(func(fd int) error { return unix.Shutdown(fd, unix.SHUT_RDWR) })
}

func (c *Conn) withFD(fn func(fd int) error) error {
	raw, err := c.c.SyscallConn()
	if err != nil {
		return err
	}
	var inner error
	if err := raw.Control(func(fd uintptr) { inner = fn(int(fd)) }); err != nil {
		return err
	}
	return inner
}

// Dup is another descriptor of the socket, close-on-exec and the caller's.
func (c *Conn) Dup() (fd int, err error) {
	err = c.withFD(func(own int) error {
		var err error
		fd, err = unix.FcntlInt(uintptr(own), unix.F_DUPFD_CLOEXEC, 0)
		return err
	})
	return fd, err
}

// Close closes the connection; calls under way return.
func (c *Conn) Close() error { return c.c.Close() }

// Send sends a frame. The descriptors stay the caller's, and open until the peer's
// ack.
func (c *Conn) Send(f Frame) error {
	if len(f.Body) > MaxBody || len(f.Files) > MaxFiles {
		return fmt.Errorf("a frame of %d bytes with %d descriptors is too large", len(f.Body), len(f.Files))
	}
	h := header{size: uint32(len(f.Body)), kind: f.Kind, files: uint8(len(f.Files)), id: f.ID}.encode()
	b := append(h[:], f.Body...)
	raw, err := c.c.SyscallConn()
	if err != nil {
		return err
	}
	return Send(raw, b, f.Files)
}

// Receive waits for a frame; its descriptors are the caller's, close-on-exec. The
// error is io.EOF when the peer closed between two frames, and of KindProtocol when
// it broke the rules.
func (c *Conn) Receive() (Frame, error) {
	var files Files
	f, err := c.receive(&files)
	if err != nil {
		files.Close()
		return Frame{}, err
	}
	f.Files = files
	return f, nil
}

func (c *Conn) receive(files *Files) (Frame, error) {
	var b [HeaderSize]byte
	for got := 0; got < len(b); {
		n, controlSize, flags, _, err := c.c.ReadMsgUnix(b[got:], c.control)
		if taken, bad := rights(c.control[:controlSize]); bad != nil {
			return Frame{}, bad
		} else if *files = append(*files, taken...); len(*files) > MaxFiles || flags&unix.MSG_CTRUNC != 0 {
			return Frame{}, violation("more descriptors than the %d of a frame", MaxFiles)
		}
		switch {
		case n <= 0 && (err == nil || errors.Is(err, io.EOF) || errors.Is(err, unix.ECONNRESET)):
			// Wrapped in an OpError; reset is a peer that closed and had not read all.
			if got == 0 {
				return Frame{}, io.EOF
			}
			return Frame{}, io.ErrUnexpectedEOF
		case err != nil:
			return Frame{}, err
		}
		got += n
	}
	h, err := decodeHeader(b)
	if err != nil {
		return Frame{}, err
	}
	if int(h.files) != len(*files) {
		return Frame{}, violation("%d descriptors came, and %d were announced", len(*files), h.files)
	}
	body := make([]byte, h.size)
	if _, err := io.ReadFull(c.c, body); err != nil {
		return Frame{}, fmt.Errorf("the body of a frame: %w", err)
	}
	return Frame{Kind: h.kind, ID: h.id, Body: body}, nil
}

// rights are the descriptors in a control message.
func rights(control []byte) (Files, error) {
	if len(control) == 0 {
		return nil, nil
	}
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return nil, violation("control data: %w", err)
	}
	var files Files
	for _, m := range messages {
		if m.Header.Level != unix.SOL_SOCKET || m.Header.Type != unix.SCM_RIGHTS {
			continue
		}
		fds, err := unix.ParseUnixRights(&m)
		if err != nil {
			files.Close()
			return nil, violation("control data: %w", err)
		}
		files = append(files, fds...)
	}
	return files, nil
}
