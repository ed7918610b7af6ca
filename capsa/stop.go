package capsa

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/libcapsa/libcapsa/internal/safe"
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

// Grace says how long each stage of a stop may take before the next begins. 0
// leaves a stage out, a negative time lets it take for ever. A stage that is not
// possible, such as the agent's without an agent, takes no time.
type Grace struct {
	Agent       time.Duration
	PowerButton time.Duration
	Kill        time.Duration // until the caller no longer waits; 0: the machine is not killed
}

// Outcome says how a stop went. The stages before the last have not worked; why is
// in the exit record's Detail.
type Outcome struct {
	Stage       Stage         // that ended the machine
	Agent       time.Duration // spent in each stage
	PowerButton time.Duration
	Kill        time.Duration
}

// agentShare is the longest part of Stop's grace that the agent gets. It is what
// QEMU's and libvirt's clients give an agent before they think that it hangs.
const agentShare = 10 * time.Second

// Stop asks the guest to shut down, waits for as long as grace, and then kills it.
// A grace of 0 kills at once, a negative one waits for ever. It says how far it had
// to go; the exit record then has CauseStopped or CauseKilled. A paused machine is
// resumed for it. A guest with an agent is asked through it for half of grace, ten
// seconds at most, before its power button is pressed.
//
// When ctx ends first the error is of KindTimeout or KindCancelled: the request to
// the guest stands, and nothing is killed. Other errors: KindState (never started).
func (v *VM) Stop(ctx context.Context, grace time.Duration) (Stage, error) {
	g := Grace{PowerButton: grace, Kill: -1}
	if v.agentHook() != nil && grace != 0 {
		g.Agent = agentShare
		if grace > 0 {
			g.Agent = min(agentShare, grace/2)
			g.PowerButton = max(grace-g.Agent, 1)
		}
	}
	outcome, err := v.StopInStages(ctx, g)
	return outcome.Stage, err
}

// StopInStages asks the guest's agent to shut it down, then presses the power
// button, then kills, each for as long as grace says, until the machine has ended.
// A paused machine is resumed for it. Several may be under way at once: each has
// its own grace.
//
// Errors: KindState (never started); KindTimeout or KindCancelled when ctx ended
// first, or when grace has, without a kill: requests to the guest stand, as does a
// kill that has begun. The outcome is valid all the same, with StageNone.
func (v *VM) StopInStages(ctx context.Context, grace Grace) (Outcome, error) {
	const op = "stop"
	var out Outcome
	if _, over := v.Exit(); over {
		return out, nil
	}
	if v.State() == vm.StateCreated {
		return out, vm.Errorf(vm.KindState, op, "the machine was never started")
	}
	s := &stopping{v: v}
	for _, stage := range []stage{
		{grace.Agent, &out.Agent, s.askAgent, "its agent being asked"},
		{grace.PowerButton, &out.PowerButton, s.pressButton, "its power button being pressed"},
		{grace.Kill, &out.Kill, s.kill, "being killed"},
	} {
		if stage.grace == 0 {
			continue
		}
		begin := time.Now()
		err := s.run(ctx, stage)
		*stage.took = time.Since(begin)
		switch {
		case err == nil:
			out.Stage = v.endedBy()
			return out, nil
		case ctx.Err() != nil:
			return out, vm.ContextError(ctx, op)
		}
		s.failed = append(s.failed, err.Error())
	}
	if s.fault != nil {
		return out, s.fault
	}
	return out, vm.Errorf(vm.KindTimeout, op, "the machine has not ended: %s", s.reason())
}

// stage is one attempt to end a machine.
type stage struct {
	grace time.Duration
	took  *time.Duration
	begin func(ctx context.Context) error // an error: it cannot work
	what  string                          // that has begun
}

// stopping is one call of StopInStages.
type stopping struct {
	v      *VM
	failed []string // why each stage so far has not ended the machine
	fault  error    // of a kill that did not work
}

