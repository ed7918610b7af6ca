//go:build linux

package kvm

import (
	"testing"

	"github.com/libcapsa/libcapsa/internal/kvm/kvmtest"
	"github.com/libcapsa/libcapsa/internal/kvm/layout"
	"github.com/libcapsa/libcapsa/internal/vm"
	"github.com/libcapsa/libcapsa/internal/vmtest"
)

func TestConformance(t *testing.T) {
	kvmtest.Require(t)
	vmtest.Conformance(t, New(), bareGuests(t))
}

// bareGuests are the guests for the conformance suite.
func bareGuests(t *testing.T) vmtest.Guests {
	t.Helper()
	guest := func(a *asm) *vm.Config {
		cfg := config(elf(t, a.assemble()))
		return &cfg
	}
	const polite = "press the button\n"
	return vmtest.Guests{
		Spin:     guest(newAsm().forever()),
		PowerOff: guest(newAsm().print("bye\n").powerOff()),
		Reboot:   guest(newAsm().outb(layout.I8042StatusPort, 0xfe).forever()),
		Panic: guest(newAsm().print("[    1.0] Kernel panic - not syncing: test\n").
			outb(layout.ResetPort, layout.ResetValue).forever()),
		TripleFault: guest(tripleFault(newAsm())),
		Polite: guest(newAsm().print(polite).
			label("ask").inl(layout.EventPort).emit(0xa8, 1).je("ask"). // test al, 1
			powerOff()),
		PoliteText: polite,
		Print:      guest(newConsoleGuest().say("hello from a bare guest\n").forever()),
		PrintText:  "hello from a bare guest",
		Echo:       guest(newConsoleGuest().say("listening\n").echo()),
		EchoText:   "listening",
	}
}

// tripleFault makes the interrupt table empty and raises an exception.
func tripleFault(a *asm) *asm {
	const emptyTable = 0x5000 // ten zero bytes
	return a.emit(0x0f, 0x01, 0x1c, 0x25).imm32(emptyTable).ud2().forever()
}
