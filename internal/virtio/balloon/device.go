// Package balloon is the virtio traditional memory balloon (virtio 1.2 section
// 5.5): guest memory that the guest does without goes back to the host.
//
// There are two ways. The host asks for a balloon of some size, and the guest
// takes that much memory away from its programs and hands it over, page by page
// (inflate), until it is asked for less (deflate). And, with free page
// reporting, the guest tells on its own of memory that is free at the moment.
// Either way the pages go through [Memory], and take memory of the host again
// when the guest touches them. A third queue has the guest's statistics, which
// are asked for and never polled.
//
// The package knows no host memory and decides on no size. Guests may report
// what they like: pages outside of their memory are dropped and counted, work is
// bounded by [MaxRequest], by the size of memory and by a look at Reset between
// steps of [maxStep] bytes.
//
// Locks: mu guards what the host's side, the driver's registers and the workers
// share. It is a leaf.
package balloon

import (
	"encoding/binary"
	"sync"
	"sync/atomic"
	"time"

	"github.com/libcapsa/libcapsa/internal/virtio"
)

// Feature bits, virtio 1.2 section 5.5.3. Not offered are
// VIRTIO_BALLOON_F_MUST_TELL_HOST (0): pages come back when they are touched,
// no need to tell; and VIRTIO_BALLOON_F_FREE_PAGE_HINT (3), which is for
// migration.
const (
	FeatureStats        uint64 = 1 << 1 // VIRTIO_BALLOON_F_STATS_VQ
	FeatureDeflateOnOOM uint64 = 1 << 2 // VIRTIO_BALLOON_F_DEFLATE_ON_OOM
	FeaturePoison       uint64 = 1 << 4 // VIRTIO_BALLOON_F_PAGE_POISON
	FeatureReporting    uint64 = 1 << 5 // VIRTIO_BALLOON_F_PAGE_REPORTING
)

// The queues of section 5.5.2. The last two have other numbers with Linux: see
// startWorkers.
const (
	queueInflate   = 0
	queueDeflate   = 1
	queueStats     = 2
	queueReporting = 4
	queueCount     = 5
)

// queueSize is the number of descriptors of each queue. Linux puts one request
// into a queue at a time, but wants room for 32 ranges in a report
// (include/linux/page_reporting.h, PAGE_REPORTING_CAPACITY).
const queueSize = 64

// PageSize is the unit of the balloon in bytes, on every host and guest
// (section 5.5.6).
const PageSize = 4096

// The configuration space, struct virtio_balloon_config (section 5.5.4), all
// little-endian: le32 num_pages, actual, free_page_hint_cmd_id, poison_val.
const (
	configNumPages = 0
	configActual   = 4
	configPoison   = 12
	configSize     = 16
)

// Memory is where pages go back to the host.
type Memory interface {
	// Discard gives the host's pages inside of [addr, addr+size) back; the guest
	// reads zeroes there from then on. It is called from several goroutines.
	Discard(addr, size uint64) error
}

// Config is what a device is made from.
type Config struct {
	Memory Memory
	// Reporting offers free page reporting.
	Reporting bool
	// DeflateOnOOM lets the guest take pages out of the balloon, without being
	// asked, before it kills programs for want of memory.
	DeflateOnOOM bool
}

// Device is a memory balloon.
type Device struct {
	memory  Memory
	offered uint64

	inflated, deflated, reported atomic.Uint64 // bytes so far

	workers  []*virtio.Worker              // empty when not active; its transport serialises the calls
	stats    atomic.Pointer[virtio.Worker] // the one of workers that serves statistics, or nil
	wanted   atomic.Bool                   // the host wants fresh statistics
	stopping atomic.Bool                   // workers shall come back soon

	mu         sync.Mutex
	numPages   uint32        // what the host wants the balloon to have; guarded by mu
	actual     uint32        // what the driver says it has; guarded by mu
	poison     uint32        // what free pages of the guest are filled with; guarded by mu
	generation uint32        // changes with numPages; guarded by mu
	features   uint64        // negotiated; 0 when not active; guarded by mu
	signal     virtio.Signal // nil when not active; guarded by mu
	guest      Guest         // guarded by mu
	guestAt    time.Time     // when guest came; zero: never; guarded by mu
}

// New makes a balloon of size 0.
func New(cfg Config) *Device {
	d := &Device{memory: cfg.Memory, offered: FeatureStats}
	if cfg.DeflateOnOOM {
		d.offered |= FeatureDeflateOnOOM
	}
	if cfg.Reporting {
		// Without the second, a guest that fills its free pages with a pattern
		// could not report them.
		d.offered |= FeatureReporting | FeaturePoison
	}
	return d
}

// ID implements [virtio.Device].
func (d *Device) ID() virtio.DeviceID { return virtio.IDBalloon }

// Name implements [virtio.Device].
func (d *Device) Name() string { return "balloon" }

