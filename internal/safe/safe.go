// Package safe starts goroutines that cannot take the process down.
//
// A Go panic that reaches the top of any goroutine kills the whole process, here somebody else's. Therefore product code
// never has a bare go statement: it calls Go, which recovers, turns memory faults (SIGBUS, SIGSEGV on guest memory) into
// panics that can be recovered, and hands the owner a typed error so that one device or one machine fails alone.
//
// Not contained, because the Go runtime offers no way: stack overflow, concurrent map writes, running out of memory.
// Callers bound recursion, lock maps, and cap every length that a guest chose before they allocate.
package safe

import (
	"fmt"
	"runtime/debug"
	"sync/atomic"
)

// panics counts contained panics since the process started.
var panics atomic.Uint64

// Panics is the number of panics contained since the process started, by Go, Run and Recovered together.
func Panics() uint64 { return panics.Load() }

// PanicError is a panic that was contained.
type PanicError struct {
	Name  string // of the goroutine or call
	Value any    // given to panic
	Stack []byte // of the goroutine that panicked, as debug.Stack prints it
}

// Error names the goroutine and the panic's value; the stack is left to Stack.
func (e *PanicError) Error() string { return fmt.Sprintf("%s panicked: %v", e.Name, e.Value) }

// Unwrap is the panic's value when that was an error (runtime errors are).
func (e *PanicError) Unwrap() error {
	err, _ := e.Value.(error)
	return err
}

// Go runs fn on a new goroutine. When fn panics or touches memory that is not there, onPanic (which may be nil) gets a
// *PanicError on that goroutine, after fn's own deferred calls have run. A panic of onPanic itself is counted and dropped.
//
// The caller owns the goroutine: fn signals its end (a WaitGroup, a channel) in a defer, and the owner's Close waits for it.
func Go(name string, onPanic func(err error), fn func()) {
	go func() {
		err := Run(name, fn)
		if err != nil && onPanic != nil {
			_ = Run(name+": panic handler", func() { onPanic(err) })
		}
	}()
}

// Run calls fn on the caller's goroutine, contained the way Go does it, and returns a *PanicError when fn panicked. It
// guards the entries of foreign callers, whose goroutine the library does not start.
func Run(name string, fn func()) (err error) {
	old := debug.SetPanicOnFault(true)
	defer debug.SetPanicOnFault(old)
	defer func() {
		if v := recover(); v != nil {
			err = Recovered(name, v)
		}
	}()
	fn()
	return nil
}

// Recovered counts a panic that its caller, a deferred function, has recovered, and describes it: for the few places where
// Run's closure is too slow.
func Recovered(name string, value any) *PanicError {
	panics.Add(1)
	return &PanicError{Name: name, Value: value, Stack: debug.Stack()}
}
