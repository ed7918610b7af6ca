package mmio

import (
	"encoding/binary"
	"errors"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/libcapsa/libcapsa/internal/guestmem"
	"github.com/libcapsa/libcapsa/internal/virtio"
	"github.com/libcapsa/libcapsa/internal/virtio/virtq"
)

const (
	ramSize      = 1 << 20
	fakeFeatures = uint64(1)<<5 | uint64(1)<<40
	allFeatures  = fakeFeatures | virtio.TransportFeatures
)

// fakeDevice has two queues that swallow what comes, and counts its calls.
type fakeDevice struct {
	activateErr error
	refused     uint64 // a set of features that the device cannot work with
	regions     map[uint32][2]uint64

	mu          sync.Mutex
	config      [6]byte
	activations []virtio.Activation
	resets      int
	closes      int
	workers     []*virtio.Worker
	served      atomic.Int64
}

func (d *fakeDevice) ID() virtio.DeviceID  { return virtio.IDFS }
func (d *fakeDevice) Name() string         { return "fake" }
func (d *fakeDevice) Features() uint64     { return fakeFeatures }
func (d *fakeDevice) QueueSizes() []uint16 { return []uint16{8, 256} }

func (d *fakeDevice) AcceptFeatures(features uint64) error {
	if d.refused != 0 && features == d.refused {
		return errors.New("bit 40 needs bit 5")
	}
	return nil
}

func (d *fakeDevice) ReadConfig(offset uint32, p []byte) {
	if offset < uint32(len(d.config)) {
		copy(p, d.config[offset:])
	}
}

func (d *fakeDevice) WriteConfig(offset uint32, p []byte) {
	if offset < uint32(len(d.config)) {
		copy(d.config[offset:], p)
	}
}

func (d *fakeDevice) SharedRegion(id uint32) (base, length uint64, ok bool) {
	r, ok := d.regions[id]
	return r[0], r[1], ok
}

func (d *fakeDevice) Activate(a virtio.Activation) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.activations = append(d.activations, a)
	if d.activateErr != nil {
		return d.activateErr
	}
	for i := range a.Queues {
		d.workers = append(d.workers, virtio.StartWorker("fake", a, i, virtio.Requests(func(*virtq.Chain) (uint32, error) {
			d.served.Add(1)
			return 0, nil
		})))
	}
	return nil
}

func (d *fakeDevice) Reset() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.resets++
	for _, w := range d.workers {
		w.Stop()
	}
	d.workers = nil
}

func (d *fakeDevice) Close() {
	d.Reset()
	d.closes++
}

// last is the activation in progress.
func (d *fakeDevice) last(t *testing.T) virtio.Activation {
	d.mu.Lock()
	defer d.mu.Unlock()
	require.NotEmpty(t, d.activations)
	return d.activations[len(d.activations)-1]
}

// fakeBacking lends kicks and counts them, and interrupts.
type fakeBacking struct {
	failKick   int // the queue NewKick refuses, -1 for none
	interrupts atomic.Int64
	live       atomic.Int64 // kicks that were made and not stopped
}

var errNoKick = errors.New("too many open files")

type countedKick struct {
	*virtio.LocalKick
	live *atomic.Int64
	once sync.Once
}

func (k *countedKick) Stop() {
	k.LocalKick.Stop()
	k.once.Do(func() { k.live.Add(-1) })
}

func (b *fakeBacking) NewKick(queue int) (virtio.StoppableKick, error) {
	if queue == b.failKick {
		return nil, errNoKick
	}
	b.live.Add(1)
	return &countedKick{LocalKick: virtio.NewLocalKick(), live: &b.live}, nil
}

func (b *fakeBacking) Interrupt() { b.interrupts.Add(1) }

// rig is a fake device behind a transport, with the accesses of a driver.
type rig struct {
	*Transport
	t       testing.TB
	dev     *fakeDevice
	backing *fakeBacking
	mem     *guestmem.Memory
}

func newRig(t testing.TB, opts ...Option) *rig {
	mem, err := guestmem.Heap(guestmem.Span{Base: 0, Size: ramSize})
	require.NoError(t, err)
	r := &rig{
		t:       t,
		dev:     &fakeDevice{config: [6]byte{1, 2, 3, 4, 5, 6}},
		backing: &fakeBacking{failKick: -1},
		mem:     mem,
	}
	r.Transport = New(r.dev, mem, r.backing, opts...)
	t.Cleanup(func() {
		r.Close()
		require.Zero(t, r.backing.live.Load(), "kicks not stopped")
		require.NoError(t, mem.Close())
	})
	return r
}

func (r *rig) get(offset uint64) uint32 {
	var p [4]byte
	r.Read(offset, p[:])
	return binary.LittleEndian.Uint32(p[:])
}

func (r *rig) set(offset uint64, v uint32) {
	var p [4]byte
	binary.LittleEndian.PutUint32(p[:], v)
	r.Write(offset, p[:])
}

func (r *rig) getStatus() virtio.Status  { return virtio.Status(r.get(regStatus)) }
func (r *rig) setStatus(s virtio.Status) { r.set(regStatus, uint32(s)) }

func (r *rig) setFeatures(f uint64) {
	r.set(regDriverFeaturesSel, 0)
	r.set(regDriverFeatures, uint32(f))
	r.set(regDriverFeaturesSel, 1)
	r.set(regDriverFeatures, uint32(f>>32))
}

// negotiate takes the device to FEATURES_OK.
func (r *rig) negotiate() {
	r.setStatus(stepAcknowledged)
	r.setStatus(stepDriver)
	r.setFeatures(allFeatures)
	r.setStatus(stepFeatures)
	require.Equal(r.t, stepFeatures, r.getStatus())
}

// queueAddrs are valid places for the rings of queue i.
func queueAddrs(i uint32) queueRegisters {
	base := uint64(0x10000 * (i + 1))
	return queueRegisters{num: 8, desc: base, driver: base + 0x4000, device: base + 0x8000}
}

// setQueue writes all registers of a queue, ready last.
func (r *rig) setQueue(i uint32, q queueRegisters) {
	r.set(regQueueSel, i)
	r.set(regQueueNum, q.num)
	r.set(regQueueDescLow, uint32(q.desc))
	r.set(regQueueDescHigh, uint32(q.desc>>32))
	r.set(regQueueDriverLow, uint32(q.driver))
	r.set(regQueueDriverHigh, uint32(q.driver>>32))
	r.set(regQueueDeviceLow, uint32(q.device))
	r.set(regQueueDeviceHigh, uint32(q.device>>32))
	r.set(regQueueReady, 1)
}

// start takes the device to DRIVER_OK with both queues.
func (r *rig) start() {
	r.negotiate()
	r.setQueue(0, queueAddrs(0))
	r.setQueue(1, queueAddrs(1))
	r.setStatus(stepRunning)
}

// offer makes one more chain of queue i available: a readable byte. Its
// descriptor is the index modulo the size of 8.
func (r *rig) offer(i uint32, index uint16) {
	q := queueAddrs(i)
	slot := uint64(index % 8)
	require.NoError(r.t, r.mem.Store64(q.desc+16*slot, 0x100))
	require.NoError(r.t, r.mem.Store64(q.desc+16*slot+8, 1)) // len 1, no flags
	require.NoError(r.t, r.mem.Store16(q.driver+4+2*slot, uint16(slot)))
	require.NoError(r.t, r.mem.Store16(q.driver+2, index+1))
}
