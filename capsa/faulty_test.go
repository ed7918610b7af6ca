package capsa_test

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/libcapsa/libcapsa/capsa"
	"github.com/libcapsa/libcapsa/internal/vm"
	"github.com/libcapsa/libcapsa/internal/vmtest"
)

// faulty is a backend whose machines are changed by wrap.
type faulty struct {
	*vmtest.Fake
	wrap func(vm.Machine) vm.Machine
}

func (f faulty) New(cfg vm.Config, host vm.Host) (vm.Machine, error) {
	m, err := f.Fake.New(cfg, host)
	if err != nil {
		return nil, err
	}
	return f.wrap(m), nil
}

// buildFaulty makes a machine of a faulty backend.
func buildFaulty(t *testing.T, kernel string, wrap func(vm.Machine) vm.Machine) *capsa.VM {
	t.Helper()
	vmtest.CheckLeaks(t)
	b := capsa.NewBuilder()
	b.UseBackend(faulty{vmtest.NewFake(), wrap})
	require.NoError(t, b.SetKernel(kernel))
	return buildFrom(t, b)
}

type panicsOnExit struct{ vm.Machine }

func (panicsOnExit) Exit() vm.Exit { panic("BUG: in the backend") }

// TestBackendPanics: a bug in a backend ends the machine, and nobody hangs.
func TestBackendPanics(t *testing.T) {
	m := buildFaulty(t, vmtest.KernelPowerOff, func(m vm.Machine) vm.Machine { return panicsOnExit{m} })
	require.NoError(t, m.Start(t.Context()))
	exit, err := m.Wait(bounded(t))
	refused(t, vm.KindInternal, err)
	require.ErrorContains(t, err, "BUG: in the backend")
	require.Equal(t, vm.CauseVMMCrash, exit.Cause)
	require.Equal(t, vm.StateFailed, m.State())
}

type endsSilently struct{ vm.Machine }

func (endsSilently) Exit() vm.Exit { return vm.Exit{} }

// TestNoCause: a record without a cause is a failure of the machine.
func TestNoCause(t *testing.T) {
	m := buildFaulty(t, vmtest.KernelPowerOff, func(m vm.Machine) vm.Machine { return endsSilently{m} })
	require.NoError(t, m.Start(t.Context()))
	exit, err := m.Wait(bounded(t))
	refused(t, vm.KindVMMDied, err)
	require.Equal(t, vm.CauseVMMCrash, exit.Cause)
}

type startsAlive struct{ vm.Machine }

func (startsAlive) Start() error { return errors.New("half started") }

// TestStartFailsAlive: a machine that does not end when its Start fails is ended.
func TestStartFailsAlive(t *testing.T) {
	m := buildFaulty(t, vmtest.KernelSpin, func(m vm.Machine) vm.Machine { return startsAlive{m} })
	err := m.Start(t.Context())
	refused(t, vm.KindVMMDied, err)
	require.ErrorContains(t, err, "half started")
	require.Equal(t, vm.CauseVMMCrash, ended(t, m).Cause)
}

// refuses is a machine that answers as one that has been closed.
type refuses struct{ vm.Machine }

var errGone = vm.Errorf(vm.KindClosed, "call", "closed")

func (refuses) Start() error                       { return errGone }
func (refuses) Pause() error                       { return errGone }
func (refuses) ResizeConsole(uint16, uint16) error { return errGone }

// TestRefusedInPassing: a machine that ends between this package's check and the
// call is in the wrong state, not closed.
func TestRefusedInPassing(t *testing.T) {
	m := buildFaulty(t, vmtest.KernelSpin, func(m vm.Machine) vm.Machine { return refuses{m} })
	refused(t, vm.KindState, m.Start(t.Context()))
	refused(t, vm.KindState, m.Console().Resize(80, 24))
}
