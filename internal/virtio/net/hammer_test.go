package net

import (
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/libcapsa/libcapsa/internal/net/link"
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
