//go:build linux

package vsock

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// maxVectors is how many buffers one system call takes at most. Linux's guests
// send one or two in a packet, and 17 receive buffers of a page take a packet's
// worth of the largest size.
const maxVectors = 128

// controlSize is the room for the control messages of one recvmsg: those of
// SCM_CREDENTIALS, which are 32 bytes.
const controlSize = 64

// message is the storage of one sendmsg or recvmsg, so that neither allocates.
// One goroutine uses it at a time. It keeps no reference to a buffer after a
// call.
type message struct {
	hdr     unix.Msghdr
	vectors [maxVectors]unix.Iovec
	n       int // vectors in use
	size    int // bytes in them
	control [controlSize]byte
}

// add appends at most limit bytes of the buffers, from their byte off on, and
// returns how many it appended: fewer when the vectors are used up.
func (m *message) add(bufs [][]byte, off, limit int) int {
	before := m.size
	for _, b := range bufs {
		if off >= len(b) {
			off -= len(b)
			continue
		}
		b = b[off:]
		off = 0
		if left := limit - (m.size - before); len(b) > left {
			b = b[:left]
		}
		if len(b) == 0 || !m.addOne(b) {
			break
		}
	}
	return m.size - before
}

// addOne appends a buffer that is not empty; false: the vectors are used up.
func (m *message) addOne(b []byte) bool {
	if m.n == maxVectors {
		return false
	}
	v := &m.vectors[m.n]
	v.Base = &b[0]
	v.SetLen(len(b))
	m.n++
	m.size += len(b)
	return true
}

// reset forgets the buffers.
func (m *message) reset() {
	clear(m.vectors[:m.n])
	m.n, m.size = 0, 0
}

// send sends the buffers and forgets them.
func (m *message) send(fd int) (int, error) {
	return m.call(unix.SYS_SENDMSG, fd, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
}

// receive fills the buffers and forgets them. flags are those of recvmsg(2);
// hdr.Flags has what it returned.
func (m *message) receive(fd, flags int) (int, error) {
	return m.call(unix.SYS_RECVMSG, fd, flags|unix.MSG_DONTWAIT)
}

// receiveControl receives with no buffers and room for control messages, and
// returns how many bytes of those there were.
func (m *message) receiveControl(fd, flags int) (control int, err error) {
	m.hdr.Control = &m.control[0]
	m.hdr.SetControllen(len(m.control))
	_, err = m.receive(fd, flags)
	control = int(m.hdr.Controllen)
	m.hdr = unix.Msghdr{}
	return control, err
}

func (m *message) call(trap uintptr, fd, flags int) (int, error) {
	defer m.reset()
	m.hdr.Iov = &m.vectors[0]
	m.hdr.SetIovlen(m.n)
	m.hdr.Flags = 0
	for {
		// SAFETY: hdr and what it refers to are m's, which is on the heap and
		// alive during the call; every vector was made from a slice that the
		// caller holds until then. Guest memory in them may change at any time,
		// which the kernel copes with.
		n, _, errno := unix.Syscall(trap, uintptr(fd), uintptr(unsafe.Pointer(&m.hdr)), uintptr(flags))
		switch errno {
		case 0:
			return int(n), nil
		case unix.EINTR:
		default:
			return 0, errno
		}
	}
}
