package net

import (
	"sync/atomic"

	"github.com/libcapsa/libcapsa/internal/net/link"
	"github.com/libcapsa/libcapsa/internal/virtio"
)

// session is the device from DRIVER_OK to the next reset, as the host's side
// sees it.
type session struct {
	dev      *Device
	counters *virtio.Counters
	rules    rules
	filter   atomic.Pointer[filter] // never nil; the control queue's worker changes it

	receiver    receiver
	transmitter transmitter
	control     control

	workers []*virtio.Worker // besides the receiver's goroutine
}

func newSession(d *Device, a virtio.Activation) *session {
	s := &session{dev: d, counters: a.Counters, rules: rules{features: a.Features}}
	if a.Features&FeatureMTU != 0 {
		s.rules.mtu = d.mtu
	}
	s.filter.Store(newFilter(d.MAC(), a.Features))
	s.receiver.init(s, a)
	s.transmitter.init(s)
	s.control = control{s: s, features: a.Features}
	return s
}

// start starts what serves the queues.
func (s *session) start(a virtio.Activation) {
	s.receiver.start(a)
	if kick := a.Kicks[queueTransmit]; kick != nil {
		s.transmitter.pacer.wake = kick.Poke
	}
	s.workers = append(s.workers,
		virtio.StartWorker("virtio net transmit", a, queueTransmit, virtio.HandlerFunc(s.transmitter.serve)))
	if a.Features&FeatureCtrlVQ != 0 {
		s.workers = append(s.workers,
			virtio.StartWorker("virtio net control", a, queueControl, virtio.Requests(s.control.serve)))
	}
}

// stop returns when nothing uses the queues any more, and the host's side is
// not called.
func (s *session) stop() {
	s.transmitter.pacer.stop()
	s.receiver.pacer.stop()
	for _, w := range s.workers {
		w.Stop()
	}
	s.receiver.stop()
}

// Receive implements [link.Guest].
func (s *session) Receive(frames []link.Frame) int { return s.receiver.receive(frames) }

var _ link.Guest = (*session)(nil)
