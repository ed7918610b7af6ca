package fs

import (
	"bytes"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/libcapsa/libcapsa/internal/guestmem"
	"github.com/libcapsa/libcapsa/internal/virtio"
	"github.com/libcapsa/libcapsa/internal/virtio/mmio"
	"github.com/libcapsa/libcapsa/internal/virtio/virtiotest"
)

// backing lends what a machine lends, within the process.
type backing struct{ irq *virtiotest.IRQ }

func (b backing) NewKick(int) (virtio.StoppableKick, error) { return virtio.NewLocalKick(), nil }
func (b backing) Interrupt()                                { b.irq.Raise() }

// echo is a Handler: it replies with the request. Requests can be told to wait
// by their first byte.
type echo struct {
	mu      sync.Mutex
	resets  int
	workers int
	served  int
	refused int // replies that nobody wanted

	gates map[byte]chan struct{} // requests that begin with the byte wait until it is closed
	begun map[byte]chan struct{} // gets one for each that does
	says  map[byte]int           // 1: it says so, 2: it says that it is parked
	locks chan struct{}          // closed at Reset: ends parked requests
}

func newEcho() *echo {
	return &echo{
		gates: map[byte]chan struct{}{}, begun: map[byte]chan struct{}{}, says: map[byte]int{}, locks: make(chan struct{}),
	}
}

// gate makes requests that begin with b wait.
func (e *echo) gate(b byte, says int) (begun chan struct{}, open func()) {
	e.mu.Lock()
	defer e.mu.Unlock()
	g := make(chan struct{})
	e.gates[b], e.begun[b], e.says[b] = g, make(chan struct{}, 1000), says
	return e.begun[b], func() { close(g) }
}

func (e *echo) Reset() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.resets++
	close(e.locks)
	e.locks = make(chan struct{})
}

func (e *echo) Worker(block func(bool), commit func() bool) func(in, out [][]byte) int {
	e.mu.Lock()
	e.workers++
	e.mu.Unlock()
	return func(in, out [][]byte) int {
		request := bytes.Join(in, nil)
		e.wait(request, block)
		if len(out) == 0 {
			return 0
		}
		if !commit() {
			e.count(&e.refused)
			return 0
		}
		n := 0
		for _, b := range out {
			n += copy(b, request[min(n, len(request)):])
		}
		e.count(&e.served)
		return n
	}
}

func (e *echo) count(n *int) {
	e.mu.Lock()
	*n++
	e.mu.Unlock()
}

func (e *echo) get(n *int) int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return *n
}

func (e *echo) wait(request []byte, block func(bool)) {
	if len(request) == 0 {
		return
	}
	e.mu.Lock()
	gate, begun, says, locks := e.gates[request[0]], e.begun[request[0]], e.says[request[0]], e.locks
	e.mu.Unlock()
	if gate == nil {
		return
	}
	begun <- struct{}{}
	if says == 2 {
		block(true)
		select {
		case <-gate:
		case <-locks:
		}
		return
	}
	if says == 1 {
		block(false)
	}
	<-gate
}

type rig struct {
	*virtiotest.Driver
	dev       *Device
	transport *mmio.Transport
	mem       *guestmem.Memory
	echo      *echo
}

func newRig(t testing.TB, change func(*Config)) *rig {
	t.Helper()
	r := &rig{echo: newEcho(), mem: virtiotest.NewMemory(t)}
	irq := virtiotest.NewIRQ()
	cfg := Config{Tag: "share", Handler: r.echo}
	if change != nil {
		change(&cfg)
	}
	var err error
	r.dev, err = New(cfg)
	require.NoError(t, err)
	r.transport = mmio.New(r.dev, r.mem, backing{irq})
	t.Cleanup(r.transport.Close)
	r.Driver = virtiotest.NewDriver(t, virtiotest.Config{Bus: r.transport, Mem: r.mem, IRQ: irq})
	return r
}

const ringFeatures = virtiotest.FeatureIndirect | virtiotest.FeatureEventIdx

// small are ring sizes that leave the tests' guest memory room for buffers.
var small = []uint16{64, 64, 64, 64, 64}

func startRig(t testing.TB, change func(*Config)) *rig {
	r := newRig(t, change)
	r.Start(ringFeatures, small...)
	return r
}

// counts returns what the pool of a queue has, as of now.
func (r *rig) counts(queue int) (workers, busy, idle int) {
	p := r.dev.pools[queue]
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.all), p.busy, len(p.idle)
}
