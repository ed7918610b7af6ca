//go:build linux

package kvm

import (
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/libcapsa/libcapsa/internal/kvm/kvmsys"
	"github.com/libcapsa/libcapsa/internal/kvm/kvmtest"
	"github.com/libcapsa/libcapsa/internal/kvm/layout"
	"github.com/libcapsa/libcapsa/internal/vm"
)

// withProbes puts one probe on each bus.
func withProbes(t testing.TB, ports, mem *probe) func(*machine) {
	return func(m *machine) {
		require.NoError(t, m.ports.add("test ports", testPort, 0x10, ports))
		require.NoError(t, m.mmio.add("test memory", testMem, 0x20, mem))
	}
}

// testMem is an address in the MMIO window that no device has.
const testMem = layout.MMIOBase + 0x9000

func w(off uint64, data string) access { return access{write: true, off: off, data: data} }
func r(off uint64, data string) access { return access{off: off, data: data} }

func TestPortAccesses(t *testing.T) {
	var ports, mem probe
	a := newAsm().
		outb(testPort, 0x11).outw(testPort+2, 0x2233).outl(testPort+4, 0x44556677).
		inb(testPort + 8).outEAX(testPort).
		inw(testPort + 9).outEAX(testPort).
		inl(testPort + 12).outEAX(testPort).
		inl(testPort + 0xe).outEAX(testPort). // crosses the end
		inl(0x4f8).outEAX(testPort)           // nobody
	require.Equal(t, vm.CauseGuestShutdown, runToEnd(t, bare(t, a.powerOff(), withProbes(t, &ports, &mem), vm.Host{})).Cause)
	require.Equal(t, []access{
		w(0, "\x11"), w(2, "\x33\x22"), w(4, "\x77\x66\x55\x44"),
		r(8, "\x88"), w(0, "\x88\x00\x00\x00"),
		r(9, "\x89\x8a"), w(0, "\x89\x8a\x00\x00"),
		r(12, "\x8c\x8d\x8e\x8f"), w(0, "\x8c\x8d\x8e\x8f"),
		w(0, "\xff\xff\xff\xff"),
		w(0, "\xff\xff\xff\xff"),
	}, ports.accesses())
	require.Empty(t, mem.accesses())
}

// String instructions arrive as single accesses, however KVM hands them over.
func TestStringPortAccesses(t *testing.T) {
	const source, target = 0x30_0000, 0x30_1000
	var ports, mem probe
	a := newAsm().mem32(source, 0x44332211).
		movESI(source).movECX(4).movEDX(testPort).emit(0xf3, 0x6e).         // rep outsb
		movESI(source).movECX(2).movEDX(testPort+4).emit(0xf3, 0x66, 0x6f). // rep outsw
		movEDI(target).movECX(3).movEDX(testPort+1).emit(0xf3, 0x6c).       // rep insb
		emit(0x8b, 0x04, 0x25).imm32(target).outEAX(testPort + 8)
	runToEnd(t, bare(t, a.powerOff(), withProbes(t, &ports, &mem), vm.Host{}))
	require.Equal(t, []access{
		w(0, "\x11"), w(0, "\x22"), w(0, "\x33"), w(0, "\x44"),
		w(4, "\x11\x22"), w(4, "\x33\x44"),
		r(1, "\x81"), r(1, "\x81"), r(1, "\x81"),
		w(8, "\x81\x81\x81\x00"),
	}, ports.accesses())
}

func TestMemoryAccesses(t *testing.T) {
	var ports, mem probe
	a := newAsm().movRBX(testMem).
		emit(0xc6, 0x43, 1, 0x11).                            // mov byte [rbx+1], 0x11
		emit(0x66, 0xc7, 0x43, 2, 0x22, 0x33).                // mov word [rbx+2]
		emit(0xc7, 0x43, 4).imm32(0x44556677).                // mov dword [rbx+4]
		movRAX(0x1122334455667788).emit(0x48, 0x89, 0x43, 8). // mov [rbx+8], rax
		emit(0x0f, 0xb6, 0x43, 0x10).outEAX(testPort).        // movzx eax, byte [rbx+16]
		emit(0x0f, 0xb7, 0x43, 0x11).outEAX(testPort).        // unaligned word
		emit(0x8b, 0x43, 0x14).outEAX(testPort).              // dword
		emit(0x48, 0x8b, 0x43, 0x18).outEAX(testPort).        // qword
		emit(0x8b, 0x43, 0x1e).outEAX(testPort).              // crosses the end
		emit(0x8b, 0x83).imm32(0x1000).outEAX(testPort).      // nobody
		emit(0xc7, 0x83).imm32(0x1000).imm32(1)               // nobody
	runToEnd(t, bare(t, a.powerOff(), withProbes(t, &ports, &mem), vm.Host{}))
	require.Equal(t, []access{
		w(1, "\x11"), w(2, "\x22\x33"), w(4, "\x77\x66\x55\x44"),
		w(8, "\x88\x77\x66\x55\x44\x33\x22\x11"),
		r(0x10, "\x90"), r(0x11, "\x91\x92"), r(0x14, "\x94\x95\x96\x97"),
		r(0x18, "\x98\x99\x9a\x9b\x9c\x9d\x9e\x9f"),
	}, mem.accesses())
	var answers []string
	for _, a := range ports.accesses() {
		answers = append(answers, a.data)
	}
	require.Equal(t, []string{
		"\x90\x00\x00\x00", "\x91\x92\x00\x00", "\x94\x95\x96\x97", "\x98\x99\x9a\x9b",
		"\xff\xff\xff\xff", "\xff\xff\xff\xff",
	}, answers)
}

