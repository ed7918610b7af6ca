package blk

import (
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/libcapsa/libcapsa/internal/guestmem"
	"github.com/libcapsa/libcapsa/internal/safe"
	"github.com/libcapsa/libcapsa/internal/virtio"
	"github.com/libcapsa/libcapsa/internal/virtio/virtq"
)

const (
	// maxCrew is how many requests of one queue are in the Backend at once:
	// as many as QEMU's thread pool runs. Each takes an OS thread while it
	// waits for the host.
	maxCrew = 64
	// maxHelpers is how many workers besides the first of each queue there may
	// be in the process: Go ends a process with more than 10,000 OS threads.
	maxHelpers = 4096
	// maxIdle is how many workers stay when there is nothing to do for them.
	maxIdle = 4
	// leastSlow and mostSlow bound the mean time of a request from which on it
	// is worth to wake another worker first. Between them it is wakeFactor
	// times what it was seen to take the holder to wake one, which differs a
	// hundredfold between machines: on both sides there is more to a wake-up
	// than that.
	leastSlow  = 20 * time.Microsecond
	mostSlow   = 200 * time.Microsecond
	wakeFactor = 8
	// wakeWeight: a wake-up contributes 1/8 to the mean, and each request that
	// is served by the holder while others wait makes the mean 1/256 smaller,
	// so that it is tried again what a wake-up takes.
	wakeWeight, wakeDecay = 8, 256
	// maxCost bounds what one request contributes to the mean, so that a
	// stall of the host is forgotten after some dozens of quick requests.
	maxCost = time.Millisecond
	// costWeight: a request contributes 1/8 to the mean.
	costWeight = 8
	// patience is how long a request that was taken for quick may hold up
	// those behind it.
	patience = 2 * time.Millisecond
	// crowded is for how many requests a driver counts as one that has
	// several in flight, after it had.
	crowded = 16
	// maxUnsent and maxDelay bound how many completions, and for how long,
	// wait for one interrupt while the next request is being served.
	maxUnsent = 16
	maxDelay  = 30 * time.Microsecond
)

// helpers counts them. It is the process's, as the threads are.
var helpers atomic.Int64

var errMemoryClosed = errors.New("guest memory is closed")

// class tells requests apart whose times have nothing to do with each other.
type class int

const (
	classData class = iota // IN, OUT, GET_ID
	classSync              // FLUSH, DISCARD, WRITE_ZEROES
	numClasses
)

func classOf(kind uint32) class {
	switch kind {
	case typeFlush, typeDiscard, typeWriteZeroes:
		return classSync
	default:
		return classData
	}
}

// queue is one virtqueue from activation to reset.
type queue struct {
	dev      *Device
	index    int
	kick     virtio.Kick
	signal   virtio.Signal
	counters *virtio.Counters
	mem      *guestmem.Memory
	features uint64
	born     time.Time
	crewMax  int

	quit chan struct{} // closed when the queue stops
	done chan struct{} // closed when the last worker has ended

	mu      sync.Mutex
	vq      *virtq.Queue  // guarded by mu; not used after quit
	ahead   *virtq.Chain  // the next request, taken off the ring; guarded by mu
	stopped bool          // guarded by mu
	workers int           // guarded by mu
	idle    []*worker     // without the baton and without work; guarded by mu
	holder  *worker       // has the baton; guarded by mu
	inline  bool          // the holder is serving a request; guarded by mu
	serial  uint64        // of that request; guarded by mu
	unsent  int           // completions since the driver was last told; guarded by mu
	bytes   uint64        // that these moved; guarded by mu
	oldest  time.Duration // when the first of them was; guarded by mu
	crowd   int           // requests left for which the driver counts as crowded; guarded by mu
	stats   Stats         // guarded by mu

	cost [numClasses]time.Duration // mean time of a request; guarded by mu
	wake time.Duration             // mean time that it takes to wake a worker; guarded by mu

	guard   *time.Timer // calls watch; nil until first needed; guarded by mu
	armed   bool        // guarded by mu
	watched uint64      // serial when guard was set; guarded by mu
}

// startQueue starts queue i with one worker, which has the baton.
func startQueue(d *Device, a virtio.Activation, i int) (*queue, error) {
	if !a.Mem.Acquire() {
		return nil, errMemoryClosed
	}
	q := &queue{
		dev: d, index: i, vq: a.Queues[i], kick: a.Kicks[i], signal: a.Signal,
		counters: a.Counters, mem: a.Mem, features: a.Features, born: time.Now(),
		crewMax: min(maxCrew, int(a.Queues[i].Config().Size)),
		quit:    make(chan struct{}), done: make(chan struct{}),
	}
	q.cost[classSync], q.wake = maxCost, leastSlow/wakeFactor // until it is known better
	q.mu.Lock()
	defer q.mu.Unlock()
	q.holder = q.hire()
	q.holder.turn <- struct{}{}
	return q, nil
}

// hire adds a worker, which waits for its turn; nil: there are too many.
// Preconditions: mu is held.
func (q *queue) hire() *worker {
	if q.workers >= q.crewMax {
		return nil
	}
	w := &worker{q: q, turn: make(chan struct{}, 1), helper: q.workers > 0}
	if w.helper && helpers.Add(1) > maxHelpers {
		helpers.Add(-1)
		return nil
	}
	q.workers++
	safe.Go("virtio blk", q.signal.Fail, w.run)
	return w
}

