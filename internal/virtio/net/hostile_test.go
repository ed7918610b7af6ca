package net

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/libcapsa/libcapsa/internal/net/link"
	"github.com/libcapsa/libcapsa/internal/virtio/virtiotest"
)

func TestHostileTransmit(t *testing.T) {
	virtiotest.HostileQueue(t, func(t *testing.T) *virtiotest.Subject {
		r := newRig(t, &fakeHost{})
		return &virtiotest.Subject{
			Driver: r.Driver, Queue: queueTransmit,
			Request: packed(link.Header{}, ethernet(testMAC, 60)),
		}
	})
}

func TestHostileReceive(t *testing.T) {
	for _, features := range []uint64{0, FeatureMrgRxBuf} {
		t.Run(fmt.Sprintf("features %#x", features), func(t *testing.T) {
			virtiotest.HostileQueue(t, func(t *testing.T) *virtiotest.Subject {
				host := &fakeHost{}
				r := newRig(t, host, func(s *setup) { s.features = features })
				return &virtiotest.Subject{
					Driver: r.Driver, Queue: queueReceive, Reply: 64,
					Provoke: func() { host.put(frame(20)) },
				}
			})
		})
	}
}

// A frame whose second buffer breaks a rule: nothing of it is shown.
func TestHostileSecondBuffer(t *testing.T) {
	good := virtiotest.Desc{Addr: virtiotest.Main.Base + 1<<20, Len: 64, Flags: virtiotest.DescWrite}
	for name, second := range map[string]virtiotest.Desc{
		"in a hole":             {Addr: virtiotest.Hole, Len: 64, Flags: virtiotest.DescWrite},
		"readable":              {Addr: good.Addr, Len: 64},
		"empty":                 {Addr: good.Addr, Flags: virtiotest.DescWrite},
		"shorter than a header": {Addr: good.Addr, Len: hdrSize - 1, Flags: virtiotest.DescWrite},
		"loop":                  {Addr: good.Addr, Len: 64, Flags: virtiotest.DescWrite | virtiotest.DescNext, Next: 1},
		"all of it and more":    {Addr: good.Addr, Len: 0xFFFF_FFFF, Flags: virtiotest.DescWrite},
	} {
		t.Run(name, func(t *testing.T) {
			host := &fakeHost{}
			r := newRig(t, host)
			r.Start(allFeatures)
			raw := r.Queue(queueReceive).Raw
			raw.SetDesc(0, good)
			raw.SetDesc(1, second)
			raw.Expose(0, 1)
			require.Equal(t, 1, host.put(frame(100)))
			r.WaitNeedsReset()
			require.Zero(t, raw.UsedIdx())
			require.Zero(t, r.dev.Stats().Received.Frames)
		})
	}
}

// A13: the guest moves its buffers about while frames are copied to several of
// them. Each frame is served or the device asks for a reset, and nothing beside
// the buffers is written.
func TestHostileMovingBuffers(t *testing.T) {
	host := &fakeHost{}
	r := newRig(t, host)
	r.Negotiate(allFeatures)
	q := r.SetupQueue(queueReceive, 8)
	r.Go()
	const size, gap = 32, 64
	at := r.Alloc(16 * (size + gap))
	place := func(i int) virtiotest.Desc {
		return virtiotest.Desc{Addr: at + gap + uint64(i)*(size+gap), Len: size, Flags: virtiotest.DescWrite}
	}
	raw := q.Raw
	for i := range 8 {
		raw.SetDesc(uint16(i), place(i))
	}
	done := make(chan struct{})
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		for i := 0; ; i++ {
			select {
			case <-done:
				return
			default:
				_ = virtiotest.WriteDescs(r.mem, raw.Desc+16*uint64(i%8), place((i*5)%15))
			}
		}
	}()
	for n := range 2000 {
		raw.Expose(0, 1, 2, 3, 4, 5, 6, 7)
		require.Zero(t, host.put(frame(8*size-hdrSize)))
		require.EqualValues(t, uint16(8*(n+1)), raw.UsedIdx())
	}
	close(done)
	<-stopped
	for i := range 16 {
		b := make([]byte, gap)
		require.NoError(t, r.mem.ReadAt(b, at+uint64(i)*(size+gap)))
		require.Equal(t, make([]byte, gap), b, "bytes beside the buffers were written")
	}
}

func TestHostileControl(t *testing.T) {
	virtiotest.HostileQueue(t, func(t *testing.T) *virtiotest.Subject {
		r := newRig(t, &fakeHost{}, func(s *setup) { s.features = FeatureCtrlVQ | FeatureCtrlRx })
		return &virtiotest.Subject{Driver: r.Driver, Queue: queueControl, Request: []byte{0, 0, 1}, Reply: 1}
	})
}

// B: every register and every byte of the configuration space, in every width,
// while the device runs.
func TestHostileRegisters(t *testing.T) {
	host := &fakeHost{}
	r := newRig(t, host)
	r.Start(allFeatures)
	for offset := uint64(0); offset < 0x1010; offset++ {
		for width := 1; width <= 9; width++ {
			p := make([]byte, width)
			r.transport.Read(offset, p)
			switch offset &^ 3 {
			case virtiotest.RegStatus, virtiotest.RegQueueNotify:
				continue // 0 is a reset
			}
			for i := range p {
				p[i] = byte(offset + uint64(i)*37)
			}
			r.transport.Write(offset, p)
		}
	}
	require.Equal(t, testMAC[:], r.ReadConfig(offMAC, 6))
	r.Queue(queueTransmit).Do(packed(link.Header{}, ethernet(testMAC, 60)), 0)
	require.Len(t, host.frames(), 1)
}

// A panic of the host's side is the device's fault and nobody else's.
func TestHostPanics(t *testing.T) {
	host := &panicking{}
	r := newRig(t, host)
	r.Start(allFeatures)
	r.Queue(queueTransmit).Post(packed(link.Header{}, ethernet(testMAC, 60)), 0)
	r.WaitNeedsReset()

	r.Start(allFeatures)
	require.Equal(t, 1, host.put(frame(60)))
	r.Queue(queueReceive).Post(nil, 100) // Room
	r.WaitNeedsReset()
	require.Equal(t, 2, host.put(frame(60)))
	r.Reset()
	require.Zero(t, host.attached)
}

type panicking struct{ fakeHost }

func (*panicking) Send([]link.Frame) { panic("no") }
func (*panicking) Room()             { panic("no") }

// A panic under way to the guest is the device's fault too, on the goroutine of
// the host's side that delivers.
func TestReceivePanics(t *testing.T) {
	host := &fakeHost{}
	r := newRig(t, host)
	r.Start(allFeatures)
	r.Queue(queueReceive).Post(nil, 100)
	r.dev.active.filter.Store(nil)
	require.Equal(t, 1, host.put(frame(60)))
	r.WaitNeedsReset()
	r.Start(allFeatures)
	r.Queue(queueReceive).Post(nil, 100)
	require.Zero(t, host.put(frame(61)))
	require.Len(t, r.receive(t).Data, 61)
}
