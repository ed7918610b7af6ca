package blk

import (
	"errors"
	"time"

	"github.com/libcapsa/libcapsa/internal/virtio"
	"github.com/libcapsa/libcapsa/internal/virtio/virtq"
)

// worker is one goroutine of a queue's crew.
type worker struct {
	q      *queue
	turn   chan struct{} // the baton has come
	helper bool          // counted in helpers

	req   request
	state progress
	began time.Duration // when req began to be served
	ended bool          // the worker has left in order; guarded by queue.mu
}

// progress is how far a worker's request is.
type progress int

const (
	empty  progress = iota // there is none
	ready                  // taken off the ring and paid for
	served                 // to be given back
)

// next is what a worker does after a step.
type next int

const (
	serve    next = iota // serve req
	wait                 // for a kick: the ring is empty
	park                 // until the baton comes
	throttle             // req waits for the rate limit
	end
)

// verdict is the outcome of a step.
type verdict struct {
	next    next
	notify  bool // tell the driver first
	fault   error
	delay   time.Duration   // of throttle
	changed <-chan struct{} // ends that delay
}

// run is the worker's goroutine.
func (w *worker) run() {
	q := w.q
	defer w.leave()
	v := verdict{next: park}
	for {
		if v.notify {
			q.signal.Queue(q.index)
		}
		switch v.next {
		case serve:
			q.execute(&w.req)
			w.req.finish()
			w.state = served
			if w.req.err != nil {
				q.counters.AddError()
				q.dev.report(operations[w.req.kind], w.req.sector, w.req.err)
			}
		case wait:
			if err := q.kick.Wait(); err != nil {
				w.kickBroke(err)
				return
			}
			q.counters.AddKick()
		case park:
			select {
			case <-w.turn:
			case <-q.quit:
			}
		case throttle:
			pause(v.delay, v.changed, q.quit)
		case end:
			if v.fault != nil {
				q.signal.Fail(v.fault)
				q.kick.Poke() // the holder, if that is another worker
			}
			return
		}
		v = w.step()
	}
}

// pause waits for d, or less when one of the channels is closed.
func pause(d time.Duration, changed, quit <-chan struct{}) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-changed:
	case <-quit:
	}
}

// step gives back what the worker has served and decides what it does next.
func (w *worker) step() verdict {
	q := w.q
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.stopped {
		return w.retire(nil)
	}
	now, overlap := q.now(), false
	if w.state == served {
		q.push(&w.req, w.began, now)
		w.state, overlap = empty, true
	}
	if q.holder != w {
		return w.help(now)
	}
	q.inline = false
	if w.state == ready {
		return w.begin(now, false)
	}
	return w.takeNext(now, overlap)
}

// help is the step of a worker without the baton: it takes what is on the ring, for
// which the holder has not woken up yet, or else rests. Preconditions: queue.mu is
// held.
func (w *worker) help(now time.Duration) verdict {
	q := w.q
	if !q.dev.limiter.bounds() { // else requests go on in their order
		c, err := q.takeOne()
		if err == nil && c != nil {
			err = w.accept(c)
		}
		switch {
		case err != nil:
			return w.retire(err)
		case c != nil:
			w.began = now
			return verdict{next: serve, notify: q.announce()}
		}
	}
	v := verdict{next: park, notify: q.announce()}
	if len(q.idle) >= maxIdle {
		w.ended, v.next = true, end
	} else {
		q.idle = append(q.idle, w)
	}
	return v
}

// accept reads the header of a request. The error is a fault. Preconditions:
// queue.mu is held.
func (w *worker) accept(c *virtq.Chain) error {
	if err := w.req.parse(c); err != nil {
		return w.q.vq.Fail(c.Head, err)
	}
	w.state = ready
	return nil
}

// takeNext takes a request off the ring. overlap: the worker has just served
// another. Preconditions: queue.mu is held; the worker has the baton.
func (w *worker) takeNext(now time.Duration, overlap bool) verdict {
	q := w.q
	c, err := q.take()
	for c == nil && err == nil {
		if !q.vq.EnableKick() {
			return verdict{next: wait, notify: q.announce()}
		}
		c, err = q.take() // it came in between and is not kicked for
	}
	if err == nil {
		err = w.accept(c)
	}
	if err != nil {
		return w.retire(err)
	}
	if delay, changed := q.dev.limiter.charge(w.req.moves()); delay > 0 {
		q.stats.Throttled++
		return verdict{next: throttle, notify: q.announce(), delay: delay, changed: changed}
	}
	return w.begin(now, overlap)
}

// begin decides who has the baton while the worker serves its request.
// Preconditions: queue.mu is held; the worker has the baton.
func (w *worker) begin(now time.Duration, overlap bool) verdict {
	q := w.q
	w.began = now
	v := verdict{next: serve}
	shared := q.shares(&w.req, overlap)
	if shared && q.handOver() {
		v.notify = q.announce()
		return v
	}
	if shared || q.unsent >= maxUnsent || q.unsent > 0 && now-q.oldest >= maxDelay {
		v.notify = q.announce()
	}
	q.watchInline()
	return v
}

// retire ends the worker with its queue, which has stopped or has met a fault.
// What was served before that is announced. Preconditions: queue.mu is held.
func (w *worker) retire(fault error) verdict {
	w.ended = true
	v := verdict{next: end, fault: fault}
	if fault != nil {
		v.notify = w.q.announce()
		w.q.halt()
	}
	return v
}

// kickBroke ends the queue when its kick does.
func (w *worker) kickBroke(err error) {
	w.q.mu.Lock()
	w.ended = true
	first := !w.q.stopped
	w.q.halt()
	w.q.mu.Unlock()
	if first && !errors.Is(err, virtio.ErrStopped) {
		w.q.signal.Fail(err)
	}
}

// leave is the worker's end, in whatever way it came: a worker that panicked
// takes its queue along. The last one gives guest memory back.
func (w *worker) leave() {
	q := w.q
	q.mu.Lock()
	panicked := !w.ended
	if panicked {
		q.halt()
	}
	q.workers--
	last := q.workers == 0
	q.mu.Unlock()
	if w.helper {
		helpers.Add(-1)
	}
	if panicked {
		q.kick.Poke()
	}
	if last {
		q.mem.Release()
		close(q.done)
	}
}
