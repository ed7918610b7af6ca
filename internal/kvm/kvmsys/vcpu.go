//go:build linux

package kvmsys

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// VCPU is a virtual processor and the area it shares with the kernel.
type VCPU struct {
	fd   int
	id   int
	run  Run
	gate Gate
}

// ID is the APIC id given to CreateVCPU.
func (c *VCPU) ID() int { return c.id }

// Shared is the area in which the kernel describes an exit.
func (c *VCPU) Shared() *Run { return &c.run }

// Run lets the guest run until something happens (KVM_RUN). The result is the
// bare errno: EINTR after a signal or with immediate exit set, EAGAIN when a
// waiting processor was woken, others are failures; on nil, Shared says why.
//
// Always call it from the same locked thread: the kernel waits for a grace
// period when a vCPU changes its thread.
func (c *VCPU) Run() error {
	// Not RawSyscall: a thread inside of KVM_RUN must give its processor back
	// to the Go scheduler, and must not hold up the garbage collector.
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(c.fd), ioRun, 0)
	if errno != 0 {
		return errno
	}
	return nil
}

// Close unmaps the shared area and drops the descriptor.
//
// Preconditions: no thread is in Run, and none will call a method again.
func (c *VCPU) Close() error {
	if c.run.mem != nil {
		_ = unix.Munmap(c.run.mem) // fails for addresses that were never mapped only
		c.run.mem = nil
	}
	return closeFD(&c.fd)
}

// Regs reads the general purpose registers.
func (c *VCPU) Regs() (*Regs, error) {
	r := new(Regs)
	_, err := ioctlPtr(c.gate, c.fd, "KVM_GET_REGS", ioGetRegs, r)
	return r, err
}

// SetRegs writes the general purpose registers.
func (c *VCPU) SetRegs(r *Regs) error {
	_, err := ioctlPtr(c.gate, c.fd, "KVM_SET_REGS", ioSetRegs, r)
	return err
}

// Sregs reads the segment and control registers.
func (c *VCPU) Sregs() (*Sregs, error) {
	s := new(Sregs)
	_, err := ioctlPtr(c.gate, c.fd, "KVM_GET_SREGS", ioGetSregs, s)
	return s, err
}

// SetSregs writes the segment and control registers.
func (c *VCPU) SetSregs(s *Sregs) error {
	_, err := ioctlPtr(c.gate, c.fd, "KVM_SET_SREGS", ioSetSregs, s)
	return err
}

// SetFPU writes x87 and SSE state.
func (c *VCPU) SetFPU(f *FPU) error {
	_, err := ioctlPtr(c.gate, c.fd, "KVM_SET_FPU", ioSetFPU, f)
	return err
}

// SetCPUID says what the guest's CPUID instruction answers.
func (c *VCPU) SetCPUID(entries []CPUIDEntry) error {
	if len(entries) > maxCPUIDEntries {
		return fmt.Errorf("KVM_SET_CPUID2: %d entries, limit %d", len(entries), maxCPUIDEntries)
	}
	t := &cpuid2{Nent: uint32(len(entries))}
	copy(t.Entries[:], entries)
	_, err := ioctlPtr(c.gate, c.fd, "KVM_SET_CPUID2", ioSetCPUID2, t)
	return err
}

// SetMSRs writes model specific registers. The error names the one that the
// kernel refuses.
func (c *VCPU) SetMSRs(entries []MSREntry) error {
	if len(entries) > maxMSRs {
		return fmt.Errorf("KVM_SET_MSRS: %d entries, limit %d", len(entries), maxMSRs)
	}
	t := &msrs{NMSRs: uint32(len(entries))}
	copy(t.Entries[:], entries)
	n, err := ioctlPtr(c.gate, c.fd, "KVM_SET_MSRS", ioSetMSRs, t)
	if err != nil {
		return err
	}
	if n < len(entries) {
		return fmt.Errorf("KVM_SET_MSRS: register %#x refused: %w", entries[n].Index, os.NewSyscallError("KVM_SET_MSRS", unix.EINVAL))
	}
	return nil
}

// MSR reads one model specific register.
func (c *VCPU) MSR(index uint32) (uint64, error) {
	t := &msrs{NMSRs: 1}
	t.Entries[0].Index = index
	n, err := ioctlPtr(c.gate, c.fd, "KVM_GET_MSRS", ioGetMSRs, t)
	if err != nil {
		return 0, err
	}
	if n != 1 {
		return 0, fmt.Errorf("KVM_GET_MSRS: register %#x: %w", index, os.NewSyscallError("KVM_GET_MSRS", unix.EINVAL))
	}
	return t.Entries[0].Data, nil
}

// LAPIC reads the local APIC's registers.
func (c *VCPU) LAPIC() (*LAPIC, error) {
	l := new(LAPIC)
	_, err := ioctlPtr(c.gate, c.fd, "KVM_GET_LAPIC", ioGetLAPIC, l)
	return l, err
}

// SetLAPIC writes the local APIC's registers.
func (c *VCPU) SetLAPIC(l *LAPIC) error {
	_, err := ioctlPtr(c.gate, c.fd, "KVM_SET_LAPIC", ioSetLAPIC, l)
	return err
}

// MPState reads the multiprocessing state.
func (c *VCPU) MPState() (MPState, error) {
	var s uint32
	_, err := ioctlPtr(c.gate, c.fd, "KVM_GET_MP_STATE", ioGetMPState, &s)
	return MPState(s), err
}

// SetMPState writes the multiprocessing state.
func (c *VCPU) SetMPState(s MPState) error {
	v := uint32(s)
	_, err := ioctlPtr(c.gate, c.fd, "KVM_SET_MP_STATE", ioSetMPState, &v)
	return err
}

// TSCKHz is the frequency of the guest's time stamp counter in kHz.
func (c *VCPU) TSCKHz() (uint32, error) {
	n, err := ioctl(c.gate, c.fd, "KVM_GET_TSC_KHZ", ioGetTSCKHz, 0)
	return uint32(n), err
}

// KVMClockCtrl tells the guest that it was paused, so that its watchdogs do
// not bark. EINVAL: the guest does not use the KVM clock.
func (c *VCPU) KVMClockCtrl() error {
	_, err := ioctl(c.gate, c.fd, "KVM_KVMCLOCK_CTRL", ioKVMClockCtrl, 0)
	return err
}
