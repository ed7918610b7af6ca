package vsock

import (
	"errors"
	"fmt"
	"syscall"

	"github.com/libcapsa/libcapsa/internal/vm"
)

// Why a connection does not come about or ends.
var (
	errClosed   = &cause{"the machine's sockets are closed", vm.KindClosed}
	errFull     = &cause{"there are as many connections as there may be", vm.KindLimit}
	errRefused  = fmt.Errorf("the guest has nobody listening: %w", syscall.ECONNREFUSED)
	errReset    = fmt.Errorf("the guest's driver was reset: %w", syscall.ECONNRESET)
	errProtocol = &cause{"the guest broke the protocol", vm.KindProtocol}
)

// cause is an error with a class.
type cause struct {
	text string
	kind vm.Kind
}

func (c *cause) Error() string { return c.text }
func (c *cause) Unwrap() error { return c.kind }

// wrap makes a *vm.Error of an error of this package or of the system.
func wrap(op string, err error) *vm.Error {
	if e, ok := errors.AsType[*vm.Error](err); ok {
		return e
	}
	kind := vm.KindOf(err)
	if errors.Is(err, syscall.EADDRINUSE) {
		kind = vm.KindExists
	}
	return (&vm.Error{Op: op, Kind: kind, Err: err}).WithComponent("vsock")
}
