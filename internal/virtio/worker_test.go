package virtio_test

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/libcapsa/libcapsa/internal/virtio"
	"github.com/libcapsa/libcapsa/internal/virtio/mmio"
	"github.com/libcapsa/libcapsa/internal/virtio/virtiotest"
	"github.com/libcapsa/libcapsa/internal/virtio/virtq"
)

// device is the smallest there is: one queue, served by the handler.
type device struct {
	handler virtio.Handler
	worker  *virtio.Worker
	absent  *virtio.Worker
}

func (d *device) ID() virtio.DeviceID        { return virtio.IDBalloon }
func (d *device) Name() string               { return "test" }
func (d *device) Features() uint64           { return 0 }
func (d *device) QueueSizes() []uint16       { return []uint16{256} }
func (d *device) ReadConfig(uint32, []byte)  {}
func (d *device) WriteConfig(uint32, []byte) {}
func (d *device) Close()                     { d.Reset() }
func (d *device) Reset()                     { d.worker.Stop(); d.worker.Stop(); d.absent.Stop() }
func (d *device) Activate(a virtio.Activation) error {
	d.worker = virtio.StartWorker("test", a, 0, d.handler)
	d.absent = virtio.StartWorker("absent", a, 1, d.handler)
	d.absent.Poke()
	return nil
}

type backing struct{ irq *virtiotest.IRQ }

func (b backing) NewKick(int) (virtio.StoppableKick, error) { return virtio.NewLocalKick(), nil }
func (b backing) Interrupt()                                { b.irq.Raise() }

type rig struct {
	*virtiotest.Driver
	dev       *device
	transport *mmio.Transport
}

func newRig(t testing.TB, handler virtio.Handler) *rig {
	r := &rig{dev: &device{handler: handler}}
	mem, irq := virtiotest.NewMemory(t), virtiotest.NewIRQ()
	r.transport = mmio.New(r.dev, mem, backing{irq})
	t.Cleanup(r.transport.Close)
	r.Driver = virtiotest.NewDriver(t, virtiotest.Config{Bus: r.transport, Mem: mem, IRQ: irq})
	return r
}

const ringFeatures = virtiotest.FeatureIndirect | virtiotest.FeatureEventIdx

// echo answers with what it was sent.
var echo = virtio.Requests(func(c *virtq.Chain) (uint32, error) {
	p := make([]byte, c.ReadLen())
	c.CopyIn(p, 0)
	return uint32(c.CopyOut(p, 0)), nil
})

func TestWorkerServes(t *testing.T) {
	for _, features := range []uint64{0, ringFeatures} {
		t.Run(fmt.Sprintf("features %#x", features), func(t *testing.T) {
			r := newRig(t, echo)
			r.Start(features)
			q := r.Queue(0)
			for i := range 100 { // one by one: every sleep is woken
				text := fmt.Sprint(i)
				require.Equal(t, text, string(q.Do([]byte(text), 16)))
			}
			for i := range 128 { // more than a batch at one kick
				q.Add([][]byte{{byte(i)}}, 1)
			}
			q.Kick()
			for i := range 128 {
				require.Equal(t, []byte{byte(i)}, q.Wait().Data)
			}
		})
	}
}

// What was made available before DRIVER_OK needs no kick.
func TestWorkerServesWithoutKick(t *testing.T) {
	r := newRig(t, echo)
	r.Negotiate(0)
	q := r.SetupQueue(0, 8)
	q.Add([][]byte{{42}}, 1)
	q.Publish()
	r.Go()
	require.Equal(t, []byte{42}, q.Wait().Data)
}

// An error, a fault of the ring and a panic each fail this device only, after
// what was served has been announced; a reset recovers it.
func TestWorkerFails(t *testing.T) {
	fail := map[byte]func() error{
		1: func() error { return errors.New("no sense") },
		2: func() error { panic("BUG: test") },
		3: func() error { var p *int; *p = 1; return nil },
	}
	for kind := range fail {
		t.Run(fmt.Sprint(kind), func(t *testing.T) {
			r := newRig(t, virtio.Requests(func(c *virtq.Chain) (uint32, error) {
				var p [1]byte
				c.CopyIn(p[:], 0)
				if f := fail[p[0]]; f != nil {
					return 0, f()
				}
				return uint32(c.CopyOut(p[:], 0)), nil
			}))
			r.Start(0)
			q := r.Queue(0)
			require.Equal(t, []byte{9}, q.Do([]byte{9}, 1))
			q.Post([]byte{kind}, 1)
			r.WaitNeedsReset()
			q.Notify() // nobody is there
			r.Start(ringFeatures)
			require.Equal(t, []byte{9}, r.Queue(0).Do([]byte{9}, 1))
			require.Equal(t, uint64(1), r.transport.Stats().Faults)
		})
	}
}

