//go:build linux

package kvm

import (
	"encoding/binary"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/libcapsa/libcapsa/internal/kvm/kvmtest"
	"github.com/libcapsa/libcapsa/internal/kvm/layout"
	"github.com/libcapsa/libcapsa/internal/vm"
	"github.com/libcapsa/libcapsa/internal/vmtest"
)

// Where tests put the guest's interrupt table and its descriptor.
const (
	idtAddr  = 0x40_0000
	idtrAddr = 0x41_0000
	vector   = 0x40
	bootCode = 0x10 // selector of the code segment that package boot sets up
)

// interruptGuest waits in halt for interrupts of a pin; its handler writes to
// the test port.
func interruptGuest(pin uint32) (*asm, func(testing.TB, *machine)) {
	a := newAsm().cli().emit(0x0f, 0x01, 0x1c, 0x25).imm32(idtrAddr) // lidt
	a.movRBX(layout.LocalAPICAddr).store32(0xf0, 0x1ff)              // enable, spurious vector 0xff
	a.movRBX(layout.IOAPICAddr)
	a.store32(0, 0x10+2*pin).store32(0x10, vector) // edge, active high, fixed
	a.store32(0, 0x11+2*pin).store32(0x10, 0)      // to APIC 0
	a.movRBX(layout.LocalAPICAddr).outb(testPort, 'r')
	a.label("idle").sti().hlt().jmp("idle")
	a.label("handler").outb(testPort, 'i').store32(0xb0, 0).emit(0x48, 0xcf) // EOI, iretq
	return a, func(t testing.TB, m *machine) {
		handler := uint64(codeAddr + a.labels["handler"])
		gate := binary.LittleEndian.AppendUint64(nil, handler&0xffff|bootCode<<16|0x8e00<<32|handler>>16<<48)
		gate = binary.LittleEndian.AppendUint64(gate, handler>>32)
		require.NoError(t, m.mem.WriteAt(gate, idtAddr+vector*16))
		idtr := binary.LittleEndian.AppendUint16(nil, 256*16-1)
		require.NoError(t, m.mem.WriteAt(binary.LittleEndian.AppendUint64(idtr, idtAddr), idtrAddr))
	}
}

// Each device's line reaches its pin of the IOAPIC, each edge is one interrupt.
func TestInterrupts(t *testing.T) {
	for _, c := range []struct {
		name string
		pin  uint32
		line func(*machine) func()
	}{
		{"console", layout.Console.IRQ, func(m *machine) func() { return m.devices[0].slot.Interrupt }},
		{"entropy", layout.Entropy.IRQ, func(m *machine) func() { return m.devices[1].slot.Interrupt }},
		{"power button", layout.IRQPower, func(m *machine) func() { return func() { require.NoError(t, m.PowerButton()) } }},
	} {
		t.Run(c.name, func(t *testing.T) {
			ports := probe{seen: make(chan access, 16)}
			a, setup := interruptGuest(c.pin)
			m := bare(t, a, func(m *machine) {
				withProbes(t, &ports, &probe{})(m)
				setup(t, m)
			}, vm.Host{})
			require.NoError(t, m.Start())
			require.Equal(t, "r", (<-ports.seen).data)
			for range 50 {
				c.line(m)()
				require.Equal(t, "i", (<-ports.seen).data)
			}
			require.NoError(t, m.Kill(vm.CauseKilled))
			require.Empty(t, ports.seen, "an interrupt too many")
		})
	}
}

// Interrupts that come while the machine is paused are there after the resume.
func TestInterruptWhilePaused(t *testing.T) {
	ports := probe{seen: make(chan access, 16)}
	a, setup := interruptGuest(layout.Console.IRQ)
	m := bare(t, a, func(m *machine) {
		withProbes(t, &ports, &probe{})(m)
		setup(t, m)
	}, vm.Host{})
	require.NoError(t, m.Start())
	require.Equal(t, "r", (<-ports.seen).data)
	require.NoError(t, m.Pause())
	m.devices[0].slot.Interrupt()
	require.Empty(t, ports.seen)
	require.NoError(t, m.Resume())
	require.Equal(t, "i", (<-ports.seen).data)
}

