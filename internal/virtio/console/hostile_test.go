package console

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/libcapsa/libcapsa/internal/virtio/virtiotest"
)

func TestHostileTransmit(t *testing.T) {
	virtiotest.HostileQueue(t, func(t *testing.T) *virtiotest.Subject {
		r := newRig(t, nil)
		return &virtiotest.Subject{Driver: r.Driver, Queue: queueTransmit, Request: []byte("hello")}
	})
}

func TestHostileReceive(t *testing.T) {
	virtiotest.HostileQueue(t, func(t *testing.T) *virtiotest.Subject {
		r := newRig(t, nil)
		return &virtiotest.Subject{
			Driver:  r.Driver,
			Queue:   queueReceive,
			Reply:   64,
			Provoke: func() { r.in.put(make([]byte, stagedSize)) }, // enough for every chain there is
		}
	})
}

// What only a console can refuse.
func TestRefused(t *testing.T) {
	tests := []struct {
		name string
		post func(r *rig)
	}{
		{"receive buffer that is readable", func(r *rig) {
			r.in.put([]byte("x"))
			r.Queue(queueReceive).Post([]byte("mine"), 0)
		}},
		{"receive buffer of length 0", func(r *rig) {
			r.in.put([]byte("x"))
			q := r.Queue(queueReceive)
			q.Raw.SetDesc(0, virtiotest.Desc{Addr: virtiotest.Main.Base, Flags: virtiotest.DescWrite})
			q.Raw.Expose(0)
			q.Notify()
		}},
		{"transmit request above the cap", func(r *rig) {
			r.Queue(queueTransmit).Post(make([]byte, MaxTransmit+1), 0)
		}},
		{"transmit request of overlapping gigabytes", func(r *rig) {
			q := r.Queue(queueTransmit)
			for i := range uint16(queueSize) {
				d := virtiotest.Desc{Addr: virtiotest.Main.Base, Len: uint32(virtiotest.Main.Size), Flags: virtiotest.DescNext, Next: i + 1}
				if i == queueSize-1 {
					d.Flags = 0
				}
				q.Raw.SetDesc(i, d)
			}
			q.Raw.Expose(0)
			q.Notify()
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := startRig(t, nil)
			tt.post(r)
			r.WaitNeedsReset()
			require.Empty(t, r.out.String())
			require.Equal(t, uint64(1), r.transport.Stats().Faults)

			r.Start(FeatureSize | ringFeatures)
			r.send(t, "again")
			require.Equal(t, "again", r.out.String())
		})
	}
}

// A7: writable buffers of a transmit request are left alone.
func TestTransmitWithWritablePart(t *testing.T) {
	r := startRig(t, nil)
	require.Empty(t, r.Queue(queueTransmit).Do([]byte("text"), 16))
	require.Empty(t, r.Queue(queueTransmit).Do(nil, 16))
	require.Equal(t, "text", r.out.String())
}

// A panic of the host's writer is the device's fault and nobody else's.
func TestOutputPanics(t *testing.T) {
	r := startRig(t, func(c *Config) { c.Output = panicking{} })
	r.Queue(queueTransmit).Post([]byte("boom"), 0)
	r.WaitNeedsReset()
	r.Reset()
}

type panicking struct{}

func (panicking) Write([]byte) (int, error) { panic("no") }

// A12: resets at any moment of the traffic, from both sides. Run with -race.
func TestHammer(t *testing.T) {
	before := runtime.NumGoroutine()
	r := newRig(t, func(c *Config) { c.Cols, c.Rows = 80, 25 })
	stop := make(chan struct{})
	var wg sync.WaitGroup
	host := func(step func(n int)) {
		wg.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
					step(n)
					runtime.Gosched()
				}
			}
		})
	}
	host(func(n int) { r.dev.Resize(uint16(n), uint16(n)) })
	host(func(n int) {
		if _, taken := r.in.counts(); n < taken+100_000 {
			r.in.put([]byte("x"))
		}
	})
	host(func(int) { // another vCPU
		var p [4]byte
		r.transport.Write(virtiotest.RegQueueNotify, p[:])
		r.transport.Read(virtiotest.RegStatus, p[:])
		r.transport.Stats()
	})
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range 300 {
		r.Start(uint64(i%2)*ringFeatures | FeatureSize)
		for range 1 + rng.IntN(20) {
			r.Queue(queueReceive).Post(nil, 1+rng.IntN(200))
			r.Queue(queueTransmit).Post([]byte(fmt.Sprint(i)), 0)
		}
		if rng.IntN(3) == 0 {
			r.Queue(queueTransmit).Wait()
		}
	}
	close(stop)
	wg.Wait()
	r.Start(0)
	r.send(t, "works")
	r.transport.Close()
	for range 1_000_000 { // a worker that was joined may need a turn to be gone
		if runtime.NumGoroutine() <= before {
			return
		}
		runtime.Gosched()
	}
	require.LessOrEqual(t, runtime.NumGoroutine(), before)
}
