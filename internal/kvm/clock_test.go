//go:build linux

package kvm

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/libcapsa/libcapsa/internal/vm"
)

// kvm-clock (Documentation/virt/kvm/x86/msr.rst): where the guest wants it, and a
// field of struct pvclock_vcpu_time_info with the flag that says that the machine
// was paused.
const (
	msrSystemTime = 0x4b564d01
	clockAddr     = 0x9_0000
	clockFlags    = clockAddr + 29
	guestStopped  = 1 << 1
)

// TestPauseIsTold: a guest that uses kvm-clock learns that it was paused, so that its
// watchdogs do not take the pause for a fault.
func TestPauseIsTold(t *testing.T) {
	out, host := serialHost()
	m := bare(t, newAsm().cli().
		movECX(msrSystemTime).movEAX(clockAddr|1).movEDX(0).emit(0x0f, 0x30). // wrmsr
		print("clock\n").
		label("wait").pause().
		emit(0xf6, 0x04, 0x25).imm32(clockFlags).emit(guestStopped). // test byte [clockFlags], guestStopped
		je("wait").
		print("told\n").powerOff(), nil, host)
	if !m.clockCtrl {
		t.Skip("this host's KVM has no KVM_CAP_KVMCLOCK_CTRL")
	}
	require.NoError(t, m.Start())
	wait(t, "the guest", out.Seen("clock\n"))
	require.NoError(t, m.Pause())
	require.NotContains(t, out.String(), "told")
	require.NoError(t, m.Resume())
	wait(t, "the guest", m.Done())
	require.Equal(t, vm.CauseGuestShutdown, m.Exit().Cause)
	require.Contains(t, out.String(), "told\n")
}
