//go:build linux

package kvm

import (
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/libcapsa/libcapsa/internal/kvm/kvmsys"
	"github.com/libcapsa/libcapsa/internal/vm"
)

// exitHandlers has an entry for every exit reason of KVM on x86-64 (api.rst,
// section 5). A reason without one, like all reasons that are failures, ends
// the machine with CauseVMMCrash and the registers. Each handler runs on the
// vCPU's thread; what has to stop the machine calls end and returns.
var exitHandlers = [kvmsys.ExitReasonCount]func(*vcpu){
	// What the guest does all the time.
	kvmsys.ExitIO:   (*vcpu).io,
	kvmsys.ExitMMIO: (*vcpu).mmio,

	// Nothing to do: go on.
	kvmsys.ExitIRQWindowOpen: ignore, // never asked for
	kvmsys.ExitIntr:          ignore, // a signal; KVM_RUN says EINTR with it
	kvmsys.ExitSetTPR:        ignore, // with an irqchip in user space only
	kvmsys.ExitTPRAccess:     ignore, // never asked for
	kvmsys.ExitNMI:           ignore, // a host NMI; the host has handled it
	kvmsys.ExitIOAPICEOI:     ignore, // with a split irqchip only
	kvmsys.ExitX86BusLock:    ignore, // the guest was slowed down enough

	// Things the guest may not do; it learns so.
	kvmsys.ExitHypercall: (*vcpu).hypercall,
	kvmsys.ExitX86RDMSR:  (*vcpu).refuseMSR,
	kvmsys.ExitX86WRMSR:  (*vcpu).refuseMSR,

	// The guest ended.
	kvmsys.ExitShutdown:    (*vcpu).tripleFault,
	kvmsys.ExitSystemEvent: (*vcpu).systemEvent,

	// KVM or the processor cannot go on.
	kvmsys.ExitUnknown:       (*vcpu).unknown,
	kvmsys.ExitException:     failure("an exception that KVM did not handle"),
	kvmsys.ExitDebug:         failure("a debug exit that nobody asked for"),
	kvmsys.ExitHLT:           failure("a halt outside of the kernel's interrupt controller"),
	kvmsys.ExitFailEntry:     (*vcpu).failEntry,
	kvmsys.ExitInternalError: (*vcpu).internalError,
	kvmsys.ExitHyperV:        failure("a Hyper-V exit that nobody asked for"),
	kvmsys.ExitDirtyRingFull: failure("a full dirty ring that nobody asked for"),
	kvmsys.ExitAPResetHold:   failure("a reset hold of encrypted guests"),
	kvmsys.ExitXen:           failure("a Xen exit that nobody asked for"),
	kvmsys.ExitNotify:        failure("a guest that blocks the processor's events"),
	kvmsys.ExitMemoryFault:   (*vcpu).memoryFault,
}

// exit serves one exit.
func (c *vcpu) exit(reason kvmsys.ExitReason) {
	c.count(reason)
	c.m.timeline.firstExit.mark(c.m.born)
	if reason < kvmsys.ExitReasonCount && exitHandlers[reason] != nil {
		exitHandlers[reason](c)
		return
	}
	c.fail(vm.KindIO, "KVM stopped with exit reason %d, which is not known", uint32(reason))
}

func ignore(*vcpu) {}

func failure(what string) func(*vcpu) {
	return func(c *vcpu) { c.fail(vm.KindIO, "KVM stopped with %s", what) }
}

// io serves port accesses: one, or as many as a string instruction made that
// KVM handed over together (at most a page).
func (c *vcpu) io() {
	io, ok := c.kvm.Shared().IO()
	if !ok {
		c.fail(vm.KindIO, "KVM described a port access that makes no sense")
		return
	}
	for p := io.Data; len(p) >= io.Size; p = p[io.Size:] {
		if io.Write {
			c.m.ports.write(uint64(io.Port), p[:io.Size])
		} else {
			c.m.ports.read(uint64(io.Port), p[:io.Size])
		}
	}
}

func (c *vcpu) mmio() {
	m, ok := c.kvm.Shared().MMIO()
	switch {
	case !ok:
		c.fail(vm.KindIO, "KVM described a memory access that makes no sense")
	case m.Write:
		c.m.mmio.write(m.Addr, m.Data)
	default:
		c.m.mmio.read(m.Addr, m.Data)
	}
}

func (c *vcpu) hypercall() {
	const enosys = 1000 // KVM_ENOSYS, include/uapi/linux/kvm_para.h
	c.kvm.Shared().SetHypercallResult(-enosys & (1<<64 - 1))
}

func (c *vcpu) refuseMSR() { c.kvm.Shared().RefuseMSR() }

