//go:build linux

package kvmsys

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// System is an open /dev/kvm.
type System struct {
	fd      int
	runSize int // bytes of the area shared with each vCPU
	gate    Gate
}

// VersionError says that the kernel speaks another version of the interface.
type VersionError struct{ Got int }

func (e *VersionError) Error() string {
	return fmt.Sprintf("KVM_GET_API_VERSION: version %d, want %d", e.Got, APIVersion)
}

// Open opens the KVM device at path (DevicePath but in tests). gate is nil but
// in tests.
//
// # Errors
//
// *os.SyscallError of open with the errno (ENOENT: no such device; EACCES: not
// allowed; ENODEV, ENXIO: the module is not loaded), or of an ioctl (ENOTTY:
// path is something else); *VersionError.
func Open(path string, gate Gate) (*System, error) {
	if err := gate.check("open"); err != nil {
		return nil, err
	}
	fd, err := openRetry(path)
	if err != nil {
		return nil, os.NewSyscallError("open", err)
	}
	s := &System{fd: fd, gate: gate}
	if err := s.probe(); err != nil {
		_ = s.Close()
		return nil, err
	}
	return s, nil
}

func openRetry(path string) (int, error) {
	for {
		// O_NONBLOCK: a FIFO under this name must not block us; KVM ignores it.
		fd, err := unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
		if err != unix.EINTR {
			return fd, err
		}
	}
}

func (s *System) probe() error {
	v, err := ioctl(s.gate, s.fd, "KVM_GET_API_VERSION", ioGetAPIVersion, 0)
	if err != nil {
		return err
	}
	if v != APIVersion {
		return &VersionError{Got: v}
	}
	s.runSize, err = ioctl(s.gate, s.fd, "KVM_GET_VCPU_MMAP_SIZE", ioGetVCPUMmapSize, 0)
	if err != nil {
		return err
	}
	if s.runSize < runUnionEnd {
		return fmt.Errorf("KVM_GET_VCPU_MMAP_SIZE: %d bytes, want at least %d", s.runSize, runUnionEnd)
	}
	return nil
}

// Close closes the device. VMs made from it stay.
func (s *System) Close() error { return closeFD(&s.fd) }

// Extension is the value of a capability for the device: 0 where it is missing,
// and for an error too, as the kernel has none to give here.
func (s *System) Extension(c Cap) int {
	n, err := ioctl(s.gate, s.fd, "KVM_CHECK_EXTENSION", ioCheckExtension, uintptr(c))
	if err != nil {
		return 0
	}
	return n
}

// SupportedCPUID is what the processor and KVM offer together
// (KVM_GET_SUPPORTED_CPUID).
func (s *System) SupportedCPUID() ([]CPUIDEntry, error) {
	c := &cpuid2{Nent: maxCPUIDEntries}
	if _, err := ioctlPtr(s.gate, s.fd, "KVM_GET_SUPPORTED_CPUID", ioGetSupportedCPUID, c); err != nil {
		return nil, err
	}
	return c.Entries[:min(int(c.Nent), maxCPUIDEntries)], nil
}

// CreateVM makes a virtual machine without memory, interrupt controllers or
// processors.
func (s *System) CreateVM() (*VM, error) {
	fd, err := ioctl(s.gate, s.fd, "KVM_CREATE_VM", ioCreateVM, 0)
	if err != nil {
		return nil, err
	}
	return &VM{fd: fd, runSize: s.runSize, gate: s.gate}, nil
}

// closeFD closes *fd once. The error of close is of no use: the descriptor is
// gone in any case, and nothing is buffered behind it; EBADF however says that
// somebody closed it behind our back, so it is reported.
func closeFD(fd *int) error {
	if *fd < 0 {
		return nil
	}
	n := *fd
	*fd = -1
	if err := unix.Close(n); err == unix.EBADF {
		return os.NewSyscallError("close", err)
	}
	return nil
}
