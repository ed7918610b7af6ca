package capsa_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/libcapsa/libcapsa/capsa"
	"github.com/libcapsa/libcapsa/internal/vm"
	"github.com/libcapsa/libcapsa/internal/vmtest"
)

type savable struct {
	vm.Machine
	to *string
}

func (s savable) Save(path string) error {
	*s.to = path
	return nil
}

func TestSave(t *testing.T) {
	to := ""
	m := buildFaulty(t, vmtest.KernelSpin, func(m vm.Machine) vm.Machine { return savable{m, &to} })
	refused(t, vm.KindState, m.Save("/a"))
	require.NoError(t, m.Start(t.Context()))
	refused(t, vm.KindState, m.Save("/a"))
	require.NoError(t, m.Pause())
	require.NoError(t, m.Save("/a"))
	require.Equal(t, "/a", to)
	require.NoError(t, m.Kill())
	refused(t, vm.KindState, m.Save("/b"))

	plain := buildFaulty(t, vmtest.KernelSpin, func(m vm.Machine) vm.Machine { return m })
	require.NoError(t, plain.Start(t.Context()))
	require.NoError(t, plain.Pause())
	refused(t, vm.KindUnsupported, plain.Save("/a"))
}

// TestPlatform: what a backend lacks is refused with what it would take.
func TestPlatform(t *testing.T) {
	t.Parallel()
	fake := vmtest.NewFake()
	fake.Caps.Needs = vm.Offers{vm.FeatureBootEFI: "firmware", vm.FeatureRosetta: "luck", vm.FeatureSave: "patience"}
	for need, set := range map[string]func(*capsa.Builder) error{
		"it needs firmware": func(b *capsa.Builder) error { return b.SetEFI("/variables") },
		"it needs luck":     func(b *capsa.Builder) error { return b.SetRosetta("rosetta") },
		"it needs patience": func(b *capsa.Builder) error { return b.SetRestore("/state") },
	} {
		b := capsa.NewBuilder()
		b.UseBackend(fake)
		if need != "it needs firmware" {
			require.NoError(t, b.SetKernel(vmtest.KernelSpin))
		}
		require.NoError(t, set(b))
		_, err := b.Build()
		require.ErrorContains(t, refusal(t, vm.KindUnsupported, err), need)
	}
	b := capsa.NewBuilder()
	require.Error(t, b.SetEFI("a\x00"))
	require.Error(t, b.SetRosetta("a\x00"))
	require.Error(t, b.SetRestore("a\x00"))
}
