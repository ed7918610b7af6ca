//go:build cgo

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"regexp"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/libcapsa/libcapsa/capsa"
	"github.com/libcapsa/libcapsa/internal/safe"
)

// fields takes an error's text apart as objects.c does.
func fields(t *testing.T, text []byte) (message, hint, component string, detail errorDetail, tail []byte) {
	t.Helper()
	parts := bytes.SplitN(text, []byte{0}, 5)
	require.Len(t, parts, 5)
	require.NoError(t, json.Unmarshal(parts[3], &detail))
	return string(parts[0]), string(parts[1]), string(parts[2]), detail, parts[4]
}

func TestErrorText(t *testing.T) {
	t.Parallel()
	err := &capsa.Error{
		Op: "build", Kind: capsa.KindBoot, Component: "kvm", Path: "/k\xff\x00", Hint: "try again",
		Problems:    []capsa.Problem{{Field: "cpus", Message: "0"}},
		ConsoleTail: []byte("panic\x00\xff"),
		Err:         os.NewSyscallError("open", os.ErrPermission),
	}
	message, hint, component, detail, tail := fields(t, errorText("builder.build", err))
	require.Contains(t, message, "build: ")
	require.NotContains(t, message, "\x00")
	require.Equal(t, "try again", hint)
	require.Equal(t, "kvm", component)
	require.Equal(t, "boot failed", detail.Kind)
	require.Equal(t, err.Problems, detail.Problems)
	require.Equal(t, err.ConsoleTail, tail, "bytes, as they came")
}

func TestErrorTextOfPanic(t *testing.T) {
	t.Parallel()
	err := safe.Run("vm.start", func() { panic("boom") })
	require.Equal(t, capsa.KindInternal, kindOf(err))
	message, _, _, detail, _ := fields(t, errorText("vm.start", err))
	require.Contains(t, message, "boom")
	require.Contains(t, detail.Stack, "TestErrorTextOfPanic")
}

func TestErrorTextWithoutKind(t *testing.T) {
	t.Parallel()
	message, _, _, detail, _ := fields(t, errorText("vm.kill", errors.New("odd")))
	require.Equal(t, "vm.kill: odd", message)
	require.Equal(t, "internal error", detail.Kind)
}

// The reason for the end of a wait decides, not the error that the wait made of it.
func TestWhy(t *testing.T) {
	t.Parallel()
	ended := func(cause error) context.Context {
		ctx, cancel := context.WithCancelCause(context.Background())
		cancel(cause)
		return ctx
	}
	late, cancel := context.WithDeadline(context.Background(), time.Unix(1, 0))
	t.Cleanup(cancel)
	for _, c := range []struct {
		name string
		ctx  context.Context
		err  error
		want capsa.Kind
		is   error
	}{
		{"freed", ended(errFreed), context.Canceled, capsa.KindClosed, errFreed},
		{"triggered", ended(errTriggered), &capsa.Error{Kind: capsa.KindCancelled}, capsa.KindCancelled, errTriggered},
		{"signal", ended(errInterrupted), context.Canceled, capsa.KindCancelled, errInterrupted},
		{"deadline", late, context.DeadlineExceeded, capsa.KindTimeout, nil},
		{"own error", ended(errFreed), &capsa.Error{Kind: capsa.KindBoot}, capsa.KindBoot, nil},
		{"not ended", context.Background(), &capsa.Error{Kind: capsa.KindTimeout}, capsa.KindTimeout, nil},
	} {
		err := why(c.ctx, "x", c.err)
		require.Equal(t, c.want, kindOf(err), c.name)
		if c.is != nil {
			require.ErrorIs(t, err, c.is, c.name)
		}
	}
	require.NoError(t, why(late, "x", nil))
}

// The header, the Go API and the Makefile's version are one.
func TestVersionOfHeader(t *testing.T) {
	t.Parallel()
	header, err := os.ReadFile("../include/capsa.h")
	require.NoError(t, err)
	value := func(name string) string {
		m := regexp.MustCompile(`#define ` + name + ` (\S+)`).FindSubmatch(header)
		require.NotNil(t, m, name)
		return string(m[1])
	}
	require.Equal(t, `"`+capsa.Version+`"`, value("CAPSA_VERSION_STRING"))
	require.Equal(t, capsa.Version, value("CAPSA_VERSION_MAJOR")+"."+value("CAPSA_VERSION_MINOR")+"."+value("CAPSA_VERSION_PATCH"))
	require.Equal(t, "0", value("CAPSA_ABI_VERSION"))
	require.Zero(t, capsa.ABIVersion)

	makefile, err := os.ReadFile("../Makefile")
	require.NoError(t, err)
	require.Contains(t, string(makefile), "VERSION := "+capsa.Version+"\n")
}

