package cable

import (
	"errors"
	"fmt"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// Kinds of errors of a TAP, besides those of system calls.
var (
	// ErrNoTAP: the descriptor is not that of a TAP whose frames can be carried.
	ErrNoTAP = errors.New("not a TAP interface of frames alone")
	// ErrNotThere: there is no such interface.
	ErrNotThere = errors.New("there is no such interface")
)

// OpenTAP opens a TAP interface that there is (Linux,
// Documentation/networking/tuntap.rst). Its frames have headers.
func OpenTAP(name string) (file int, err error) {
	if _, err := net.InterfaceByName(name); err != nil {
		return -1, fmt.Errorf("%w: %q", ErrNotThere, name) // the kernel would make one
	}
	ifr, err := unix.NewIfreq(name)
	if err != nil {
		return -1, err
	}
	file, err = unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return -1, &os.PathError{Op: "open", Path: "/dev/net/tun", Err: err}
	}
	const flags = unix.IFF_TAP | unix.IFF_NO_PI | unix.IFF_VNET_HDR
	ifr.SetUint16(flags)
	if err = unix.IoctlIfreq(file, unix.TUNSETIFF, ifr); errors.Is(err, unix.EINVAL) { // made with several queues
		ifr.SetUint16(flags | unix.IFF_MULTI_QUEUE)
		err = unix.IoctlIfreq(file, unix.TUNSETIFF, ifr)
	}
	if err != nil {
		_ = unix.Close(file)
		return -1, os.NewSyscallError("TUNSETIFF", err)
	}
	if _, err := PrepareTAP(file); err != nil {
		_ = unix.Close(file)
		return -1, err
	}
	return file, nil
}

// PrepareTAP makes the descriptor of a TAP ready for a Host: it says whether frames
// have headers, and has the kernel hand over frames whose checksums are partial and that
// are yet to be cut, if they have.
func PrepareTAP(file int) (header bool, err error) {
	ifr, err := unix.NewIfreq("none") // which the kernel overwrites
	if err != nil {
		return false, err
	}
	if err := unix.IoctlIfreq(file, unix.TUNGETIFF, ifr); err != nil {
		return false, fmt.Errorf("%w: %w", ErrNoTAP, os.NewSyscallError("TUNGETIFF", err))
	}
	switch flags := ifr.Uint16(); {
	case flags&unix.IFF_TAP == 0:
		return false, fmt.Errorf("%w: it has no Ethernet (IFF_TAP)", ErrNoTAP)
	case flags&unix.IFF_NO_PI == 0:
		return false, fmt.Errorf("%w: something comes before each frame (no IFF_NO_PI)", ErrNoTAP)
	case flags&unix.IFF_VNET_HDR == 0:
		return false, nil
	}
	if err := unix.IoctlSetPointerInt(file, unix.TUNSETVNETHDRSZ, headerSize); err != nil {
		return false, os.NewSyscallError("TUNSETVNETHDRSZ", err)
	}
	const tso = unix.TUN_F_CSUM | unix.TUN_F_TSO4 | unix.TUN_F_TSO6 | unix.TUN_F_TSO_ECN
	for _, offloads := range []int{tso | unix.TUN_F_USO4 | unix.TUN_F_USO6, tso} { // USO is of Linux 6.2
		if err = unix.IoctlSetInt(file, unix.TUNSETOFFLOAD, offloads); err == nil {
			return true, nil
		}
	}
	return false, os.NewSyscallError("TUNSETOFFLOAD", err)
}
