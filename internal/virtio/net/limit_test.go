package net

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/libcapsa/libcapsa/internal/net/link"
	"github.com/libcapsa/libcapsa/internal/net/shaper"
)

// two packets, and the next one in half an hour: nobody waits for it here.
var two = shaper.Limits{Packets: shaper.Rate{PerSecond: 1, Burst: 2}, Bytes: shaper.Rate{PerSecond: 1, Burst: 4000}}

func limited(l Limits) func(*setup) {
	return func(s *setup) { s.Limits = l }
}

// What is over the limit stays in the queue, none of it is lost, and a new limit lets
// it go on.
func TestLimitFromGuest(t *testing.T) {
	host := &fakeHost{}
	r := newRig(t, host, limited(Limits{FromGuest: shaper.Limits{Bytes: shaper.Rate{PerSecond: 1, Burst: 2000}}}))
	r.Start(allFeatures)
	q := r.Queue(queueTransmit)
	for range 4 {
		q.Add([][]byte{packed(link.Header{}, ethernet(testMAC, 1000))})
	}
	q.Kick()
	q.Wait()
	q.Wait()
	require.Len(t, host.frames(), 2)
	require.EqualValues(t, 2, q.Raw.UsedIdx())
	r.dev.SetLimits(Limits{})
	q.Wait()
	q.Wait()
	require.Len(t, host.frames(), 4)
	require.Equal(t, Direction{Frames: 4, Bytes: 4000}, r.dev.Stats().Sent)
}

// The host's side keeps what is over the limit, and is told when there is room.
func TestLimitToGuest(t *testing.T) {
	host := &fakeHost{}
	r := newRig(t, host, limited(Limits{ToGuest: two}))
	r.Start(allFeatures)
	q := r.Queue(queueReceive)
	for range 5 {
		q.Add(nil, 2000)
	}
	q.Kick()
	require.Equal(t, 3, host.put(frame(60), frame(61), frame(62), frame(63), frame(64)))
	require.Len(t, r.receive(t).Data, 60)
	require.Len(t, r.receive(t).Data, 61)
	r.dev.SetLimits(Limits{})
	for n := 62; n < 65; n++ {
		require.Len(t, r.receive(t).Data, n)
	}
	require.EqualValues(t, 5, r.dev.Stats().Received.Frames)
}

// A device that is reset while frames wait for their time forgets them.
func TestLimitReset(t *testing.T) {
	host := &fakeHost{}
	r := newRig(t, host, limited(Limits{FromGuest: two, ToGuest: two}))
	for range 2 {
		r.Start(allFeatures)
		q := r.Queue(queueTransmit)
		for range 4 {
			q.Add([][]byte{packed(link.Header{}, ethernet(testMAC, 60))})
		}
		q.Kick()
		r.Reset()
	}
	require.LessOrEqual(t, len(host.frames()), 2)
	r.dev.SetLimits(Limits{})
}

// A long frame is as many packets as it will be cut into, whatever its driver says of
// the headers' length.
func TestPackets(t *testing.T) {
	for _, tt := range []struct {
		header link.Header
		size   int
		want   uint64
	}{
		{link.Header{}, 60, 1},
		{link.Header{GSOSize: 10}, 1500, 1},
		{link.Header{GSOType: link.GSOTCPv4, GSOSize: 1460}, 54 + 1460, 1},
		{link.Header{GSOType: link.GSOTCPv4 | link.GSOECN, GSOSize: 1460}, 54 + 1461, 2},
		{link.Header{GSOType: link.GSOTCPv6, GSOSize: 1, HdrLen: 65535}, 65535, 65481},
		{link.Header{GSOType: link.GSOTCPv4, GSOSize: 1460}, 14, 1},
		{link.Header{GSOType: link.GSOTCPv4}, 60, 1},
	} {
		require.Equal(t, tt.want, packets(&tt.header, tt.size), tt)
	}
}
