//go:build linux

package kvm

import (
	"errors"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/libcapsa/libcapsa/internal/kvm/kvmtest"
	"github.com/libcapsa/libcapsa/internal/vm"
)

// threadSlack is how many threads the Go runtime may keep for later.
const threadSlack = 8

func TestManyCyclesLeaveNothing(t *testing.T) {
	kvmtest.Require(t)
	cfg := config(elf(t, newAsm().forever().assemble()))
	cfg.CPUs = 2
	b := New()
	cycle := func() {
		m, err := b.New(cfg, vm.Host{Input: vm.NewPipe(0)})
		require.NoError(t, err)
		require.NoError(t, m.Start())
		require.NoError(t, m.Kill(vm.CauseKilled))
		require.NoError(t, m.Close())
	}
	for range 5 { // the runtime's own threads and descriptors
		cycle()
	}
	before := kvmtest.Measure(t)
	for range 200 {
		cycle()
	}
	kvmtest.NoLeak(t, before, threadSlack)
}

// A machine that ended by itself gives its resources back without being closed.
func TestEndReleases(t *testing.T) {
	kvmtest.Require(t)
	cfg := config(elf(t, newAsm().powerOff().assemble()))
	warm := bareCfg(t, cfg, nil, vm.Host{})
	runToEnd(t, warm)
	require.NoError(t, warm.Close())
	before := kvmtest.Measure(t)
	m := bareCfg(t, cfg, nil, vm.Host{})
	runToEnd(t, m)
	kvmtest.NoLeak(t, before, threadSlack)
	require.NotEmpty(t, m.Stats().Exits, "the counters stay")
	require.Equal(t, vm.CauseGuestShutdown, m.Exit().Cause)
}

// harmless are the calls whose failure a machine can do without.
var harmless = []string{"KVM_CHECK_EXTENSION", "KVM_GET_TSC_KHZ"}

// Each system call of the construction fails in turn: the error is typed, and
// everything that was there is released.
func TestEveryStepFails(t *testing.T) {
	kvmtest.Require(t)
	cfg := config(elf(t, newAsm().powerOff().assemble()))
	cfg.CPUs, cfg.Network.Mode = 2, vm.NetworkUser
	var calls []string
	counting := New()
	counting.facts = &hostFacts{}
	counting.gate = func(call string) error { calls = append(calls, call); return nil }
	m, err := counting.New(cfg, vm.Host{})
	require.NoError(t, err)
	steps := slices.Clone(calls)
	require.NoError(t, m.Close())
	require.Greater(t, len(steps), 30)

	before := kvmtest.Measure(t)
	for i, call := range steps {
		b := New()
		b.facts = &hostFacts{}
		n := -1
		b.gate = func(string) error {
			if n++; n == i {
				return unix.ENOMEM
			}
			return nil
		}
		m, err := b.New(cfg, vm.Host{})
		if slices.Contains(harmless, call) && err == nil {
			require.NoError(t, m.Close())
		} else {
			require.Error(t, err, "step %d, %s", i, call)
			require.Nil(t, m)
			var e *vm.Error
			require.ErrorAs(t, err, &e, "step %d, %s: %v", i, call, err)
			if call != "KVM_CHECK_EXTENSION" {
				require.ErrorIs(t, err, unix.ENOMEM, "step %d, %s", i, call)
				require.Equal(t, vm.KindNoMemory, e.Kind)
				require.ErrorContains(t, err, call)
			}
		}
		kvmtest.NoLeak(t, before, threadSlack)
	}
}

// The process runs out of descriptors at each point where one is made.
func TestOutOfDescriptors(t *testing.T) {
	kvmtest.Require(t)
	cfg := config(elf(t, newAsm().powerOff().assemble()))
	cfg.Network.Mode = vm.NetworkUser
	b := New()
	first, err := b.New(cfg, vm.Host{})
	require.NoError(t, err)
	require.NoError(t, first.Close())

	var old unix.Rlimit
	require.NoError(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &old))
	before := kvmtest.Measure(t)
	failures := 0
	for limit := uint64(before.FDs); ; limit++ {
		require.NoError(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: limit, Max: old.Max}))
		m, err := b.New(cfg, vm.Host{})
		require.NoError(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &old))
		if err == nil {
			require.NoError(t, m.Close())
			break
		}
		failures++
		require.Equal(t, vm.KindLimit, vm.KindOf(err), "%v", err)
		var e *vm.Error
		require.ErrorAs(t, err, &e)
		require.NotEmpty(t, e.Hint, "%v", err)
		require.Less(t, failures, 100)
	}
	require.Greater(t, failures, 2)
	kvmtest.NoLeak(t, before, threadSlack)
}

