package vmtest

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/libcapsa/libcapsa/internal/vm"
)

// Guests are the guests that a backend brings to Conformance. A part whose guest
// is nil is skipped and says so.
type Guests struct {
	Spin        *vm.Config // runs until it is killed
	PowerOff    *vm.Config // powers off by itself
	Reboot      *vm.Config // reboots by itself
	Panic       *vm.Config // its kernel panics
	TripleFault *vm.Config // triple-faults
	Echo        *vm.Config // prints what is typed, once EchoText has been printed
	EchoText    string     // printed by Echo when it listens; "" if at once
	Print       *vm.Config // prints PrintText, among other things, then runs on
	PrintText   string
	Polite      *vm.Config // powers off when its power button is pressed, once PoliteText has been printed
	PoliteText  string

	// Patience is how long a step may take before it counts as hanging; 0 means
	// one minute. It is generous on purpose: no test measures time.
	Patience time.Duration
}

// suite is one run of Conformance.
type suite struct {
	backend vm.Backend
	guests  Guests
}

// Conformance runs the tests that every backend passes: the contract of vm.Machine
// in executable form.
func Conformance(t *testing.T, backend vm.Backend, guests Guests) {
	t.Helper()
	if guests.Patience == 0 {
		guests.Patience = time.Minute
	}
	s := &suite{backend: backend, guests: guests}
	tests := []struct {
		name  string
		needs string     // the field of Guests
		guest *vm.Config // nil: skip
		run   func(*run) // on a machine that is not started
	}{
		{"capabilities", "Spin", guests.Spin, testCapabilities},
		{"created", "Spin", guests.Spin, testCreated},
		{"lifecycle", "Spin", guests.Spin, testLifecycle},
		{"illegal calls", "Spin", guests.Spin, testIllegalCalls},
		{"pause and resume", "Spin", guests.Spin, testPauseResume},
		{"kill before start", "Spin", guests.Spin, testKillBeforeStart},
		{"kill while running", "Spin", guests.Spin, testKillRunning},
		{"kill while paused", "Spin", guests.Spin, testKillPaused},
		{"kill from many", "Spin", guests.Spin, testKillFromMany},
		{"kill races start", "Spin", guests.Spin, testKillRacesStart},
		{"kill races end", "PowerOff", guests.PowerOff, testKillRacesEnd},
		{"many waiters", "PowerOff", guests.PowerOff, testManyWaiters},
		{"close unused", "Spin", guests.Spin, testCloseUnused},
		{"close while running", "Spin", guests.Spin, testCloseRunning},
		{"close while paused", "Spin", guests.Spin, testClosePaused},
		{"close during everything", "Spin", guests.Spin, testCloseDuringEverything},
		{"exit kept after close", "PowerOff", guests.PowerOff, testExitKept},
		{"hammer", "Spin", guests.Spin, testHammer},
		{"power off", "PowerOff", guests.PowerOff, ends(vm.CauseGuestShutdown)},
		{"reboot", "Reboot", guests.Reboot, ends(vm.CauseReboot)},
		{"panic", "Panic", guests.Panic, testPanic},
		{"triple fault", "TripleFault", guests.TripleFault, ends(vm.CauseTripleFault)},
		{"power button", "Polite", guests.Polite, testPowerButton},
		{"console output", "Print", guests.Print, testOutput},
		{"console input", "Echo", guests.Echo, testInput},
		{"console input in bulk", "Echo", guests.Echo, testInputBulk},
		{"output stops while paused", "Echo", guests.Echo, testPausedOutput},
		{"memory target", "Spin", guests.Spin, testMemoryTarget},
		{"no balloon", "Spin", guests.Spin, testNoBalloon},
		{"network", "Spin", guests.Spin, testNetwork},
		{"network of the platform", "Spin", guests.Spin, testPlatformNetwork},
		{"no network", "Spin", guests.Spin, testNoNetwork},
		{"two machines", "Echo", guests.Echo, testTwoMachines},
		{"stats", "Echo", guests.Echo, testStats},
		{"nil host", "PowerOff", guests.PowerOff, testNilHost},
		{"bad configurations", "Spin", guests.Spin, testBadConfigs},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if test.guest == nil {
				t.Skipf("the backend under test brings no guest for it: Guests.%s is nil", test.needs)
			}
			CheckLeaks(t)
			test.run(s.newRun(t, *test.guest))
		})
	}
}

// run is one test with its first machine.
type run struct {
	*testing.T
	suite *suite
	cfg   vm.Config
	m     vm.Machine
	out   *Recorder // console and serial output
	input *vm.Pipe
}

// newRun makes a machine, which is closed at the end of the test.
func (s *suite) newRun(t *testing.T, cfg vm.Config) *run {
	t.Helper()
	r := &run{T: t, suite: s, cfg: cfg, out: NewRecorder(), input: vm.NewPipe(0)}
	m, err := s.backend.New(cfg.Clone(), vm.Host{
		Console: r.out, Serial: r.out, Input: r.input, Event: func(vm.Event) {},
	})
	require.NoError(t, err)
	require.NotNil(t, m)
	r.m = m
	t.Cleanup(func() { r.within("close", func() { assert.NoError(t, m.Close()) }) })
	return r
}

// another makes one more machine of the same configuration.
func (r *run) another() *run { return r.suite.newRun(r.T, r.cfg) }

// within runs step and fails the test when it hangs. A step that hangs leaves its
// goroutine behind.
func (r *run) within(what string, step func()) {
	r.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		step()
	}()
	r.wait(what, done)
}

// wait waits for a channel to be closed and fails the test when that hangs.
func (r *run) wait(what string, done <-chan struct{}) {
	r.Helper()
	timer := time.NewTimer(r.suite.guests.Patience)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
		require.FailNow(r, "hangs", "%s took longer than %v; console:\n%s", what, r.suite.guests.Patience, r.out)
	}
}

// has says whether the backend under test has a feature.
func (r *run) has(f vm.Feature) bool {
	r.Helper()
	caps, err := r.suite.backend.Capabilities()
	require.NoError(r, err)
	return caps.Has(f)
}

// start starts the machine.
func (r *run) start() {
	r.Helper()
	require.NoError(r, r.m.Start())
}

// kill kills the machine and checks that it has ended then.
func (r *run) kill(cause vm.Cause) {
	r.Helper()
	var err error
	r.within("kill", func() { err = r.m.Kill(cause) })
	require.NoError(r, err)
	require.True(r, r.ended(), "Kill returned before Done was closed")
}

// ended says whether Done is closed.
func (r *run) ended() bool {
	select {
	case <-r.m.Done():
		return true
	default:
		return false
	}
}

// expectOutput waits until text has been printed.
func (r *run) expectOutput(text string) {
	r.Helper()
	r.wait("output of "+text, r.out.Seen(text))
}

// refused checks that err is typed and of that kind.
func (r *run) refused(kind vm.Kind, what string, err error) {
	r.Helper()
	require.Error(r, err, what)
	var typed *vm.Error
	require.ErrorAs(r, err, &typed, "%s: %v is not a *vm.Error", what, err)
	require.Equal(r, kind, vm.KindOf(err), "%s: %v", what, err)
	require.NotEmpty(r, typed.Op, "%s: %v names no operation", what, err)
}
