package virtiotest_test

import (
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/libcapsa/libcapsa/internal/guestmem"
	"github.com/libcapsa/libcapsa/internal/virtio"
	"github.com/libcapsa/libcapsa/internal/virtio/mmio"
	"github.com/libcapsa/libcapsa/internal/virtio/virtiotest"
	"github.com/libcapsa/libcapsa/internal/virtio/virtq"
)

// Queues of the echo device.
const (
	echoQueue    = 0 // answers a request with its own bytes
	receiveQueue = 1 // gets one 'x' for each byte the host gives
)

// echo is the smallest device with both kinds of queue.
type echo struct {
	mu      sync.Mutex
	input   int // guarded by mu; bytes the guest has not got yet
	workers []*virtio.Worker
}

func (*echo) ID() virtio.DeviceID        { return 42 }
func (*echo) Name() string               { return "echo" }
func (*echo) Features() uint64           { return 0 }
func (*echo) QueueSizes() []uint16       { return []uint16{64, 16} }
func (*echo) ReadConfig(uint32, []byte)  {}
func (*echo) WriteConfig(uint32, []byte) {}
func (e *echo) Close()                   { e.Reset() }
func (e *echo) receive(q *virtq.Queue, budget int) (int, virtio.Outcome, error) {
	for n := range budget {
		if !e.take(false) {
			return n, virtio.HostIdle, nil
		}
		c, err := q.Pop()
		if c == nil {
			return n, virtio.RingEmpty, err
		}
		written := 0
		if c.WriteLen() > 0 && e.take(true) {
			written = c.CopyOut([]byte{'x'}, 0)
		}
		q.Push(c, uint32(written))
	}
	return budget, virtio.Again, nil
}

// take tells whether there is input, and takes one byte of it.
func (e *echo) take(really bool) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.input == 0 {
		return false
	}
	if really {
		e.input--
	}
	return true
}

func (e *echo) give() {
	e.mu.Lock()
	e.input++
	var w *virtio.Worker
	if len(e.workers) > receiveQueue {
		w = e.workers[receiveQueue]
	}
	e.mu.Unlock()
	w.Poke()
}

func (e *echo) Activate(a virtio.Activation) error {
	serve := virtio.Requests(func(c *virtq.Chain) (uint32, error) {
		p := make([]byte, min(c.ReadLen(), 4096))
		c.CopyIn(p, 0)
		return uint32(c.CopyOut(p, 0)), nil
	})
	e.mu.Lock()
	defer e.mu.Unlock()
	e.workers = []*virtio.Worker{
		virtio.StartWorker("echo", a, echoQueue, serve),
		virtio.StartWorker("echo receive", a, receiveQueue, virtio.HandlerFunc(e.receive)),
	}
	return nil
}

func (e *echo) Reset() {
	e.mu.Lock()
	workers := e.workers
	e.workers = nil
	e.mu.Unlock()
	for _, w := range workers {
		w.Stop()
	}
}

type backing struct{ irq *virtiotest.IRQ }

func (backing) NewKick(int) (virtio.StoppableKick, error) { return virtio.NewLocalKick(), nil }
func (b backing) Interrupt()                              { b.irq.Raise() }

func newEcho(t *testing.T) (*echo, *virtiotest.Driver) {
	t.Helper()
	return newEchoOver(t, virtiotest.NewMemory(t))
}

func newEchoOver(t *testing.T, mem *guestmem.Memory) (*echo, *virtiotest.Driver) {
	t.Helper()
	dev, irq := &echo{}, virtiotest.NewIRQ()
	bus := mmio.New(dev, mem, backing{irq})
	t.Cleanup(bus.Close)
	return dev, virtiotest.NewDriver(t, virtiotest.Config{Bus: bus, Mem: mem, IRQ: irq})
}

func TestHostileEcho(t *testing.T) {
	virtiotest.HostileQueue(t, func(t *testing.T) *virtiotest.Subject {
		_, d := newEcho(t)
		return &virtiotest.Subject{Driver: d, Queue: echoQueue, Request: []byte("hello"), Reply: 16}
	})
}

func TestHostileReceive(t *testing.T) {
	virtiotest.HostileQueue(t, func(t *testing.T) *virtiotest.Subject {
		dev, d := newEcho(t)
		return &virtiotest.Subject{Driver: d, Queue: receiveQueue, Reply: 16, Provoke: dev.give}
	})
}

func TestDriver(t *testing.T) {
	for _, features := range []uint64{0, virtiotest.FeatureEventIdx, virtiotest.FeatureIndirect, virtiotest.FeatureEventIdx | virtiotest.FeatureIndirect} {
		_, d := newEcho(t)
		d.Start(features, 8)
		require.Equal(t, features|virtiotest.FeatureVersion1, d.Negotiated)
		q := d.Queue(echoQueue)
		require.Equal(t, 8, q.Free())
		for i := range 100 { // the indices pass the ring's size many times
			require.Equal(t, []byte{byte(i), 'a'}, q.Do([]byte{byte(i), 'a'}, 5))
		}
		add := q.Add
		if features&virtiotest.FeatureIndirect != 0 {
			add = q.AddIndirect
		}
		heads := []uint16{add([][]byte{[]byte("ab"), []byte("cd")}, 3, 9), add([][]byte{[]byte("xyz")}, 2)}
		q.Kick()
		for i, want := range []string{"abcd", "xy"} {
			u := q.Wait()
			require.Equal(t, heads[i], u.Head)
			require.Equal(t, want, string(u.Data))
		}
		require.Equal(t, 8, q.Free())
	}
}
