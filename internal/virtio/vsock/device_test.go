package vsock

import (
	"bytes"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/libcapsa/libcapsa/internal/guestmem"
	"github.com/libcapsa/libcapsa/internal/virtio"
	"github.com/libcapsa/libcapsa/internal/virtio/virtiotest"
	"github.com/libcapsa/libcapsa/internal/vsock/packet"
)

func TestIdentity(t *testing.T) {
	r := newRig(t, &fakeHost{}, nil, guestmem.Span{})
	require.EqualValues(t, virtio.IDVsock, r.Reg(virtiotest.RegDeviceID))
	require.Equal(t, "vsock", r.dev.Name())
	require.EqualValues(t, FeatureStream|FeatureSeqPacket, r.Offered()&0xff)
	require.Equal(t, []byte{4, 3, 2, 1, 0, 0, 0, 0, 0, 0}, r.ReadConfig(0, 10))
	require.Equal(t, []byte{0, 0}, r.ReadConfig(8, 2))
	r.dev.WriteConfig(0, []byte{9})
	require.Equal(t, []byte{4}, r.ReadConfig(0, 1))
	for i, size := range []uint32{queueSize, queueSize, eventQueueSize, 0} {
		r.SetReg(virtiotest.RegQueueSel, uint32(i))
		require.Equal(t, size, r.Reg(virtiotest.RegQueueNumMax))
	}
}

func TestLink(t *testing.T) {
	host := &fakeHost{}
	r := newRig(t, host, nil, guestmem.Span{})
	r.Start(FeatureStream | ringFeatures)
	require.False(t, host.link.SeqPacket)
	require.Equal(t, queueSize/2, host.link.Keep)
	old := host.guest()
	r.Start(FeatureStream | FeatureSeqPacket)
	require.True(t, host.link.SeqPacket)
	require.Equal(t, 1, host.attached)
	// A driver that is gone is not reached any more, and nothing happens.
	old.Deliver()
	old.Notify()
	old.Reclaim()
	old.TransportReset()
	r.Reset()
	require.Zero(t, host.attached)
	r.Reset()
	require.Zero(t, host.attached, "nothing to detach")
}

// A header in one piece, in many, with the payload behind it or apart.
func TestTransmit(t *testing.T) {
	whole := bytesOf(packet.Header{SrcCID: testCID, DstCID: 2, SrcPort: 7, DstPort: 8, Type: packet.Stream, Op: packet.OpData}, []byte("payload")...)
	for _, cuts := range [][]int{{}, {44}, {1}, {20, 43, 45, 50}, {43}} {
		host := &fakeHost{}
		r := newRig(t, host, nil, guestmem.Span{})
		r.Start(ringFeatures)
		q := r.Queue(queueTransmit)
		var parts [][]byte
		rest, at := whole, 0
		for _, cut := range cuts {
			parts = append(parts, rest[:cut-at])
			rest, at = rest[cut-at:], cut
		}
		parts = append(parts, rest)
		q.Add(parts)
		q.Kick()
		q.Wait()
		q.AddIndirect(parts, 16) // a writable buffer is left alone
		q.Kick()
		u := q.Wait()
		require.Zero(t, u.Len)
		require.Len(t, host.got, 2)
		require.Equal(t, host.got[0], host.got[1])
		require.EqualValues(t, 7, host.got[0].Len)
		require.Equal(t, []byte("payload"), host.payload[0])
		require.Equal(t, []byte("payload"), host.payload[1])
	}
}

// E1: chains that are no packets are dropped, and the device goes on.
func TestTransmitRunts(t *testing.T) {
	host := &fakeHost{}
	r := newRig(t, host, nil, guestmem.Span{})
	r.Start(ringFeatures)
	q := r.Queue(queueTransmit)
	for _, n := range []int{1, 43} {
		q.Do(make([]byte, n), 0)
	}
	q.Do(nil, 100) // nothing to read at all
	require.Empty(t, host.headers())
	require.EqualValues(t, 3, r.transport.Stats().Errors)
	q.Do(make([]byte, packet.HeaderSize), 0)
	require.Len(t, host.headers(), 1)
}

