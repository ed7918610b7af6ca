package main

/*
#include "priv.h"
*/
import "C"

import (
	"context"
	"errors"
	"math"
	"time"

	"golang.org/x/sys/unix"

	"github.com/libcapsa/libcapsa/capsa"
	"github.com/libcapsa/libcapsa/internal/safe"
)

// errPending says that a call goes on as an operation; C waits for it.
var errPending = errors.New("pending")

// errFreed ends the waits on a handle that is freed.
var errFreed = errors.New("the handle was freed")

// errTriggered ends the waits with a triggered capsa_cancel.
var errTriggered = errors.New("cancelled by capsa_cancel_trigger")

// wait describes a call that may have to wait.
type wait struct {
	name    string
	timeout C.int64_t       // milliseconds; negative: for ever; 0: not at all
	cancel  C.uintptr_t     // a capsa_cancel, or 0
	life    context.Context // ends when the handle is freed
	try     bool            // run may be called with a context that has ended, first, to see whether there is need to wait
	strict  bool            // run does nothing when its context has ended, not even what needs no waiting

	// run does the work and returns soon after ctx ends. Unless strict is set,
	// it does what needs no waiting even when ctx has ended.
	run func(ctx context.Context) error
	// commit stores the results of run in the caller's memory, on the caller's
	// thread; nil when there are none. It is told run's error.
	commit func(err error) error
}

// expired is the context of a call that may not wait.
var expired, _ = context.WithDeadline(context.Background(), time.Unix(1, 0))

// moment is how long a strict call with timeout 0 may take: time to do what needs
// no waiting, on a busy host too.
const moment = 10 * time.Millisecond

// now runs the call without waiting.
func (w wait) now() error {
	ctx := expired
	if w.strict {
		var stop func()
		ctx, stop = context.WithTimeout(w.life, moment)
		defer stop()
	}
	return w.finish(ctx, w.run(ctx))
}

// begin runs the call at once when it need not or must not wait. Otherwise it
// starts an operation, leaves it in c and returns errPending.
func (w wait) begin(c *C.priv_call) error {
	var token *cancelToken
	if w.cancel != 0 {
		var err error
		if token, err = lookup[*cancelToken](kindCancel, uintptr(w.cancel)); err != nil {
			return err
		}
		if token.ctx.Err() != nil {
			return errorf(capsa.KindCancelled, w.name, "%w", errTriggered)
		}
	}
	if w.timeout == 0 || w.try {
		err := w.now()
		if w.timeout == 0 || !errors.Is(err, capsa.KindTimeout) {
			return err
		}
	}
	return w.start(c, token)
}

// op is a call on its way.
type op struct {
	wait  wait
	ctx   context.Context
	end   context.CancelCauseFunc
	stops []func()      // release what the context hangs on
	fd    int           // readable when the operation is done
	bell  int           // what makes it so; may be the same
	done  chan struct{} // closed after that
	err   error         // of run; valid after done
}

// start runs the call on a goroutine of its own. goOpFinish joins it.
func (w wait) start(c *C.priv_call, token *cancelToken) error {
	fd, bell, err := newBell()
	if errors.Is(err, unix.ENOMEM) {
		return errorf(capsa.KindNoMemory, w.name, "%w", err)
	}
	if err != nil {
		return errorf(capsa.KindLimit, w.name, "%w", err).
			WithHint("raise the limit of open files (ulimit -n)")
	}
	o := &op{wait: w, fd: fd, bell: bell, done: make(chan struct{})}
	o.ctx, o.end = context.WithCancelCause(w.life)
	if w.timeout > 0 {
		ms := min(int64(w.timeout), math.MaxInt64/int64(time.Millisecond))
		ctx, stop := context.WithTimeout(o.ctx, time.Duration(ms)*time.Millisecond)
		o.ctx = ctx
		o.stops = append(o.stops, stop)
	}
	if token != nil {
		stop := context.AfterFunc(token.ctx, func() { o.end(errTriggered) })
		o.stops = append(o.stops, func() { stop() })
	}
	h, err := handles.put(kindOp, o)
	if err != nil {
		o.release()
		return err
	}
	c.op, c.fd = C.uintptr_t(h), C.int(fd)
	safe.Go(w.name, nil, o.work)
	return errPending
}

// work is the operation's goroutine.
func (o *op) work() {
	defer close(o.done)
	defer o.wake()
	if p := safe.Run(o.wait.name, func() { o.err = o.wait.run(o.ctx) }); p != nil {
		o.err = p
	}
}

// wake makes the descriptor readable. The counter cannot overflow: this is the only write. A caller that is not woken
// waits for ever, so a signal must not take the write away.
func (o *op) wake() {
	for {
		if _, err := unix.Write(o.bell, []byte{1, 0, 0, 0, 0, 0, 0, 0}); !errors.Is(err, unix.EINTR) {
			return
		}
	}
}

// release frees what the operation holds. Preconditions: it is done or was never
// started.
func (o *op) release() {
	o.end(nil)
	for _, stop := range o.stops {
		stop()
	}
	_ = unix.Close(o.fd)
	if o.bell != o.fd {
		_ = unix.Close(o.bell)
	}
}

// finish turns the result of run into that of the call.
func (w wait) finish(ctx context.Context, err error) error {
	err = why(ctx, w.name, err)
	if w.commit == nil {
		return err
	}
	return w.commit(err)
}

// why replaces the error of a context that has ended by the reason for its end.
func why(ctx context.Context, name string, err error) error {
	if err == nil || ctx.Err() == nil {
		return err
	}
	switch k := kindOf(err); {
	case k != capsa.KindTimeout && k != capsa.KindCancelled:
		return err
	case errors.Is(context.Cause(ctx), errFreed):
		return errorf(capsa.KindClosed, name, "%w", errFreed)
	case errors.Is(context.Cause(ctx), errTriggered):
		return errorf(capsa.KindCancelled, name, "%w", errTriggered)
	case errors.Is(context.Cause(ctx), errInterrupted):
		return errorf(capsa.KindCancelled, name, "%w", errInterrupted)
	case errors.Is(err, capsa.KindTimeout):
		return err
	}
	return &capsa.Error{Op: name, Kind: capsa.KindTimeout, Err: err}
}

// goOpFinish ends an operation for which C has waited. When the wait was
// interrupted the operation is told to end; if it was done all the same, its
// result counts.
//
//export goOpFinish
func goOpFinish(h C.uintptr_t, interrupted C.int, c *C.priv_call) C.capsa_status {
	o, ok := handles.take(kindOp, uintptr(h)).(*op)
	if !ok {
		return guard(c, "wait", func() error { return badHandle(kindOp, uintptr(h)) })
	}
	if interrupted != 0 {
		o.end(errInterrupted)
	}
	<-o.done
	return guard(c, o.wait.name, func() error {
		defer o.release()
		return o.wait.finish(o.ctx, o.err)
	})
}