func (c *vcpu) tripleFault() {
	c.m.end(ending{cause: vm.CauseTripleFault, detail: c.where()})
}

func (c *vcpu) systemEvent() {
	event, data := c.kvm.Shared().SystemEvent()
	switch event {
	case kvmsys.SystemShutdown:
		c.m.end(ending{cause: vm.CauseGuestShutdown})
	case kvmsys.SystemReset:
		c.m.end(ending{cause: vm.CauseReboot})
	case kvmsys.SystemCrash:
		c.m.end(ending{cause: vm.CausePanic, detail: fmt.Sprintf("the guest reported a crash %x; %s", data, c.where())})
	case kvmsys.SystemWakeup, kvmsys.SystemSuspend:
		// Asked for on other architectures only; going on is what they mean here.
	default:
		c.fail(vm.KindIO, "KVM stopped with system event %d %x", uint32(event), data)
	}
}

func (c *vcpu) unknown() {
	c.fail(vm.KindIO, "KVM stopped with hardware exit reason %#x, which it does not know", c.kvm.Shared().HardwareReason())
}

func (c *vcpu) failEntry() {
	c.fail(vm.KindIO, "the processor refused to enter the guest, hardware reason %#x", c.kvm.Shared().HardwareReason())
}

// internalNames are the suberrors of ExitInternalError.
var internalNames = map[uint32]string{
	kvmsys.InternalEmulation:            "cannot emulate an instruction",
	kvmsys.InternalSimulEx:              "exceptions at the same time",
	kvmsys.InternalDeliveryEvent:        "an exit while an event was delivered",
	kvmsys.InternalUnexpectedExitReason: "an unexpected exit reason",
}

func (c *vcpu) internalError() {
	sub, data := c.kvm.Shared().Internal()
	name := internalNames[sub]
	if name == "" {
		name = fmt.Sprintf("suberror %d", sub)
	}
	if insn := c.kvm.Shared().FailedInsn(); insn != nil {
		c.fail(vm.KindIO, "KVM internal error: %s: bytes % x", name, insn)
		return
	}
	c.fail(vm.KindIO, "KVM internal error: %s %x", name, data)
}

func (c *vcpu) memoryFault() {
	flags, gpa, size := c.kvm.Shared().MemoryFault()
	c.fail(vm.KindIO, "KVM cannot access %d bytes of guest memory at %#x (flags %#x)", size, gpa, flags)
}

// runFailed ends the machine after KVM_RUN failed. EFAULT: the host could not
// give a page of guest memory; EBADF: somebody closed our descriptor; ENOSYS,
// EIO, EINVAL: KVM cannot run this guest.
func (c *vcpu) runFailed(err error) {
	if err == unix.EFAULT && c.kvm.Shared().Reason() == kvmsys.ExitMemoryFault {
		c.memoryFault()
		return
	}
	kind := vm.KindIO
	if err == unix.ENOMEM {
		kind = vm.KindNoMemory
	}
	c.fail(kind, "KVM_RUN: %w", err)
}

// fail ends the machine with CauseVMMCrash.
func (c *vcpu) fail(kind vm.Kind, format string, args ...any) {
	err := vm.Errorf(kind, "run", format, args...).WithComponent(component)
	c.m.end(ending{cause: vm.CauseVMMCrash, err: err, detail: c.where()})
}

// where describes the processor for a person: which one, and its registers.
//
// Preconditions: called on the vCPU's thread.
func (c *vcpu) where() string {
	s := fmt.Sprintf("CPU %d", c.kvm.ID())
	r, err := c.kvm.Regs()
	if err != nil {
		return s + ": " + err.Error()
	}
	s += fmt.Sprintf(" at rip=%#x rflags=%#x rsp=%#x rbp=%#x rax=%#x rbx=%#x rcx=%#x rdx=%#x rsi=%#x rdi=%#x"+
		" r8=%#x r9=%#x r10=%#x r11=%#x r12=%#x r13=%#x r14=%#x r15=%#x",
		r.RIP, r.RFLAGS, r.RSP, r.RBP, r.RAX, r.RBX, r.RCX, r.RDX, r.RSI, r.RDI,
		r.R8, r.R9, r.R10, r.R11, r.R12, r.R13, r.R14, r.R15)
	sr, err := c.kvm.Sregs()
	if err != nil {
		return s + ": " + err.Error()
	}
	return s + fmt.Sprintf(" cr0=%#x cr2=%#x cr3=%#x cr4=%#x efer=%#x cs=%#x:%#x ss=%#x",
		sr.CR0, sr.CR2, sr.CR3, sr.CR4, sr.EFER, sr.CS.Selector, sr.CS.Base, sr.SS.Selector)
}
