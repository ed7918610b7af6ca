package vz

import (
	"context"
	"net"
	"os"

	"github.com/libcapsa/libcapsa/internal/vz/plan"
)

// Framework is Virtualization.framework, as far as machines need it.
type Framework interface {
	// Mac describes the host.
	Mac() (plan.Mac, error)
	// New makes the machine of a plan and checks it; nothing runs. It takes over the
	// ends, also when it fails.
	New(p *plan.Plan, ends Ends) (Guest, error)
}

// Ends are the framework's ends of what connects the guest.
type Ends struct {
	Input   *os.File // what is typed: a pipe to read from
	Output  *os.File // what the guest prints: a pipe to write to
	Network *os.File // a datagram socket, one frame each; nil: none

	Log func(format string, a ...any) // for people
}

// Close closes all ends.
func (e Ends) Close() {
	for _, f := range []*os.File{e.Input, e.Output, e.Network} {
		if f != nil {
			_ = f.Close()
		}
	}
}

// State is a state of a Guest, of those that last.
type State int

// The states.
const (
	Stopped State = iota // also before the start
	Running
	Paused
	Failed
)

// Guest is a VZVirtualMachine. Its methods may be called from any goroutine; those that
// change its state one at a time.
type Guest interface {
	// States tells of every change to a state that lasts, in order. It is closed after
	// Close.
	States() <-chan State

	Start() error
	Pause() error
	Resume() error
	// RequestStop presses the power button.
	RequestStop() error
	// Stop ends the guest now. Legal while it runs or is paused.
	Stop() error

	// Save writes the state of a paused guest, Restore reads it into one that is not
	// started, which is paused then.
	Save(path string) error
	Restore(path string) error
	// Identifier is what Restore wants to find in its plan.
	Identifier() ([]byte, error)

	// SetMemory is the balloon's target, in bytes.
	SetMemory(bytes uint64) error

	// Connect and Listen are for ports of the socket device; legal once the guest has
	// been started.
	Connect(ctx context.Context, port uint32) (*net.UnixConn, error)
	Listen(port uint32) (Listener, error)

	// Close gives the guest up. Preconditions: it does not run.
	Close() error
}

// Listener takes the guest's connections to a port of the host.
type Listener interface {
	// Accept returns net.ErrClosed after Close.
	Accept() (*net.UnixConn, error)
	Close() error
}
