package capsa_test

import (
	"errors"
	"io"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/libcapsa/libcapsa/capsa"
	"github.com/libcapsa/libcapsa/internal/vm"
	"github.com/libcapsa/libcapsa/internal/vmtest"
)

// crowd is the number of goroutines of the concurrent tests.
const crowd = 16

func TestLifecycle(t *testing.T) {
	m := build(t, vmtest.KernelSpin)
	require.Equal(t, vm.StateCreated, m.State())
	require.Equal(t, vmtest.KernelSpin, m.Config().Boot.Kernel)
	_, over := m.Exit()
	require.False(t, over)
	require.NoError(t, m.Start(t.Context()))
	require.Equal(t, vm.StateRunning, m.State())
	require.NoError(t, m.Pause())
	require.Equal(t, vm.StatePaused, m.State())
	require.NoError(t, m.Resume())
	require.Equal(t, vm.StateRunning, m.State())
	require.NoError(t, m.Kill())
	require.Equal(t, vm.StateStopped, m.State())
	exit, over := m.Exit()
	require.True(t, over)
	require.Equal(t, vm.CauseKilled, exit.Cause)
	require.Positive(t, exit.Uptime)
	require.NoError(t, m.Kill(), "a second kill does nothing")
	require.NoError(t, m.Close())
	require.NoError(t, m.Close())
	again, err := m.Wait(expired())
	require.NoError(t, err)
	require.Equal(t, exit, again)
	require.Equal(t, 1, m.Stats().CPUs)
}

func TestIllegalCalls(t *testing.T) {
	m := build(t, vmtest.KernelSpin)
	refused(t, vm.KindState, m.Pause())
	refused(t, vm.KindState, m.Resume())
	_, err := m.Stop(t.Context(), time.Second)
	refused(t, vm.KindState, err)
	refused(t, vm.KindCancelled, m.Start(cancelled()))
	require.Equal(t, vm.StateCreated, m.State())
	require.NoError(t, m.Start(expired()), "starting does not wait")
	refused(t, vm.KindState, m.Start(t.Context()))
	refused(t, vm.KindState, m.Resume())
	require.NoError(t, m.Pause())
	refused(t, vm.KindState, m.Pause())
	require.NoError(t, m.Kill())
	for _, err := range []error{m.Start(t.Context()), m.Pause(), m.Resume(), m.Console().Resize(80, 24)} {
		refused(t, vm.KindState, err)
	}
	stage, err := m.Stop(t.Context(), time.Second)
	require.NoError(t, err, "stopping what has stopped is fine")
	require.Equal(t, capsa.StageNone, stage)
}

func TestWait(t *testing.T) {
	m := running(t, vmtest.KernelSpin)
	_, err := m.Wait(expired())
	refused(t, vm.KindTimeout, err)
	_, err = m.Wait(cancelled())
	refused(t, vm.KindCancelled, err)

	exits := make([]capsa.Exit, crowd)
	var all sync.WaitGroup
	for i := range crowd {
		all.Go(func() {
			var err error
			exits[i], err = m.Wait(bounded(t))
			assert.NoError(t, err)
		})
	}
	require.NoError(t, m.Kill())
	all.Wait()
	for _, e := range exits {
		require.Equal(t, exits[0], e)
		require.Equal(t, vm.CauseKilled, e.Cause)
	}
	<-m.Done()
}

func TestCauses(t *testing.T) {
	tests := []struct {
		kernel string
		cause  vm.Cause
		text   string
	}{
		{vmtest.KernelPowerOff, vm.CauseGuestShutdown, ""},
		{vmtest.KernelReboot, vm.CauseReboot, ""},
		{vmtest.KernelPanic, vm.CausePanic, vmtest.PanicText},
		{vmtest.KernelTriple, vm.CauseTripleFault, ""},
	}
	for _, test := range tests {
		t.Run(test.kernel, func(t *testing.T) {
			m := running(t, test.kernel)
			exit, err := m.Wait(bounded(t))
			require.NoError(t, err, "a guest's end is no error")
			require.Equal(t, test.cause, exit.Cause)
			require.Equal(t, test.text, exit.PanicText)
			require.Equal(t, vm.StateStopped, m.State())
		})
	}
}

