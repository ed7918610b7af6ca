package console

import (
	"encoding/binary"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/libcapsa/libcapsa/internal/virtio"
	"github.com/libcapsa/libcapsa/internal/virtio/virtiotest"
)

func TestIdentity(t *testing.T) {
	r := newRig(t, nil)
	require.EqualValues(t, 3, r.Reg(virtiotest.RegDeviceID)) // virtio 1.2 section 5.3.1
	require.Equal(t, FeatureSize|virtio.TransportFeatures, r.Offered())
	for queue, size := range []uint32{64, 64, 0, 0} {
		r.SetReg(virtiotest.RegQueueSel, uint32(queue))
		require.Equal(t, size, r.Reg(virtiotest.RegQueueNumMax), "queue %d", queue)
	}
}

// The bytes of struct virtio_console_config, in every width and beyond it.
func TestConfigBytes(t *testing.T) {
	d := New(Config{Cols: 0x1234, Rows: 0x5678})
	want := []byte{0x34, 0x12, 0x78, 0x56, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}
	for offset := range uint32(16) {
		for _, width := range []uint32{1, 2, 3, 4} {
			p := []byte{0xa5, 0xa5, 0xa5, 0xa5}[:width]
			d.ReadConfig(offset, p)
			require.Equal(t, want[offset:offset+width], p, "offset %d", offset)
		}
	}
	p := []byte{0xa5}
	d.ReadConfig(0xffff_ffff, p)
	require.Equal(t, []byte{0}, p)

	for offset := range uint32(16) {
		d.WriteConfig(offset, []byte{0xff, 0xff, 0xff, 0xff})
	}
	p = make([]byte, len(want))
	d.ReadConfig(0, p)
	require.Equal(t, want, p, "a driver cannot write it")
}

func (r *rig) size() (cols, rows uint16) {
	p := r.ReadConfig(0, 4)
	return binary.LittleEndian.Uint16(p), binary.LittleEndian.Uint16(p[2:])
}

func TestResize(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Cols, c.Rows = 80, 25 })
	require.Zero(t, r.Reg(virtiotest.RegInterruptStatus))
	r.Start(FeatureSize)
	r.WaitConfigChange() // Linux learns the size of a single port only that way
	generation := r.Reg(virtiotest.RegConfigGen)
	r.dev.Resize(132, 50)
	r.WaitConfigChange()
	require.NotEqual(t, generation, r.Reg(virtiotest.RegConfigGen))
	cols, rows := r.size()
	require.Equal(t, [2]uint16{132, 50}, [2]uint16{cols, rows})

	r.Reset()
	r.dev.Resize(40, 20) // nobody is there
	require.Zero(t, r.Reg(virtiotest.RegInterruptStatus))
	r.Start(FeatureSize)
	r.WaitConfigChange()
	cols, rows = r.size()
	require.Equal(t, [2]uint16{40, 20}, [2]uint16{cols, rows})

	r.transport.Close()
	r.dev.Resize(1, 1)
}

func TestResizeWithoutTheFeature(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Cols, c.Rows = 80, 25 })
	r.Start(0)
	r.dev.Resize(132, 50)
	require.Zero(t, r.Reg(virtiotest.RegInterruptStatus))
}

func TestUnknownSizeIsNotAnnounced(t *testing.T) {
	r := startRig(t, nil)
	require.Zero(t, r.Reg(virtiotest.RegInterruptStatus))
}

// G2: resizes at every moment of a driver's life. A driver that follows the
// generation never sees half a change.
func TestResizeDuringActivation(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Cols, c.Rows = 1, 1 })
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for start := range uint16(2) {
		wg.Go(func() {
			for n := start; ; n++ {
				select {
				case <-stop:
					return
				default:
					r.dev.Resize(n, n)
				}
			}
		})
	}
	for range 200 {
		r.Start(FeatureSize)
		for range 20 {
			before := r.Reg(virtiotest.RegConfigGen)
			cols, rows := r.size()
			if r.Reg(virtiotest.RegConfigGen) == before {
				require.Equal(t, cols, rows)
			}
		}
		r.send(t, "x")
	}
	close(stop)
	wg.Wait()
}

// G2: there are no control queues to send messages with a bad port to.
func TestControlQueuesDoNotExist(t *testing.T) {
	r := startRig(t, nil)
	for _, queue := range []uint32{2, 3, 4, 0xffff_ffff} {
		r.SetReg(virtiotest.RegQueueNotify, queue)
	}
	r.send(t, "still here")
	require.Equal(t, "still here", r.out.String())
}

// Close ends everything that runs: the bubble fails if a goroutine is left.
func TestCloseJoins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startRig(t, nil)
		r.in.put([]byte("never read"))
		r.transport.Close()
		r.transport.Close()
		r.in.put([]byte("after the end"))
	})
}
