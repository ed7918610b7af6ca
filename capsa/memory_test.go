package capsa_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/libcapsa/libcapsa/capsa"
	"github.com/libcapsa/libcapsa/internal/vm"
	"github.com/libcapsa/libcapsa/internal/vmtest"
)

func memoryBuilder(t *testing.T) *capsa.Builder {
	t.Helper()
	vmtest.CheckLeaks(t)
	b := capsa.NewBuilder()
	b.UseBackend(vmtest.NewFake())
	require.NoError(t, b.SetKernel(vmtest.KernelSpin))
	return b
}

func TestMemoryTarget(t *testing.T) {
	m := buildFrom(t, memoryBuilder(t))
	full := m.Config().Memory
	require.NoError(t, m.SetMemoryTarget(full/2))
	require.NoError(t, m.Start(t.Context()))
	require.Equal(t, full/2, m.Stats().Balloon.Target)
	refused(t, vm.KindInvalidArg, m.SetMemoryTarget(full+1))
	require.NoError(t, m.SetMemoryTarget(0))
	require.Equal(t, full, m.Stats().Balloon.Current)
	require.Equal(t, full, m.Stats().Resident)
	require.NoError(t, m.Kill())
	refused(t, vm.KindState, m.SetMemoryTarget(0))
	require.NoError(t, m.Close())
	refused(t, vm.KindState, m.SetMemoryTarget(0))
}

func TestNoBalloon(t *testing.T) {
	b := memoryBuilder(t)
	require.NoError(t, b.SetBalloon(capsa.BalloonConfig{Off: true}))
	text, err := b.JSON()
	require.NoError(t, err)
	require.Contains(t, string(text), `"balloon":{"enabled":false,"reporting":true,"deflate_on_oom":true}`)
	m := buildFrom(t, b)
	refused(t, vm.KindUnsupported, m.SetMemoryTarget(0))
	require.Nil(t, m.Stats().Balloon)
	require.NotContains(t, string(m.Metrics()), "capsa_vm_memory_target_bytes{")
}

func TestMemoryMetrics(t *testing.T) {
	m := buildFrom(t, memoryBuilder(t))
	require.NoError(t, m.SetMemoryTarget(100<<20))
	text := string(m.Metrics())
	for _, line := range []string{
		"\ncapsa_vm_memory_resident_bytes{", "\ncapsa_vm_memory_target_bytes{", "\ncapsa_vm_memory_current_bytes{",
	} {
		require.Contains(t, text, line)
	}
	require.NotContains(t, text, "capsa_vm_guest_memory_free_bytes{", "the fake guest does not say")
}

type endsMeanwhile struct{ vm.Machine }

func (endsMeanwhile) SetMemoryTarget(uint64) error { return errGone }

func TestMemoryTargetInPassing(t *testing.T) {
	m := buildFaulty(t, vmtest.KernelSpin, func(m vm.Machine) vm.Machine { return endsMeanwhile{m} })
	refused(t, vm.KindState, m.SetMemoryTarget(0))
}
