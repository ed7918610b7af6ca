package fs

import (
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/libcapsa/libcapsa/internal/guestmem"
	"github.com/libcapsa/libcapsa/internal/safe"
	"github.com/libcapsa/libcapsa/internal/virtio"
	"github.com/libcapsa/libcapsa/internal/virtio/virtq"
)

const (
	// maxWorkers is how many requests of one queue may be under way that hold
	// a thread. It bounds the threads of a share whose files hang.
	maxWorkers = 64
	// maxThreads is the same for all devices of the process, of which Go
	// allows 10,000 threads.
	maxThreads = 4096
	// keepIdle is how many workers wait for the lead; others end.
	keepIdle = 2
	// stallAfter is how long a request may keep the lead. It is long beside
	// what a request takes that does not wait (microseconds), and short beside
	// what a person notices.
	stallAfter = 2 * time.Millisecond
	// interruptEvery is how many replies a leader with more to do may hold
	// back before it interrupts the guest.
	interruptEvery = 8
	// abandonAfter is how long a reset waits for requests that are being
	// served. A stop of the machine, which resets all devices, takes less than
	// a second in all.
	abandonAfter = 200 * time.Millisecond
)

// threads counts workers beyond the first of each queue, in the process.
var threads atomic.Int64

// newLimit is the time by which a reset stops waiting.
func newLimit() *time.Timer { return time.NewTimer(abandonAfter) }

// pool serves one queue.
type pool struct {
	handler  Handler
	name     string
	index    int
	kick     virtio.Kick
	mem      *guestmem.Memory
	signal   virtio.Signal
	counters *virtio.Counters

	mu       sync.Mutex
	q        *virtq.Queue  // guarded by mu
	leader   *worker       // guarded by mu; nil: nobody leads
	idle     []*worker     // guarded by mu; waiting for the lead
	all      []*worker     // guarded by mu
	busy     int           // guarded by mu; workers that hold a thread
	unsent   int           // guarded by mu; replies since the guest was last interrupted
	stopping bool          // guarded by mu
	failed   bool          // guarded by mu; the queue has stopped
	armed    bool          // guarded by mu; the timer is set
	ceased   bool          // guarded by mu; done is closed
	stall    *time.Timer   // of stallAfter, for the leader's request
	done     chan struct{} // closed when the last worker has ended
}

// state of a worker's request.
const (
	stateIdle int32 = iota
	stateBusy
	stateCommitted // the reply is being written; a reset waits for that
	stateAbandoned // nobody waits any more
)

// worker is one goroutine of a pool.
type worker struct {
	pool   *pool
	handle func(in, out [][]byte) int
	state  atomic.Int32
	serial uint64        // guarded by pool.mu; requests so far
	seen   uint64        // guarded by pool.mu; serial when the timer last looked
	parked bool          // guarded by pool.mu; waits for a lock
	holds  bool          // a reference of guest memory; set before the worker is cut off
	lead   chan struct{} // the lead is passed to it; capacity 1
}

// startPool starts the first worker of queue i.
func startPool(h Handler, a virtio.Activation, i int) *pool {
	p := &pool{
		handler: h, name: "virtio fs queue", index: i,
		q: a.Queues[i], kick: a.Kicks[i], mem: a.Mem, signal: a.Signal, counters: a.Counters,
		done: make(chan struct{}),
	}
	p.stall = time.AfterFunc(time.Hour, p.stalled)
	p.stall.Stop()
	p.mu.Lock()
	p.leader = p.spawn()
	p.mu.Unlock()
	return p
}

// spawn starts a worker. Preconditions: mu is held.
func (p *pool) spawn() *worker {
	w := &worker{pool: p, lead: make(chan struct{}, 1)}
	w.handle = p.handler.Worker(w.block, w.commit)
	w.lead <- struct{}{}
	p.all = append(p.all, w)
	p.busy++
	if len(p.all) > 1 {
		threads.Add(1)
	}
	safe.Go(p.name, p.signal.Fail, w.run)
	return w
}

// run is the worker's goroutine.
func (w *worker) run() {
	p := w.pool
	defer p.ended(w)
	for {
		<-w.lead
		for {
			c := p.next(w)
			if c == nil {
				return
			}
			written := w.handle(c.Read, c.Write)
			if !p.finish(w, c, written) {
				return
			}
			if lead, stay := p.after(w); !stay {
				return
			} else if !lead {
				break
			}
		}
	}
}

// next takes the next request. Nil: the pool ends. Preconditions: w leads.
func (p *pool) next(w *worker) *virtq.Chain {
	for {
		c, wait := p.pop(w)
		if c != nil || !wait {
			return c
		}
		if err := p.kick.Wait(); err != nil {
			if !errors.Is(err, virtio.ErrStopped) {
				p.signal.Fail(err)
			}
			p.close()
			return nil
		}
		p.counters.AddKick()
	}
}

// pop takes a request if there is one; wait says to wait for a kick.
func (p *pool) pop(w *worker) (c *virtq.Chain, wait bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		if p.stopping || p.failed {
			return nil, false
		}
		p.q.DisableKick()
		c, err := p.q.Pop()
		if err != nil {
			p.interrupt()
			p.fail(err)
			return nil, false
		}
		if c != nil {
			w.serial++
			w.state.Store(stateBusy)
			if !p.armed {
				p.armed = true
				w.seen = 0
				p.stall.Reset(stallAfter)
			}
			return c, false
		}
		p.interrupt()
		if !p.q.EnableKick() {
			return nil, true
		}
	}
}

