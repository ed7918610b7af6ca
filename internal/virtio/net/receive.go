package net

import (
	"errors"
	"sync"

	"github.com/libcapsa/libcapsa/internal/net/link"
	"github.com/libcapsa/libcapsa/internal/safe"
	"github.com/libcapsa/libcapsa/internal/virtio"
	"github.com/libcapsa/libcapsa/internal/virtio/virtq"
)

// errNoRoom: a receive buffer is at least as long as a header (section
// 5.1.6.3.1).
var errNoRoom = errors.New("a receive buffer has no room for a header")

// publishSize is how many bytes the driver is shown at once, with one decision
// about the interrupt: a long frame and more. While it looks at them the next
// ones are copied, and buffers come back before all are used up.
const publishSize = 128 << 10

// receiver is the way to the guest. Whoever has frames for it takes mu and
// copies them to receive buffers. The driver is shown whole frames only, several
// at once.
//
// Kicks are off while there is room. When a frame finds none they are switched
// on, and the ring is looked at once more after that: a buffer that came in
// between has not been kicked for. The receiver's own goroutine waits for the
// kick and tells the host's side.
type receiver struct {
	s         *session
	signal    virtio.Signal
	kick      virtio.Kick
	mergeable bool  // a frame may lie in several chains
	flags     uint8 // of headers, that the driver understands
	done      chan struct{}

	mu      sync.Mutex
	queue   *virtq.Queue   // guarded by mu; nil: not ready, faulty or stopped
	held    []*virtq.Chain // guarded by mu; taken from the queue for a frame that did not fit yet
	room    int            // guarded by mu; bytes of held
	used    []virtq.Used   // guarded by mu; filled with whole frames, not published
	hidden  int            // guarded by mu; bytes of used
	waiting bool           // guarded by mu; a frame found no room: kicks are on, and the host's side is to be told
	paced   bool           // guarded by mu; a frame is over a limit: the pacer's wake-up is to be told to the host's side
	tally   tally          // guarded by mu
	pacer   pacer
}

func (r *receiver) init(s *session, a virtio.Activation) {
	r.s, r.signal = s, a.Signal
	r.queue, r.kick = a.Queues[queueReceive], a.Kicks[queueReceive]
	if r.kick != nil {
		r.pacer.wake = r.kick.Poke
	}
	r.mergeable = a.Features&FeatureMrgRxBuf != 0
	if a.Features&FeatureGuestCSum != 0 {
		r.flags = link.NeedsChecksum | link.DataValid
	}
	if r.queue != nil {
		r.queue.DisableKick()
	}
}

// start starts the receiver's goroutine, if the driver made the queue ready.
func (r *receiver) start(a virtio.Activation) {
	if a.Queues[queueReceive] == nil {
		return
	}
	r.done = make(chan struct{})
	safe.Go("virtio net receive", r.fail, r.run)
}

// stop returns when nobody uses the queue any more.
func (r *receiver) stop() {
	r.mu.Lock()
	r.shut()
	r.mu.Unlock()
	if r.done != nil {
		r.kick.Poke()
		<-r.done
	}
}

// shut takes no more frames. Preconditions: mu is held.
func (r *receiver) shut() { r.queue, r.held, r.used, r.room, r.hidden = nil, nil, nil, 0, 0 }

// fail marks the device DEVICE_NEEDS_RESET; no more frames are taken.
func (r *receiver) fail(err error) {
	r.mu.Lock()
	r.shut()
	r.mu.Unlock()
	r.signal.Fail(err)
}

// run is the receiver's goroutine.
func (r *receiver) run() {
	defer close(r.done)
	for {
		if err := r.kick.Wait(); err != nil {
			if !errors.Is(err, virtio.ErrStopped) {
				r.fail(err)
			}
			return
		}
		r.s.counters.AddKick()
		open, room := r.look()
		if !open {
			return
		}
		if room {
			r.s.dev.host.Room()
		}
	}
}

// look says, after a kick, whether the queue is in use, and whether there is
// room for frames that found none.
func (r *receiver) look() (open, room bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.queue == nil {
		return false, false
	}
	if r.paced {
		r.paced = false
		return true, true
	}
	// Not waiting: a kick that was under way when kicks went off. Nothing new:
	// the driver kicked for nothing, or another goroutine has filled what came;
	// kicks stay on.
	if !r.waiting || !r.queue.EnableKick() {
		return true, false
	}
	r.waiting = false
	r.queue.DisableKick()
	return true, true
}

// receive copies frames to the guest and returns how many are done with.
func (r *receiver) receive(frames []link.Frame) int {
	r.mu.Lock()
	taken, err := r.serve(frames)
	r.mu.Unlock()
	if err != nil {
		r.signal.Fail(err)
	}
	return taken
}

