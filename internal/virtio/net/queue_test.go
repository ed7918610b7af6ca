package net

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/libcapsa/libcapsa/internal/guestmem"
	"github.com/libcapsa/libcapsa/internal/virtio/virtiotest"
	"github.com/libcapsa/libcapsa/internal/virtio/virtq"
)

// newQueue is the device's side of a ring, without a device.
func newQueue(t testing.TB, mem *guestmem.Memory, raw *virtiotest.Raw) *virtq.Queue {
	t.Helper()
	q, err := virtq.New(mem, virtq.Config{
		Size: raw.Size, Desc: raw.Desc, Avail: raw.Avail, Used: raw.Used, Indirect: true, EventIdx: true,
	})
	require.NoError(t, err)
	return q
}
