//go:build linux

package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/libcapsa/libcapsa/internal/net/link"
)

// hdrSize is the length of struct virtio_net_hdr_v1 in bytes.
const hdrSize = 12

// tap is a guest behind a tap.
type tap struct {
	file *os.File
	raw  syscall.RawConn
	fd   int
	uso  bool // the guest takes long UDP frames
}

// openTap makes a tap with virtio headers in another namespace.
func openTap(ns, name string) (*tap, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	home, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return nil, err
	}
	defer home.Close()
	there, err := os.Open(ns)
	if err != nil {
		return nil, err
	}
	defer there.Close()
	if err := unix.Setns(int(there.Fd()), unix.CLONE_NEWNET); err != nil {
		return nil, os.NewSyscallError("setns", err)
	}
	t, err := newTap(name)
	if back := unix.Setns(int(home.Fd()), unix.CLONE_NEWNET); back != nil {
		panic(back) // this thread is of no use any more
	}
	return t, err
}

func newTap(name string) (*tap, error) {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("open /dev/net/tun", err)
	}
	t := &tap{fd: fd}
	ifr, err := unix.NewIfreq(name)
	if err != nil {
		return nil, err
	}
	ifr.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI | unix.IFF_VNET_HDR)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, ifr); err != nil {
		return nil, os.NewSyscallError("TUNSETIFF", err)
	}
	if err := unix.IoctlSetPointerInt(fd, unix.TUNSETVNETHDRSZ, hdrSize); err != nil {
		return nil, os.NewSyscallError("TUNSETVNETHDRSZ", err)
	}
	offloads := unix.TUN_F_CSUM | unix.TUN_F_TSO4 | unix.TUN_F_TSO6
	const tunUSO4, tunUSO6 = 0x20, 0x40 // TUN_F_USO4, TUN_F_USO6 of linux/if_tun.h, since Linux 6.2
	t.uso = unix.IoctlSetInt(fd, unix.TUNSETOFFLOAD, offloads|tunUSO4|tunUSO6) == nil
	if !t.uso {
		if err := unix.IoctlSetInt(fd, unix.TUNSETOFFLOAD, offloads); err != nil {
			return nil, os.NewSyscallError("TUNSETOFFLOAD", err)
		}
	}
	t.file = os.NewFile(uintptr(fd), name) // now that it can be polled
	t.raw, err = t.file.SyscallConn()
	return t, err
}

// Receive implements link.Guest.
func (t *tap) Receive(frames []link.Frame) int {
	var hdr [hdrSize]byte
	var room [64][]byte
	for i := range frames {
		f := &frames[i]
		encode(&hdr, &f.Header)
		_, _ = unix.Writev(t.fd, append(append(room[:0], hdr[:]), f.Data...)) // one that is refused is lost, as on a wire
	}
	return len(frames)
}

func encode(raw *[hdrSize]byte, h *link.Header) {
	le := binary.LittleEndian
	raw[0], raw[1] = h.Flags, h.GSOType
	le.PutUint16(raw[2:], h.HdrLen)
	le.PutUint16(raw[4:], h.GSOSize)
	le.PutUint16(raw[6:], h.CSumStart)
	le.PutUint16(raw[8:], h.CSumOffset)
	le.PutUint16(raw[10:], 1)
}

func decode(raw []byte) link.Header {
	le := binary.LittleEndian
	return link.Header{
		Flags: raw[0] & link.NeedsChecksum, GSOType: raw[1], HdrLen: le.Uint16(raw[2:]),
		GSOSize: le.Uint16(raw[4:]), CSumStart: le.Uint16(raw[6:]), CSumOffset: le.Uint16(raw[8:]),
	}
}

// batch is how many frames are read at once, as a transmit queue hands them over.
const batch = 16

// serve carries the guest's frames until the tap is gone, and returns why.
func (t *tap) serve(host link.Host) error {
	var bufs [batch][]byte
	var frames [batch]link.Frame
	for i := range bufs {
		bufs[i] = make([]byte, hdrSize+link.MaxFrame)
		frames[i].Data = make([][]byte, 1)
	}
	for {
		n := 0
		var failed error
		err := t.raw.Read(func(fd uintptr) bool {
			for n < batch {
				k, err := unix.Read(int(fd), bufs[n])
				if err != nil {
					if err != unix.EAGAIN {
						failed = err
					}
					break
				}
				if k >= hdrSize {
					frames[n].Header, frames[n].Data[0] = decode(bufs[n]), bufs[n][hdrSize:k]
					n++
				}
			}
			return n > 0 || failed != nil
		})
		host.Send(frames[:n])
		if err != nil || failed != nil {
			return fmt.Errorf("read of the tap: %w", errors.Join(err, failed))
		}
	}
}
