//go:build linux

package fuse

import (
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/libcapsa/libcapsa/internal/safe"
)

const (
	// maxWaits bounds the requests of one share that wait for locks. Each has
	// a thread that the kernel holds until the lock is granted.
	maxWaits = 128
	// maxThreads bounds those threads in the whole process, of which Go allows
	// 10,000.
	maxThreads = 1024
)

// waitThreads counts threads that wait for locks in the process.
var waitThreads atomic.Int64

// waiters are the requests of a session that wait for locks.
type waiters struct {
	mu     sync.Mutex
	m      map[uint64]chan struct{} // guarded by mu; by unique, closed to give up
	closed bool                     // guarded by mu
}

func (w *waiters) init() { w.m = map[uint64]chan struct{}{} }

func (w *waiters) enter(unique uint64) (<-chan struct{}, syscall.Errno) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.closed:
		return nil, syscall.EINTR
	case len(w.m) >= maxWaits:
		return nil, syscall.ENOLCK
	case w.m[unique] != nil:
		return nil, syscall.EINVAL
	}
	c := make(chan struct{})
	w.m[unique] = c
	return c, 0
}

func (w *waiters) leave(unique uint64) {
	w.mu.Lock()
	delete(w.m, unique)
	w.mu.Unlock()
}

// interrupt makes one request give up; false: it does not wait.
func (w *waiters) interrupt(unique uint64) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	c := w.m[unique]
	if c == nil {
		return false
	}
	close(c)
	delete(w.m, unique)
	return true
}

// close makes all give up, and those that come later.
func (w *waiters) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed = true
	for unique, c := range w.m {
		close(c)
		delete(w.m, unique)
	}
}

// wait calls lock, which waits in the kernel, on a thread of its own, and
// returns what it does, or EINTR when the client or a reset makes the request
// give up. The kernel cannot be told to give up without a signal handler,
// which is not ours to install; the thread stays until the lock is granted,
// and then takes it back with undo. f stays open until then. note is called
// when the lock was granted in time.
func (r *request) wait(f *file, lock func() syscall.Errno, note, undo func()) syscall.Errno {
	stop, e := r.s.waits.enter(r.unique)
	if e != 0 {
		return e
	}
	defer r.s.waits.leave(r.unique)
	if waitThreads.Add(1) > maxThreads {
		waitThreads.Add(-1)
		return syscall.ENOLCK
	}
	r.block(true)
	var decided atomic.Bool // by the first of: granted, given up
	done := make(chan syscall.Errno, 1)
	f.tryGet() // held by the caller, so that it is there
	failed := func(error) {
		if decided.CompareAndSwap(false, true) {
			done <- syscall.EIO
		}
	}
	safe.Go("fuse lock wait", failed, func() {
		defer waitThreads.Add(-1)
		defer f.put()
		e := lock()
		for e == syscall.EINTR && !decided.Load() {
			e = lock()
		}
		switch {
		case !decided.CompareAndSwap(false, true):
			if e == 0 {
				undo()
			}
		case e == 0:
			note()
			fallthrough
		default:
			done <- e
		}
	})
	select {
	case e := <-done:
		return e
	case <-stop:
		if decided.CompareAndSwap(false, true) {
			return syscall.EINTR
		}
		return <-done
	}
}

// interrupt is INTERRUPT. Its reply, if any, says that the request was not
// found; the client then asks once more.
func interrupt(r *request) syscall.Errno {
	if r.s.waits.interrupt(r.u64(0)) {
		return noReply
	}
	return syscall.EAGAIN
}