// Features implements [virtio.Device].
func (d *Device) Features() uint64 { return d.offered }

// QueueSizes implements [virtio.Device].
func (d *Device) QueueSizes() []uint16 {
	sizes := make([]uint16, queueCount)
	for i := range sizes {
		sizes[i] = queueSize
	}
	return sizes
}

// ReadConfig implements [virtio.Device].
func (d *Device) ReadConfig(offset uint32, p []byte) {
	clear(p)
	if offset >= configSize {
		return
	}
	d.mu.Lock()
	fields := d.configLocked()
	d.mu.Unlock()
	copy(p, fields[offset:])
}

// configLocked is the configuration space. Preconditions: mu is held.
func (d *Device) configLocked() (fields [configSize]byte) {
	binary.LittleEndian.PutUint32(fields[configNumPages:], d.numPages)
	binary.LittleEndian.PutUint32(fields[configActual:], d.actual)
	binary.LittleEndian.PutUint32(fields[configPoison:], d.poison)
	return fields
}

// WriteConfig implements [virtio.Device]: actual and poison_val are the driver's.
func (d *Device) WriteConfig(offset uint32, p []byte) {
	if offset >= configSize {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	fields := d.configLocked()
	copy(fields[offset:], p)
	d.actual = binary.LittleEndian.Uint32(fields[configActual:])
	d.poison = binary.LittleEndian.Uint32(fields[configPoison:])
}

// ConfigGeneration implements [virtio.Generational].
func (d *Device) ConfigGeneration() uint32 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.generation
}

// SetSize asks the guest for a balloon of size bytes, rounded down to whole
// pages. It returns at once and may be called at any time from anywhere; a driver
// that comes later learns the last size.
func (d *Device) SetSize(size uint64) {
	d.mu.Lock()
	d.numPages = uint32(min(size/PageSize, 1<<32-1)) // 16 TiB less a page, as much as the protocol can say
	d.generation++
	signal := d.signal
	d.mu.Unlock()
	if signal != nil {
		signal.Config() // dropped if the driver went away meanwhile
	}
}

// Activate implements [virtio.Device].
func (d *Device) Activate(a virtio.Activation) error {
	d.stopping.Store(false)
	d.mu.Lock()
	d.features, d.signal = a.Features, a.Signal
	d.mu.Unlock()
	d.startWorkers(a)
	// A driver reads num_pages when it has come up, Linux at the end of its
	// probe. Drivers that wait for a change are told of what came before.
	if d.Stats().Target != 0 {
		a.Signal.Config()
	}
	return nil
}

// startWorkers starts what serves the queues.
//
// The specification numbers all five queues. Linux numbers those that there are,
// one after the other: without FREE_PAGE_HINT its reporting queue is 3, and
// without statistics 2 (drivers/virtio/virtio_mmio.c, vm_find_vqs). Both are
// right here: with the feature negotiated, every queue that has no other meaning
// takes reports.
func (d *Device) startWorkers(a virtio.Activation) {
	start := func(i int, name string, h virtio.Handler) *virtio.Worker {
		w := virtio.StartWorker("virtio balloon "+name, a, i, h)
		if w != nil {
			d.workers = append(d.workers, w)
		}
		return w
	}
	limit := func(i int, bytes uint64) {
		if q := a.Queues[i]; q != nil {
			q.SetMaxBytes(bytes)
		}
	}
	limit(queueInflate, MaxRequest)
	limit(queueDeflate, MaxRequest)
	start(queueInflate, "inflate", d.pages(a, d.inflate))
	start(queueDeflate, "deflate", d.pages(a, d.deflate))

	withStats := a.Features&FeatureStats != 0
	if withStats {
		limit(queueStats, maxStats)
		d.stats.Store(start(queueStats, "statistics", &statistics{d: d, counters: a.Counters}))
		d.stats.Load().Poke() // a Refresh before the store was lost
	}
	if a.Features&FeatureReporting == 0 {
		return
	}
	for i := queueStats; i < queueCount; i++ {
		if i == queueStats && withStats {
			continue
		}
		limit(i, a.Mem.Size()) // more would be something twice
		start(i, "reports", d.reports(a))
	}
}

// Reset implements [virtio.Device]. The size that the host wants stays.
func (d *Device) Reset() {
	d.stopping.Store(true)
	d.stats.Store(nil)
	for _, w := range d.workers {
		w.Stop()
	}
	d.workers = nil
	d.mu.Lock()
	defer d.mu.Unlock()
	d.features, d.signal = 0, nil
	d.actual, d.poison = 0, 0
	d.guest, d.guestAt = Guest{}, time.Time{}
}

// Close implements [virtio.Device].
func (d *Device) Close() { d.Reset() }

var (
	_ virtio.Device       = (*Device)(nil)
	_ virtio.Generational = (*Device)(nil)
)
