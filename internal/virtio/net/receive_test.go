package net

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/libcapsa/libcapsa/internal/net/link"
	"github.com/libcapsa/libcapsa/internal/virtio/virtiotest"
)

// A frame in one buffer, in as many as it takes, and in buffers whose parts are
// not where the header ends.
func TestReceive(t *testing.T) {
	for _, tt := range []struct {
		name    string
		size    int
		buffers [][]int // sizes of the parts of each
		want    int     // buffers that are used
	}{
		{"room to spare", 60, [][]int{{2000}}, 1},
		{"exact", 60, [][]int{{72}}, 1},
		{"header apart", 60, [][]int{{12, 60}}, 1},
		{"header in pieces", 60, [][]int{{1, 4, 10, 57}}, 1},
		{"a byte too much for one", 60, [][]int{{71}, {100}}, 2},
		{"header alone in the first", 60, [][]int{{12}, {12}, {100}}, 3},
		{"many", 1500, [][]int{{100}, {100}, {1000}, {12}, {12, 300}, {500}, {500}}, 5},
	} {
		t.Run(tt.name, func(t *testing.T) {
			host := &fakeHost{}
			r := newRig(t, host)
			r.Start(allFeatures)
			q := r.Queue(queueReceive)
			for _, b := range tt.buffers {
				q.Add(nil, b...)
			}
			q.Kick()
			data := ethernet(broadcast, tt.size)
			h := link.Header{Flags: link.NeedsChecksum, CSumStart: 34, CSumOffset: 16}
			require.Zero(t, host.put(link.Frame{Header: h, Data: [][]byte{data[:5], data[5:5], data[5:13], data[13:]}}))
			require.Equal(t, got{Header: h, Buffers: tt.want, Data: string(data)}, r.receive(t))
			require.EqualValues(t, tt.want, q.Raw.UsedIdx())
			require.Equal(t, Direction{Frames: 1, Bytes: uint64(tt.size)}, r.dev.Stats().Received)
			require.EqualValues(t, tt.want, r.transport.Stats().Requests)
		})
	}
}

// Flags that the driver did not ask for mean nothing to it.
func TestReceiveFlags(t *testing.T) {
	for _, f := range []uint64{0, FeatureGuestCSum} {
		host := &fakeHost{}
		r := newRig(t, host)
		r.Start(f)
		r.Queue(queueReceive).Post(nil, 100)
		one := frame(60)
		one.Header.Flags = link.DataValid
		host.put(one)
		g := r.receive(t)
		require.Equal(t, f != 0, g.Header.Flags == link.DataValid)
		require.Equal(t, 1, g.Buffers, "without MRG_RXBUF")
	}
}

// Without MRG_RXBUF a frame lies in one buffer or nowhere, and the buffer stays
// for the next one.
func TestReceiveOneBuffer(t *testing.T) {
	host := &fakeHost{}
	r := newRig(t, host)
	r.Start(allFeatures &^ FeatureMrgRxBuf)
	q := r.Queue(queueReceive)
	q.Add(nil, 100)
	q.Add(nil, 200)
	q.Kick()
	require.Zero(t, host.put(frame(89), frame(88), frame(90)))
	require.Len(t, r.receive(t).Data, 88)
	require.Len(t, r.receive(t).Data, 90)
	require.Equal(t, Direction{Frames: 2, Bytes: 178, Long: 1}, r.dev.Stats().Received)
}

func TestReceiveDrops(t *testing.T) {
	long := frame(2000)
	long.Header = link.Header{Flags: link.NeedsChecksum, GSOType: link.GSOTCPv4, GSOSize: 1000}
	for _, tt := range []struct {
		name     string
		features uint64
		frame    link.Frame
		want     Direction
	}{
		{"no bytes", allFeatures, link.Frame{}, Direction{Short: 1}},
		{"13 bytes", allFeatures, frame(13), Direction{Short: 1}},
		{"14 bytes", allFeatures, frame(14), Direction{Frames: 1, Bytes: 14}},
		{"MTU and a tag", allFeatures, frame(1518), Direction{Frames: 1, Bytes: 1518}},
		{"more than the MTU", allFeatures, frame(1519), Direction{Long: 1}},
		{"long frame", allFeatures, long, Direction{Frames: 1, Bytes: 2000}},
		{"more than the MTU, not negotiated", allFeatures &^ FeatureMTU, frame(1519), Direction{Frames: 1, Bytes: 1519}},
		{"longer than can be", allFeatures &^ FeatureMTU, frame(link.MaxFrame + 1), Direction{Long: 1}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			host := &fakeHost{}
			r := newRig(t, host)
			r.Start(tt.features)
			r.Queue(queueReceive).Post(nil, 4000)
			require.Zero(t, host.put(tt.frame))
			require.Equal(t, tt.want, r.dev.Stats().Received)
		})
	}
}

