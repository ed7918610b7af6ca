package capsa

import (
	"context"
	"fmt"
	"time"

	"github.com/libcapsa/libcapsa/internal/vm"
)

// Stage says how far Stop had to go. The values are the C ABI's.
type Stage int32

// The stages.
const (
	StageNone        Stage = 0 // nothing was needed: the machine ended, or had ended, by itself
	StageAgent       Stage = 1 // the guest's agent shut it down
	StagePowerButton Stage = 2 // the guest shut down because its power button was pressed
	StageKill        Stage = 3 // it was killed
)

// String is the stage in words: "power button".
func (s Stage) String() string {
	switch s {
	case StageNone:
		return "none"
	case StageAgent:
		return "agent"
	case StagePowerButton:
		return "power button"
	case StageKill:
		return "kill"
	}
	return fmt.Sprintf("stage %d", int32(s))
}

// Stop asks the guest to shut down by pressing its power button, waits for as long
// as grace, and then kills it. A grace of 0 kills at once, a negative one waits for
// ever. It says how far it had to go; the exit record then has CauseStopped or
// CauseKilled. A paused machine is resumed for it.
//
// When ctx ends first the error is of KindTimeout or KindCancelled: the request to
// the guest stands, and nothing is killed. Other errors: KindState (never started).
func (v *VM) Stop(ctx context.Context, grace time.Duration) (Stage, error) {
	const op = "stop"
	if _, over := v.Exit(); over {
		return StageNone, nil
	}
	if v.State() == vm.StateCreated {
		return StageNone, vm.Errorf(vm.KindState, op, "the machine was never started")
	}
	if grace == 0 {
		return v.killFor("Stop was told to give no grace")
	}
	switch err := v.press(); {
	case ending(err): // then wait for it
	case err != nil:
		return v.killFor("its power button does not work: " + err.Error())
	}
	var patience <-chan time.Time
	if grace > 0 {
		timer := time.NewTimer(grace)
		defer timer.Stop()
		patience = timer.C
	}
	select {
	case <-v.done:
		return v.stage(), nil
	case <-patience:
		return v.killFor(fmt.Sprintf("it did not shut down within %v of its power button being pressed", grace))
	case <-ctx.Done():
		return StageNone, vm.ContextError(ctx, op)
	}
}

// press presses the power button, of a paused machine after resuming it.
func (v *VM) press() error {
	v.op.Lock()
	defer v.op.Unlock()
	if v.State() == vm.StatePaused {
		if err := v.changeLocked("stop", vm.StateRunning, v.machine.Resume); err != nil {
			return err
		}
	}
	before := v.setPressed(true) // before the guest can react
	if err := v.machine.PowerButton(); err != nil {
		v.setPressed(before)
		return err
	}
	v.move(vm.StateStopping)
	return nil
}

func (v *VM) setPressed(pressed bool) (before bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	before, v.pressed = v.pressed, pressed
	return before
}

// killFor kills for a reason, which the exit record keeps.
func (v *VM) killFor(reason string) (Stage, error) {
	v.mu.Lock()
	if v.detail == "" {
		v.detail = reason
	}
	v.mu.Unlock()
	if err := v.kill(vm.CauseKilled); err != nil {
		return StageNone, err
	}
	return v.stage(), nil
}

// stage reads off the exit record what ended the machine. Preconditions: it has
// ended.
func (v *VM) stage() Stage {
	switch v.exit.Cause {
	case vm.CauseStopped:
		return StagePowerButton
	case vm.CauseKilled:
		return StageKill
	}
	return StageNone
}
