package capsa_test

import (
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/libcapsa/libcapsa/capsa"
	"github.com/libcapsa/libcapsa/internal/vm"
	"github.com/libcapsa/libcapsa/internal/vmtest"
)

func TestStopPolite(t *testing.T) {
	m := running(t, vmtest.KernelPolite)
	expect(t, m, vmtest.ReadyText)
	stage, err := m.Stop(bounded(t), -1)
	require.NoError(t, err)
	require.Equal(t, capsa.StagePowerButton, stage)
	require.Equal(t, vm.CauseStopped, ended(t, m).Cause)
}

// TestStopReboots: a guest that answers the button with a reboot has complied.
func TestStopReboots(t *testing.T) {
	m := buildOn(t, program(func(g *vmtest.Guest) {
		g.AwaitPowerButton()
		g.End(vm.Exit{Cause: vm.CauseReboot})
	}), "/guest")
	require.NoError(t, m.Start(t.Context()))
	stage, err := m.Stop(bounded(t), -1)
	require.NoError(t, err)
	require.Equal(t, capsa.StagePowerButton, stage)
	require.Equal(t, vm.CauseStopped, ended(t, m).Cause)
}

func TestStopPaused(t *testing.T) {
	m := running(t, vmtest.KernelPolite)
	require.NoError(t, m.Pause())
	stage, err := m.Stop(bounded(t), -1)
	require.NoError(t, err)
	require.Equal(t, capsa.StagePowerButton, stage)
}

func TestStopKills(t *testing.T) {
	noButton := vmtest.NewFake()
	noButton.PowerButtonErr = errors.New("no such device")
	tests := []struct {
		name   string
		fake   *vmtest.Fake
		grace  time.Duration
		detail string
	}{
		{"no grace", vmtest.NewFake(), 0, "no grace"},
		{"grace runs out", vmtest.NewFake(), time.Nanosecond, "within 1ns"},
		{"no power button", noButton, -1, "no such device"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			m := buildOn(t, test.fake, vmtest.KernelSpin)
			require.NoError(t, m.Start(t.Context()))
			stage, err := m.Stop(bounded(t), test.grace)
			require.NoError(t, err)
			require.Equal(t, capsa.StageKill, stage)
			exit := ended(t, m)
			require.Equal(t, vm.CauseKilled, exit.Cause)
			require.Contains(t, exit.Detail, test.detail)
		})
	}
}

// TestStopCancelled: the request stands, nothing is killed, and another Stop may
// follow.
func TestStopCancelled(t *testing.T) {
	m := running(t, vmtest.KernelSpin)
	_, err := m.Stop(cancelled(), -1)
	refused(t, vm.KindCancelled, err)
	_, err = m.Stop(expired(), time.Hour)
	refused(t, vm.KindTimeout, err)
	require.Equal(t, vm.StateStopping, m.State())
	refused(t, vm.KindState, m.Pause())
	stage, err := m.Stop(t.Context(), 0)
	require.NoError(t, err)
	require.Equal(t, capsa.StageKill, stage)
}

// TestStopAndPanic: a guest that crashes instead of shutting down has not complied.
func TestStopAndPanic(t *testing.T) {
	m := buildOn(t, program(func(g *vmtest.Guest) {
		g.OpenConsole()
		g.AwaitPowerButton()
		g.Panic(vmtest.PanicText)
	}), "/guest")
	require.NoError(t, m.Start(t.Context()))
	stage, err := m.Stop(bounded(t), -1)
	require.NoError(t, err)
	require.Equal(t, capsa.StageNone, stage)
	require.Equal(t, vm.CausePanic, ended(t, m).Cause)
}

func TestStopFromMany(t *testing.T) {
	m := running(t, vmtest.KernelPolite)
	var all sync.WaitGroup
	for range crowd {
		all.Go(func() {
			stage, err := m.Stop(bounded(t), -1)
			assert.NoError(t, err)
			assert.Contains(t, []capsa.Stage{capsa.StagePowerButton, capsa.StageNone}, stage)
		})
	}
	all.Wait()
	require.Equal(t, vm.CauseStopped, ended(t, m).Cause)
}

func TestStageNames(t *testing.T) {
	t.Parallel()
	for stage, name := range map[capsa.Stage]string{0: "none", 1: "agent", 2: "power button", 3: "kill", 4: "stage 4"} {
		require.Equal(t, name, stage.String())
	}
}