// run goes through a stage. nil: the machine has ended.
func (s *stopping) run(ctx context.Context, stage stage) error {
	v := s.v
	if stage.grace > 0 {
		bounded, stop := context.WithTimeout(ctx, stage.grace)
		defer stop()
		ctx = bounded
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	defer context.AfterFunc(v.life, stop)() // the end of the machine ends the stage
	err := stage.begin(ctx)
	if err == nil {
		<-ctx.Done()
		err = fmt.Errorf("it did not end within %v of %s", stage.grace, stage.what)
	}
	if _, over := v.Exit(); over {
		return nil
	}
	return err
}

// reason is what the stages so far say.
func (s *stopping) reason() string {
	if len(s.failed) == 0 {
		return "Stop was told to give no grace"
	}
	return strings.Join(s.failed, "; ")
}

func (s *stopping) askAgent(ctx context.Context) error {
	v := s.v
	hook := v.agentHook()
	if hook == nil {
		return errors.New("it has no agent")
	}
	switch err := v.wake(); {
	case ending(err): // then wait for it
		return nil
	case err != nil:
		return err
	}
	before := v.setAsked(StageAgent) // before the guest can react
	if err := hook(ctx); err != nil {
		v.setAsked(before)
		return fmt.Errorf("its agent does not work: %w", err)
	}
	v.move(vm.StateStopping)
	return nil
}

func (s *stopping) pressButton(context.Context) error {
	switch err := s.v.press(); {
	case ending(err): // then wait for it
		return nil
	case err != nil:
		return fmt.Errorf("its power button does not work: %w", err)
	}
	return nil
}

// kill kills. Beyond its time, or that of the call, the kill goes on.
func (s *stopping) kill(ctx context.Context) error {
	v := s.v
	v.mu.Lock()
	if v.detail == "" {
		v.detail = s.reason()
	}
	v.mu.Unlock()
	result := make(chan error, 1)
	if !v.background("machine kill", func() { result <- v.kill(vm.CauseKilled) }) {
		return nil // Close kills already
	}
	select {
	case s.fault = <-result:
		return s.fault
	case <-ctx.Done():
		return nil
	}
}

// wake resumes a paused machine.
func (v *VM) wake() error {
	v.op.Lock()
	defer v.op.Unlock()
	return v.wakeLocked()
}

// wakeLocked is wake. Preconditions: op is held.
func (v *VM) wakeLocked() error {
	if v.State() != vm.StatePaused {
		return nil
	}
	return v.changeLocked("stop", vm.StateRunning, v.machine.Resume)
}

// press presses the power button, of a paused machine after resuming it.
func (v *VM) press() error {
	v.op.Lock()
	defer v.op.Unlock()
	if err := v.wakeLocked(); err != nil {
		return err
	}
	before := v.setAsked(StagePowerButton) // before the guest can react
	if err := v.machine.PowerButton(); err != nil {
		v.setAsked(before)
		return err
	}
	v.move(vm.StateStopping)
	return nil
}

// setAsked takes down how the guest is asked to end.
func (v *VM) setAsked(stage Stage) (before Stage) {
	v.mu.Lock()
	defer v.mu.Unlock()
	before, v.asked = v.asked, stage
	return before
}

// SetAgent lends the machine a way to ask the guest's agent to shut it down, for
// Stop; nil takes it away. The function returns when the agent has taken the
// request, with an error when it has not, and soon after ctx ends. It may be called
// from several goroutines at once, and must not call the machine.
func (v *VM) SetAgent(shutdown func(ctx context.Context) error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.agent = shutdown
}

func (v *VM) agentHook() func(context.Context) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.agent
}

// background runs fn on a goroutine that Close joins; false: Close has begun.
func (v *VM) background(name string, fn func()) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.closing {
		return false
	}
	v.others.Add(1)
	safe.Go(name, nil, func() {
		defer v.others.Done()
		fn()
	})
	return true
}

// endedBy reads off the exit record what ended the machine. Preconditions: it has
// ended.
func (v *VM) endedBy() Stage {
	switch v.exit.Cause {
	case vm.CauseStopped:
		v.mu.Lock()
		defer v.mu.Unlock()
		return v.asked
	case vm.CauseKilled:
		return StageKill
	}
	return StageNone
}
