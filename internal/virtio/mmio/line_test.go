package mmio

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// A12: completions of a driver that is gone are dropped.
func TestStaleSignals(t *testing.T) {
	r := newRig(t)
	r.start()
	old := r.dev.last(t).Signal
	r.setStatus(0)
	fire := func() {
		old.Queue(0)
		old.Config()
		old.Fail(errors.New("late"))
	}
	fire()
	require.Zero(t, r.get(regInterruptStatus))
	require.Zero(t, r.getStatus())
	r.start()
	fire()
	require.Zero(t, r.get(regInterruptStatus))
	require.Equal(t, stepRunning, r.getStatus())
	require.Zero(t, r.backing.interrupts.Load())
	r.dev.last(t).Signal.Queue(0)
	require.Equal(t, int64(1), r.backing.interrupts.Load())
	r.Close()
	r.dev.last(t).Signal.Queue(0)
	require.Equal(t, int64(1), r.backing.interrupts.Load())
}

func TestInterruptACK(t *testing.T) {
	r := newRig(t)
	r.start()
	s := r.dev.last(t).Signal
	s.Queue(0)
	s.Config()
	r.set(regInterruptACK, 0xffff_fffc)
	require.Equal(t, interruptUsed|interruptConfig, r.get(regInterruptStatus))
	r.set(regInterruptACK, interruptUsed)
	require.Equal(t, interruptConfig, r.get(regInterruptStatus))
	r.set(regInterruptACK, 0xffff_ffff)
	require.Zero(t, r.get(regInterruptStatus))
}

func TestClose(t *testing.T) {
	r := newRig(t)
	r.start()
	r.Close()
	r.Close()
	require.Equal(t, 1, r.dev.closes)
	require.Zero(t, r.backing.live.Load())
	for offset := uint64(0); offset < WindowSize; offset += 4 {
		r.set(offset, 0xffff_ffff)
		require.Zero(t, r.get(offset))
	}
	require.NoError(t, r.mem.Close())
	require.False(t, r.mem.Acquire(), "no reference of memory is left")
}

// A guest cannot fill the log: a burst, then one line a second that says how
// many were dropped.
func TestLogRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var lines []string
		r := newRig(t, WithLog(func(line string) { lines = append(lines, line) }))
		for range 100_000 {
			r.set(regQueueNotify, 9)
		}
		require.Len(t, lines, logBurst)
		require.Equal(t, "virtio fake: ignored a kick of queue 9 at status 0x0", lines[0])
		time.Sleep(logInterval) // the bubble's clock
		for range 100_000 {
			r.set(regQueueNotify, 9)
		}
		require.Len(t, lines, logBurst+1)
		require.Contains(t, lines[logBurst], fmt.Sprintf("(%d lines", 100_000-logBurst))
	})
}