// Kept packets stay with the device until they are given back; others overtake
// them.
func TestKept(t *testing.T) {
	host := &fakeHost{keep: true}
	r := newRig(t, host, nil, guestmem.Span{})
	r.Start(ringFeatures)
	q := r.Queue(queueTransmit)
	first := q.Post(bytesOf(packet.Header{SrcPort: 1}, 1), 0)
	second := q.Post(bytesOf(packet.Header{SrcPort: 2}, 2), 0)
	third := q.Post(bytesOf(packet.Header{SrcPort: 3}), 0)
	require.Equal(t, third, q.Wait().Head)
	host.finish()
	require.Equal(t, first, q.Wait().Head)
	require.Equal(t, second, q.Wait().Head)

	q.Post(bytesOf(packet.Header{}, 1), 0)
	q.Do(bytesOf(packet.Header{}), 0)
	r.Start(0) // with a packet kept
	q = r.Queue(queueTransmit)
	host.finish()
	q.Post(bytesOf(packet.Header{}, 1), 0)
	q.Do(bytesOf(packet.Header{}), 0)
	require.Len(t, host.kept, 1, "of this driver")
}

func TestReceive(t *testing.T) {
	host := &fakeHost{}
	r := newRig(t, host, nil, guestmem.Span{})
	r.Start(ringFeatures)
	q := r.Queue(queueReceive)
	q.Add(nil, 44, 100)
	q.Add(nil, 20, 30, 60) // header over two buffers
	q.AddIndirect(nil, 144)
	q.Kick()
	require.Empty(t, host.slots, "there is nothing for the guest")
	host.put(4, 80)
	for i, want := range []int{80, 66, 80} {
		u := q.Wait()
		require.EqualValues(t, packet.HeaderSize+want, u.Len)
		hdr := packet.Decode((*[packet.HeaderSize]byte)(u.Data))
		require.EqualValues(t, want, hdr.Len)
		require.Equal(t, packet.OpData, hdr.Op)
		require.Equal(t, bytes.Repeat([]byte{byte(i)}, want), u.Data[packet.HeaderSize:])
	}
	require.True(t, host.Pending(), "the guest has no buffer for the fourth")
	u := q.Do(nil, 300) // it has been waiting for this one
	require.Len(t, u, packet.HeaderSize+80)
	require.False(t, host.Pending())
}

// No more than 64 KiB is offered of a buffer, however large it is.
func TestReceiveHugeBuffer(t *testing.T) {
	host := &fakeHost{}
	r := newRig(t, host, nil, guestmem.Span{})
	r.Start(ringFeatures)
	host.put(1, 1<<30)
	u := r.Queue(queueReceive).Do(nil, 1<<20)
	require.Len(t, u, packet.HeaderSize+packet.MaxPayload)
}

func TestTransportReset(t *testing.T) {
	host := &fakeHost{}
	r := newRig(t, host, nil, guestmem.Span{})
	r.Start(ringFeatures)
	q := r.Queue(queueEvent)
	host.guest().TransportReset()
	host.guest().TransportReset()
	require.Equal(t, []byte{0, 0, 0, 0}, q.Do(nil, 4), "one for both")
	head := q.Post(nil, 4)
	host.guest().TransportReset()
	require.Equal(t, head, q.Wait().Head)
	q.Post(nil, 3)
	host.guest().TransportReset()
	r.WaitNeedsReset()
}

// A driver that makes only some queues ready gets no panic.
func TestMissingQueues(t *testing.T) {
	for queues := range 8 {
		host := &fakeHost{}
		r := newRig(t, host, nil, guestmem.Span{})
		r.Negotiate(0)
		for i := range 3 {
			if queues>>i&1 != 0 {
				r.SetupQueue(i, 8)
			}
		}
		r.Go()
		host.put(1, 1)
		host.guest().TransportReset()
		host.guest().Notify()
		host.guest().Reclaim()
		r.Reset()
	}
}

// While the guest has no room, and while there is nothing for it, nobody looks.
func TestNobodySpins(t *testing.T) {
	host := &fakeHost{}
	r := newRig(t, host, nil, guestmem.Span{})
	r.Start(ringFeatures)
	asked := func() int {
		host.mu.Lock()
		defer host.mu.Unlock()
		return host.asked
	}
	settle := func() { // lets whoever is awake run
		for range 20_000 {
			runtime.Gosched()
		}
	}
	settle()
	before := asked()
	settle()
	require.Equal(t, before, asked(), "nothing to do")
	host.put(100, 10)
	settle()
	before = asked()
	settle()
	require.Equal(t, before, asked(), "no room")
	require.LessOrEqual(t, before, 10)
	require.Len(t, r.Queue(queueReceive).Do(nil, 54), 54, "and then it goes on")
}
