package capsa_test

import (
	"context"
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

// agentGuest is a guest that ends when its agent is asked to, and the hook that
// asks.
func agentGuest() (*vmtest.Fake, func(context.Context) error) {
	asked := make(chan struct{}, 16)
	fake := program(func(g *vmtest.Guest) {
		select {
		case <-asked:
		case <-g.Ended():
		}
	})
	return fake, func(context.Context) error { asked <- struct{}{}; return nil }
}

func deaf(context.Context) error { return nil }

func TestStages(t *testing.T) {
	const (
		soon = time.Millisecond
		ever = -1
	)
	broken := func(context.Context) error { return errors.New("no answer") }
	noButton := func() *vmtest.Fake {
		fake := vmtest.NewFake()
		fake.PowerButtonErr = errors.New("no such device")
		return fake
	}
	tests := []struct {
		name   string
		fake   *vmtest.Fake
		kernel string
		agent  func(context.Context) error
		grace  capsa.Grace
		stage  capsa.Stage
		cause  capsa.Cause
		detail []string
	}{
		{"button", vmtest.NewFake(), vmtest.KernelPolite, nil, capsa.Grace{Agent: ever, PowerButton: ever, Kill: ever},
			capsa.StagePowerButton, vm.CauseStopped, nil},
		{"agent is deaf", vmtest.NewFake(), vmtest.KernelPolite, deaf, capsa.Grace{Agent: soon, PowerButton: ever},
			capsa.StagePowerButton, vm.CauseStopped, nil},
		{"agent is broken", vmtest.NewFake(), vmtest.KernelPolite, broken, capsa.Grace{Agent: ever, PowerButton: ever},
			capsa.StagePowerButton, vm.CauseStopped, nil},
		{"all stages", vmtest.NewFake(), vmtest.KernelSpin, deaf, capsa.Grace{Agent: soon, PowerButton: soon, Kill: ever},
			capsa.StageKill, vm.CauseKilled, []string{"within 1ms of its agent being asked", "within 1ms of its power button"}},
		{"nothing works", noButton(), vmtest.KernelSpin, broken, capsa.Grace{Agent: ever, PowerButton: ever, Kill: time.Hour},
			capsa.StageKill, vm.CauseKilled, []string{"no answer", "no such device"}},
		{"only kill", vmtest.NewFake(), vmtest.KernelPolite, deaf, capsa.Grace{Kill: ever}, capsa.StageKill, vm.CauseKilled, []string{"no grace"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			m := buildOn(t, test.fake, test.kernel)
			m.SetAgent(test.agent)
			require.NoError(t, m.Start(t.Context()))
			if test.kernel == vmtest.KernelPolite {
				expect(t, m, vmtest.ReadyText)
			}
			out, err := m.StopInStages(bounded(t), test.grace)
			require.NoError(t, err)
			require.Equal(t, test.stage, out.Stage)
			exit := ended(t, m)
			require.Equal(t, test.cause, exit.Cause)
			for _, text := range test.detail {
				require.Contains(t, exit.Detail, text)
			}
			require.Equal(t, test.stage == capsa.StageKill, out.Kill > 0)
			require.Equal(t, test.grace.Agent != 0, out.Agent > 0)
			out, err = m.StopInStages(bounded(t), test.grace)
			require.NoError(t, err, "it has ended")
			require.Zero(t, out)
		})
	}
}

func TestStopByAgent(t *testing.T) {
	for _, paused := range []bool{false, true} {
		fake, agent := agentGuest()
		m := buildOn(t, fake, "/guest")
		m.SetAgent(agent)
		require.NoError(t, m.Start(t.Context()))
		if paused {
			require.NoError(t, m.Pause())
		}
		stage, err := m.Stop(bounded(t), -1)
		require.NoError(t, err)
		require.Equal(t, capsa.StageAgent, stage)
		require.Equal(t, vm.CauseStopped, ended(t, m).Cause)
	}
}

// TestStopDividesGrace: an agent that does nothing leaves time for the button.
func TestStopDividesGrace(t *testing.T) {
	m := running(t, vmtest.KernelPolite)
	m.SetAgent(deaf)
	expect(t, m, vmtest.ReadyText)
	stage, err := m.Stop(bounded(t), 2*time.Second)
	require.NoError(t, err)
	require.Equal(t, capsa.StagePowerButton, stage)
}

// TestStagesWithoutKill: a machine that is not to be killed is left as it is.
func TestStagesWithoutKill(t *testing.T) {
	m := running(t, vmtest.KernelSpin)
	out, err := m.StopInStages(bounded(t), capsa.Grace{PowerButton: time.Millisecond})
	refused(t, vm.KindTimeout, err)
	require.ErrorContains(t, err, "power button")
	require.Equal(t, capsa.StageNone, out.Stage)
	require.Positive(t, out.PowerButton)
	require.Equal(t, vm.StateStopping, m.State())
	_, err = m.StopInStages(bounded(t), capsa.Grace{})
	refused(t, vm.KindTimeout, err)
}

// TestAgentThatFailsAsksNothing: a machine whose agent does not answer has not been
// asked to end.
func TestAgentThatFailsAsksNothing(t *testing.T) {
	power := make(chan struct{})
	m := buildOn(t, program(func(g *vmtest.Guest) {
		select {
		case <-power:
		case <-g.Ended():
		}
	}), "/guest")
	m.SetAgent(func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() })
	require.NoError(t, m.Start(t.Context()))
	_, err := m.StopInStages(bounded(t), capsa.Grace{Agent: time.Millisecond})
	refused(t, vm.KindTimeout, err)
	require.Equal(t, vm.StateRunning, m.State())
	close(power)
	require.Equal(t, vm.CauseGuestShutdown, ended(t, m).Cause)
}

// TestStagesCancelled: each stage can be waited for in vain.
func TestStagesCancelled(t *testing.T) {
	for _, grace := range []capsa.Grace{{Agent: -1}, {PowerButton: -1}, {Agent: time.Hour, PowerButton: time.Hour, Kill: -1}} {
		m := running(t, vmtest.KernelSpin)
		m.SetAgent(deaf)
		_, err := m.StopInStages(cancelled(), grace)
		refused(t, vm.KindCancelled, err)
		_, err = m.StopInStages(expired(), grace)
		refused(t, vm.KindTimeout, err)
		require.Equal(t, vm.StateStopping, m.State())
	}
}

// TestStopAndCloseTogether: nobody hangs and everybody is told.
func TestStopAndCloseTogether(t *testing.T) {
	for range 20 {
		m := running(t, vmtest.KernelSpin)
		m.SetAgent(deaf)
		var all sync.WaitGroup
		for range crowd {
			all.Go(func() {
				_, err := m.StopInStages(bounded(t), capsa.Grace{Agent: time.Microsecond, Kill: -1})
				assert.NoError(t, err)
			})
		}
		all.Go(func() { assert.NoError(t, m.Close()) })
		all.Wait()
		require.Equal(t, vm.CauseKilled, ended(t, m).Cause)
	}
}
