//go:build linux

package kvmsys

import (
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Gate is called with the kernel's name of a system call before it is made.
// A non-nil error is returned in its stead, and the call is not made. Nil in
// production; tests use it to fail each step of a construction in turn.
type Gate func(call string) error

func (g Gate) check(name string) error {
	if g == nil {
		return nil
	}
	return os.NewSyscallError(name, g(name))
}

// ioctl makes one ioctl whose argument is a plain number. The call is repeated
// while a signal interrupts it: none of KVM's ioctls but KVM_RUN (which does
// not come through here) means anything else by EINTR, and each of them can be
// repeated. KVM_CREATE_VM is known to return it (mmu_notifier_register).
func ioctl(g Gate, fd int, name string, req, arg uintptr) (int, error) {
	if err := g.check(name); err != nil {
		return 0, err
	}
	for {
		r, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), req, arg)
		if errno == 0 {
			return int(r), nil
		}
		if errno != unix.EINTR {
			return 0, os.NewSyscallError(name, errno)
		}
	}
}

// ioctlPtr makes one ioctl whose argument is the structure at p.
func ioctlPtr[T any](g Gate, fd int, name string, req uintptr, p *T) (int, error) {
	if err := g.check(name); err != nil {
		return 0, err
	}
	for {
		// SAFETY: p points to a whole T, as large as the kernel was told by the
		// ioctl number (asserted in layout_test.go) or by the count in its
		// header, which never exceeds the array behind it. The conversion
		// stands in the call of an assembly function, so the object is neither
		// freed nor moved until the call returns (unsafe.Pointer, rule 4).
		r, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), req, uintptr(unsafe.Pointer(p)))
		if errno == 0 {
			return int(r), nil
		}
		if errno != unix.EINTR {
			return 0, os.NewSyscallError(name, errno)
		}
	}
}

// hostAddress is where mem lies in this process, for the kernel to map.
//
// Preconditions: mem is a whole mapping or a part of one, not empty, and stays
// mapped until the kernel has been told otherwise or its VM is gone.
func hostAddress(mem []byte) uint64 {
	// SAFETY: only the number leaves; mem is not Go memory (guestmem maps it),
	// so the garbage collector neither moves nor frees it.
	return uint64(uintptr(unsafe.Pointer(unsafe.SliceData(mem))))
}
