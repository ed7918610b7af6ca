//go:build linux

package main

import (
	"encoding/binary"
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Requests of include/uapi/linux/kvm.h.
const (
	kvmCreateVM      = 0xae01
	kvmCreateVCPU    = 0xae41
	kvmCreateIRQChip = 0xae60
	kvmGetSregs      = 0x8138ae83
	kvmSetSregs      = 0x4138ae84
)

// struct kvm_sregs: its size, the offset of apic_base, and that register's
// enable bit (AMD APM volume 2, 16.3.1).
const (
	sregsSize      = 312
	apicBaseOffset = 272
	apicEnable     = 1 << 11
)

// holdKVMKeys opens virtual machines that stay for the lab's whole life and
// never run. KVM switches code in and out (static keys) when the first virtual
// machine appears and the last one goes, when a vCPU's local APIC is off by
// hardware or software, and when a vCPU has none. Rewriting code on one
// processor while another runs it crashes under QEMU's multi-threaded
// emulation; with one machine in each of those conditions, and while a single
// processor is online, all is switched once and never again.
func holdKVMKeys() error {
	kvm, err := unix.Open("/root/dev/kvm", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("open /dev/kvm", err)
	}
	withAPIC, err := heldVCPU(kvm, true)
	if err != nil {
		return err
	}
	if err := disableAPIC(withAPIC); err != nil {
		return err
	}
	if _, err := heldVCPU(kvm, true); err != nil { // off by software, as after reset
		return err
	}
	_, err = heldVCPU(kvm, false)
	return err
}

// heldVCPU makes a machine with one vCPU; the descriptors are never closed.
func heldVCPU(kvm int, irqchip bool) (int, error) {
	vm, err := ioctl(kvm, kvmCreateVM, 0)
	if err != nil {
		return -1, os.NewSyscallError("KVM_CREATE_VM", err)
	}
	if irqchip {
		if _, err := ioctl(vm, kvmCreateIRQChip, 0); err != nil {
			return -1, os.NewSyscallError("KVM_CREATE_IRQCHIP", err)
		}
	}
	vcpu, err := ioctl(vm, kvmCreateVCPU, 0)
	return vcpu, os.NewSyscallError("KVM_CREATE_VCPU", err)
}

// disableAPIC clears the enable bit of a vCPU's local APIC base register.
func disableAPIC(vcpu int) error {
	var sregs [sregsSize]byte
	if err := ioctlSregs(vcpu, kvmGetSregs, &sregs); err != nil {
		return os.NewSyscallError("KVM_GET_SREGS", err)
	}
	base := binary.LittleEndian.Uint64(sregs[apicBaseOffset:])
	if base&apicEnable == 0 {
		return fmt.Errorf("the APIC base register is %#x: it should be enabled at reset", base)
	}
	binary.LittleEndian.PutUint64(sregs[apicBaseOffset:], base&^apicEnable)
	if err := ioctlSregs(vcpu, kvmSetSregs, &sregs); err != nil {
		return os.NewSyscallError("KVM_SET_SREGS", err)
	}
	return nil
}

func ioctl(fd int, request, arg uintptr) (int, error) {
	r, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), request, arg)
	if errno != 0 {
		return -1, errno
	}
	return int(r), nil
}

func ioctlSregs(fd int, request uintptr, sregs *[sregsSize]byte) error {
	// SAFETY: the request number fixes the size that the kernel reads or writes,
	// sizeof(struct kvm_sregs) = 312 bytes, which the array has; it is not shared,
	// and the conversion in the call's arguments keeps it alive and in place.
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), request, uintptr(unsafe.Pointer(sregs)))
	if errno != 0 {
		return errno
	}
	return nil
}