// A handler that always has more to do cannot hold a reset up.
func TestWorkerStopsWhileBusy(t *testing.T) {
	r := newRig(t, virtio.HandlerFunc(func(*virtq.Queue, int) (int, virtio.Outcome, error) {
		return 0, virtio.Again, nil
	}))
	for range 100 {
		r.Start(0)
	}
}

// The bubble's Wait returns only when every goroutine is blocked: a worker
// that spins on a starved ring would hang it.
func TestWorkerSleeps(t *testing.T) {
	for _, why := range []virtio.Outcome{virtio.RingEmpty, virtio.HostIdle} {
		synctest.Test(t, func(t *testing.T) {
			calls := 0
			r := newRig(t, virtio.HandlerFunc(func(*virtq.Queue, int) (int, virtio.Outcome, error) {
				calls++
				return 0, why, nil
			}))
			r.Start(0)
			synctest.Wait()
			require.Equal(t, 1, calls)
			kicked := r.Queue(0).Raw.UsedFlags()&virtiotest.UsedNoNotify == 0
			require.Equal(t, why == virtio.RingEmpty, kicked, "kicks are asked for only where they would help")
			for i := range 5 {
				r.dev.worker.Poke()
				synctest.Wait()
				require.Equal(t, 2+i, calls, "one look for each wake-up")
			}
			require.Equal(t, uint64(5), r.transport.Stats().Kicks)
			r.transport.Close()
		})
	}
}

// A kick that breaks for a reason of the host fails the device.
func TestWorkerKickBreaks(t *testing.T) {
	broken := errors.New("epoll is gone")
	signal := &signals{failed: make(chan error, 1)}
	mem := virtiotest.NewMemory(t)
	raw := virtiotest.NewRaw(t, mem, virtiotest.Main.Base, 8)
	q, err := virtq.New(mem, virtq.Config{Size: 8, Desc: raw.Desc, Avail: raw.Avail, Used: raw.Used})
	require.NoError(t, err)
	for _, err := range []error{broken, virtio.ErrStopped} {
		w := virtio.StartWorker("test", virtio.Activation{
			Queues: []*virtq.Queue{q}, Kicks: []virtio.Kick{brokenKick{err}}, Signal: signal,
		}, 0, echo)
		if err == broken {
			require.Equal(t, broken, <-signal.failed)
		}
		w.Stop()
		require.Empty(t, signal.failed)
	}
}

type brokenKick struct{ err error }

func (k brokenKick) Wait() error { return k.err }
func (k brokenKick) Poke()       {}

type signals struct{ failed chan error }

func (s *signals) Queue(int)      {}
func (s *signals) Config()        {}
func (s *signals) Fail(err error) { s.failed <- err }

func TestHostile(t *testing.T) {
	virtiotest.HostileQueue(t, func(t *testing.T) *virtiotest.Subject {
		return &virtiotest.Subject{Driver: newRig(t, echo).Driver, Request: []byte("question"), Reply: 32}
	})
}

func TestCounters(t *testing.T) {
	var none *virtio.Counters
	for _, c := range []*virtio.Counters{none, {}} {
		c.AddKick()
		c.AddInterrupt()
		c.AddRequests(2, 3)
		c.AddError()
		c.AddReset()
		c.AddFault()
		want := virtio.Stats{}
		if c != nil {
			want = virtio.Stats{Kicks: 1, Interrupts: 1, Requests: 2, Errors: 1, Bytes: 3, Resets: 1, Faults: 1}
		}
		require.Equal(t, want, c.Stats())
	}
}

func TestDeviceIDString(t *testing.T) {
	want := map[virtio.DeviceID]string{
		1: "net", 2: "block", 3: "console", 4: "entropy", 5: "balloon", 19: "vsock", 26: "fs", 7: "device type 7",
	}
	for id, text := range want {
		require.Equal(t, text, id.String())
	}
}