func TestBadKernelLeavesNothing(t *testing.T) {
	kvmtest.Require(t)
	before := kvmtest.Measure(t)
	for range 3 {
		_, err := New().New(config("/does/not/exist"), vm.Host{})
		require.Equal(t, vm.KindNotFound, vm.KindOf(err))
	}
	kvmtest.NoLeak(t, before, threadSlack)
}

func TestTimeout(t *testing.T) {
	cfg := config(elf(t, newAsm().forever().assemble()))
	cfg.Timeout = time.Millisecond
	e := runToEnd(t, bareCfg(t, cfg, nil, vm.Host{}))
	require.Equal(t, vm.CauseTimedOut, e.Cause)
	require.NoError(t, e.Err)
}

// broken is a device whose code is wrong.
type broken struct{ probe }

func (*broken) Write(uint64, []byte) { panic(errors.New("a bug")) }

// A panic on a vCPU's thread ends this machine and no other.
func TestPanicIsContained(t *testing.T) {
	other := bare(t, newAsm().forever(), nil, vm.Host{})
	require.NoError(t, other.Start())
	m := bare(t, newAsm().outb(testPort, 1).forever(), func(m *machine) {
		require.NoError(t, m.ports.add("broken", testPort, 1, &broken{}))
	}, vm.Host{})
	e := runToEnd(t, m)
	require.Equal(t, vm.CauseVMMCrash, e.Cause)
	require.Equal(t, vm.KindVMMDied, vm.KindOf(e.Err))
	require.ErrorContains(t, e.Err, "a bug")
	require.Contains(t, e.Detail, "lifecycle_test.go", "the stack")
	require.NoError(t, m.Close())
	require.NoError(t, other.Pause())
	require.NoError(t, other.Resume())
}

func TestKillWithUnknownCause(t *testing.T) {
	m := bare(t, newAsm().forever(), nil, vm.Host{})
	require.Equal(t, vm.KindInvalidArg, vm.KindOf(m.Kill(99)))
	require.NoError(t, m.Kill(vm.CauseBootFailed))
	require.Error(t, m.Exit().Err, "a failure has an error")
}

// The kick arrives on a thread that has inherited a mask against it.
func TestUnblockKick(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var set, now unix.Sigset_t
	set.Val[0] = 1 << (kickSignal - 1)
	require.NoError(t, unix.PthreadSigmask(unix.SIG_BLOCK, &set, nil))
	restore := unblockKick()
	require.NoError(t, unix.PthreadSigmask(unix.SIG_BLOCK, nil, &now))
	require.Zero(t, now.Val[0]&set.Val[0])
	restore()
	require.NoError(t, unix.PthreadSigmask(unix.SIG_UNBLOCK, &set, &now))
	require.NotZero(t, now.Val[0]&set.Val[0])
}

func TestCleanupRunsAllOnce(t *testing.T) {
	t.Parallel()
	var c cleanup
	var order []int
	fail := errors.New("one of them")
	for i := range 3 {
		c.add(func() error {
			order = append(order, i)
			if i == 1 {
				return fail
			}
			return nil
		})
	}
	require.ErrorIs(t, c.run(), fail)
	require.NoError(t, c.run())
	require.Equal(t, []int{2, 1, 0}, order)
}

// Construction order is the reverse of the order in which things must go.
func TestStopOrder(t *testing.T) {
	kvmtest.Require(t)
	var calls []string
	b := New()
	b.gate = func(call string) error { calls = append(calls, call); return nil }
	m, err := b.New(config(elf(t, newAsm().forever().assemble())), vm.Host{})
	require.NoError(t, err)
	calls = calls[:0]
	vcpu := m.(*machine).vcpus[0]
	closed := false
	m.(*machine).undo.steps = slices.Insert(m.(*machine).undo.steps, 0, func() error {
		_, err := vcpu.kvm.Regs()
		closed = err != nil
		return nil
	})
	require.NoError(t, m.Close())
	require.True(t, closed, "vCPUs go before memory")
	require.Equal(t, []string{"KVM_GET_REGS"}, calls, "descriptors are closed and nothing is asked for, which would wait for a grace period")
}
