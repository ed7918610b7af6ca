package vmtest

import (
	"sync"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/libcapsa/libcapsa/internal/vm"
)

// crowd is the number of goroutines of the concurrent tests.
const crowd = 16

func testCapabilities(r *run) {
	require.NotEmpty(r, r.suite.backend.Name())
	caps, err := r.suite.backend.Capabilities()
	require.NoError(r, err)
	require.GreaterOrEqual(r, caps.MaxCPUs, 1)
	require.Positive(r, caps.MaxMemory)
	require.True(r, caps.Has(vm.FeatureBootLinux) || caps.Has(vm.FeatureConsole), "a backend that can do nothing")
	require.NoError(r, r.cfg.ValidateFor(r.suite.backend.Name(), caps))
}

func testCreated(r *run) {
	require.False(r, r.ended())
	require.Zero(r, r.m.Exit())
	require.Zero(r, r.out.Len(), "something ran before Start")
	stats := r.m.Stats()
	require.Equal(r, r.cfg.Memory, stats.Memory)
	require.Equal(r, r.cfg.CPUs, stats.CPUs)
	require.Zero(r, stats.Timeline.Started)
	r.resize(100, 40)
}

// resize succeeds, or is refused by a backend that says it cannot.
func (r *run) resize(cols, rows uint16) {
	r.Helper()
	err := r.m.ResizeConsole(cols, rows)
	if r.has(vm.FeatureConsoleResize) {
		require.NoError(r, err)
		return
	}
	r.refused(vm.KindUnsupported, "resize", err)
}

func testLifecycle(r *run) {
	r.start()
	require.False(r, r.ended())
	require.Zero(r, r.m.Exit())
	require.Positive(r, r.m.Stats().Timeline.Started)
	r.resize(120, 50)
	require.NoError(r, r.m.Pause())
	require.NoError(r, r.m.Resume())
	r.kill(vm.CauseKilled)
	require.Equal(r, vm.CauseKilled, r.m.Exit().Cause)
	require.Positive(r, r.m.Exit().Uptime)
}

func testIllegalCalls(r *run) {
	m := r.m
	r.refused(vm.KindState, "pause before start", m.Pause())
	r.refused(vm.KindState, "resume before start", m.Resume())
	r.refused(vm.KindState, "power button before start", m.PowerButton())
	r.start()
	r.refused(vm.KindState, "second start", m.Start())
	r.refused(vm.KindState, "resume while running", m.Resume())
	require.NoError(r, m.Pause())
	r.refused(vm.KindState, "second pause", m.Pause())
	r.refused(vm.KindState, "start while paused", m.Start())
	r.refused(vm.KindState, "power button while paused", m.PowerButton())
	require.NoError(r, m.Resume())
	r.kill(vm.CauseKilled)
	for what, err := range r.everyCall() {
		r.refused(vm.KindState, what+" after the end", err)
	}
	require.NoError(r, m.Close())
	for what, err := range r.everyCall() {
		r.refused(vm.KindClosed, what+" after close", err)
	}
	require.NoError(r, m.Kill(vm.CauseKilled), "kill after close does nothing")
}

// everyCall makes every call but Kill and Close.
func (r *run) everyCall() map[string]error {
	return map[string]error{
		"start": r.m.Start(), "pause": r.m.Pause(), "resume": r.m.Resume(),
		"power button": r.m.PowerButton(), "resize": r.m.ResizeConsole(80, 24),
		"memory target": r.m.SetMemoryTarget(0),
	}
}

func testPauseResume(r *run) {
	r.start()
	for range 10 {
		r.within("pause", func() { assert.NoError(r, r.m.Pause()) })
		require.False(r, r.ended())
		r.within("resume", func() { assert.NoError(r, r.m.Resume()) })
	}
	// Of many at once, one succeeds each time; the others are told why not.
	for _, op := range []func() error{r.m.Pause, r.m.Resume} {
		errs := make([]error, crowd)
		r.together(func(i int) { errs[i] = op() })
		good := 0
		for _, err := range errs {
			if err == nil {
				good++
				continue
			}
			r.refused(vm.KindState, "one of many", err)
		}
		require.Equal(r, 1, good)
	}
}

func testKillBeforeStart(r *run) {
	r.kill(vm.CauseTimedOut)
	require.Equal(r, vm.CauseTimedOut, r.m.Exit().Cause)
	require.Zero(r, r.m.Exit().Uptime, "it never ran")
	require.Zero(r, r.out.Len())
	r.refused(vm.KindState, "start after kill", r.m.Start())
}

func testKillRunning(r *run) {
	r.start()
	r.kill(vm.CauseStopped)
	require.Equal(r, vm.CauseStopped, r.m.Exit().Cause)
	r.kill(vm.CauseKilled)
	require.Equal(r, vm.CauseStopped, r.m.Exit().Cause, "the record is written once")
}

func testKillPaused(r *run) {
	r.start()
	require.NoError(r, r.m.Pause())
	r.kill(vm.CauseKilled)
	require.Equal(r, vm.CauseKilled, r.m.Exit().Cause)
}

func testKillFromMany(r *run) {
	r.start()
	r.together(func(int) {
		assert.NoError(r, r.m.Kill(vm.CauseKilled))
		assert.Equal(r, vm.CauseKilled, r.m.Exit().Cause)
	})
}

