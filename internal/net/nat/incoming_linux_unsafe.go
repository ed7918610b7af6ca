//go:build linux

package nat

import (
	"encoding/binary"
	"unsafe"

	"golang.org/x/sys/unix"
)

// incomingControl is the room for a control message, UDP_GRO's of 20 bytes.
const incomingControl = 64

// mmsghdr is struct mmsghdr (recvmmsg(2)).
type mmsghdr struct {
	hdr  unix.Msghdr
	size uint32
	_    [4]byte
}

// incomingCalls is the storage of one recvmmsg, so that it does not allocate.
type incomingCalls struct {
	messages [incomingBatch]mmsghdr
	vectors  [incomingBatch]unix.Iovec
	control  [incomingBatch][incomingControl]byte
}

// receive takes what the socket has, behind room bytes of each buffer.
func (in *incoming) receive(fd, room int) error {
	c := &in.calls
	for i := range c.messages {
		c.vectors[i].Base = &in.buf[i][room]
		c.vectors[i].SetLen(messageRoom - room)
		h := &c.messages[i].hdr
		*h = unix.Msghdr{Iov: &c.vectors[i], Control: &c.control[i][0]}
		h.SetIovlen(1)
		h.SetControllen(incomingControl)
	}
	for {
		// SAFETY: messages, vectors and control lie in in, the buffers are its own, and
		// all are alive and at their places until the call returns; the lengths above
		// are theirs.
		n, _, errno := unix.Syscall6(unix.SYS_RECVMMSG, uintptr(fd), uintptr(unsafe.Pointer(&c.messages[0])),
			incomingBatch, unix.MSG_DONTWAIT, 0, 0)
		switch errno {
		case 0:
			in.n = int(n)
			for i := range in.n {
				in.size[i] = room + int(c.messages[i].size)
				in.each[i] = coalesced(c.control[i][:min(c.messages[i].hdr.Controllen, incomingControl)])
			}
			return nil
		case unix.EINTR:
		default:
			in.n = 0
			return errno
		}
	}
}

// coalesced reads the control message of UDP_GRO: struct cmsghdr and an int.
func coalesced(control []byte) int {
	ne := binary.NativeEndian
	if len(control) < unix.CmsgLen(4) || ne.Uint32(control[8:]) != unix.SOL_UDP || ne.Uint32(control[12:]) != unix.UDP_GRO {
		return 0
	}
	return int(int32(ne.Uint32(control[16:])))
}
