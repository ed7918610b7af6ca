package hold

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/libcapsa/libcapsa/internal/vm"
)

const (
	maxFrame = 8 << 20 // bytes of JSON: a command with its environment
	maxFDs   = 3       // descriptors with one frame: the streams of a program
)

// conn sends and receives frames.
type conn struct {
	c  *net.UnixConn
	mu sync.Mutex // held by send: frames do not mix
}

// hangUp closes the connection. The other side learns it, and there is nothing to do about a failure.
func (c *conn) hangUp() { _ = c.c.Close() }

// send sends a value, and descriptors, which stay the caller's.
func (c *conn) send(value any, files ...*os.File) error {
	body, err := json.Marshal(value)
	if err != nil {
		return vm.Errorf(vm.KindInternal, "talk to a machine", "%w", err)
	}
	if len(body) > maxFrame {
		return vm.Errorf(vm.KindLimit, "talk to a machine", "a message of %d bytes", len(body))
	}
	frame := append(binary.BigEndian.AppendUint32(nil, uint32(len(body))), body...)
	var rights []byte
	if len(files) > 0 {
		fds := make([]int, len(files))
		for i, f := range files {
			fds[i] = int(f.Fd())
		}
		rights = unix.UnixRights(fds...)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	n, _, err := c.c.WriteMsgUnix(frame, rights, nil)
	if err == nil && n < len(frame) {
		_, err = c.c.Write(frame[n:])
	}
	return vm.Wrap("talk to a machine", err)
}

// receive receives a value, and the descriptors that came with it, which are the caller's, also when it fails. The error
// is io.EOF itself when the other side has hung up.
func (c *conn) receive(value any) (files []*os.File, err error) {
	const op = "talk to a machine"
	head, oob := make([]byte, 4), make([]byte, unix.CmsgSpace(4*maxFDs))
	n, oobn, flags, _, err := c.c.ReadMsgUnix(head, oob)
	files = descriptors(oob[:oobn])
	if err != nil || n == 0 {
		if n == 0 && (err == nil || errors.Is(err, io.EOF) || errors.Is(err, unix.ECONNRESET)) {
			return files, io.EOF
		}
		return files, vm.Wrap(op, err)
	}
	if flags&unix.MSG_CTRUNC != 0 {
		return files, vm.Errorf(vm.KindLimit, op, "descriptors were lost").WithHint("raise the limit on open files (ulimit -n)")
	}
	if _, err := io.ReadFull(c.c, head[n:]); err != nil {
		return files, vm.Wrap(op, err)
	}
	size := binary.BigEndian.Uint32(head)
	if size > maxFrame {
		return files, vm.Errorf(vm.KindProtocol, op, "a message of %d bytes is announced", size)
	}
	body := make([]byte, size)
	if _, err := io.ReadFull(c.c, body); err != nil {
		return files, vm.Wrap(op, err)
	}
	if err := json.Unmarshal(body, value); err != nil {
		return files, vm.Errorf(vm.KindProtocol, op, "%w", err)
	}
	return files, nil
}

// descriptors takes the descriptors out of control messages (unix(7), SCM_RIGHTS).
func descriptors(oob []byte) (files []*os.File) {
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil
	}
	for _, m := range messages {
		fds, err := unix.ParseUnixRights(&m)
		if err != nil {
			continue
		}
		for _, fd := range fds {
			unix.CloseOnExec(fd)
			files = append(files, os.NewFile(uintptr(fd), "stream"))
		}
	}
	return files
}
