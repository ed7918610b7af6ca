package blk

import (
	"errors"
	"time"

	"github.com/libcapsa/libcapsa/internal/virtio"
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
		v := verdict{next: park, notify: q.announce()}
		if len(q.idle) >= maxIdle {
			v.next = w.retire(nil).next
		} else {
			q.idle = append(q.idle, w)
		}
		return v
	}
	q.inline = false
	if w.state == ready {
		return w.begin(now, false)
	}
	return w.takeNext(now, overlap)
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
		if bad := w.req.parse(c); bad != nil {
			err = q.vq.Fail(c.Head, bad)
		}
	}
	if err != nil {
		v := w.retire(err)
		v.notify = q.announce()
		return v
	}
	w.state = ready
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

// retire ends the worker: because the crew is large enough, or, with the
// queue, because it has stopped or has met a fault. Preconditions: queue.mu is
// held.
func (w *worker) retire(fault error) verdict {
	w.ended = true
	if fault != nil {
		w.q.halt()
	}
	return verdict{next: end, fault: fault}
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
