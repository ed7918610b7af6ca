package vmtest_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/libcapsa/libcapsa/internal/vm"
	"github.com/libcapsa/libcapsa/internal/vmtest"
)

func TestFakeConformance(t *testing.T) {
	fake := vmtest.NewFake()
	vmtest.Conformance(t, fake, vmtest.FakeGuests())
	require.Zero(t, fake.Live(), "a test left a machine open")
}

// TestFakeFaults: every injected fault is what the call returns, and the machine
// still closes.
func TestFakeFaults(t *testing.T) {
	vmtest.CheckLeaks(t)
	fault := vm.Errorf(vm.KindIO, "test", "injected")
	fake := vmtest.NewFake()
	fake.NewErr = fault
	_, err := fake.New(vmtest.Config(vmtest.KernelSpin), vm.Host{})
	require.Equal(t, fault, err)

	fake = vmtest.NewFake()
	fake.PauseErr, fake.ResizeErr, fake.PowerButtonErr, fake.CloseErr = fault, fault, fault, fault
	m, err := fake.New(vmtest.Config(vmtest.KernelSpin), vm.Host{})
	require.NoError(t, err)
	require.NoError(t, m.Start())
	require.Equal(t, fault, m.Pause())
	require.Equal(t, fault, m.ResizeConsole(1, 1))
	require.Equal(t, fault, m.PowerButton())
	require.Equal(t, fault, m.Close())
	require.NoError(t, m.Close())

	fake = vmtest.NewFake()
	fake.StartErr = fault
	m, err = fake.New(vmtest.Config(vmtest.KernelSpin), vm.Host{})
	require.NoError(t, err)
	require.Equal(t, fault, m.Start())
	<-m.Done()
	require.Equal(t, vm.CauseVMMCrash, m.Exit().Cause)
	require.NoError(t, m.Close())
	require.Zero(t, fake.Live())
}

// TestFakePanics: a program that panics is a machine failure, not the end of the
// process.
func TestFakePanics(t *testing.T) {
	vmtest.CheckLeaks(t)
	fake := vmtest.NewFake()
	fake.Programs["/bug"] = func(*vmtest.Guest) { panic("bug") }
	m, err := fake.New(vmtest.Config("/bug"), vm.Host{})
	require.NoError(t, err)
	require.NoError(t, m.Start())
	<-m.Done()
	require.Equal(t, vm.CauseVMMCrash, m.Exit().Cause)
	require.ErrorContains(t, m.Exit().Err, "bug")
	require.NoError(t, m.Close())
}