// A frame that all buffers of a full ring are too short for is dropped: no more
// can come. The buffers stay for the next one.
func TestReceiveLongerThanTheRing(t *testing.T) {
	host := &fakeHost{}
	r := newRig(t, host)
	r.Negotiate(allFeatures)
	q := r.SetupQueue(queueReceive, 4)
	r.SetupQueue(queueTransmit, 4)
	r.Go()
	for range 4 {
		q.Add(nil, 100)
	}
	q.Kick()
	require.Zero(t, host.put(frame(389), frame(388)))
	require.Equal(t, Direction{Frames: 1, Bytes: 388, Long: 1}, r.dev.Stats().Received)
	g := r.receive(t)
	require.Equal(t, 4, g.Buffers)
	require.Len(t, g.Data, 388)
}

// Frames of one call are shown with one interrupt, in order.
func TestReceiveBatch(t *testing.T) {
	host := &fakeHost{}
	r := newRig(t, host)
	r.Start(allFeatures)
	q := r.Queue(queueReceive)
	var frames []link.Frame
	for i := range 40 {
		q.Add(nil, 40)
		q.Add(nil, 40)
		frames = append(frames, frame(30+i%38))
	}
	q.Kick()
	before := r.transport.Stats().Interrupts
	require.Zero(t, host.put(frames...))
	require.Equal(t, before+1, r.transport.Stats().Interrupts)
	for _, f := range frames {
		require.Equal(t, string(f.Data[0]), r.receive(t).Data)
	}
}

// Very many bytes are shown in pieces, of whole frames, so that the driver works
// on the first ones while the last are copied.
func TestReceiveLargeBatch(t *testing.T) {
	host := &fakeHost{}
	r := newRig(t, host)
	r.Start(features) // each piece interrupts without EVENT_IDX
	q := r.Queue(queueReceive)
	long := frame(link.MaxFrame)
	long.Header = link.Header{Flags: link.NeedsChecksum, GSOType: link.GSOTCPv4, GSOSize: 1448}
	for range 5 {
		for range 9 {
			q.Add(nil, 8192)
		}
	}
	q.Kick()
	before := r.transport.Stats().Interrupts
	require.Zero(t, host.put(long, long, long, long, long))
	require.Equal(t, before+3, r.transport.Stats().Interrupts)
	for range 5 {
		g := r.receive(t)
		require.Equal(t, 9, g.Buffers)
		require.Equal(t, string(long.Data[0]), g.Data)
	}
	require.EqualValues(t, 5*link.MaxFrame, r.transport.Stats().Bytes)
	require.EqualValues(t, 45, r.transport.Stats().Requests)
}

// No room: Receive is short, the driver's kick brings Room, and what is left
// goes on where it stopped, half a frame's buffers included.
func TestReceiveWaitsForRoom(t *testing.T) {
	for _, features := range []uint64{allFeatures, allFeatures &^ virtiotest.FeatureEventIdx} {
		t.Run(fmt.Sprintf("features %#x", features), func(t *testing.T) {
			host := &fakeHost{roomEnded: make(chan struct{}, 10)}
			r := newRig(t, host)
			r.Start(features)
			q := r.Queue(queueReceive)
			q.Post(nil, 100) // the first buffer's kick may be one too many
			require.Equal(t, 2, host.put(frame(60), frame(150), frame(70)))
			require.Len(t, r.receive(t).Data, 60)
			require.EqualValues(t, 1, r.dev.Stats().Stalls)

			q.Add(nil, 100) // half of what the second needs
			require.True(t, q.Publish(), "no kick is wanted, though frames wait")
			q.Notify()
			<-host.roomEnded
			require.EqualValues(t, 2, r.dev.Stats().Stalls)
			q.Add(nil, 100)
			q.Add(nil, 100)
			require.True(t, q.Publish())
			q.Notify()
			require.Len(t, r.receive(t).Data, 150)
			require.Len(t, r.receive(t).Data, 70)
			require.Equal(t, 2, host.roomCalls())

			q.Add(nil, 100)
			require.False(t, q.Publish(), "a kick is wanted, though nothing waits")
			q.Notify() // nobody is told of it
			require.Zero(t, host.put(frame(80)))
			require.Len(t, r.receive(t).Data, 80)
			require.Equal(t, 2, host.roomCalls())
		})
	}
}

// A15: receive buffers that not even a header fits into, or that are not
// writable.
func TestReceiveRefused(t *testing.T) {
	for name, post := range map[string]func(q *virtiotest.Queue){
		"readable":              func(q *virtiotest.Queue) { q.Post(make([]byte, 100), 0) },
		"shorter than a header": func(q *virtiotest.Queue) { q.Post(nil, hdrSize-1) },
	} {
		t.Run(name, func(t *testing.T) {
			host := &fakeHost{}
			r := newRig(t, host)
			r.Start(allFeatures)
			q := r.Queue(queueReceive)
			q.Post(nil, 100)
			post(q)
			require.Equal(t, 2, host.put(frame(60), frame(61), frame(62)), "what came before is delivered")
			require.Len(t, r.receive(t).Data, 60)
			r.WaitNeedsReset()
			require.Equal(t, 3, host.put(frame(63)), "a device that needs a reset takes nothing")
			require.EqualValues(t, 1, r.transport.Stats().Faults)
			r.Start(allFeatures)
			r.Queue(queueReceive).Post(nil, 100)
			require.Zero(t, host.put(frame(64)))
			require.Len(t, r.receive(t).Data, 64)
		})
	}
}
