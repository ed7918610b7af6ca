package capsa

import (
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/libcapsa/libcapsa/internal/agent/host"
	"github.com/libcapsa/libcapsa/internal/console"
	"github.com/libcapsa/libcapsa/internal/safe"
	"github.com/libcapsa/libcapsa/internal/vm"
)

// bootLogSize is how much of the early boot log (COM1) is kept, in bytes. A whole
// boot of Linux logs about 30 KiB.
const bootLogSize = 64 << 10

// VM is one virtual machine. All methods may be called at any time from any
// goroutine. Close it when it is no longer needed.
type VM struct {
	id       uint64 // in the process; constant
	cfg      vm.Config
	machine  vm.Machine
	port     *port      // in a network of several machines, else nil; constant
	guest    *host.Host // of its agent; nil: it has none
	console  *Console
	boot     *console.Console // the early boot log
	tail     *console.Console // the last of boot log and console together
	input    *vm.Pipe
	screens  [2]*vm.PanicScanner // of boot log and console
	events   *events
	exitFDs  notifier
	oomKills atomic.Uint64

	timer   *time.Timer   // of Config.Timeout, else nil; stopped until Start
	done    chan struct{} // closed when exit is valid
	wg      sync.WaitGroup
	others  sync.WaitGroup  // of background; Add with mu held while closing is false
	life    context.Context // ends after done is closed
	endLife context.CancelFunc

	op sync.Mutex // held by Start, Pause, Resume and the press of the power button; before mu

	mu        sync.Mutex
	state     atomic.Int32                // a State; written with mu held
	asked     Stage                       // how Stop has asked the guest to end; guarded by mu
	detail    string                      // why Stop killed; guarded by mu
	agent     func(context.Context) error // asks the guest's agent to shut down; guarded by mu
	main      *ExitStatus                 // of the main program; guarded by mu
	mainFault error                       // why the main program did not run; guarded by mu
	closing   bool                        // Close has begun; guarded by mu
	fault     error                       // of a Start that failed; guarded by mu
	exit      vm.Exit                     // written once, before done is closed
	settled   sync.Once
}

// newVM makes a machine. cfg is valid and has its defaults.
func newVM(backend vm.Backend, cfg vm.Config, network *Network) (*VM, error) {
	v := &VM{
		cfg:    cfg,
		boot:   console.New(console.Config{RingSize: bootLogSize}),
		tail:   console.New(console.Config{RingSize: vm.ConsoleTailSize}),
		input:  vm.NewPipe(0),
		events: newEvents(),
		done:   make(chan struct{}),
	}
	v.state.Store(int32(vm.StateCreated))
	v.life, v.endLife = context.WithCancel(context.Background())
	screen := console.New(console.Config{RingSize: cfg.Console.RingSize, Input: v.input})
	v.console = &Console{v: v, c: screen}
	v.screens[0] = vm.NewPanicScanner(sink{v.boot, v.tail, nil}, nil, v.outOfMemory)
	v.screens[1] = vm.NewPanicScanner(sink{screen, v.tail, v.events}, nil, v.outOfMemory)

	if err := v.makeMachine(backend, network); err != nil {
		v.leaveNetwork()
		v.endLife()
		return nil, vm.Wrap("build", err)
	}
	if cfg.Timeout > 0 {
		v.timer = time.NewTimer(cfg.Timeout)
		v.timer.Stop()
	}
	register(v)
	v.wg.Add(1)
	safe.Go("machine watcher", v.watcherFailed, v.watch)
	return v, nil
}

// makeMachine makes the backend's machine, and the host's side of its agent.
func (v *VM) makeMachine(backend vm.Backend, network *Network) error {
	cfg, done, err := machineConfig(v.cfg)
	if err != nil {
		return err
	}
	defer done()
	host := vm.Host{Console: v.screens[1], Serial: v.screens[0], Input: v.input, Event: v.events.push}
	unplug, err := v.joinNetwork(&cfg, &host, network)
	if err != nil {
		return err
	}
	defer unplug()
	v.machine, err = backend.New(cfg, host)
	if err != nil {
		return err
	}
	if err := v.openAgent(); err != nil {
		return errors.Join(err, v.machine.Close())
	}
	return nil
}

