package nat

import (
	"sync/atomic"

	"github.com/libcapsa/libcapsa/internal/net/policy"
	"github.com/libcapsa/libcapsa/internal/safe"
)

// EventKind is what happened.
type EventKind uint8

// The kinds.
const (
	Opened EventKind = iota + 1 // a flow was let through, and reached its destination
	Closed                      // it is over
	Denied                      // the policy refused it, at once or later
	Failed                      // its destination could not be reached
)

var kinds = [...]string{"", "opened", "closed", "denied", "failed"}

func (k EventKind) String() string {
	if int(k) >= len(kinds) {
		return "unknown"
	}
	return kinds[k]
}

// Event is something that happened to a flow.
type Event struct {
	Kind    EventKind
	Flow    policy.Flow    // with the name, if one was said
	Verdict policy.Verdict // the last one
	Err     error          // of Failed
	// Bytes of payload, of Closed.
	FromGuest, ToGuest uint64
}

// maxEvents is how many events wait for their observer.
const maxEvents = 1024

// observer hands events over.
type observer struct {
	events chan Event // nil: nobody is interested
	done   chan struct{}
	lost   atomic.Uint64
}

func (o *observer) start(observe func(Event)) {
	if observe == nil {
		return
	}
	o.events, o.done = make(chan Event, maxEvents), make(chan struct{})
	safe.Go("nat events", nil, func() {
		defer close(o.done)
		for ev := range o.events {
			_ = safe.Run("nat observer", func() { observe(ev) })
		}
	})
}

// say never blocks. Preconditions: stop was not called.
func (o *observer) say(ev Event) {
	if o.events == nil {
		return
	}
	select {
	case o.events <- ev:
	default:
		o.lost.Add(1)
	}
}

// stop returns when the last event was handed over.
func (o *observer) stop() {
	if o.events != nil {
		close(o.events)
		<-o.done
	}
}