// TestPanicIsRecognised: what the backend saw as a reboot was a panic.
func TestPanicIsRecognised(t *testing.T) {
	tests := []struct {
		name  string
		end   vm.Cause
		print string
		cause vm.Cause
		text  string
	}{
		{"reboot after a panic", vm.CauseReboot, vmtest.PanicText, vm.CausePanic, vmtest.PanicText},
		{"triple fault after a panic", vm.CauseTripleFault, vmtest.PanicText, vm.CausePanic, vmtest.PanicText},
		{"out of memory", vm.CauseReboot, "Kernel panic - not syncing: System is deadlocked on memory", vm.CauseOutOfMemory,
			"Kernel panic - not syncing: System is deadlocked on memory"},
		{"power off whatever was printed", vm.CauseGuestShutdown, vmtest.PanicText, vm.CauseGuestShutdown, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			m := buildOn(t, program(func(g *vmtest.Guest) {
				g.Print("[    2.0] " + test.print + "\n")
				g.End(vm.Exit{Cause: test.end})
			}), "/guest")
			require.NoError(t, m.Start(t.Context()))
			exit := ended(t, m)
			require.Equal(t, test.cause, exit.Cause)
			require.Equal(t, test.text, exit.PanicText)
		})
	}
}

func TestBootFailed(t *testing.T) {
	tests := []struct {
		name    string
		guest   vmtest.Program
		message string
		hint    string
	}{
		{"no root", func(g *vmtest.Guest) { g.Serial("early\n"); g.Panic(vmtest.NoRootText) }, "Unable to mount root", "initrd"},
		{"no init, console up", func(g *vmtest.Guest) {
			g.Print("early\n")
			g.Panic("Kernel panic - not syncing: No working init found.")
		}, "No working init", "/init"},
		{"triple fault before the console", func(g *vmtest.Guest) {
			g.Serial("early\n")
			g.End(vm.Exit{Cause: vm.CauseTripleFault, Detail: "rip=0x1000000"})
		}, "rip=0x1000000", "kernel"},
		{"the backend says so", func(g *vmtest.Guest) {
			g.Print("early\n")
			g.End(vm.Exit{Cause: vm.CauseBootFailed, Err: errors.New("no entry point")})
		}, "no entry point", "kernel"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			m := buildOn(t, program(test.guest), "/guest")
			require.NoError(t, m.Start(t.Context()))
			exit, err := m.Wait(bounded(t))
			e := refusal(t, vm.KindBoot, err)
			require.Equal(t, vm.CauseBootFailed, exit.Cause)
			require.Equal(t, err, exit.Err)
			require.Equal(t, vm.StateFailed, m.State())
			require.Contains(t, e.Message(), test.message)
			require.Contains(t, e.Hint, test.hint)
			require.Contains(t, string(e.ConsoleTail), "early\n")
			require.LessOrEqual(t, len(e.ConsoleTail), vm.ConsoleTailSize)
			_, again := m.Wait(expired())
			require.Equal(t, err, again)
		})
	}
}

func TestBootLog(t *testing.T) {
	m := running(t, vmtest.KernelNoRoot)
	ended(t, m)
	require.Contains(t, string(m.BootLog()), "Linux version 6.12\n")
	require.Contains(t, string(m.BootLog()), vmtest.NoRootText)
}

func TestMachineFailure(t *testing.T) {
	m := buildOn(t, program(func(g *vmtest.Guest) { g.Crash(errors.New("KVM_RUN: bad address")) }), "/guest")
	require.NoError(t, m.Start(t.Context()))
	exit, err := m.Wait(bounded(t))
	require.Contains(t, refusal(t, vm.KindVMMDied, err).Message(), "KVM_RUN")
	require.Equal(t, vm.CauseVMMCrash, exit.Cause)
	require.Equal(t, vm.StateFailed, m.State())
}

func TestStartFails(t *testing.T) {
	fake := vmtest.NewFake()
	fake.StartErr = vm.Errorf(vm.KindNoMemory, "start", "no memory for vCPU 1")
	m := buildOn(t, fake, vmtest.KernelSpin)
	refused(t, vm.KindNoMemory, m.Start(t.Context()))
	exit, err := m.Wait(bounded(t))
	refused(t, vm.KindNoMemory, err)
	require.Equal(t, vm.CauseVMMCrash, exit.Cause)
	require.Equal(t, vm.StateFailed, m.State())
}

// TestBackendRefuses: errors of the backend come through and change nothing.
func TestBackendRefuses(t *testing.T) {
	fake := vmtest.NewFake()
	fake.PauseErr = vm.Errorf(vm.KindUnsupported, "pause", "not this one")
	fake.ResizeErr = errors.New("untyped")
	m := buildOn(t, fake, vmtest.KernelSpin)
	require.NoError(t, m.Start(t.Context()))
	refused(t, vm.KindUnsupported, m.Pause())
	require.Equal(t, vm.StateRunning, m.State())
	refused(t, vm.KindInternal, m.Console().Resize(80, 25))
	refused(t, vm.KindInvalidArg, m.Console().Resize(0, 25))
}

