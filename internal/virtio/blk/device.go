// Package blk is the virtio block device (virtio 1.2 section 5.2): it turns
// requests of a guest's driver into reads and writes of a [Backend], which is
// the host's side of the disk.
//
// It knows no image format, no file and no lock: those are the Backend's.
// Payload is not copied: the Backend gets slices of guest memory.
//
// # Queues and workers
//
// A queue's ring belongs to a crew of workers. One of them at a time has the
// baton: only it waits for kicks. It serves a request itself when that is
// quick against what it takes to wake another, as a request that the page
// cache answers is, or when nobody else is waiting, which has the least
// latency. Otherwise it first hands the baton over, so that as many requests
// are in the Backend as the driver has in flight. Whoever serves a request
// gives it back to the driver, in the order in which requests end, and takes
// the next one, if there is one, before it rests. A request that was taken for
// quick and is not has the baton taken away from its worker. The crew grows
// with the load and shrinks again: an idle disk has one goroutine for each
// queue, a few that rest, and no timer.
//
// Locks: queue.mu guards the ring and the crew and is never held during I/O or
// a call of [virtio.Signal]. Device.mu guards what the host's side reads and
// changes. limiter.mu is taken inside queue.mu; nothing else nests.
package blk

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/libcapsa/libcapsa/internal/safe"
	"github.com/libcapsa/libcapsa/internal/virtio"
)

// maxQueues is how many queues a disk may have.
const maxQueues = 16

// closeGrace is how long Close waits for a host that does not answer. A disk
// that answers takes as long as it needs to write its cache below that.
const closeGrace = 10 * time.Second

// reportEvery is how often OnError is called at most.
const reportEvery = time.Second

// QueuesFor is the number of queues that suits a machine: one for four CPUs.
// Each queue costs a goroutine and a ring, and one is enough to keep several
// workers busy.
func QueuesFor(cpus int) int { return max(1, min((cpus+3)/4, maxQueues)) }

// Config is what a device is made from.
type Config struct {
	// Backend is the disk. The device closes it.
	Backend Backend
	// ReadOnly refuses everything that changes the disk.
	ReadOnly bool
	// Serial is what GET_ID answers: up to 20 bytes of printable ASCII.
	Serial string
	// Queues is the number of queues; 0 is 1. See QueuesFor.
	Queues int
	// Limit bounds the rate of requests.
	Limit Limit
	// OnError is told of requests that the host could not serve, once a
	// second at most. It must not block. Nil: nobody is told.
	OnError func(Failure)
}

// Failure is a request that the host could not serve. The guest saw an I/O
// error, and the machine goes on.
type Failure struct {
	Op     string // "read", "write", "flush", "discard", "write zeroes", "close"
	Sector uint64 // where the request begins
	Err    error  // of the Backend
	Missed uint64 // failures since the last report that were not reported
}

// Device is a block device.
type Device struct {
	disk     Backend
	readOnly bool
	serial   string
	onError  func(Failure)
	features uint64
	sizes    []uint16
	config   configSpace
	limiter  *limiter
	abandon  chan struct{} // closed by Abandon

	mu       sync.Mutex
	queues   []*queue  // of the current activation; guarded by mu
	left     []*queue  // abandoned with requests in the Backend; guarded by mu
	past     Stats     // of former activations; guarded by mu
	reported time.Time // of the last OnError; guarded by mu
	missed   uint64    // failures since then; guarded by mu

	once        sync.Once // of Close
	abandonOnce sync.Once
}

// New makes a block device. The error says what is wrong with cfg; the Backend
// is the caller's then.
func New(cfg Config) (*Device, error) {
	queues := max(cfg.Queues, 1)
	switch size := cfg.Backend.Size(); {
	case size == 0 || size%SectorSize != 0:
		return nil, fmt.Errorf("a disk of %d bytes: a positive multiple of %d is needed", size, SectorSize)
	case len(cfg.Serial) > idSize:
		return nil, fmt.Errorf("a serial of %d bytes: up to %d fit", len(cfg.Serial), idSize)
	case queues > maxQueues:
		return nil, fmt.Errorf("%d queues: up to %d are allowed", queues, maxQueues)
	}
	for _, c := range []byte(cfg.Serial) {
		if c < ' ' || c > '~' {
			return nil, errors.New("a serial that is not printable ASCII")
		}
	}
	d := &Device{
		disk:     cfg.Backend,
		readOnly: cfg.ReadOnly,
		serial:   cfg.Serial,
		onError:  cfg.OnError,
		features: FeatureSegMax | FeatureBlkSize | FeatureTopology,
		limiter:  newLimiter(cfg.Limit),
		abandon:  make(chan struct{}),
	}
	if cfg.ReadOnly {
		d.features |= FeatureRO
	} else {
		d.features |= FeatureFlush | FeatureConfigWCE | FeatureDiscard | FeatureWriteZeroes
	}
	if queues > 1 {
		d.features |= FeatureMQ
	}
	for range queues {
		d.sizes = append(d.sizes, queueSize)
	}
	d.config.fill(d.disk, d.features, queues)
	return d, nil
}