// The numbers of the header are those of the contract.
func TestNumbersOfHeader(t *testing.T) {
	t.Parallel()
	header, err := os.ReadFile("../include/capsa.h")
	require.NoError(t, err)
	for name, value := range map[string]int32{
		"CAPSA_E_INVALID_ARG": -int32(capsa.KindInvalidArg), "CAPSA_E_HANDLE": -int32(capsa.KindHandle),
		"CAPSA_E_STATE": -int32(capsa.KindState), "CAPSA_E_CONFIG": -int32(capsa.KindConfig),
		"CAPSA_E_UNSUPPORTED": -int32(capsa.KindUnsupported), "CAPSA_E_UNAVAILABLE": -int32(capsa.KindUnavailable),
		"CAPSA_E_NOT_FOUND": -int32(capsa.KindNotFound), "CAPSA_E_EXISTS": -int32(capsa.KindExists),
		"CAPSA_E_PERMISSION": -int32(capsa.KindPermission), "CAPSA_E_NO_MEMORY": -int32(capsa.KindNoMemory),
		"CAPSA_E_LIMIT": -int32(capsa.KindLimit), "CAPSA_E_TIMEOUT": -int32(capsa.KindTimeout),
		"CAPSA_E_CANCELLED": -int32(capsa.KindCancelled), "CAPSA_E_CLOSED": -int32(capsa.KindClosed),
		"CAPSA_E_IO": -int32(capsa.KindIO), "CAPSA_E_BOOT": -int32(capsa.KindBoot),
		"CAPSA_E_GUEST": -int32(capsa.KindGuest), "CAPSA_E_PROTOCOL": -int32(capsa.KindProtocol),
		"CAPSA_E_VMM_DIED": -int32(capsa.KindVMMDied), "CAPSA_E_FORKED": -int32(capsa.KindForked),
		"CAPSA_E_INTERNAL": -int32(capsa.KindInternal),

		"CAPSA_STATE_CREATED": int32(capsa.StateCreated), "CAPSA_STATE_STARTING": int32(capsa.StateStarting),
		"CAPSA_STATE_RUNNING": int32(capsa.StateRunning), "CAPSA_STATE_PAUSED": int32(capsa.StatePaused),
		"CAPSA_STATE_STOPPING": int32(capsa.StateStopping), "CAPSA_STATE_STOPPED": int32(capsa.StateStopped),
		"CAPSA_STATE_FAILED": int32(capsa.StateFailed),

		"CAPSA_CAUSE_GUEST_SHUTDOWN": int32(capsa.CauseGuestShutdown), "CAPSA_CAUSE_MAIN_EXITED": int32(capsa.CauseMainExited),
		"CAPSA_CAUSE_REBOOT": int32(capsa.CauseReboot), "CAPSA_CAUSE_PANIC": int32(capsa.CausePanic),
		"CAPSA_CAUSE_OOM": int32(capsa.CauseOutOfMemory), "CAPSA_CAUSE_STOPPED": int32(capsa.CauseStopped),
		"CAPSA_CAUSE_KILLED": int32(capsa.CauseKilled), "CAPSA_CAUSE_TIMED_OUT": int32(capsa.CauseTimedOut),
		"CAPSA_CAUSE_VMM_CRASH": int32(capsa.CauseVMMCrash), "CAPSA_CAUSE_BOOT_FAILED": int32(capsa.CauseBootFailed),
		"CAPSA_CAUSE_TRIPLE_FAULT": int32(capsa.CauseTripleFault),

		"CAPSA_STAGE_NONE": int32(capsa.StageNone), "CAPSA_STAGE_AGENT": int32(capsa.StageAgent),
		"CAPSA_STAGE_POWER_BUTTON": int32(capsa.StagePowerButton), "CAPSA_STAGE_KILL": int32(capsa.StageKill),

		"CAPSA_EVENT_STATE": int32(capsa.EventState), "CAPSA_EVENT_READY": int32(capsa.EventReady),
		"CAPSA_EVENT_EXITED": int32(capsa.EventExited), "CAPSA_EVENT_EXEC_EXITED": int32(capsa.EventExecExited),
		"CAPSA_EVENT_CONSOLE_DATA": int32(capsa.EventConsoleData), "CAPSA_EVENT_PORT_BOUND": int32(capsa.EventPortBound),
		"CAPSA_EVENT_POLICY_DENY": int32(capsa.EventPolicyDeny), "CAPSA_EVENT_OOM": int32(capsa.EventOOM),
		"CAPSA_EVENT_LOG": int32(capsa.EventLog), "CAPSA_EVENT_EVENTS_LOST": int32(capsa.EventLost),
		"CAPSA_EVENT_DISK_ERROR": int32(capsa.EventDiskError), "CAPSA_EVENT_LINK": int32(capsa.EventLink),
	} {
		re := regexp.MustCompile(`(?m)^#define ` + name + ` \(?(-?\d+)\)?(\s|$)`)
		m := re.FindSubmatch(header)
		require.NotNil(t, m, name)
		var got int32
		require.NoError(t, json.Unmarshal(m[1], &got), name)
		require.Equal(t, value, got, name)
	}
}
