package virtq_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/libcapsa/libcapsa/internal/virtio/virtiotest"
	"github.com/libcapsa/libcapsa/internal/virtio/virtq"
)

// use pops and pushes n chains, which are made available first.
func use(t testing.TB, raw *virtiotest.Raw, q *virtq.Queue, n int) {
	t.Helper()
	for range n {
		raw.Expose(raw.AvailIdx() & (raw.Size - 1))
		c, err := q.Pop()
		require.NoError(t, err)
		q.Push(c, 0)
	}
}

func TestNeedsInterruptByFlag(t *testing.T) {
	raw, q := newQueue(t, 4, nil)
	require.False(t, q.NeedsInterrupt(), "nothing was pushed")
	use(t, raw, q, 1)
	require.True(t, q.NeedsInterrupt())
	require.False(t, q.NeedsInterrupt(), "nothing was pushed since")
	raw.SetAvailFlags(virtiotest.AvailNoInterrupt)
	use(t, raw, q, 1)
	require.False(t, q.NeedsInterrupt())
	raw.SetAvailFlags(0xFFFE) // the other bits mean nothing
	use(t, raw, q, 1)
	require.True(t, q.NeedsInterrupt())
}

func TestNeedsInterruptByEvent(t *testing.T) {
	for _, tt := range []struct {
		name   string
		before int // chains used, and decided on, before
		event  uint16
		pushed int
		want   bool
	}{
		{"first", 0, 0, 1, true},
		{"event ahead", 0, 1, 1, false},
		{"event reached", 0, 1, 2, true},
		{"event passed in a batch", 10, 12, 4, true},
		{"event is the last entry", 10, 13, 4, true},
		{"event is the next entry", 10, 14, 4, false},
		{"event was before the batch", 10, 9, 4, false},
		{"index wraps", 65534, 65535, 3, true},
		{"event after the wrap", 65534, 0, 3, true},
		{"event beyond, after the wrap", 65534, 1, 3, false},
		{"half way round", 0, 0x8000, 4, false},
		{"more pushes than indices", 5, 77, 65536, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			raw, q := newQueue(t, 4, eventIdx)
			raw.SetAvailFlags(virtiotest.AvailNoInterrupt) // means nothing with EVENT_IDX
			use(t, raw, q, tt.before)
			q.NeedsInterrupt()
			raw.SetUsedEvent(tt.event)
			use(t, raw, q, tt.pushed)
			require.Equal(t, tt.want, q.NeedsInterrupt())
			require.False(t, q.NeedsInterrupt())
		})
	}
}

// One decision for a batch: about all of its entries.
func TestNeedsInterruptAfterPushAll(t *testing.T) {
	for event, want := range map[uint16]bool{0: true, 2: true, 3: false, 0xFFFF: false} {
		raw, q := newQueue(t, 4, eventIdx)
		raw.SetUsedEvent(event)
		raw.Expose(0, 1, 2)
		var used []virtq.Used
		for range 3 {
			c, err := q.Pop()
			require.NoError(t, err)
			used = append(used, virtq.Used{Chain: c})
		}
		q.PushAll(used)
		require.Equal(t, want, q.NeedsInterrupt(), "used_event %d", event)
		require.False(t, q.NeedsInterrupt())
	}
}

func TestKickByFlag(t *testing.T) {
	raw, q := newQueue(t, 4, nil)
	require.False(t, q.EnableKick())
	require.Zero(t, raw.UsedFlags())
	q.DisableKick()
	require.EqualValues(t, virtiotest.UsedNoNotify, raw.UsedFlags())
	use(t, raw, q, 1)
	require.EqualValues(t, virtiotest.UsedNoNotify, raw.UsedFlags(), "a push changed the flag")
	require.EqualValues(t, 1, raw.UsedIdx())
	raw.Expose(1)
	require.True(t, q.EnableKick(), "something came meanwhile")
	require.Zero(t, raw.UsedFlags())
	require.EqualValues(t, 1, raw.UsedIdx(), "the flag changed the index")
	_, err := q.Pop()
	require.NoError(t, err)
	require.False(t, q.EnableKick())
}

func TestKickByEvent(t *testing.T) {
	raw, q := newQueue(t, 4, eventIdx)
	use(t, raw, q, 3)
	q.DisableKick()
	require.Zero(t, raw.UsedFlags())
	require.Zero(t, raw.AvailEvent())
	require.False(t, q.EnableKick())
	require.EqualValues(t, 3, raw.AvailEvent())
	raw.Expose(0)
	require.True(t, q.EnableKick())
}

func TestEnableKickShowsAJumpToPop(t *testing.T) {
	raw, q := newQueue(t, 4, nil)
	raw.SetAvailIdx(100)
	require.True(t, q.EnableKick())
	_, err := q.Pop()
	require.ErrorIs(t, err, virtq.FaultAvailIndex)
	require.False(t, q.EnableKick(), "a stopped queue must not keep its worker busy")
}