// sink is where output of the guest goes.
type sink struct {
	main, tail *console.Console
	events     *events // told of the output, if not nil
}

func (s sink) Write(p []byte) (int, error) {
	n, err := s.main.Write(p)
	_, _ = s.tail.Write(p) // fails only after its end, as main does
	if s.events != nil && n > 0 {
		s.events.push(vm.Event{Type: vm.EventConsoleData})
	}
	return n, err
}

var _ io.Writer = sink{}

func (v *VM) outOfMemory(text string) {
	v.oomKills.Add(1)
	v.events.push(vm.Event{Type: vm.EventOOM, Message: text})
}

// Config returns a copy of what the machine was built from.
func (v *VM) Config() Config { return v.cfg.Clone() }

// State is where the machine is in its life.
func (v *VM) State() State { return State(v.state.Load()) }

// Stats is a snapshot of the counters, also after the end.
func (v *VM) Stats() Stats {
	s := v.machine.Stats()
	v.countPort(&s)
	s.OOMKills = v.oomKills.Load()
	return s
}

// EventsLost is the number of events that nobody fetched in time.
func (v *VM) EventsLost() uint64 { return v.events.dropped() }

// Console is the guest's console. It is always the same.
func (v *VM) Console() *Console { return v.console }

// BootLog is what the guest has written to its first serial port (COM1): the early
// boot log and the text of a panic. The last 64 KiB are kept.
func (v *VM) BootLog() []byte { return v.boot.Tail(bootLogSize) }

// check says whether the machine may go to a state now.
func (v *VM) check(op string, to vm.State) error {
	return v.State().Check(op, to)
}

// move goes to a state if that is legal, and tells.
func (v *VM) move(to vm.State) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.State().Can(to) {
		v.state.Store(int32(to))
		// Under mu, so that events come in the order of the changes.
		v.events.push(vm.Event{Type: vm.EventState, State: to})
	}
}

// Start runs the machine. It returns when the guest's processors run, not when the
// guest is up. Errors: KindState (it was started before, or killed), KindCancelled
// (ctx was cancelled already; Start itself does not wait for anything that ctx
// could cut short), and what the backend says.
func (v *VM) Start(ctx context.Context) error {
	const op = "start"
	if errors.Is(ctx.Err(), context.Canceled) {
		return vm.ContextError(ctx, op)
	}
	v.op.Lock()
	defer v.op.Unlock()
	if err := v.check(op, vm.StateStarting); err != nil {
		return err
	}
	v.move(vm.StateStarting)
	if err := v.machine.Start(); err != nil {
		return v.startFailed(op, err)
	}
	v.move(vm.StateRunning)
	if v.timer != nil {
		v.timer.Reset(v.cfg.Timeout)
	}
	return nil
}

// startFailed ends a machine that did not start, and returns the error of its record.
func (v *VM) startFailed(op string, err error) error {
	if ending(err) {
		return vm.Errorf(vm.KindState, op, "the machine was killed meanwhile")
	}
	v.mu.Lock()
	v.fault = err
	v.mu.Unlock()
	if killErr := v.kill(vm.CauseVMMCrash); killErr != nil {
		return vm.Wrap(op, errors.Join(err, killErr))
	}
	if v.exit.Err != nil { // the same, with the end of the console
		err = v.exit.Err
	}
	return vm.Wrap(op, err)
}

// ending says whether a machine refused a call because it has ended or is closed,
// which this package's own state is about to say too.
func ending(err error) bool {
	kind := vm.KindOf(err)
	return kind == vm.KindState || kind == vm.KindClosed
}

// Pause stops the guest's processors, which keep their state, and returns when
// none runs. Errors: KindState, KindUnsupported.
func (v *VM) Pause() error { return v.change("pause", vm.StatePaused, v.machine.Pause) }

// Resume lets paused processors run on. Errors: KindState.
func (v *VM) Resume() error {
	v.op.Lock()
	defer v.op.Unlock()
	if s := v.State(); s != vm.StatePaused {
		return vm.Errorf(vm.KindState, "resume", "the machine is %s, not paused", s)
	}
	return v.changeLocked("resume", vm.StateRunning, v.machine.Resume)
}