func TestTimeout(t *testing.T) {
	vmtest.CheckLeaks(t)
	b := builder(t, vmtest.NewFake(), vmtest.KernelSpin)
	require.NoError(t, b.SetTimeout(time.Nanosecond))
	m := buildFrom(t, b)
	_, err := m.Wait(expired())
	refused(t, vm.KindTimeout, err)
	require.Equal(t, vm.StateCreated, m.State(), "the time counts from Start")
	require.NoError(t, m.Start(t.Context()))
	require.Equal(t, vm.CauseTimedOut, ended(t, m).Cause)

	require.NoError(t, b.SetTimeout(24*time.Hour))
	m = buildFrom(t, b)
	require.NoError(t, m.Start(t.Context()))
	require.NoError(t, m.Kill())
	require.Equal(t, vm.CauseKilled, ended(t, m).Cause)
}

func TestKillBeforeStart(t *testing.T) {
	m := build(t, vmtest.KernelSpin)
	require.NoError(t, m.Kill())
	exit := ended(t, m)
	require.Equal(t, vm.CauseKilled, exit.Cause)
	require.Zero(t, exit.Uptime)
	refused(t, vm.KindState, m.Start(t.Context()))
}

// TestCloseGivesWaitersTheRecord: nobody hangs on a machine that is closed.
func TestCloseGivesWaitersTheRecord(t *testing.T) {
	m := running(t, vmtest.KernelSpin)
	var all sync.WaitGroup
	for range crowd {
		all.Go(func() {
			exit, err := m.Wait(bounded(t))
			assert.NoError(t, err)
			assert.Equal(t, vm.CauseKilled, exit.Cause)
		})
		all.Go(func() {
			r := m.Console().NewReader()
			_, err := r.Read(bounded(t), make([]byte, 1))
			assert.ErrorIs(t, err, io.EOF)
			_, err = r.Expect(bounded(t), []capsa.Pattern{capsa.Literal("x")})
			assert.ErrorIs(t, err, vm.KindClosed)
		})
		all.Go(func() { assert.NoError(t, m.Close()) })
	}
	all.Wait()
}

// TestCloseFailure: an error of the backend's Close is told as an event, and the
// machine ends all the same.
func TestCloseFailure(t *testing.T) {
	fake := vmtest.NewFake()
	fake.CloseErr = errors.New("munmap: invalid argument")
	m := buildOn(t, fake, vmtest.KernelPowerOff)
	require.NoError(t, m.Start(t.Context()))
	require.Equal(t, vm.CauseGuestShutdown, ended(t, m).Cause)
	require.NoError(t, m.Close())
	var logs []string
	for _, e := range drain(t, m) {
		if e.Type == vm.EventLog {
			logs = append(logs, e.Message)
		}
	}
	require.Equal(t, []string{"close: munmap: invalid argument"}, logs)
}

// TestHammer makes every call from many goroutines while the machine is killed.
func TestHammer(t *testing.T) {
	for range 20 {
		m := build(t, vmtest.KernelEcho)
		calls := []func() error{
			func() error { return m.Start(t.Context()) },
			m.Pause,
			m.Resume,
			func() error { return m.Console().Resize(90, 30) },
			func() error { _, err := m.Console().Write(expired(), []byte("x\n")); return err },
			func() error { _, err := m.NextEvent(expired()); return err },
			func() error { _, err := m.Wait(expired()); return err },
			func() error { _, err := m.Stop(expired(), time.Hour); return err },
			func() error { _ = m.Stats(); _ = m.State(); _ = m.BootLog(); return nil },
			func() error { return closeFD(m.ExitFD()) },
			func() error { return closeFD(m.EventFD()) },
			func() error { return closeFD(m.Console().FD()) },
		}
		var all sync.WaitGroup
		for i := range crowd {
			all.Go(func() {
				for n := range 3 * len(calls) {
					err := calls[(i+n)%len(calls)]()
					if err == nil {
						continue
					}
					switch vm.KindOf(err) {
					case vm.KindState, vm.KindClosed, vm.KindTimeout:
					default:
						assert.NoError(t, err)
					}
				}
			})
		}
		all.Go(func() { assert.NoError(t, m.Kill()) })
		all.Wait()
		require.Equal(t, vm.CauseKilled, ended(t, m).Cause)
		require.NoError(t, m.Close())
	}
}

// TestManyUnused: machines that are made and closed, as many as one likes.
func TestManyUnused(t *testing.T) {
	vmtest.CheckLeaks(t)
	fake := vmtest.NewFake()
	b := builder(t, fake, vmtest.KernelSpin)
	for range 2000 {
		m, err := b.Build()
		require.NoError(t, err)
		require.NoError(t, m.Close())
	}
	require.Zero(t, fake.Live())
}
