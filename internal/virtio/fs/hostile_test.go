package fs

import (
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/libcapsa/libcapsa/internal/virtio/virtiotest"
)

func TestHostileQueues(t *testing.T) {
	for name, queue := range map[string]int{"hiprio": queueHiprio, "request": 1} {
		t.Run(name, func(t *testing.T) {
			virtiotest.HostileQueue(t, func(t *testing.T) *virtiotest.Subject {
				r := newRig(t, nil)
				return &virtiotest.Subject{Driver: r.Driver, Queue: queue, Request: make([]byte, 48), Reply: 64}
			})
		})
	}
}

func TestHostileNotifications(t *testing.T) {
	virtiotest.HostileQueue(t, func(t *testing.T) *virtiotest.Subject {
		r := newRig(t, func(c *Config) { c.Notifications = true })
		return &virtiotest.Subject{
			Driver: r.Driver, Queue: queueNotify, Reply: 64,
			Provoke: func() { r.dev.Notify(make([]byte, 40)) },
		}
	})
}

// A chain of more than a request can have is refused before it is served.
func TestTooLong(t *testing.T) {
	r := startRig(t, nil)
	q := r.Queue(1)
	for i := range uint16(3) {
		q.Raw.SetDesc(i, virtiotest.Desc{Addr: virtiotest.Main.Base, Len: 1 << 20, Flags: virtiotest.DescNext, Next: i + 1})
	}
	q.Raw.SetDesc(3, virtiotest.Desc{Addr: virtiotest.Main.Base, Len: 64, Flags: virtiotest.DescWrite})
	q.Raw.Expose(0)
	q.Notify()
	r.WaitNeedsReset()
	require.Zero(t, r.echo.get(&r.echo.served))
}

// Resets at any moment of the traffic, with requests that wait. Run with -race.
func TestHammer(t *testing.T) {
	before := runtime.NumGoroutine()
	r := newRig(t, func(c *Config) { c.Queues = 2; c.Notifications = true })
	begun, open := r.echo.gate('p', 2)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	host := func(step func()) {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					step()
					runtime.Gosched()
				}
			}
		})
	}
	host(func() { r.dev.Notify([]byte("notification")) })
	host(func() {
		select {
		case <-begun:
		default:
		}
	})
	host(func() { // another vCPU
		var p [4]byte
		r.transport.Write(virtiotest.RegQueueNotify, p[:])
		r.transport.Read(virtiotest.RegStatus, p[:])
		r.transport.Stats()
	})
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range 300 {
		features := uint64(i%2) * ringFeatures
		if i%3 == 0 {
			features |= FeatureNotification
		}
		r.Start(features, small...)
		for range 1 + rng.IntN(15) {
			q := r.Queue(1 + rng.IntN(2))
			request := []byte("request")
			if rng.IntN(10) == 0 {
				request = []byte("park")
			}
			q.Post(request, 1+rng.IntN(200))
		}
		if features&FeatureNotification == 0 && rng.IntN(2) == 0 {
			r.Queue(0).Do([]byte("x"), 1)
		}
	}
	close(stop)
	wg.Wait()
	open()
	r.Start(0, small...)
	require.Equal(t, "works", string(r.Queue(1).Do([]byte("works"), 5)))
	r.transport.Close()
	settle(t, "goroutines", func() bool { return runtime.NumGoroutine() <= before })
	require.Zero(t, threads.Load())
}
