//go:build linux

package kvm

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/libcapsa/libcapsa/internal/kvm/layout"
	"github.com/libcapsa/libcapsa/internal/vm"
)

// A kernel that reports its panic and then waits for ever.
func TestPanicReport(t *testing.T) {
	const text = "Kernel panic - not syncing: a"
	for _, c := range []struct {
		name  string
		guest *asm
		want  vm.Cause
		text  string
	}{
		{"after the text", newAsm().print(text+"\n").outb(layout.PanicPort, 1), vm.CausePanic, text},
		{"before the text", newAsm().outb(layout.PanicPort, 1).print(text + "\n"), vm.CausePanic, text},
		{"no text", newAsm().outb(layout.PanicPort, 1).print("no reason\n"), vm.CausePanic, ""},
		{"twice", newAsm().outb(layout.PanicPort, 1).outb(layout.PanicPort, 1), vm.CausePanic, ""},
		{"out of memory", newAsm().print("Kernel panic - not syncing: Out of memory\n").outb(layout.PanicPort, 1),
			vm.CauseOutOfMemory, "Kernel panic - not syncing: Out of memory"},
		{"what is offered", newAsm().inb(layout.PanicPort).emit(0x3c, 3).jne("bad").outb(layout.PanicPort, 1). // cmp al, 3
															label("bad"), vm.CausePanic, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := runToEnd(t, bare(t, c.guest.forever(), nil, vm.Host{}))
			require.Equal(t, c.want, e.Cause)
			require.Equal(t, c.text, e.PanicText)
			if c.text == "" {
				require.Equal(t, noLastWords, e.Detail)
			}
		})
	}
}

// A guest that goes on with its crash kernel is told of once, however often it
// says so, and ends as it likes.
func TestCrashKernelReport(t *testing.T) {
	var events []vm.Event // written on the vCPU's thread, read after the end
	host := vm.Host{Event: func(e vm.Event) {
		if e.Type == vm.EventCrashKernel {
			events = append(events, e)
		}
	}}
	a := newAsm().print("Kernel panic - not syncing: a\n").outb(layout.PanicPort, 2).outb(layout.PanicPort, 2).powerOff()
	e := runToEnd(t, bare(t, a, nil, host))
	require.Equal(t, vm.CauseGuestShutdown, e.Cause)
	require.Len(t, events, 1)
	require.Equal(t, "Kernel panic - not syncing: a", events[0].Message)
}

// The report that nothing follows does not outlive a machine that is killed.
func TestPanicReportOfAKilledMachine(t *testing.T) {
	m := bare(t, newAsm().forever(), nil, vm.Host{})
	require.NoError(t, m.Start())
	m.panicked()
	require.NoError(t, m.Kill(vm.CauseKilled))
	m.endOfPanic() // the timer that had just begun to run
	require.Equal(t, vm.CauseKilled, m.Exit().Cause)
}
