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

// incoming are messages, and the storage of one recvmmsg, so that it does not
// allocate.
type incoming struct {
	messages
	headers [incomingBatch]mmsghdr
	vectors [incomingBatch]unix.Iovec
	control [incomingBatch][incomingControl]byte
}

// receive takes what the socket has, behind room bytes of each buffer.
func (in *incoming) receive(fd, room int) error {
	for i := range in.headers {
		in.vectors[i].Base = &in.buf[i][room]
		in.vectors[i].SetLen(messageRoom - room)
		h := &in.headers[i].hdr
		*h = unix.Msghdr{Iov: &in.vectors[i], Control: &in.control[i][0]}
		h.SetIovlen(1)
		h.SetControllen(incomingControl)
	}
	for {
		// SAFETY: headers, vectors and control lie in in, the buffers are its own, and
		// all are alive and at their places until the call returns; the lengths above
		// are theirs.
		n, _, errno := unix.Syscall6(unix.SYS_RECVMMSG, uintptr(fd), uintptr(unsafe.Pointer(&in.headers[0])),
			incomingBatch, unix.MSG_DONTWAIT, 0, 0)
		switch errno {
		case 0:
			in.n = int(n)
			for i := range in.n {
				in.size[i] = room + int(in.headers[i].size)
				in.each[i] = coalesced(in.control[i][:min(in.headers[i].hdr.Controllen, incomingControl)])
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