// finish gives a request back. False: the worker was cut off. Whether it
// still leads is another question.
func (p *pool) finish(w *worker, c *virtq.Chain, written int) bool {
	// A request without a reply has not been committed.
	if !w.state.CompareAndSwap(stateCommitted, stateIdle) && !w.state.CompareAndSwap(stateBusy, stateIdle) {
		if w.holds {
			p.mem.Release()
		}
		return false
	}
	bytes := uint64(c.ReadLen()) + uint64(written)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stopping {
		return false
	}
	if w.parked {
		w.parked = false
		p.busy++
	}
	p.q.Push(c, uint32(written))
	p.counters.AddRequests(1, bytes)
	p.unsent++
	if p.leader != w || p.unsent >= interruptEvery {
		p.interrupt()
	}
	return true
}

// interrupt tells the guest of replies, if it wants that. Preconditions: mu is
// held.
func (p *pool) interrupt() {
	if p.unsent == 0 {
		return
	}
	p.unsent = 0
	if p.q.NeedsInterrupt() {
		p.signal.Queue(p.index)
	}
}

// fail marks the device after the guest broke a rule. Preconditions: mu is held.
func (p *pool) fail(err error) {
	p.failed = true
	p.signal.Fail(err)
	p.wake()
}

// after says what a worker does after a request: go on leading, wait for the
// lead, or end because there are others or because the pool ends.
func (p *pool) after(w *worker) (lead, stay bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stopping || p.failed {
		return false, false
	}
	if p.leader == nil {
		p.leader = w // nobody could be found when the lead was given up
	}
	if p.leader == w {
		return true, true
	}
	if len(p.idle) >= keepIdle {
		return false, false
	}
	p.idle = append(p.idle, w)
	return false, true
}

// commit is the handler's question whether the reply is still wanted.
func (w *worker) commit() bool { return w.state.CompareAndSwap(stateBusy, stateCommitted) }

// block is the handler's word that the request may wait.
func (w *worker) block(parked bool) {
	p := w.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stopping || w.state.Load() != stateBusy {
		return
	}
	if parked && !w.parked {
		w.parked = true
		p.busy--
	}
	if p.leader == w {
		p.interrupt()
		p.pass()
	}
}

// pass gives the lead to another worker, if there may be one. Preconditions:
// mu is held.
func (p *pool) pass() {
	p.leader = nil
	if n := len(p.idle); n > 0 {
		p.leader = p.idle[n-1]
		p.idle = p.idle[:n-1]
		p.leader.lead <- struct{}{}
		return
	}
	if p.busy < maxWorkers && threads.Load() < maxThreads {
		p.leader = p.spawn()
	}
}

// stalled is the timer: a leader that is at the same request as the last time
// loses the lead. It is set again only while the pool is at work.
func (p *pool) stalled() {
	_ = safe.Run(p.name+" timer", func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.armed = false
		w := p.leader
		if p.stopping || p.failed || w == nil || w.state.Load() == stateIdle {
			return
		}
		if w.seen == w.serial {
			p.interrupt()
			p.pass()
			return
		}
		w.seen = w.serial
		p.armed = true
		p.stall.Reset(stallAfter)
	})
}

// close stops taking requests.
func (p *pool) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stopping = true
	p.wake()
	p.checkDone()
}

// wake ends workers that wait for the lead. Preconditions: mu is held.
func (p *pool) wake() {
	for _, w := range p.idle {
		w.lead <- struct{}{}
	}
	p.idle = nil
	p.stall.Stop()
}

// stop makes the workers end with the requests they are at.
func (p *pool) stop() {
	p.close()
	p.kick.Poke()
}

// join waits for the workers until the limit, and cuts off the rest.
// Postconditions: nothing touches the queue or guest memory any more, but for
// a read that hangs in the kernel.
func (p *pool) join(limit *time.Timer) {
	select {
	case <-p.done:
		return
	case <-limit.C:
		limit.Reset(0) // for the next pool
	}
	p.mu.Lock()
	for _, w := range slices.Clone(p.all) {
		// Guest memory stays mapped until the worker is back. The transport
		// holds it now, so that it is there to be taken.
		w.holds = p.mem.Acquire()
		if w.state.CompareAndSwap(stateBusy, stateAbandoned) {
			p.leave(w)
		} else if w.holds {
			w.holds = false
			p.mem.Release()
		}
	}
	p.mu.Unlock()
	<-p.done // what is left is writing a reply, or on its way out
}

// ended takes a worker off the pool.
func (p *pool) ended(w *worker) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if w.state.Load() != stateAbandoned {
		p.leave(w)
	}
}

// leave counts a worker out. Preconditions: mu is held.
func (p *pool) leave(w *worker) {
	i := slices.Index(p.all, w)
	p.all = slices.Delete(p.all, i, i+1)
	if !w.parked {
		p.busy--
	}
	if len(p.all) > 0 {
		threads.Add(-1)
	}
	p.checkDone()
}

// checkDone closes done after the last worker. Preconditions: mu is held.
func (p *pool) checkDone() {
	if p.stopping && len(p.all) == 0 && !p.ceased {
		p.ceased = true
		close(p.done)
	}
}