// serve is receive with mu held.
func (r *receiver) serve(frames []link.Frame) (taken int, err error) {
	q := r.queue
	if q == nil {
		return 0, nil
	}
	caught := safe.Run("virtio net receive", func() {
		taken, err = r.fill(q, frames)
		r.publish(q)
	})
	if caught != nil {
		taken, err = 0, caught
	}
	r.s.dev.counters.received.add(&r.tally)
	r.tally = tally{}
	if err != nil {
		r.shut()
	}
	return taken, err
}

// publish shows the driver what was filled, and interrupts it if it wants that.
func (r *receiver) publish(q *virtq.Queue) {
	q.PushAll(r.used)
	if q.NeedsInterrupt() {
		r.signal.Queue(queueReceive)
	}
	r.s.counters.AddRequests(uint64(len(r.used)), uint64(r.hidden))
	clear(r.used)
	r.used, r.hidden = r.used[:0], 0
}

// fill takes frames until there are no more, or no room. What it filled is in
// used then, also after an error.
func (r *receiver) fill(q *virtq.Queue, frames []link.Frame) (taken int, err error) {
	for taken < len(frames) {
		f := &frames[taken]
		n := f.Len()
		why := r.refuses(f, n)
		if why == dropNone {
			var ok bool
			ok, why, err = r.gather(q, hdrSize+n)
			if err != nil {
				return taken, err
			}
			if !ok {
				if r.more(q) {
					continue
				}
				r.s.dev.counters.stalls.Add(1)
				return taken, nil
			}
		}
		if why != dropNone {
			taken++
			r.tally.drop(why)
			continue
		}
		if wait := r.s.dev.toGuest.Pass(packets(&f.Header, n), uint64(n)); wait > 0 {
			r.paced = true
			r.pacer.after(wait)
			return taken, nil
		}
		taken++
		r.place(f, hdrSize+n)
		r.tally.frames++
		r.tally.bytes += uint64(n)
		r.hidden += n
		if r.hidden >= publishSize {
			r.publish(q)
		}
	}
	return taken, nil
}

// more asks for a kick, unless there are buffers already.
func (r *receiver) more(q *virtq.Queue) bool {
	if !q.EnableKick() {
		r.waiting = true
		return false
	}
	if !r.waiting { // else others wait for the kick
		q.DisableKick()
	}
	return true
}

// refuses says why a frame of n bytes is dropped whatever room there is.
func (r *receiver) refuses(f *link.Frame, n int) drop {
	mtu := r.s.rules.mtu
	switch {
	case n < ethHeader:
		return dropShort
	case n > link.MaxFrame:
		return dropLong
	case mtu != 0 && f.Header.GSOType&^link.GSOECN == link.GSONone && n > mtu+ethHeader+vlanTag:
		return dropLong // section 5.1.4.1
	case r.s.dev.down.Load():
		return dropDown
	case !r.s.filter.Load().takes(f):
		return dropFilter
	}
	return dropNone
}

// gather takes chains from the queue until those that are held have room for
// need bytes. It is not ok when the driver has not made enough available; the
// frame is dropped when no more can come.
func (r *receiver) gather(q *virtq.Queue, need int) (ok bool, why drop, err error) {
	for r.room < need {
		if len(r.held) == int(q.Config().Size) || len(r.held) > 0 && !r.mergeable {
			return true, dropLong, nil
		}
		c, err := q.Pop()
		if err != nil {
			return false, dropNone, err
		}
		if c == nil {
			return false, dropNone, nil
		}
		if c.WriteLen() < hdrSize {
			return false, dropNone, q.Fail(c.Head, errNoRoom)
		}
		r.held = append(r.held, c)
		r.room += c.WriteLen()
	}
	return true, dropNone, nil
}

// place copies a frame and its header, need bytes together, to the first chains
// that are held.
func (r *receiver) place(f *link.Frame, need int) {
	chains := 0
	for left := need; left > 0; chains++ {
		c := r.held[chains]
		n := min(left, c.WriteLen())
		r.used = append(r.used, virtq.Used{Chain: c, Written: uint32(n)})
		r.room -= c.WriteLen()
		left -= n
	}
	hdr := f.Header
	hdr.Flags &= r.flags
	var raw [hdrSize]byte
	encode(&raw, &hdr, chains)
	w := scatter{chains: r.held[:chains]}
	w.write(raw[:])
	for _, d := range f.Data {
		w.write(d)
	}
	rest := copy(r.held, r.held[chains:]) // mostly none
	clear(r.held[rest:])
	r.held = r.held[:rest]
}
