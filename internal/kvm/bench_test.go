//go:build linux

package kvm

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/libcapsa/libcapsa/internal/kvm/kvmtest"
	"github.com/libcapsa/libcapsa/internal/kvm/layout"
	"github.com/libcapsa/libcapsa/internal/vm"
)

// first tells of the first byte it gets.
type first chan struct{}

func (f first) Write(p []byte) (int, error) {
	select {
	case f <- struct{}{}:
	default:
	}
	return len(p), nil
}

// BenchmarkCreateToFirstInstruction is from New to the first thing the guest
// does, with everything a Linux guest gets.
func BenchmarkCreateToFirstInstruction(b *testing.B) {
	kvmtest.Require(b)
	cfg := config(elf(b, newAsm().outb(layout.SerialPort, 'x').forever().assemble()))
	cfg.Memory = 256 * vm.MiB
	backend := New()
	for b.Loop() {
		ran := make(first, 1)
		m, err := backend.New(cfg, vm.Host{Serial: ran})
		require.NoError(b, err)
		require.NoError(b, m.Start())
		<-ran
		b.StopTimer()
		require.NoError(b, m.Close())
		b.StartTimer()
	}
}

// BenchmarkClose is from Close of a running machine to nothing being left.
func BenchmarkClose(b *testing.B) {
	kvmtest.Require(b)
	cfg := config(elf(b, newAsm().outb(layout.SerialPort, 'x').forever().assemble()))
	backend := New()
	for b.Loop() {
		b.StopTimer()
		ran := make(first, 1)
		m, err := backend.New(cfg, vm.Host{Serial: ran})
		require.NoError(b, err)
		require.NoError(b, m.Start())
		<-ran
		b.StartTimer()
		require.NoError(b, m.Close())
	}
}

// BenchmarkInterrupt is from a device's interrupt to what the guest's handler does
// about it, with the guest in halt before.
func BenchmarkInterrupt(b *testing.B) {
	kvmtest.Require(b)
	ports := probe{seen: make(chan access, 1)}
	a, setup := interruptGuest(layout.Console.IRQ)
	m := bare(b, a, func(m *machine) {
		withProbes(b, &ports, &probe{})(m)
		setup(b, m)
	}, vm.Host{})
	require.NoError(b, m.Start())
	<-ports.seen
	for b.Loop() {
		m.devices[0].slot.Interrupt()
		<-ports.seen
	}
}

// BenchmarkPortExit is one exit to user space and back.
func BenchmarkPortExit(b *testing.B) {
	kvmtest.Require(b)
	count := 0
	done := make(chan struct{})
	n := b.N
	m := bare(b, newAsm().label("again").outb(testPort, 1).jmp("again"), func(m *machine) {
		require.NoError(b, m.ports.add("test", testPort, 1, counter(func() {
			if count++; count == n {
				close(done)
			}
		})))
	}, vm.Host{})
	b.ResetTimer()
	require.NoError(b, m.Start())
	<-done
}

type counter func()

func (counter) Read(uint64, []byte)    {}
func (c counter) Write(uint64, []byte) { c() }
