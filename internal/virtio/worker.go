package virtio

import (
	"errors"
	"sync/atomic"

	"github.com/libcapsa/libcapsa/internal/safe"
	"github.com/libcapsa/libcapsa/internal/virtio/virtq"
)

// batch is how many chains a worker serves before it interrupts the driver and
// looks whether it has been stopped: large enough to amortise an interrupt,
// small enough to bound a reset.
const batch = 64

// Outcome is why a [Handler] came back.
type Outcome int

const (
	// RingEmpty: the driver has made nothing more available. The worker asks
	// for a kick and sleeps.
	RingEmpty Outcome = iota
	// HostIdle: the host has nothing for the driver. The worker leaves kicks
	// off, since more buffers would change nothing, and sleeps until a Poke.
	HostIdle
	// Again: the budget is used up; there may be more to do.
	Again
)

// Handler serves one queue. It is called on the queue's worker only.
type Handler interface {
	// Serve pops and pushes up to budget chains and returns how many it
	// pushed. An error means that the guest or the host broke a rule the
	// device cannot go on after: the device is marked DEVICE_NEEDS_RESET and
	// the worker ends.
	Serve(q *virtq.Queue, budget int) (n int, why Outcome, err error)
}

// HandlerFunc is a function as a [Handler].
type HandlerFunc func(q *virtq.Queue, budget int) (int, Outcome, error)

// Serve implements [Handler].
func (f HandlerFunc) Serve(q *virtq.Queue, budget int) (int, Outcome, error) { return f(q, budget) }

// Requests makes a Handler of a function that serves one chain at once and
// returns how many bytes it wrote to it. It is the whole queue side of a
// device that answers requests in order. An error says that the chain makes no
// sense; it becomes a [virtq.Fault].
func Requests(serve func(c *virtq.Chain) (written uint32, err error)) Handler {
	return HandlerFunc(func(q *virtq.Queue, budget int) (int, Outcome, error) {
		for n := range budget {
			c, err := q.Pop()
			if err != nil {
				return n, RingEmpty, err
			}
			if c == nil {
				return n, RingEmpty, nil
			}
			written, err := serve(c)
			if err != nil {
				return n, RingEmpty, q.Fail(c.Head, err)
			}
			q.Push(c, written)
		}
		return budget, Again, nil
	})
}

// Worker owns one queue from activation to reset: one goroutine that waits for
// kicks, serves, re-arms and interrupts. A panic inside a handler, or a fault
// on guest memory, fails the device and nothing else.
type Worker struct {
	index    int
	queue    *virtq.Queue
	kick     Kick
	signal   Signal
	counters *Counters
	handler  Handler

	stopping atomic.Bool
	done     chan struct{}
}

// StartWorker starts the worker of queue i of the activation. It returns nil
// where the driver did not make that queue ready. The name is the goroutine's,
// for diagnosis.
func StartWorker(name string, a Activation, i int, h Handler) *Worker {
	if i >= len(a.Queues) || a.Queues[i] == nil {
		return nil
	}
	w := &Worker{
		index:    i,
		queue:    a.Queues[i],
		kick:     a.Kicks[i],
		signal:   a.Signal,
		counters: a.Counters,
		handler:  h,
		done:     make(chan struct{}),
	}
	safe.Go(name, w.signal.Fail, w.run)
	return w
}

// Poke wakes the worker from the host's side: there is something for the
// driver. It never blocks. Nil is allowed.
func (w *Worker) Poke() {
	if w != nil {
		w.kick.Poke()
	}
}

// Stop makes the worker end and waits for it: at most one batch. Idempotent;
// nil is allowed. Preconditions: the kick has not been stopped before.
func (w *Worker) Stop() {
	if w == nil {
		return
	}
	w.stopping.Store(true)
	w.kick.Poke() // after the store: the Wait it ends is followed by a load
	<-w.done
}

// run is the worker's goroutine. It serves once before it waits: the driver
// may have filled the ring before DRIVER_OK, and need not kick for that.
func (w *Worker) run() {
	defer close(w.done)
	for !w.stopping.Load() {
		w.queue.DisableKick()
		n, why, err := w.handler.Serve(w.queue, batch)
		if n > 0 && w.queue.NeedsInterrupt() {
			w.signal.Queue(w.index)
		}
		if err != nil {
			w.signal.Fail(err)
			return
		}
		if why == Again {
			continue
		}
		// EnableKick looks at the ring once more after it has asked for
		// kicks: a chain that came in between has not been kicked for.
		if why == RingEmpty && w.queue.EnableKick() {
			continue
		}
		if err := w.kick.Wait(); err != nil {
			if !errors.Is(err, ErrStopped) {
				w.signal.Fail(err)
			}
			return
		}
		w.counters.AddKick()
	}
}