func testKillRacesStart(r *run) {
	machines := []*run{r}
	for range 7 {
		machines = append(machines, r.another())
	}
	for _, one := range machines {
		errs := make([]error, 2)
		one.pair(
			func() { errs[0] = one.m.Start() },
			func() { errs[1] = one.m.Kill(vm.CauseKilled) },
		)
		require.NoError(r, errs[1])
		require.True(r, one.ended())
		require.Equal(r, vm.CauseKilled, one.m.Exit().Cause)
		if errs[0] != nil {
			r.refused(vm.KindState, "start after kill", errs[0])
		}
	}
}

func testKillRacesEnd(r *run) {
	r.start()
	r.kill(vm.CauseKilled)
	cause := r.m.Exit().Cause
	require.Contains(r, []vm.Cause{vm.CauseKilled, vm.CauseGuestShutdown}, cause)
	r.kill(vm.CauseTimedOut)
	require.Equal(r, cause, r.m.Exit().Cause)
}

func testManyWaiters(r *run) {
	records := make([]vm.Exit, crowd)
	var waiting sync.WaitGroup
	for i := range crowd {
		waiting.Go(func() {
			<-r.m.Done()
			records[i] = r.m.Exit()
		})
	}
	r.start()
	r.within("end", waiting.Wait)
	for _, e := range records {
		require.Equal(r, vm.CauseGuestShutdown, e.Cause)
		require.Equal(r, records[0], e)
	}
}

func testCloseUnused(r *run) {
	r.within("close", func() { assert.NoError(r, r.m.Close()) })
	require.True(r, r.ended())
	require.Equal(r, vm.CauseKilled, r.m.Exit().Cause)
	require.NoError(r, r.m.Close())
}

func testCloseRunning(r *run) {
	r.start()
	r.within("close", func() { r.together(func(int) { assert.NoError(r, r.m.Close()) }) })
	require.True(r, r.ended())
	require.Equal(r, vm.CauseKilled, r.m.Exit().Cause)
}

func testClosePaused(r *run) {
	r.start()
	require.NoError(r, r.m.Pause())
	r.within("close", func() { assert.NoError(r, r.m.Close()) })
	require.Equal(r, vm.CauseKilled, r.m.Exit().Cause)
}

func testExitKept(r *run) {
	r.start()
	r.wait("end", r.m.Done())
	before := r.m.Exit()
	require.Equal(r, vm.CauseGuestShutdown, before.Cause)
	require.NoError(r, r.m.Close())
	require.True(r, r.ended())
	require.Equal(r, before, r.m.Exit())
	require.Equal(r, r.cfg.Memory, r.m.Stats().Memory, "stats stay readable")
}

// testCloseDuringEverything closes while all other calls are being made.
func testCloseDuringEverything(r *run) {
	r.start()
	r.together(func(i int) {
		switch i % 8 {
		case 0:
			assert.NoError(r, r.m.Close())
		case 1:
			r.stateOrClosed(r.m.Pause())
		case 2:
			r.stateOrClosed(r.m.Resume())
		case 3:
			r.ignoreUnsupported(r.m.ResizeConsole(81, 25))
		case 4:
			r.stateOrClosed(r.m.PowerButton())
		case 5:
			_ = r.m.Stats()
			_ = r.m.Exit()
		case 6:
			<-r.m.Done()
		case 7:
			assert.NoError(r, r.m.Kill(vm.CauseKilled))
		}
	})
	require.True(r, r.ended())
}

// testHammer makes every legal and illegal call from many goroutines, then kills.
func testHammer(r *run) {
	calls := []func(){
		func() { r.stateOrClosed(r.m.Start()) },
		func() { r.stateOrClosed(r.m.Pause()) },
		func() { r.stateOrClosed(r.m.Resume()) },
		func() { r.ignoreUnsupported(r.m.ResizeConsole(90, 30)) },
		func() { r.ignoreUnsupported(r.m.SetMemoryTarget(r.cfg.Memory / 2)) },
		func() { _ = r.m.Stats() },
		func() { _ = r.m.Exit() },
	}
	r.within("hammer", func() {
		r.together(func(i int) {
			for n := range 25 {
				calls[(i+n)%len(calls)]()
			}
		})
	})
	require.False(r, r.ended())
	r.kill(vm.CauseKilled)
}

// stateOrClosed accepts success and the refusals of a call that comes at the wrong
// moment.
func (r *run) stateOrClosed(err error) {
	if err == nil {
		return
	}
	kind := vm.KindOf(err)
	if kind != vm.KindState && kind != vm.KindClosed {
		r.Errorf("unexpected: %v", err)
	}
}

// ignoreUnsupported is stateOrClosed for a call that not every backend can do.
func (r *run) ignoreUnsupported(err error) {
	if vm.KindOf(err) != vm.KindUnsupported {
		r.stateOrClosed(err)
	}
}

// together runs step on many goroutines at once and waits for all.
func (r *run) together(step func(i int)) {
	var all sync.WaitGroup
	begin := make(chan struct{})
	for i := range crowd {
		all.Go(func() {
			<-begin
			step(i)
		})
	}
	close(begin)
	r.within("concurrent calls", all.Wait)
}

// pair runs two steps at once and waits for both.
func (r *run) pair(a, b func()) {
	r.together(func(i int) {
		switch i {
		case 0:
			a()
		case 1:
			b()
		}
	})
}
