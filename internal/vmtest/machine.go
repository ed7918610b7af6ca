package vmtest

import (
	"sync"
	"time"

	"github.com/libcapsa/libcapsa/internal/safe"
	"github.com/libcapsa/libcapsa/internal/vm"
)

// machine is a machine of the fake backend. Lock order: cpu, mu.
type machine struct {
	fake    *Fake
	cfg     vm.Config
	host    vm.Host
	program Program
	born    time.Time

	stop   chan struct{} // closed when the exit record is fixed: the guest must end
	done   chan struct{} // closed when the guest has ended
	button chan struct{} // one token: the power button was pressed
	input  chan struct{} // one token: there may be input
	wg     sync.WaitGroup

	cpu sync.Mutex // held while the guest does something that the host can see

	mu       sync.Mutex
	state    vm.State      // guarded by mu
	closed   bool          // guarded by mu
	resumed  chan struct{} // closed while not paused; guarded by mu
	started  time.Time     // guarded by mu
	exit     vm.Exit       // guarded by mu until done is closed
	timeline vm.Timeline   // guarded by mu
	stats    vm.DeviceStats
	size     [2]uint16 // of the console; guarded by mu
	target   uint64    // of memory, bytes; guarded by mu
	network  network   // guarded by mu

	release sync.Once
}

var _ vm.Machine = (*machine)(nil)

func newMachine(f *Fake, cfg vm.Config, host vm.Host, program Program) *machine {
	m := &machine{
		fake: f, cfg: cfg.WithDefaults(), host: host, program: program, born: time.Now(),
		stop: make(chan struct{}), done: make(chan struct{}),
		button: make(chan struct{}, 1), input: make(chan struct{}, 1),
		state: vm.StateCreated, resumed: make(chan struct{}),
	}
	m.stats.Name = "console"
	m.target = m.cfg.Memory
	m.network.init(m.cfg.Network)
	m.size = [2]uint16{m.cfg.Console.Cols, m.cfg.Console.Rows}
	close(m.resumed)
	if host.Input != nil {
		host.Input.SetNotify(func() { token(m.input) })
	}
	m.timeline.Created = m.since()
	return m
}

// token puts a token into a channel that holds one.
func token(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// since is the time since the machine's creation, never 0.
func (m *machine) since() time.Duration { return max(time.Since(m.born), 1) }

// check is the typed error of a call that the state does not allow. Preconditions:
// mu is held.
func (m *machine) check(op string, to vm.State) error {
	if m.closed {
		return vm.Errorf(vm.KindClosed, op, "the machine is closed")
	}
	return m.state.Check(op, to)
}

func (m *machine) Start() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.check("start", vm.StateStarting); err != nil {
		return err
	}
	if err := m.fake.StartErr; err != nil {
		m.endLocked(vm.Exit{Cause: vm.CauseVMMCrash, Err: err})
		close(m.done)
		return err
	}
	m.state = vm.StateRunning
	m.started = time.Now()
	m.timeline.Started = m.since()
	m.wg.Add(1)
	safe.Go("fake guest", nil, m.run)
	return nil
}

// run is the guest's goroutine. A program that the end of the machine cuts short
// leaves it by runtime.Goexit.
func (m *machine) run() {
	defer m.wg.Done()
	defer close(m.done)
	err := safe.Run("fake guest", func() { m.program(&Guest{m: m}) })
	if err != nil {
		m.end(vm.Exit{Cause: vm.CauseVMMCrash, Err: vm.Errorf(vm.KindInternal, "run", "%w", err)})
		return
	}
	m.end(vm.Exit{Cause: vm.CauseGuestShutdown})
}

// end fixes the exit record, once, and tells the guest.
func (m *machine) end(exit vm.Exit) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.endLocked(exit)
}

// endLocked is end. Preconditions: mu is held.
func (m *machine) endLocked(exit vm.Exit) {
	if m.state.Final() {
		return
	}
	if !m.started.IsZero() {
		exit.Uptime = max(time.Since(m.started), 1)
	}
	m.exit = exit
	m.state = exit.State()
	m.timeline.Ended = m.since()
	close(m.stop)
}