func (v *VM) change(op string, to vm.State, act func() error) error {
	v.op.Lock()
	defer v.op.Unlock()
	return v.changeLocked(op, to, act)
}

// changeLocked makes a transition. Preconditions: op is held.
func (v *VM) changeLocked(op string, to vm.State, act func() error) error {
	if err := v.check(op, to); err != nil {
		return err
	}
	if err := act(); ending(err) {
		return vm.Errorf(vm.KindState, op, "the machine has ended")
	} else if err != nil {
		return vm.Wrap(op, err)
	}
	v.move(to)
	return nil
}

// Kill ends the machine now and returns when it has ended, within a second
// whatever the guest does. A machine that has ended is left as it is.
func (v *VM) Kill() error { return v.kill(vm.CauseKilled) }

func (v *VM) kill(cause vm.Cause) error {
	v.move(vm.StateStopping)
	if err := v.machine.Kill(cause); err != nil {
		return vm.Wrap("kill", err)
	}
	v.bury() // before the watcher has woken
	return nil
}

// Wait waits for the machine's end and returns its exit record: the same for every
// caller, and for ever, also after Close. It is no error when the guest crashed or
// was killed. When the machine failed to boot (CauseBootFailed) or failed itself
// (CauseVMMCrash), the error is that of the record, of KindBoot or KindVMMDied, with
// the end of the console, and the record is valid too. Otherwise an error,
// KindTimeout or KindCancelled, says that ctx ended first; try again at will.
func (v *VM) Wait(ctx context.Context) (Exit, error) {
	select {
	case <-v.done:
		return v.exit, v.exit.Err
	default:
	}
	select {
	case <-v.done:
		return v.exit, v.exit.Err
	case <-ctx.Done():
		return Exit{}, vm.ContextError(ctx, "wait")
	}
}

// Done is closed when the machine has ended.
func (v *VM) Done() <-chan struct{} { return v.done }

// Exit is the exit record, if the machine has ended.
func (v *VM) Exit() (Exit, bool) {
	select {
	case <-v.done:
		return v.exit, true
	default:
		return Exit{}, false
	}
}

// NextEvent takes the oldest event, and waits for one if there is none. An event
// that is there is given even when ctx has ended. The queue holds 256 events; an
// EventLost says how many nobody fetched in time. Errors: KindTimeout,
// KindCancelled, and KindClosed when the machine has ended and all its events were
// taken; the last is EventExited.
func (v *VM) NextEvent(ctx context.Context) (Event, error) { return v.events.next(ctx) }

// EventFD returns a new descriptor that is readable while NextEvent has something,
// and at its end once the machine has ended. Poll it; what can be read from it has
// no meaning and need not be read. It is one end of a unix stream socket pair,
// close-on-exec and non-blocking, and belongs to the caller. A machine gives out
// 256 at most: keep one. Errors: KindLimit, KindIO.
func (v *VM) EventFD() (int, error) { return v.events.fd() }

// ExitFD returns a new descriptor that is at its end (readable, EOF) once the
// machine has ended, for ever, and never before: nothing can be read from it. It
// is one end of a unix stream socket pair, close-on-exec and non-blocking, and
// belongs to the caller. Errors: KindLimit, KindIO.
func (v *VM) ExitFD() (int, error) { return v.exitFDs.add("exit descriptor", false, false) }

// Close kills the machine if it has not ended, and frees everything: memory,
// descriptors, goroutines. Exit record, statistics, remaining events, the rest of
// the console's output and the boot log stay readable; descriptors given out are at
// their end. It may be called any number of times, and every call returns after the
// machine is gone.
func (v *VM) Close() error {
	v.mu.Lock()
	v.closing = true
	v.mu.Unlock()
	err := v.kill(vm.CauseKilled)
	v.wg.Wait()
	v.closeAgent()
	v.others.Wait()
	unregister(v)
	_ = v.console.c.Close() // has nothing to fail
	return err
}
