//go:build linux

package kvm

import (
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/libcapsa/libcapsa/internal/kvm/kvmtest"
	"github.com/libcapsa/libcapsa/internal/vm"
	"github.com/libcapsa/libcapsa/internal/vmtest"
)

// crowd is how many machines run at once.
const crowd = 200

// idleGuest says that it runs and sleeps for ever.
func idleGuest() *asm {
	return newAsm().print("up\n").sti().label("idle").hlt().jmp("idle")
}

// needFDs skips a test that needs more descriptors than the process may have.
func needFDs(t testing.TB, n uint64) {
	t.Helper()
	var lim unix.Rlimit
	require.NoError(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &lim))
	if lim.Cur < n {
		t.Skipf("the process may have %d open files; the test needs %d (ulimit -n)", lim.Cur, n)
	}
}

// TestManyMachines: as many machines as one likes run at once in one process, over
// one disk image, are paused, go on, and end one by one without a trace.
func TestManyMachines(t *testing.T) {
	kvmtest.Require(t)
	needFDs(t, crowd*24)
	vmtest.CheckLeaks(t)
	cfg := config(elf(t, idleGuest().assemble()))
	cfg.Disks = []vm.Disk{{Path: image(t), Format: vm.DiskRaw, ReadOnly: true}}
	backend := New()
	all := make([]vm.Machine, 0, crowd)
	t.Cleanup(func() {
		for _, m := range all {
			require.NoError(t, m.Close())
		}
	})
	for i := range crowd {
		cfg.Name = fmt.Sprint("idle ", i)
		out, host := serialHost()
		m, err := backend.New(cfg, host)
		require.NoError(t, err)
		all = append(all, m)
		require.NoError(t, m.Start())
		wait(t, "the guest", out.Seen("up\n"))
	}
	var ends sync.WaitGroup
	for i, m := range all {
		ends.Go(func() {
			assert.NoError(t, m.Pause())
			assert.NoError(t, m.Resume())
			if i%2 == 0 {
				assert.NoError(t, m.Kill(vm.CauseKilled))
			}
			assert.NoError(t, m.Close())
			assert.Equal(t, vm.CauseKilled, m.Exit().Cause)
		})
	}
	ends.Wait()
}

// BenchmarkNthMachine is making, running and closing a machine beside so many
// others.
func BenchmarkNthMachine(b *testing.B) {
	kvmtest.Require(b)
	cfg := config(elf(b, idleGuest().assemble()))
	for _, others := range []int{0, crowd - 1} {
		b.Run(fmt.Sprint(others), func(b *testing.B) {
			needFDs(b, crowd*24)
			backend := New()
			start := func() vm.Machine {
				out, host := serialHost()
				m, err := backend.New(cfg, host)
				require.NoError(b, err)
				require.NoError(b, m.Start())
				wait(b, "the guest", out.Seen("up\n"))
				return m
			}
			for range others {
				m := start()
				defer func() { require.NoError(b, m.Close()) }()
			}
			for b.Loop() {
				m := start()
				b.StopTimer()
				require.NoError(b, m.Close())
				b.StartTimer()
			}
		})
	}
}
