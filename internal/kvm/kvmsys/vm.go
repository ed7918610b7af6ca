//go:build linux

package kvmsys

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// VM is a virtual machine of the kernel. Its resources are freed when it and
// all its vCPUs are closed.
type VM struct {
	fd      int
	runSize int
	gate    Gate
}

// Close drops the VM's descriptor. Close its vCPUs first.
func (v *VM) Close() error { return closeFD(&v.fd) }

// Extension is the value of a capability for this VM, 0 where it is missing.
func (v *VM) Extension(c Cap) int {
	n, err := ioctl(v.gate, v.fd, "KVM_CHECK_EXTENSION", ioCheckExtension, uintptr(c))
	if err != nil {
		return 0
	}
	return n
}

// EnableCap switches a capability of the VM on.
func (v *VM) EnableCap(c Cap, args ...uint64) error {
	e := &enableCap{Cap: uint32(c)}
	copy(e.Args[:], args)
	_, err := ioctlPtr(v.gate, v.fd, "KVM_ENABLE_CAP", ioEnableCap, e)
	return err
}

// SetTSSAddr names three pages below 4 GiB, outside of all memory slots, that
// KVM uses on Intel processors for real mode.
func (v *VM) SetTSSAddr(addr uint32) error {
	_, err := ioctl(v.gate, v.fd, "KVM_SET_TSS_ADDR", ioSetTSSAddr, uintptr(addr))
	return err
}

// SetIdentityMapAddr names one page below 4 GiB, outside of all memory slots,
// that KVM uses on Intel processors for real mode. Before the first vCPU.
func (v *VM) SetIdentityMapAddr(addr uint32) error {
	a := uint64(addr)
	_, err := ioctlPtr(v.gate, v.fd, "KVM_SET_IDENTITY_MAP_ADDR", ioSetIdentityMapAddr, &a)
	return err
}

// CreateIRQChip makes the PICs, an IOAPIC of 24 pins, and a local APIC for
// each vCPU made afterwards.
func (v *VM) CreateIRQChip() error {
	_, err := ioctl(v.gate, v.fd, "KVM_CREATE_IRQCHIP", ioCreateIRQChip, 0)
	return err
}

// CreatePIT makes an 8254 timer, after CreateIRQChip.
func (v *VM) CreatePIT() error {
	_, err := ioctlPtr(v.gate, v.fd, "KVM_CREATE_PIT2", ioCreatePIT2, &pitConfig{})
	return err
}

// SetGSIRouting replaces the table that leads from GSIs to pins.
func (v *VM) SetGSIRouting(routes []Route) error {
	if len(routes) > maxRoutes {
		return fmt.Errorf("KVM_SET_GSI_ROUTING: %d routes, limit %d", len(routes), maxRoutes)
	}
	const typeIRQChip = 1 // KVM_IRQ_ROUTING_IRQCHIP
	t := &irqRouting{NR: uint32(len(routes))}
	for i, r := range routes {
		t.Entries[i] = irqRoutingEntry{GSI: r.GSI, Type: typeIRQChip, IRQChip: r.Chip, Pin: r.Pin}
	}
	_, err := ioctlPtr(v.gate, v.fd, "KVM_SET_GSI_ROUTING", ioSetGSIRouting, t)
	return err
}

// IRQLine sets the level of a GSI.
func (v *VM) IRQLine(gsi uint32, high bool) error {
	l := &irqLevel{IRQ: gsi}
	if high {
		l.Level = 1
	}
	_, err := ioctlPtr(v.gate, v.fd, "KVM_IRQ_LINE", ioIRQLine, l)
	return err
}

// SetMemory makes mem the guest's memory from guest physical address gpa, in a
// slot; an empty mem removes the slot. gpa, the address of mem and its length
// are multiples of the page size.
func (v *VM) SetMemory(slot, flags uint32, gpa uint64, mem []byte) error {
	r := &userMemoryRegion{Slot: slot, Flags: flags, GuestPhysAddr: gpa, MemorySize: uint64(len(mem))}
	if len(mem) > 0 {
		r.UserspaceAddr = hostAddress(mem)
	}
	_, err := ioctlPtr(v.gate, v.fd, "KVM_SET_USER_MEMORY_REGION", ioSetUserMemory, r)
	return err
}

// IOEvent is a guest write that becomes a write to an eventfd.
type IOEvent struct {
	Addr  uint64 // guest physical address, or port when PIO
	Len   uint32 // bytes of the access: 1, 2, 4 or 8
	PIO   bool
	Match *uint64 // nil: any value
}

// AssignIOEvent lets the kernel answer a guest write by signalling an eventfd.
func (v *VM) AssignIOEvent(e IOEvent, eventfd int) error { return v.ioevent(e, eventfd, 0) }

// DeassignIOEvent undoes AssignIOEvent with the same arguments.
func (v *VM) DeassignIOEvent(e IOEvent, eventfd int) error {
	return v.ioevent(e, eventfd, ioEventDeassign)
}

func (v *VM) ioevent(e IOEvent, eventfd int, flags uint32) error {
	r := &ioeventfd{Addr: e.Addr, Len: e.Len, FD: int32(eventfd), Flags: flags}
	if e.PIO {
		r.Flags |= ioEventPIO
	}
	if e.Match != nil {
		r.Flags |= ioEventDataMatch
		r.DataMatch = *e.Match
	}
	_, err := ioctlPtr(v.gate, v.fd, "KVM_IOEVENTFD", ioIOEventFD, r)
	return err
}

// CreateVCPU makes a processor with an APIC id and maps its shared area.
func (v *VM) CreateVCPU(id int) (*VCPU, error) {
	fd, err := ioctl(v.gate, v.fd, "KVM_CREATE_VCPU", ioCreateVCPU, uintptr(id))
	if err != nil {
		return nil, err
	}
	c := &VCPU{fd: fd, id: id, gate: v.gate}
	if err := v.gate.check("mmap"); err != nil {
		_ = c.Close()
		return nil, err
	}
	run, err := unix.Mmap(fd, 0, v.runSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		_ = c.Close()
		return nil, os.NewSyscallError("mmap", err)
	}
	c.run = Run{mem: run}
	return c, nil
}