func (m *machine) Pause() error {
	m.cpu.Lock() // the guest is between two actions
	defer m.cpu.Unlock()
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.check("pause", vm.StatePaused); err != nil {
		return err
	}
	if m.fake.PauseErr != nil {
		return m.fake.PauseErr
	}
	m.state = vm.StatePaused
	m.resumed = make(chan struct{})
	return nil
}

func (m *machine) Resume() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.state != vm.StatePaused || m.closed {
		if err := m.check("resume", vm.StatePaused); vm.KindOf(err) == vm.KindClosed {
			return err
		}
		return vm.Errorf(vm.KindState, "resume", "the machine is %s, not paused", m.state)
	}
	if m.fake.ResumeErr != nil {
		return m.fake.ResumeErr
	}
	m.state = vm.StateRunning
	close(m.resumed)
	return nil
}

func (m *machine) PowerButton() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed || m.state != vm.StateRunning {
		if err := m.check("power button", vm.StateStopping); err != nil {
			return err
		}
		return vm.Errorf(vm.KindState, "power button", "the machine is %s, not running", m.state)
	}
	if m.fake.PowerButtonErr != nil {
		return m.fake.PowerButtonErr
	}
	token(m.button)
	return nil
}

func (m *machine) Kill(cause vm.Cause) error {
	m.mu.Lock()
	if m.state == vm.StateCreated {
		m.endLocked(vm.Exit{Cause: cause})
		close(m.done)
	}
	m.endLocked(vm.Exit{Cause: cause})
	m.mu.Unlock()
	<-m.done
	return nil
}

func (m *machine) ResizeConsole(cols, rows uint16) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.check("resize console", vm.StateStopped); err != nil {
		return err
	}
	if m.fake.ResizeErr != nil {
		return m.fake.ResizeErr
	}
	m.size = [2]uint16{cols, rows}
	return nil
}

func (m *machine) SetMemoryTarget(bytes uint64) error {
	const op = "set memory target"
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.check(op, vm.StateStopped); err != nil {
		return err
	}
	if err := m.cfg.CheckMemoryTarget(op, bytes); err != nil {
		return err
	}
	if m.fake.MemoryTargetErr != nil {
		return m.fake.MemoryTargetErr
	}
	m.target = bytes
	if bytes == 0 {
		m.target = m.cfg.Memory
	}
	return nil
}

func (m *machine) Done() <-chan struct{} { return m.done }

func (m *machine) Exit() vm.Exit {
	select {
	case <-m.done:
		return m.exit
	default:
		return vm.Exit{}
	}
}

func (m *machine) Stats() vm.Stats {
	m.mu.Lock()
	defer m.mu.Unlock()
	stats := vm.Stats{
		Exits:    map[string]uint64{"fake": m.stats.Requests},
		Devices:  []vm.DeviceStats{m.stats},
		Timeline: m.timeline,
		Memory:   m.cfg.Memory,
		CPUs:     m.cfg.CPUs,
	}
	if !m.cfg.Balloon.Off { // a guest that is asked obeys at once
		stats.Balloon = &vm.BalloonStats{Driver: true, Target: m.target, Current: m.target}
	}
	if m.cfg.Network.Enabled() {
		stats.Devices = append(stats.Devices, vm.DeviceStats{Name: "network", Net: &vm.NetStats{Link: m.network.link}})
	}
	if !m.state.Final() {
		stats.Resident = m.target
	}
	return stats
}

func (m *machine) Close() error {
	err := m.Kill(vm.CauseKilled)
	m.wg.Wait()
	m.release.Do(func() {
		m.mu.Lock()
		m.closed = true
		m.mu.Unlock()
		if m.host.Input != nil {
			m.host.Input.SetNotify(nil)
		}
		m.fake.live.Add(-1)
		err = m.fake.CloseErr
	})
	return err
}
