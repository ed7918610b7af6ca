package balloon

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"
)

// sendStats posts statistics and waits until the device has them.
func (r *rig) sendStats(report []byte) {
	r.t.Helper()
	requests := r.transport.Stats().Requests
	r.Queue(queueStats).Post(report, 0)
	// The device keeps the buffer, so nothing tells; asking for the next one does.
	r.dev.Refresh()
	r.Queue(queueStats).Wait()
	require.Equal(r.t, requests+1, r.transport.Stats().Requests)
}

func TestStats(t *testing.T) {
	r := startRig(t, FeatureStats)
	require.Zero(t, r.dev.Stats().GuestAt)
	all := Guest{
		SwapIn: 1, SwapOut: 2, MajorFaults: 3, MinorFaults: 4, Free: 5, Total: 6, Available: 7, Caches: 8, OOMKills: 1 << 63,
	}
	report := bytes.Join([][]byte{
		stat(9999, 12), // of a later Linux
		stat(0, 1), stat(1, 2), stat(2, 3), stat(3, 4), stat(4, 0), stat(5, 6), stat(6, 7), stat(7, 8), stat(10, 1<<63),
		stat(8, 13), stat(4, 5), // the last of two counts
	}, nil)
	r.sendStats(report)
	require.Equal(t, all, r.dev.Stats().Guest)
	require.NotZero(t, r.dev.Stats().GuestAt)

	r.sendStats(stat(4, 77))
	require.Equal(t, Guest{Free: 77}, r.dev.Stats().Guest)
	r.sendStats(bytes.Repeat(stat(4, 78), maxStats/statSize))
	require.Equal(t, Guest{Free: 78}, r.dev.Stats().Guest)

	r.Reset()
	require.Zero(t, r.dev.Stats())
}

// Nothing is asked of a guest that nobody asked for, and one question has one answer.
func TestStatsAreAskedFor(t *testing.T) {
	r := newRig(t, FeatureStats)
	r.dev.Refresh() // before there is a driver: the first report is asked for another
	r.Start(0)
	q := r.Queue(queueStats)
	q.Do(stat(4, 1), 0)
	q.Post(stat(4, 2), 0)
	r.Queue(queueInflate).Do(pfns(0), 0)
	require.Zero(t, q.Raw.UsedIdx()-1, "the device asked by itself")
	for range 10 {
		r.dev.Refresh() // while none is owed, the first; the others may come before the answer
	}
	q.Wait()
	require.EqualValues(t, 2, q.Raw.UsedIdx())
}

// A driver that does not come from Linux may put more than one buffer there: each is
// given back when the next statistics are wanted.
func TestStatsBuffers(t *testing.T) {
	r := newRig(t, FeatureStats)
	r.Start(0)
	q := r.Queue(queueStats)
	for i := range uint64(5) {
		q.Add([][]byte{stat(4, i+1)})
	}
	q.Kick()
	for i := range uint64(5) {
		r.dev.Refresh()
		q.Wait()
		require.GreaterOrEqual(t, r.dev.Stats().Guest.Free, i+1)
	}
	require.EqualValues(t, 5, r.dev.Stats().Guest.Free)
}
