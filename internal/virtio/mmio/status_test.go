package mmio

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/libcapsa/libcapsa/internal/virtio"
)

// A11: every step from every status that a driver can reach, against the
// order of virtio 1.2 section 3.1.1.
func TestStatusSteps(t *testing.T) {
	path := []virtio.Status{0, stepAcknowledged, stepDriver, stepFeatures, stepRunning}
	for i, from := range path {
		for to := virtio.Status(0); to < 0x100; to++ {
			r := newRig(t)
			for _, s := range path[1 : i+1] {
				if s == stepFeatures {
					r.setFeatures(allFeatures)
				}
				r.setStatus(s)
			}
			if i == 2 {
				r.setFeatures(allFeatures)
			}
			require.Equal(t, from, r.getStatus())

			r.setStatus(to)
			effective := to &^ virtio.StatusNeedsReset
			want := from
			switch {
			case to == 0:
				want = 0
			case effective == from|virtio.StatusFailed:
				want = effective
			case i+1 < len(path) && effective == path[i+1]:
				want = effective
			}
			require.Equal(t, want, r.getStatus(), "from %#x to %#x", from, to)
		}
	}
}

func TestFeatureNegotiation(t *testing.T) {
	tests := []struct {
		name     string
		features uint64
		ok       bool
	}{
		{"all", allFeatures, true},
		{"least", virtio.FeatureVersion1, true},
		{"none", 0, false},
		{"no VERSION_1", allFeatures &^ virtio.FeatureVersion1, false},
		{"low bit that was not offered", allFeatures | 1, false},
		{"high bit that was not offered", allFeatures | 1<<63, false},
		{"every bit", ^uint64(0), false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t)
			r.setStatus(stepAcknowledged)
			r.setStatus(stepDriver)
			r.setFeatures(tt.features)
			r.setStatus(stepFeatures)
			require.Equal(t, tt.ok, r.getStatus() == stepFeatures)
			if tt.ok {
				r.setStatus(stepRunning)
				require.Equal(t, tt.features, r.dev.last(t).Features)
				return
			}
			require.Equal(t, stepDriver, r.getStatus())
			r.setFeatures(allFeatures) // the driver may try again
			r.setStatus(stepFeatures)
			require.Equal(t, stepFeatures, r.getStatus())
		})
	}
}

func TestFeaturesRefusedByTheDevice(t *testing.T) {
	r := newRig(t)
	r.dev.refused = virtio.FeatureVersion1 | 1<<40
	r.setStatus(stepAcknowledged)
	r.setStatus(stepDriver)
	r.setFeatures(r.dev.refused)
	r.setStatus(stepFeatures)
	require.Equal(t, stepDriver, r.getStatus())
	r.setFeatures(r.dev.refused | 1<<5)
	r.setStatus(stepFeatures)
	require.Equal(t, stepFeatures, r.getStatus())
}

func TestFeaturesBeyond64(t *testing.T) {
	r := newRig(t)
	r.setStatus(stepAcknowledged)
	r.setStatus(stepDriver)
	r.setFeatures(allFeatures)
	r.set(regDriverFeaturesSel, 2)
	r.set(regDriverFeatures, 0)
	r.set(regDriverFeaturesSel, 0xffff_ffff)
	r.set(regDriverFeatures, 1)
	r.setStatus(stepFeatures)
	require.Equal(t, stepDriver, r.getStatus())
}

func TestFeaturesOutsideTheirTime(t *testing.T) {
	r := newRig(t)
	r.setFeatures(allFeatures) // before DRIVER
	r.setStatus(stepAcknowledged)
	r.setFeatures(allFeatures)
	r.setStatus(stepDriver)
	r.setStatus(stepFeatures)
	require.Equal(t, stepDriver, r.getStatus(), "what was written early does not count")

	r.setFeatures(allFeatures)
	r.setStatus(stepFeatures)
	r.setFeatures(virtio.FeatureVersion1) // after FEATURES_OK
	r.setStatus(stepRunning)
	r.setFeatures(virtio.FeatureVersion1)
	require.Equal(t, allFeatures, r.dev.last(t).Features)
}

func TestDriverOKTwice(t *testing.T) {
	r := newRig(t)
	r.start()
	r.setStatus(stepRunning)
	r.setStatus(stepRunning)
	require.Len(t, r.dev.activations, 1)
}

func TestDriverOKWithoutQueues(t *testing.T) {
	r := newRig(t)
	r.negotiate()
	r.setStatus(stepRunning)
	require.Equal(t, stepRunning, r.getStatus())
	a := r.dev.last(t)
	require.Len(t, a.Queues, 2)
	require.Nil(t, a.Queues[0])
	require.Nil(t, a.Kicks[0])
	r.set(regQueueNotify, 0)
	r.set(regQueueNotify, 1)
}

func TestFailedThenReset(t *testing.T) {
	r := newRig(t)
	r.start()
	r.setStatus(stepRunning | virtio.StatusFailed)
	r.setStatus(stepRunning)
	require.Equal(t, stepRunning|virtio.StatusFailed, r.getStatus())
	r.setStatus(0)
	require.Zero(t, r.getStatus())
	r.start()
	require.Equal(t, stepRunning, r.getStatus())
	require.Len(t, r.dev.activations, 2)
}

// A driver that reads NEEDS_RESET and writes it back with more bits.
func TestNeedsResetWrittenBack(t *testing.T) {
	r := newRig(t)
	r.start()
	r.dev.last(t).Signal.Fail(errNoKick)
	require.Equal(t, stepRunning|virtio.StatusNeedsReset, r.getStatus())
	r.setStatus(r.getStatus())
	require.Equal(t, stepRunning|virtio.StatusNeedsReset, r.getStatus())
	r.setStatus(stepRunning) // cannot be cleared
	require.Equal(t, stepRunning|virtio.StatusNeedsReset, r.getStatus())
	r.setStatus(r.getStatus() | virtio.StatusFailed)
	require.Equal(t, stepRunning|virtio.StatusNeedsReset|virtio.StatusFailed, r.getStatus())
	r.setStatus(0)
	require.Zero(t, r.getStatus())
}
