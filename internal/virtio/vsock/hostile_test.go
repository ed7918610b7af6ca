package vsock

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/libcapsa/libcapsa/internal/guestmem"
	"github.com/libcapsa/libcapsa/internal/virtio/virtiotest"
	"github.com/libcapsa/libcapsa/internal/vsock/packet"
)

// The same with packets that are kept for a while.
func TestHostileTransmit(t *testing.T) {
	for _, keep := range []bool{false, true} {
		t.Run(fmt.Sprintf("keep %v", keep), func(t *testing.T) {
			virtiotest.HostileQueue(t, func(t *testing.T) *virtiotest.Subject {
				r := newRig(t, &fakeHost{keep: keep, soon: true}, nil, guestmem.Span{})
				return &virtiotest.Subject{
					Driver: r.Driver, Queue: queueTransmit,
					Request: bytesOf(packet.Header{SrcCID: testCID, DstCID: 2, Op: packet.OpData}, 1, 2, 3),
				}
			})
		})
	}
}

func TestHostileReceive(t *testing.T) {
	virtiotest.HostileQueue(t, func(t *testing.T) *virtiotest.Subject {
		host := &fakeHost{}
		r := newRig(t, host, nil, guestmem.Span{})
		return &virtiotest.Subject{
			Driver: r.Driver, Queue: queueReceive, Reply: 64,
			Provoke: func() { host.put(queueSize, 10) },
		}
	})
}

func TestHostileEvent(t *testing.T) {
	virtiotest.HostileQueue(t, func(t *testing.T) *virtiotest.Subject {
		host := &fakeHost{}
		r := newRig(t, host, nil, guestmem.Span{})
		return &virtiotest.Subject{
			Driver: r.Driver, Queue: queueEvent, Reply: 64,
			Provoke: func() {
				if guest := host.guest(); guest != nil {
					guest.TransportReset()
				}
			},
		}
	})
}

// A15 and A7: receive buffers that no packet fits into.
func TestReceiveRefused(t *testing.T) {
	tests := []struct {
		name string
		post func(r *rig)
	}{
		{"readable", func(r *rig) { r.Queue(queueReceive).Post(make([]byte, 100), 0) }},
		{"shorter than a header", func(r *rig) { r.Queue(queueReceive).Post(nil, packet.HeaderSize-1) }},
		{"a header and nothing", func(r *rig) { r.Queue(queueReceive).Post(nil, packet.HeaderSize) }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			host := &fakeHost{}
			r := newRig(t, host, nil, guestmem.Span{})
			r.Start(ringFeatures)
			tt.post(r)
			host.put(1, 1)
			r.WaitNeedsReset()
			require.EqualValues(t, 1, r.transport.Stats().Faults)
			r.Start(ringFeatures)
			require.Len(t, r.Queue(queueReceive).Do(nil, 100), packet.HeaderSize+1)
		})
	}
}

// A panic of the host's side is the device's fault and nobody else's, also when
// it happens on a goroutine of the host's side.
func TestHostPanics(t *testing.T) {
	host := &panicking{}
	r := newRig(t, host, nil, guestmem.Span{})
	r.Start(ringFeatures)
	r.Queue(queueReceive).Post(nil, 100)
	host.put(1, 1)
	r.WaitNeedsReset()
	r.Start(ringFeatures)
	r.Queue(queueTransmit).Post(bytesOf(packet.Header{}), 0)
	r.WaitNeedsReset()
	r.Reset()
}

type panicking struct{ fakeHost }

func (*panicking) Fill([]packet.Slot) int   { panic("no") }
func (*panicking) Send(*packet.Packet) bool { panic("no") }
