package vsock

import (
	"encoding/binary"
	"errors"
	"sync/atomic"

	"github.com/libcapsa/libcapsa/internal/virtio"
	"github.com/libcapsa/libcapsa/internal/virtio/virtq"
	"github.com/libcapsa/libcapsa/internal/vsock/packet"
)

// session is the device from DRIVER_OK to the next reset, as the host's side
// sees it.
type session struct {
	host     Host
	counters *virtio.Counters

	lane        lane
	transmitter transmitter

	// The workers. The host's side may call before they have started and after
	// they have stopped.
	transmit atomic.Pointer[virtio.Worker]
	event    atomic.Pointer[virtio.Worker]
	resets   atomic.Uint32 // transport resets that the driver was not told of yet
}

// start starts the workers.
func (s *session) start(a virtio.Activation) {
	s.lane.start(a)
	transmit := virtio.StartWorker("virtio vsock transmit", a, queueTransmit, virtio.HandlerFunc(s.transmitter.serve))
	s.transmit.Store(transmit)
	transmit.Poke() // a Reclaim between its first look and the store was lost
	event := virtio.StartWorker("virtio vsock event", a, queueEvent, virtio.HandlerFunc(s.tell))
	s.event.Store(event)
	event.Poke() // likewise
}

// stop returns when nothing uses the queues any more.
func (s *session) stop() {
	s.transmit.Swap(nil).Stop()
	s.event.Swap(nil).Stop()
	s.lane.stop()
}

// Deliver implements [packet.Guest].
func (s *session) Deliver() { s.lane.deliver(deliverRounds) }

// Notify implements [packet.Guest].
func (s *session) Notify() { s.lane.poke() }

// Reclaim implements [packet.Guest].
func (s *session) Reclaim() { s.transmit.Load().Poke() }

// TransportReset implements [packet.Guest].
func (s *session) TransportReset() {
	s.resets.Add(1)
	s.event.Load().Poke()
}

// eventTransportReset is VIRTIO_VSOCK_EVENT_TRANSPORT_RESET, the only event, and
// the contents of struct virtio_vsock_event: le32 id (section 5.10.6.7).
const eventTransportReset = 0

// eventSize is the length of struct virtio_vsock_event in bytes.
const eventSize = 4

// errNoEvent: the driver supplies buffers of struct virtio_vsock_event.
var errNoEvent = errors.New("an event buffer has no room for an event")

// tell serves the event queue: one event stands for all resets before it.
func (s *session) tell(q *virtq.Queue, _ int) (int, virtio.Outcome, error) {
	n := s.resets.Load()
	if n == 0 {
		return 0, virtio.HostIdle, nil
	}
	c, err := q.Pop()
	if err != nil {
		return 0, virtio.RingEmpty, err
	}
	if c == nil {
		return 0, virtio.RingEmpty, nil
	}
	var event [eventSize]byte
	binary.LittleEndian.PutUint32(event[:], eventTransportReset)
	if c.CopyOut(event[:], 0) < eventSize {
		return 0, virtio.RingEmpty, q.Fail(c.Head, errNoEvent)
	}
	q.Push(c, eventSize)
	s.resets.Add(-n)
	s.counters.AddRequests(1, eventSize)
	return 1, virtio.Again, nil
}

var _ packet.Guest = (*session)(nil)
