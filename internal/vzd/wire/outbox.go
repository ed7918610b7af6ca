package wire

import (
	"sync"

	"github.com/libcapsa/libcapsa/internal/safe"
)

// Outbox sends frames one after the other on a goroutine of its own, so that
// nobody waits for a peer that does not receive. All methods may be called from any
// goroutine.
type Outbox struct {
	conn *Conn
	wg   sync.WaitGroup

	mu      sync.Mutex
	queue   []Frame          // guarded by mu
	waiting chan struct{}    // non-nil while the goroutine waits; guarded by mu
	unacked map[uint64]Files // sent, and not known to have arrived; guarded by mu
	closed  bool             // guarded by mu
	broken  bool             // nothing can be sent any more; guarded by mu
}

// NewOutbox starts an outbox. Close ends it.
func NewOutbox(conn *Conn) *Outbox {
	o := &Outbox{conn: conn, unacked: make(map[uint64]Files)}
	o.wg.Add(1)
	safe.Go("vzd sender", func(error) { o.fail() }, func() {
		defer o.wg.Done()
		o.run()
	})
	return o
}

// Send queues a frame and takes over its descriptors, which it closes when they
// have arrived or cannot any more. It never blocks.
func (o *Outbox) Send(f Frame) { o.send(f, 0) }

// TrySend is Send for a frame that nobody misses: it is dropped, and false
// returned, when limit frames are waiting already.
func (o *Outbox) TrySend(f Frame, limit int) bool { return o.send(f, limit) }

func (o *Outbox) send(f Frame, limit int) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed || o.broken || limit > 0 && len(o.queue) >= limit {
		f.Files.Close()
		return false
	}
	o.queue = append(o.queue, f)
	o.wake()
	return true
}

// wake lets the goroutine look. Preconditions: mu is held.
func (o *Outbox) wake() {
	if o.waiting != nil {
		close(o.waiting)
		o.waiting = nil
	}
}

// Ack closes the descriptors that were sent with the frame of that id.
func (o *Outbox) Ack(id uint64) {
	o.mu.Lock()
	files := o.unacked[id]
	delete(o.unacked, id)
	o.mu.Unlock()
	files.Close()
}

// Close sends what is queued, unless the connection is shut down, and ends.
func (o *Outbox) Close() {
	o.mu.Lock()
	o.closed = true
	o.wake()
	o.mu.Unlock()
	o.wg.Wait()
	o.fail()
}

// fail drops everything.
func (o *Outbox) fail() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.broken = true
	for _, f := range o.queue {
		f.Files.Close()
	}
	for _, files := range o.unacked {
		files.Close()
	}
	o.queue, o.unacked = nil, make(map[uint64]Files)
}

func (o *Outbox) run() {
	for {
		f, ok := o.next()
		if !ok {
			return
		}
		if err := o.conn.Send(f); err != nil {
			o.fail() // whoever receives finds out why
			return
		}
	}
}

// next waits for a frame; false: there will be none.
func (o *Outbox) next() (Frame, bool) {
	for {
		o.mu.Lock()
		if len(o.queue) > 0 {
			f := o.queue[0]
			o.queue[0] = Frame{}
			o.queue = o.queue[1:]
			if len(f.Files) > 0 { // before it is sent: the ack may be quick
				o.unacked[f.ID] = append(o.unacked[f.ID], f.Files...)
			}
			o.mu.Unlock()
			return f, true
		}
		if o.closed {
			o.mu.Unlock()
			return Frame{}, false
		}
		wait := make(chan struct{})
		o.waiting = wait
		o.mu.Unlock()
		<-wait
	}
}