// ID implements [virtio.Device].
func (d *Device) ID() virtio.DeviceID { return virtio.IDBlock }

// Name implements [virtio.Device].
func (d *Device) Name() string { return "blk" }

// Features implements [virtio.Device].
func (d *Device) Features() uint64 { return d.features }

// QueueSizes implements [virtio.Device].
func (d *Device) QueueSizes() []uint16 { return d.sizes }

// ReadConfig implements [virtio.Device].
func (d *Device) ReadConfig(offset uint32, p []byte) { d.config.read(offset, p) }

// WriteConfig implements [virtio.Device].
func (d *Device) WriteConfig(offset uint32, p []byte) {
	if !d.readOnly {
		d.config.write(offset, p)
	}
}

// SetLimit changes the rate limit. Requests that wait for the old one are
// served at once.
func (d *Device) SetLimit(l Limit) { d.limiter.set(l) }

// Activate implements [virtio.Device].
func (d *Device) Activate(a virtio.Activation) error {
	var queues []*queue
	for i := range a.Queues {
		if a.Queues[i] == nil {
			continue
		}
		q, err := startQueue(d, a, i)
		if err != nil {
			for _, q := range queues {
				q.stop()
				<-q.done // it has served nothing yet that could block for long
			}
			return err
		}
		queues = append(queues, q)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.queues = queues
	return nil
}

// Reset implements [virtio.Device]. It waits for the requests that are in the
// Backend, since those use guest memory, unless Abandon was called.
func (d *Device) Reset() {
	d.mu.Lock()
	queues := d.queues
	d.mu.Unlock()
	for _, q := range queues {
		q.stop()
	}
	var left []*queue
	var sum Stats
	for _, q := range queues {
		select {
		case <-q.done:
		case <-d.abandon:
			left = append(left, q)
		}
		s := q.snapshot()
		sum.add(&s)
	}
	d.mu.Lock()
	d.past.add(&sum)
	d.queues = nil
	d.left = append(d.left, left...)
	d.mu.Unlock()
	d.config.writeback.Store(true)
}

// Abandon makes a Reset or Close that waits for the Backend return now, and
// those that follow: for a machine that must end while its host's storage does
// not answer. Requests in the Backend keep guest memory mapped until they end;
// nothing of them is seen by a driver. It may be called from anywhere.
func (d *Device) Abandon() { d.abandonOnce.Do(func() { close(d.abandon) }) }

// Close implements [virtio.Device]. It closes the Backend once the last
// request has left it, and waits for that, but not longer than closeGrace, nor
// after Abandon. What the Backend says goes to OnError.
//
// Transports call Reset first, which has no such bound: a machine that has to
// end in time arms a timer with Abandon.
func (d *Device) Close() {
	d.once.Do(func() {
		grace := time.AfterFunc(closeGrace, d.Abandon)
		defer grace.Stop()
		d.Reset()
		closed := make(chan struct{})
		safe.Go("virtio blk close", nil, func() {
			defer close(closed)
			d.mu.Lock()
			left := d.left
			d.mu.Unlock()
			for _, q := range left {
				<-q.done
			}
			if err := d.disk.Close(); err != nil {
				d.report("close", 0, err)
			}
		})
		select {
		case <-closed:
		case <-d.abandon:
		}
	})
}

// Stats returns the values of this moment.
func (d *Device) Stats() Stats {
	d.mu.Lock()
	s, queues := d.past, d.queues
	d.mu.Unlock()
	for _, q := range queues {
		o := q.snapshot()
		s.add(&o)
	}
	return s
}

// operations are the names of Failure.Op.
var operations = map[uint32]string{
	typeIn: "read", typeOut: "write", typeFlush: "flush",
	typeDiscard: "discard", typeWriteZeroes: "write zeroes",
}

// report tells of a failure, at a limited rate.
func (d *Device) report(op string, sector uint64, err error) {
	if d.onError == nil {
		return
	}
	d.mu.Lock()
	now := time.Now()
	if !d.reported.IsZero() && now.Sub(d.reported) < reportEvery {
		d.missed++
		d.mu.Unlock()
		return
	}
	f := Failure{Op: op, Sector: sector, Err: err, Missed: d.missed}
	d.reported, d.missed = now, 0
	d.mu.Unlock()
	d.onError(f)
}

var _ virtio.Device = (*Device)(nil)