// A kick costs no exit to user space: however often the guest kicks, the
// transport sees the same number of accesses.
func TestKickCostsNoExit(t *testing.T) {
	exits := func(kicks int) uint64 {
		out := vmtest.NewRecorder()
		a := newConsoleGuest()
		for i := range kicks {
			a.mem32(ring(1)+ringBuffer, 'x').mem32(ring(1)+8, 1).submit(1, string(rune('a'+i)))
		}
		m := bare(t, a.powerOff(), nil, vm.Host{Console: out})
		require.Equal(t, vm.CauseGuestShutdown, runToEnd(t, m).Cause)
		require.Equal(t, kicks, out.Len())
		return m.Stats().Exits["mmio"]
	}
	require.Equal(t, exits(1), exits(20))
}

// What the guest has handed over before it powers off is heard.
func TestLastWords(t *testing.T) {
	const text = "last words"
	for range 20 {
		out := vmtest.NewRecorder()
		a := newConsoleGuest()
		for i := range uint32(len(text)) {
			a.mem32(ring(1)+ringBuffer+i, uint32(text[i]))
		}
		a.mem32(ring(1)+8, uint32(len(text)))
		a.mem32(ring(1)+ringAvail, 1<<16) // flags 0, index 1
		a.store32(regNotify, 1).powerOff()
		m := bare(t, a, nil, vm.Host{Console: out})
		require.Equal(t, vm.CauseGuestShutdown, runToEnd(t, m).Cause)
		require.Equal(t, text, out.String())
	}
}

// Workers that ended because the guest broke the rules hold nothing up: the
// machine ends, and says what happened.
func TestEndWithBrokenQueues(t *testing.T) {
	var faults atomic.Int32
	host := vm.Host{Event: func(e vm.Event) {
		if e.Type == vm.EventLog && e.Component == "console" {
			faults.Add(1)
		}
	}}
	a := newConsoleGuest()
	for q := range uint32(2) {
		a.mem32(ring(q)+ringAvail, 0x8000<<16).store32(regNotify, q) // the index jumps
	}
	// until the device needs a reset: mov eax, [rbx+status]; test al, 64
	a.label("wait").emit(0x8b, 0x83).imm32(regStatus).emit(0xa8, 64).je("wait")
	m := bare(t, a.powerOff(), nil, host)
	require.Equal(t, vm.CauseGuestShutdown, runToEnd(t, m).Cause)
	require.Positive(t, faults.Load())
	require.Positive(t, m.devices[0].stats().Faults)
}

// A driver that resets and restarts its device over and over leaves no kick
// behind.
func TestActivationChurn(t *testing.T) {
	kvmtest.Require(t)
	a := newConsoleGuest().emit(0x41, 0xbc).imm32(100) // mov r12d, 100
	a.label("again")
	for _, s := range []uint32{0, 1, 1 | 2} {
		a.store32(regStatus, s)
	}
	a.store32(regFeaturesSel, 1).store32(regFeatures, 1).store32(regStatus, 1|2|8)
	a.store32(regQueueSel, 1).store32(regQueueNum, ringSize)
	a.store32(regDesc, ring(1)).store32(regDriver, ring(1)+ringAvail).store32(regDevice, ring(1)+ringUsed)
	a.store32(regQueueReady, 1).store32(regStatus, 1|2|8|4).store32(regNotify, 1)
	a.emit(0x41, 0xff, 0xcc).jne("again") // dec r12d
	a.store32(regStatus, 0).powerOff()
	m := bare(t, a, nil, vm.Host{})
	before := kvmtest.Measure(t)
	require.Equal(t, vm.CauseGuestShutdown, runToEnd(t, m).Cause)
	require.NoError(t, m.Close())
	after := kvmtest.Measure(t)
	require.Less(t, after.FDs, before.FDs)
	require.Empty(t, m.devices[0].slot.kicks)
}
