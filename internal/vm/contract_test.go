package vm_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/libcapsa/libcapsa/internal/vm"
)

// TestTransitions spells the whole table out, from a second source: the drawing.
func TestTransitions(t *testing.T) {
	t.Parallel()
	legal := map[[2]vm.State]bool{}
	for _, pair := range [][2]vm.State{
		{vm.StateCreated, vm.StateStarting}, {vm.StateCreated, vm.StateStopped}, {vm.StateCreated, vm.StateFailed},
		{vm.StateStarting, vm.StateRunning}, {vm.StateStarting, vm.StateStopping},
		{vm.StateStarting, vm.StateStopped}, {vm.StateStarting, vm.StateFailed},
		{vm.StateRunning, vm.StatePaused}, {vm.StateRunning, vm.StateStopping},
		{vm.StateRunning, vm.StateStopped}, {vm.StateRunning, vm.StateFailed},
		{vm.StatePaused, vm.StateRunning}, {vm.StatePaused, vm.StateStopping},
		{vm.StatePaused, vm.StateStopped}, {vm.StatePaused, vm.StateFailed},
		{vm.StateStopping, vm.StateStopped}, {vm.StateStopping, vm.StateFailed},
	} {
		legal[pair] = true
	}
	for from := vm.State(-1); from <= vm.StateFailed+1; from++ {
		for to := vm.State(-1); to <= vm.StateFailed+1; to++ {
			want := legal[[2]vm.State{from, to}]
			require.Equal(t, want, from.Can(to), "%s -> %s", from, to)
			err := from.Check("op", to)
			if want {
				require.NoError(t, err)
				continue
			}
			require.ErrorIs(t, err, vm.KindState)
			require.ErrorContains(t, err, from.String())
		}
	}
	require.True(t, vm.StateStopped.Final() && vm.StateFailed.Final())
	require.False(t, vm.StateStopping.Final())
}

// TestNames: every value of the ABI's enumerations has a name of its own.
func TestNames(t *testing.T) {
	t.Parallel()
	var names []string
	for k := vm.Kind(1); k <= 21; k++ {
		names = append(names, k.String())
		require.Equal(t, k.String(), k.Error())
	}
	for c := vm.Cause(1); c <= 11; c++ {
		require.True(t, c.Known())
		names = append(names, "cause "+c.String())
	}
	for s := vm.State(0); s <= 6; s++ {
		names = append(names, "state "+s.String())
	}
	for e := vm.EventType(1); e <= 10; e++ {
		names = append(names, "event "+e.String())
	}
	seen := map[string]bool{}
	for _, n := range names {
		require.False(t, seen[n], n)
		seen[n] = true
	}
	require.Len(t, vm.Kinds(), 21)
	require.Equal(t, "kind 99", vm.Kind(99).String())
	require.Equal(t, "cause 0", vm.Cause(0).String())
	require.Equal(t, "state 7", vm.State(7).String())
	require.Equal(t, "event -1", vm.EventType(-1).String())
}

func TestError(t *testing.T) {
	t.Parallel()
	cause := os.NewSyscallError("open", syscall.EACCES)
	err := vm.Errorf(vm.KindPermission, "open /dev/kvm", "%w", cause).WithHint("join group kvm").WithComponent("kvm")
	require.Equal(t, "open /dev/kvm: open: permission denied (join group kvm)", err.Error())
	require.Equal(t, "open /dev/kvm: open: permission denied", err.Message())
	require.Equal(t, int(syscall.EACCES), err.Errno())
	require.ErrorIs(t, err, vm.KindPermission)
	require.NotErrorIs(t, err, vm.KindIO)
	require.ErrorIs(t, err, fs.ErrPermission)

	wrapped := fmt.Errorf("outer: %w", err)
	require.ErrorIs(t, wrapped, vm.KindPermission)
	require.Equal(t, vm.KindPermission, vm.KindOf(wrapped))

	withPath := (&vm.Error{Op: "boot", Kind: vm.KindBoot}).WithPath("/k")
	require.Equal(t, "boot: /k: boot failed", withPath.Error())
	require.Zero(t, withPath.Errno())
}

func TestWrap(t *testing.T) {
	t.Parallel()
	require.NoError(t, vm.Wrap("op", nil))
	own := vm.Errorf(vm.KindBoot, "boot", "no")
	require.Same(t, own, vm.Wrap("op", own))
	tests := []struct {
		err  error
		kind vm.Kind
	}{
		{context.DeadlineExceeded, vm.KindTimeout},
		{context.Canceled, vm.KindCancelled},
		{os.ErrNotExist, vm.KindNotFound},
		{&os.PathError{Op: "open", Path: "/x", Err: syscall.EACCES}, vm.KindPermission},
		{syscall.EEXIST, vm.KindExists},
		{syscall.ENOMEM, vm.KindNoMemory},
		{syscall.EMFILE, vm.KindLimit},
		{syscall.EBADF, vm.KindIO},
		{vm.KindGuest, vm.KindGuest},
		{errors.New("what"), vm.KindInternal},
	}
	for _, test := range tests {
		err := vm.Wrap("op", test.err)
		require.ErrorIs(t, err, test.kind)
		require.ErrorIs(t, err, test.err)
		var e *vm.Error
		require.ErrorAs(t, err, &e)
		require.Equal(t, "op", e.Op)
	}
	require.Zero(t, vm.KindOf(nil))
}

func TestContextError(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancelCause(context.Background())
	require.NoError(t, vm.ContextError(ctx, "op"))
	why := errors.New("the user went home")
	cancel(why)
	err := vm.ContextError(ctx, "op")
	require.ErrorIs(t, err, vm.KindCancelled)
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorIs(t, err, why)
}

func TestExit(t *testing.T) {
	t.Parallel()
	tests := []struct {
		exit  vm.Exit
		text  string
		state vm.State
	}{
		{vm.Exit{Cause: vm.CauseGuestShutdown}, "guest shutdown", vm.StateStopped},
		{vm.Exit{Cause: vm.CauseMainExited, Code: 7}, "main program exited with status 7", vm.StateStopped},
		{vm.Exit{Cause: vm.CauseMainExited, Signal: 9}, "main program exited by signal 9", vm.StateStopped},
		{vm.Exit{Cause: vm.CausePanic, PanicText: "oh"}, "guest panic: oh", vm.StateStopped},
		{vm.Exit{Cause: vm.CauseVMMCrash, Err: errors.New("EFAULT")}, "machine failure: EFAULT", vm.StateFailed},
		{vm.Exit{Cause: vm.CauseBootFailed, Detail: "rip=0"}, "boot failed: rip=0", vm.StateFailed},
	}
	for _, test := range tests {
		require.Equal(t, test.text, test.exit.String())
		require.Equal(t, test.state, test.exit.State())
	}
}