func (q *queue) now() time.Duration { return time.Since(q.born) }

// stopping says whether the queue has stopped, for work that takes long.
func (q *queue) stopping() bool {
	select {
	case <-q.quit:
		return true
	default:
		return false
	}
}

// stop makes the workers end when they have served what they are serving. The
// driver sees no completion after it. Idempotent.
func (q *queue) stop() {
	q.mu.Lock()
	q.halt()
	q.mu.Unlock()
	q.kick.Poke() // the holder may wait for it
}

// halt is stop without waking the holder. Preconditions: mu is held.
func (q *queue) halt() {
	if q.stopped {
		return
	}
	q.stopped = true
	close(q.quit)
	if q.guard != nil {
		q.guard.Stop()
	}
}

// snapshot returns the counters.
func (q *queue) snapshot() Stats {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.stats
}

// handOver gives the baton to another worker; false: all are busy.
// Preconditions: mu is held.
func (q *queue) handOver() bool {
	var next *worker
	if n := len(q.idle); n > 0 {
		next, q.idle = q.idle[n-1], q.idle[:n-1]
	} else if next = q.hire(); next == nil {
		q.stats.Stalls++
		return false
	}
	q.holder, q.inline = next, false
	began := q.now()
	next.turn <- struct{}{} // room for one: who has no baton has no turn waiting
	q.wake += (min(q.now()-began, maxCost) - q.wake) / wakeWeight
	return true
}

// push gives a request that has been served back to the driver. Preconditions:
// mu is held; the queue has not stopped.
func (q *queue) push(r *request, began, now time.Duration) {
	q.vq.Push(r.chain, r.written)
	q.stats.count(r)
	if q.unsent == 0 {
		q.oldest = now
	}
	q.unsent++
	q.bytes += r.moves()
	mean := &q.cost[classOf(r.kind)]
	*mean += (min(now-began, maxCost) - *mean) / costWeight
}

// announce says whether the driver wants to be told of the completions since
// it was last told. Preconditions: mu is held; the queue has not stopped.
func (q *queue) announce() bool {
	if q.unsent == 0 {
		return false
	}
	q.counters.AddRequests(uint64(q.unsent), q.bytes)
	q.unsent, q.bytes = 0, 0
	return q.vq.NeedsInterrupt()
}

// take takes the next request off the ring, and the one behind it, to know
// whether there is one. nil: there is none. The error is a fault of the
// driver. Preconditions: mu is held; the queue has not stopped.
func (q *queue) take() (*virtq.Chain, error) {
	c, err := q.takeOne()
	if err != nil || c == nil {
		return nil, err
	}
	// A fault of the one behind is kept by the ring and returned when its turn
	// comes.
	q.ahead, _ = q.vq.Pop()
	q.vq.DisableKick()
	return c, nil
}

// takeOne takes the next request off the ring. Preconditions: mu is held; the queue
// has not stopped.
func (q *queue) takeOne() (*virtq.Chain, error) {
	if c := q.ahead; c != nil {
		q.ahead = nil
		return c, nil
	}
	return q.vq.Pop()
}

// slowAfter is the mean time of requests from which on they are worth a wake-up.
// Preconditions: mu is held.
func (q *queue) slowAfter() time.Duration {
	return max(leastSlow, min(wakeFactor*q.wake, mostSlow))
}

// shares decides whether the baton goes to somebody else before this request
// is served. overlap says that it was waiting when the one before ended.
// Preconditions: mu is held.
func (q *queue) shares(r *request, overlap bool) bool {
	others := q.vq.InFlight() > 1
	if q.cost[classOf(r.kind)] < q.slowAfter() {
		if others {
			q.wake -= q.wake / wakeDecay
		}
		return false
	}
	switch {
	case others || overlap:
		q.crowd = crowded
	case q.crowd > 0:
		q.crowd--
	default:
		return false // nobody else is waiting, nor is likely to
	}
	return true
}

// watchInline sees to it that a request that the holder serves does not hold
// up the others for long. Preconditions: mu is held.
func (q *queue) watchInline() {
	q.inline = true
	q.serial++
	if q.armed {
		return
	}
	q.armed, q.watched = true, q.serial
	if q.guard == nil {
		q.guard = time.AfterFunc(patience, func() {
			if err := safe.Run("virtio blk guard", q.watch); err != nil {
				q.signal.Fail(err)
			}
		})
	} else {
		q.guard.Reset(patience)
	}
}

// watch takes the baton from a worker that has been serving the same request
// for a while, and tells the driver of what has been served before that. It
// runs as long as there are such requests, not when the disk is idle.
func (q *queue) watch() {
	if q.relieve() {
		q.signal.Queue(q.index)
	}
}

// relieve is watch; it returns whether the driver is to be told.
func (q *queue) relieve() (notify bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.armed = false
	if q.stopped || !q.inline {
		return false
	}
	if q.serial == q.watched {
		notify = q.announce()
		mean := &q.cost[classOf(q.holder.req.kind)]
		*mean = max(*mean, mostSlow) // for those behind it
		if q.handOver() {
			return notify
		}
	}
	q.armed, q.watched = true, q.serial
	q.guard.Reset(patience)
	return notify
}
