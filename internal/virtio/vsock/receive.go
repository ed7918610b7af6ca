package vsock

import (
	"errors"
	"sync"
	"sync/atomic"

	"github.com/libcapsa/libcapsa/internal/safe"
	"github.com/libcapsa/libcapsa/internal/virtio"
	"github.com/libcapsa/libcapsa/internal/virtio/virtq"
	"github.com/libcapsa/libcapsa/internal/vsock/packet"
)

const (
	// maxSlots is how many receive buffers are offered to the host's side at
	// once. Linux's have a page less the header and more: 32 of them have room
	// for a packet of the largest size and for some without payload.
	maxSlots = 32
	// deliverRounds is how many times a goroutine of the host's side asks for
	// packets before it leaves the rest to the lane's own: some megabytes.
	deliverRounds = 64
	// transmitRounds is the same for the transmit queue's worker, which is
	// there for answers and has a queue of its own to go on with.
	transmitRounds = 2
	// ownRounds is the same for the lane's own goroutine, which looks whether
	// it has been stopped in between.
	ownRounds = 64
)

// errNoRoom: a packet has a header, and a receive buffer that is not for a
// header alone cannot be told from one that is (section 5.10.6).
var errNoRoom = errors.New("a receive buffer has no room for a header and a byte")

// lane is the way to the guest. Whoever has something for the guest takes mu and
// fills receive buffers; if another goroutine has it, that one looks again
// before it leaves. So a packet crosses one goroutine on its way, and nobody
// waits for another one. The lane's own goroutine waits for the driver's kicks,
// and goes on where others stop.
type lane struct {
	host     Host
	signal   virtio.Signal
	counters *virtio.Counters
	kick     virtio.Kick

	again atomic.Bool // somebody asked for a look since the last one began
	done  chan struct{}

	mu     sync.Mutex
	queue  *virtq.Queue   // guarded by mu; nil: not ready, faulty or stopped
	chains []*virtq.Chain // guarded by mu; taken from the queue, one for each of slots
	slots  []packet.Slot  // guarded by mu
}

func (l *lane) init(host Host, a virtio.Activation) {
	l.host, l.signal, l.counters = host, a.Signal, a.Counters
	l.queue, l.kick = a.Queues[queueReceive], a.Kicks[queueReceive]
	l.slots = make([]packet.Slot, 0, maxSlots)
}

// start starts the lane's goroutine, if the driver made the queue ready.
func (l *lane) start(a virtio.Activation) {
	if a.Queues[queueReceive] == nil {
		return
	}
	l.done = make(chan struct{})
	safe.Go("virtio vsock receive", l.fail, l.run)
}

// stop returns when nobody uses the queue any more.
func (l *lane) stop() {
	l.mu.Lock()
	l.queue = nil
	l.mu.Unlock()
	if l.done != nil {
		l.kick.Poke()
		<-l.done
	}
}

// poke has the lane's goroutine look.
func (l *lane) poke() {
	if l.kick != nil {
		l.kick.Poke()
	}
}

// run is the lane's goroutine.
func (l *lane) run() {
	defer close(l.done)
	for l.open() {
		if l.deliver(ownRounds) {
			continue
		}
		if err := l.kick.Wait(); err != nil {
			if !errors.Is(err, virtio.ErrStopped) {
				l.fail(err)
			}
			return
		}
		l.counters.AddKick()
	}
}

func (l *lane) open() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.queue != nil
}

// fail marks the device DEVICE_NEEDS_RESET; nothing is delivered any more.
func (l *lane) fail(err error) {
	l.mu.Lock()
	l.queue = nil
	l.mu.Unlock()
	l.signal.Fail(err)
}

// deliver takes packets to the guest until there are none, or no buffers, or it
// has asked for them as many times as told. Then it is true: the lane's
// goroutine goes on. It does nothing when another goroutine is at it.
func (l *lane) deliver(rounds int) (more bool) {
	l.again.Store(true)
	// The holder loads again after it has unlocked mu: either it sees the store
	// above, or the lock is free here.
	for l.again.Load() && l.mu.TryLock() {
		l.again.Store(false)
		var err error
		caught := safe.Run("virtio vsock receive", func() { rounds, more, err = l.serve(rounds) })
		if err = errors.Join(err, caught); err != nil {
			l.queue = nil
		}
		l.mu.Unlock()
		if err != nil {
			l.signal.Fail(err)
			return false
		}
		if more {
			l.poke()
			return true
		}
	}
	return false
}

// serve is deliver with the lane held. It returns how many rounds are left.
func (l *lane) serve(rounds int) (left int, more bool, err error) {
	q := l.queue
	if q == nil {
		return rounds, false, nil
	}
	q.DisableKick()
	for ; l.host.Pending(); rounds-- {
		if rounds <= 0 {
			return 0, true, nil
		}
		if err := l.offer(q); err != nil {
			return rounds, false, err
		}
		if len(l.slots) == 0 {
			// EnableKick looks at the ring once more after it has asked for
			// kicks: a buffer that came in between has not been kicked for.
			if !q.EnableKick() {
				return rounds, false, nil
			}
			q.DisableKick()
			continue
		}
		n := l.host.Fill(l.slots)
		l.push(q, n)
		if q.NeedsInterrupt() {
			l.signal.Queue(queueReceive)
		}
	}
	return rounds, false, nil
}

// offer takes receive buffers from the queue until there are as many as are
// offered at once, or there are no more.
func (l *lane) offer(q *virtq.Queue) error {
	for len(l.chains) < maxSlots {
		c, err := q.Pop()
		if err != nil {
			return err
		}
		if c == nil {
			return nil
		}
		if c.WriteLen() <= packet.HeaderSize {
			return q.Fail(c.Head, errNoRoom)
		}
		n := len(l.slots)
		l.chains = append(l.chains, c)
		l.slots = l.slots[:n+1]
		s := &l.slots[n]
		s.Room = behindHeader(s.Room[:0], c.Write)
		s.Size = min(c.WriteLen()-packet.HeaderSize, packet.MaxPayload)
	}
	return nil
}

// push gives the first n buffers to the driver, with the headers of what is in
// them. The others move to the front.
func (l *lane) push(q *virtq.Queue, n int) {
	var raw [packet.HeaderSize]byte
	for i, c := range l.chains[:n] {
		hdr := &l.slots[i].Header
		hdr.Encode(&raw)
		c.CopyOut(raw[:], 0)
		q.Push(c, packet.HeaderSize+hdr.Len)
		l.counters.AddRequests(1, uint64(hdr.Len))
	}
	rest := copy(l.chains, l.chains[n:])
	clear(l.chains[rest:])
	l.chains = l.chains[:rest]
	for i := range rest { // swaps, so that the storage of Room is kept
		l.slots[i], l.slots[i+n] = l.slots[i+n], l.slots[i]
	}
	l.slots = l.slots[:rest]
}
