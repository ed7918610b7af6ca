package capsa

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/libcapsa/libcapsa/internal/vm"
)

// maxEvents is how many events are kept for a caller that does not fetch them.
const maxEvents = 256

// events is the bounded queue of a machine's events. When it is full the oldest
// goes, and how many went is told first. It may be used from any goroutine.
type events struct {
	ready chan struct{} // holds one token while there may be something to fetch
	ended chan struct{} // closed when nothing more will come

	mu    sync.Mutex
	queue []vm.Event // oldest first; guarded by mu
	lost  uint64     // dropped since the last EventLost; guarded by mu
	total uint64     // dropped ever; guarded by mu
	data  bool       // an EventConsoleData is queued; guarded by mu
	over  bool       // guarded by mu
	fds   notifier   // level: readable while there is something to fetch
}

func newEvents() *events {
	return &events{ready: make(chan struct{}, 1), ended: make(chan struct{})}
}

// push queues an event; it never blocks. After end it does nothing.
func (q *events) push(e vm.Event) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.over || (e.Type == vm.EventConsoleData && q.data) {
		return
	}
	if e.Time.IsZero() {
		e.Time = time.Now()
	}
	if e.Type == vm.EventConsoleData {
		q.data = true
	}
	if len(q.queue) == maxEvents {
		q.drop()
	}
	q.queue = append(q.queue, e)
	q.arm()
	q.fds.raise()
}

// drop removes and counts the oldest event, but not the one that says that there is
// console output: that stays true. Preconditions: mu is held, the queue is full.
func (q *events) drop() {
	oldest := 0
	if q.queue[0].Type == vm.EventConsoleData {
		oldest = 1
	}
	q.queue = slices.Delete(q.queue, oldest, oldest+1)
	q.lost++
	q.total++
}

// dropped is the number of events that nobody fetched in time.
func (q *events) dropped() uint64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.total
}

// arm puts the token. Preconditions: mu is held.
func (q *events) arm() {
	select {
	case q.ready <- struct{}{}:
	default:
	}
}

// end says that nothing more will come. What is queued can still be fetched.
func (q *events) end() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.over {
		return
	}
	q.over = true
	close(q.ended)
	q.fds.finish()
}

// pop takes the oldest event.
func (q *events) pop() (vm.Event, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.lost > 0 {
		e := vm.Event{Type: vm.EventLost, Time: time.Now(), Lost: q.lost}
		q.lost = 0
		q.arm()
		return e, true
	}
	if len(q.queue) == 0 {
		return vm.Event{}, false
	}
	e := q.queue[0]
	if e.Type == vm.EventConsoleData {
		q.data = false
	}
	q.queue = slices.Delete(q.queue, 0, 1)
	if len(q.queue) > 0 {
		q.arm() // for other waiters
	} else {
		q.fds.lower()
	}
	return e, true
}

// next waits for an event. What is there, and the end, are given even when ctx has
// ended.
func (q *events) next(ctx context.Context) (vm.Event, error) {
	const op = "next event"
	for {
		if e, ok := q.pop(); ok {
			return e, nil
		}
		select {
		case <-q.ready:
			continue
		default:
		}
		select {
		case <-q.ended:
			return q.last(op)
		default:
		}
		select {
		case <-q.ready:
		case <-q.ended:
			return q.last(op)
		case <-ctx.Done():
			return vm.Event{}, vm.ContextError(ctx, op)
		}
	}
}

// last takes the oldest event of a queue that has ended.
func (q *events) last(op string) (vm.Event, error) {
	if e, ok := q.pop(); ok {
		return e, nil
	}
	return vm.Event{}, vm.Errorf(vm.KindClosed, op, "the machine has ended and all events were taken")
}

// fd gives the caller a descriptor.
func (q *events) fd() (int, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.fds.add("event descriptor", true, len(q.queue) > 0)
}
