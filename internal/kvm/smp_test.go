//go:build linux

package kvm

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/libcapsa/libcapsa/internal/kvm/kvmtest"
	"github.com/libcapsa/libcapsa/internal/kvm/layout"
	"github.com/libcapsa/libcapsa/internal/vm"
)

// trampoline is where application processors start, in real mode: a page below
// 1 MiB, so that the vector of the SIPI is its number.
const trampoline = 0x5_0000

// Real mode: eax = 1; cpuid; al = APIC id (ebx >> 24); out testPort+1, al; halt.
var trampolineCode = []byte{
	0x66, 0xb8, 1, 0, 0, 0, 0x0f, 0xa2, 0x66, 0xc1, 0xeb, 24, 0x88, 0xd8,
	0xba, (testPort + 1) & 0xff, (testPort + 1) >> 8, 0xee, 0xfa, 0xf4, 0xeb, 0xfd,
}

// startOthers wakes the application processors 1 to n (Intel SDM volume 3A,
// 8.4.4.1).
func startOthers(n uint32) *asm {
	a := newAsm().movRBX(layout.LocalAPICAddr).store32(0xf0, 0x1ff)
	for id := uint32(1); id <= n; id++ {
		for _, command := range []uint32{0x4500, 0x4600 | trampoline>>12, 0x4600 | trampoline>>12} {
			a.store32(0x310, id<<24).store32(0x300, command)
		}
	}
	return a
}

func smpConfig(t *testing.T, a *asm, cpus int) vm.Config {
	cfg := config(elf(t, a.assemble()))
	cfg.CPUs = cpus
	return cfg
}

func TestApplicationProcessorsStart(t *testing.T) {
	for _, cpus := range []int{3, 64} {
		t.Run(fmt.Sprint(cpus), func(t *testing.T) { testStart(t, cpus) })
	}
}

func testStart(t *testing.T, cpus int) {
	ports := probe{seen: make(chan access, 2*cpus)}
	m := bareCfg(t, smpConfig(t, startOthers(uint32(cpus-1)).forever(), cpus), func(m *machine) {
		withProbes(t, &ports, &probe{})(m)
		require.NoError(t, m.mem.WriteAt(trampolineCode, trampoline))
	}, vm.Host{})
	require.NoError(t, m.Start())
	ids, want := map[string]bool{}, map[string]bool{}
	for id := range cpus - 1 {
		want[string([]byte{byte(id + 1)})] = true
		a := <-ports.seen
		require.Equal(t, uint64(1), a.off)
		ids[a.data] = true
	}
	require.Equal(t, want, ids, "each by its own APIC id")
	// One spins with interrupts off, the others halt with interrupts off.
	require.NoError(t, m.Pause())
	require.NoError(t, m.Resume())
	require.NoError(t, m.Kill(vm.CauseKilled))
	require.Equal(t, vm.CauseKilled, m.Exit().Cause)
}

// Processors that nobody starts do not hold anything up.
func TestProcessorsNeverStarted(t *testing.T) {
	kvmtest.Require(t)
	m := bareCfg(t, smpConfig(t, newAsm().forever(), 8), nil, vm.Host{})
	require.NoError(t, m.Start())
	require.NoError(t, m.Pause())
	require.NoError(t, m.Resume())
	require.NoError(t, m.Kill(vm.CauseKilled))
}

// The end by one processor stops the others, wherever they are.
func TestOneEndsForAll(t *testing.T) {
	a := startOthers(1).label("wait").pause().jmp("wait")
	m := bareCfg(t, smpConfig(t, a, 4), func(m *machine) {
		off := []byte{0xba, 0x00, 0x06, 0xb0, 5<<2 | 1<<5, 0xee, 0xeb, 0xfe} // out 0x600, al: S5
		require.NoError(t, m.mem.WriteAt(off, trampoline))
	}, vm.Host{})
	require.Equal(t, vm.CauseGuestShutdown, runToEnd(t, m).Cause)
}
