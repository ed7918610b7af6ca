package net

import (
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/libcapsa/libcapsa/internal/net/link"
	"github.com/libcapsa/libcapsa/internal/virtio/virtiotest"
)

// Everything that may happen at once does: both ways, commands, the link, the
// statistics, and drivers that come and go. At the end the device works.
func TestHammer(t *testing.T) {
	host := &fakeHost{}
	host.onSend = func([]link.Frame) { host.put(frame(100)) } // an answer, from inside of Send
	r := newRig(t, host)
	done := make(chan struct{})
	var wg sync.WaitGroup
	loop := func(f func(i int)) {
		wg.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-done:
					return
				default:
					f(i)
				}
			}
		})
	}
	for range 2 {
		loop(func(i int) { host.put(frame(20+i%1000), frame(60)) })
	}
	loop(func(i int) { r.dev.SetLink(i%3 != 0) })
	loop(func(int) { r.dev.Stats(); r.dev.MAC(); r.dev.Link(); r.dev.ConfigGeneration() })
	for round := range 12 {
		r.Start(allFeatures)
		rx, tx, ctrl := r.Queue(queueReceive), r.Queue(queueTransmit), r.Queue(queueControl)
		for range 100 {
			rx.Add(nil, 200)
		}
		rx.Kick()
		for i := range 15 {
			tx.Post(packed(link.Header{}, ethernet(testMAC, 60)), 0)
			ctrl.Post([]byte{0, 0, byte(i % 2)}, 1)
			ctrl.Post(append([]byte{1, 1}, other[:]...), 1)
		}
		if round%2 == 0 {
			for range 15 {
				tx.Wait()
			}
		}
	}
	close(done)
	wg.Wait()
	r.dev.SetLink(true)
	r.Start(allFeatures)
	host.onSend = nil
	r.Queue(queueReceive).Post(nil, 100)
	require.Zero(t, host.put(frame(60)))
	require.Len(t, r.receive(t).Data, 60)
	before := len(host.frames())
	r.Queue(queueTransmit).Do(packed(link.Header{}, ethernet(testMAC, 60)), 0)
	require.Len(t, host.frames(), before+1)
	require.Zero(t, r.transport.Stats().Faults)
}

// Many goroutines deliver while the driver takes and gives buffers back: every
// frame arrives once, and no wake-up is lost.
func TestReceiveHammer(t *testing.T) {
	const senders, each = 4, 300
	for _, features := range []uint64{allFeatures, allFeatures &^ virtiotest.FeatureEventIdx} {
		host := &hammered{}
		r := newRig(t, host)
		r.Negotiate(features)
		q := r.SetupQueue(queueReceive, 16)
		r.SetupQueue(queueTransmit, 16)
		r.Go()
		for q.Free() > 0 {
			q.Add(nil, 12+48)
		}
		q.Kick()
		var wg sync.WaitGroup
		for s := range senders {
			wg.Go(func() {
				for i := range each {
					f := frame(20 + (s+i)%200)
					f.Data[0][14], f.Data[0][15], f.Data[0][16] = byte(s), byte(i), byte(i>>8)
					host.send(f)
				}
			})
		}
		next := [senders]int{}
		for range senders * each {
			data := r.receive(t).Data
			s, i := int(data[14]), int(data[15])|int(data[16])<<8
			require.Equal(t, next[s], i, "frames of one sender out of order")
			require.Len(t, data, 20+(s+i)%200)
			next[s]++
			if q.Free() > rand.IntN(8) {
				for q.Free() > 0 {
					q.Add(nil, 12+48)
				}
				q.Kick()
			}
			if q.Free() == 16 {
				q.Post(nil, 60)
			}
		}
		wg.Wait()
		r.Reset()
	}
}

// hammered is a host's side whose senders wait for room.
type hammered struct {
	fakeHost
	cond  *sync.Cond
	once  sync.Once
	round int // of Room; guarded by cond.L
}

func (h *hammered) wakeups() *sync.Cond {
	h.once.Do(func() { h.cond = sync.NewCond(new(sync.Mutex)) })
	return h.cond
}

func (h *hammered) Room() {
	c := h.wakeups()
	c.L.Lock()
	h.round++
	c.L.Unlock()
	c.Broadcast()
}

func (h *hammered) send(f link.Frame) {
	c := h.wakeups()
	for {
		c.L.Lock()
		round := h.round
		c.L.Unlock()
		if h.guest.Receive([]link.Frame{f}) == 1 {
			return
		}
		c.L.Lock()
		for h.round == round {
			c.Wait()
		}
		c.L.Unlock()
	}
}
