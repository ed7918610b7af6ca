package lan

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"

	"github.com/libcapsa/libcapsa/internal/net/cable"
	"github.com/libcapsa/libcapsa/internal/vm"
)

// Prepare opens the TAP of a configuration, and makes one that is a descriptor ready, as
// a confined process cannot. It puts the descriptor, and what frames on it look like,
// into c. The file, which may be nil, is to be closed once the machine has its copy.
func Prepare(op string, c *vm.NetworkConfig) (*os.File, error) {
	k := &c.Cable
	switch {
	case c.Mode == vm.NetworkTAP && k.File == 0:
		fd, err := cable.OpenTAP(k.TAP)
		if err != nil {
			return nil, CableError(op, err)
		}
		k.File, k.Framing, k.Header = fd, vm.FramingDatagram, true
		return os.NewFile(uintptr(fd), k.TAP), nil
	case k.Framing == vm.FramingTAP:
		header, err := cable.PrepareTAP(k.File)
		if err != nil {
			return nil, CableError(op, err)
		}
		k.Framing, k.Header = vm.FramingDatagram, header
	}
	return nil, nil
}

// CableError is the error of a descriptor, or a TAP, that cannot be used.
func CableError(op string, err error) error {
	kind, hint := vm.KindOf(err), ""
	const make = "ip tuntap add NAME mode tap user USER"
	switch {
	case errors.Is(err, cable.ErrNotThere):
		kind, hint = vm.KindNotFound, make+" makes one"
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		kind, hint = vm.KindPermission, "it has to be this user's: "+make
	case errors.Is(err, unix.EBUSY):
		kind, hint = vm.KindUnavailable, "somebody else uses the interface"
	case errors.Is(err, cable.ErrNoTAP), errors.Is(err, unix.EBADF), errors.Is(err, unix.EPROTOTYPE), errors.Is(err, unix.ENOTSOCK):
		kind = vm.KindInvalidArg
	}
	return vm.Errorf(kind, op, "%w", err).WithComponent(component).WithHint(hint)
}

// Plug is a descriptor for a machine in another process, whose device is then attached to
// the port until the machine has ended. The caller closes the file once the machine has
// its copy, and the Remote before the port.
func (p *Port) Plug() (*os.File, *Remote, error) {
	near, far, err := cable.Pair()
	if err != nil {
		return nil, nil, vm.Errorf(vm.KindOf(err), "join network", "%w", err).WithComponent(component)
	}
	file := os.NewFile(uintptr(near), "shared network")
	remote, err := cable.Serve(far, p)
	if err != nil {
		_ = file.Close()
		return nil, nil, vm.Errorf(vm.KindOf(err), "join network", "%w", err).WithComponent(component)
	}
	return file, remote, nil
}

// Remote is a device in another process.
type Remote = cable.Remote