// Memory that ends where the guest says it does: what lies between RAM and the
// devices is nobody's.
func TestHoleIsNobodys(t *testing.T) {
	out, host := serialHost()
	a := newAsm().movRBX(64*vm.MiB).emit(0x8b, 0x03). // mov eax, [rbx]
								emit(0x83, 0xf8, 0xff).jne("bad").print("ones").powerOff().
								label("bad").print("bad").powerOff()
	runToEnd(t, bare(t, a, nil, host))
	require.Equal(t, "ones", out.String())
}

func TestTripleFaultHasRegisters(t *testing.T) {
	e := runToEnd(t, bare(t, tripleFault(newAsm()), nil, vm.Host{}))
	require.Equal(t, vm.CauseTripleFault, e.Cause)
	require.Contains(t, e.Detail, "CPU 0 at rip=0x1000")
	require.Contains(t, e.Detail, "cr3=")
}

// A kernel that panics and resets, in whatever way, is a panic.
func TestPanicThenReset(t *testing.T) {
	for _, c := range []struct {
		name  string
		text  string
		reset func(*asm) *asm
		want  vm.Cause
	}{
		{"keyboard", "Kernel panic - not syncing: a\n", func(a *asm) *asm { return a.outb(layout.I8042StatusPort, 0xfe) }, vm.CausePanic},
		{"ACPI", "Kernel panic - not syncing: a\n", func(a *asm) *asm { return a.outb(layout.ResetPort, layout.ResetValue) }, vm.CausePanic},
		{"triple fault", "Kernel panic - not syncing: a\n", tripleFault, vm.CausePanic},
		{"in mid-line", "Kernel panic - not syncing: a", tripleFault, vm.CausePanic},
		{"out of memory", "Kernel panic - not syncing: Out of memory: compulsory panic_on_oom is enabled\n", tripleFault, vm.CauseOutOfMemory},
		{"powers off", "Kernel panic - not syncing: a\n", (*asm).powerOff, vm.CauseGuestShutdown},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := runToEnd(t, bare(t, c.reset(newAsm().print(c.text)).forever(), nil, vm.Host{}))
			require.Equal(t, c.want, e.Cause)
			if c.want == vm.CauseGuestShutdown {
				require.Contains(t, e.Detail, "had panicked")
				return
			}
			require.Contains(t, e.PanicText, "Kernel panic - not syncing: ")
		})
	}
}

// Sleep states other than S5, and other commands, do nothing.
func TestHarmlessPowerWrites(t *testing.T) {
	out, host := serialHost()
	a := newAsm().outb(layout.SleepControlPort, 1<<5).outb(layout.SleepControlPort, 5<<2).
		outb(layout.ResetPort, 0).outb(layout.I8042StatusPort, 0xff).print("alive").powerOff()
	e := runToEnd(t, bare(t, a, nil, host))
	require.Equal(t, vm.CauseGuestShutdown, e.Cause)
	require.Equal(t, "alive", out.String())
}

// Every reason that the kernel can give has an answer: each is served or ends
// the machine; none is met with silence.
func TestEveryReasonHasAnAnswer(t *testing.T) {
	kvmtest.Require(t)
	for reason := range kvmsys.ExitReason(kvmsys.ExitReasonCount + 3) {
		t.Run(reason.String(), func(t *testing.T) {
			m := bare(t, newAsm().forever(), nil, vm.Host{})
			c := m.vcpus[0]
			require.NotPanics(t, func() { c.exit(reason) }) // the shared area is as KVM makes it: zeroes
			m.mu.Lock()
			ended := m.ending
			m.mu.Unlock()
			known := reason < kvmsys.ExitReasonCount && exitHandlers[reason] != nil
			if !known {
				require.NotNil(t, ended, "an unknown reason ends the machine")
			}
			if ended != nil {
				require.NotEmpty(t, ended.detail+ended.cause.String())
				require.Equal(t, ended.cause.Failure(), ended.err != nil)
			}
			require.NotEmpty(t, m.Stats().Exits)
		})
	}
}

func TestRunErrors(t *testing.T) {
	for _, c := range []struct {
		errno error
		kind  vm.Kind
	}{{unix.EFAULT, vm.KindIO}, {unix.ENOSYS, vm.KindIO}, {unix.EIO, vm.KindIO}, {unix.EBADF, vm.KindIO}, {unix.ENOMEM, vm.KindNoMemory}} {
		t.Run(c.errno.Error(), func(t *testing.T) {
			m := bare(t, newAsm().forever(), nil, vm.Host{})
			m.vcpus[0].runFailed(c.errno)
			wait(t, "end", m.Done())
			e := m.Exit()
			require.Equal(t, vm.CauseVMMCrash, e.Cause)
			require.ErrorIs(t, e.Err, c.errno)
			require.Equal(t, c.kind, vm.KindOf(e.Err))
			require.Contains(t, e.Detail, "rip=")
		})
	}
}

// The host takes a page of guest memory away: KVM_RUN fails and this machine
// ends, the process does not. A KVM that emulates the access instead takes the
// page for a device that nobody has, and the guest goes on.
func TestMemoryTakenAway(t *testing.T) {
	const page = 0x30_0000
	m := bare(t, newAsm().mem32(page, 1).powerOff(), func(m *machine) {
		b, err := m.mem.Slice(page, layout.PageSize)
		require.NoError(t, err)
		require.NoError(t, unix.Mprotect(b, unix.PROT_NONE))
	}, vm.Host{})
	e := runToEnd(t, m)
	if e.Cause == vm.CauseGuestShutdown {
		require.NotZero(t, m.Stats().Exits["mmio"])
		return
	}
	require.Equal(t, vm.CauseVMMCrash, e.Cause)
	require.Error(t, e.Err)
	require.Contains(t, e.Detail, "rip=")
}
