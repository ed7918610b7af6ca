package host

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"syscall"

	"github.com/containerd/ttrpc"
	"google.golang.org/protobuf/proto"

	"github.com/libcapsa/libcapsa/internal/agent/wire"
	"github.com/libcapsa/libcapsa/internal/vm"
)

const component = "agent"

// method is one of the agent's, as a method expression: wire.AgentService.Start.
type method[Q, R any] = func(wire.AgentService, context.Context, *Q) (*R, error)

// Call makes a call and waits for its answer, first until the guest is set up. Errors:
// the guest's own (KindGuest, or the kind that its error number has), KindProtocol,
// KindClosed (the connection or the Host ended), KindLimit, KindTimeout, KindCancelled.
// A call whose wait has ended is still carried out.
func Call[Q, R any](ctx context.Context, h *Host, op string, m method[Q, R], q *Q) (*R, error) {
	return CallLate(ctx, h, op, m, q, nil)
}

// CallLate is Call. late gets the answer that came after the caller had gone; it is
// called on a goroutine of the Host's and may make calls.
func CallLate[Q, R any](ctx context.Context, h *Host, op string, m method[Q, R], q *Q, late func(*R)) (*R, error) {
	if size := requestSize(q); size > wire.MaxRequest {
		return nil, vm.Errorf(vm.KindLimit, op, "the request takes %d bytes; at most %d are sent", size, wire.MaxRequest).WithComponent(component)
	}
	// Before it is set up the guest has another root directory.
	if _, err := h.Ready(ctx); err != nil {
		return nil, err
	}
	return callEarly(ctx, h, op, m, q, late)
}

// callEarly is CallLate for a guest that need not be set up.
func callEarly[Q, R any](ctx context.Context, h *Host, op string, m method[Q, R], q *Q, late func(*R)) (*R, error) {
	l, err := h.await(ctx, op)
	if err != nil {
		return nil, err
	}
	select {
	case h.calls <- struct{}{}:
	default:
		return nil, vm.Errorf(vm.KindLimit, op, "%d calls wait for the guest", wire.MaxCalls).WithComponent(component)
	}
	type result struct {
		reply *R
		err   error
	}
	answer, gone := make(chan result), make(chan struct{})
	defer close(gone)
	work := func() {
		defer func() { <-h.calls }()
		// ttrpc forgets a call whose context ends, and then complains of the answer.
		reply, err := m(l.agent, context.Background(), q)
		r := result{reply, h.judge(op, l, faultOf(reply), err)}
		select {
		case answer <- r:
		case <-gone:
			if late != nil && r.err == nil {
				late(reply)
			}
		}
	}
	broken := func(err error) {
		select {
		case answer <- result{err: vm.Errorf(vm.KindInternal, op, "%w", err).WithComponent(component)}:
		case <-gone:
		}
	}
	if !h.start("agent call", broken, work) {
		<-h.calls
		return nil, closedError(op)
	}
	select {
	case r := <-answer:
		if r.err != nil {
			return nil, r.err
		}
		return r.reply, nil
	case <-ctx.Done():
		return nil, vm.ContextError(ctx, op)
	}
}

// requestSize is the size of a message on the wire.
func requestSize(q any) int {
	if m, ok := q.(proto.Message); ok {
		return proto.Size(m)
	}
	return 0
}

func faultOf(reply any) *wire.Fault {
	if r, ok := reply.(interface{ GetFault() *wire.Fault }); ok {
		return r.GetFault() // nil of a nil reply
	}
	return nil
}

// await is the link to the agent, when there is one.
func (h *Host) await(ctx context.Context, op string) (*link, error) {
	for {
		h.mu.Lock()
		l, linked, fault := h.link, h.linked, h.fault
		h.mu.Unlock()
		if fault != nil {
			return nil, fault
		}
		if l != nil {
			return l, nil
		}
		select {
		case <-linked:
		case <-h.closed:
			return nil, closedError(op)
		case <-ctx.Done():
			return nil, vm.ContextError(ctx, op)
		}
	}
}

func closedError(op string) error {
	return vm.Errorf(vm.KindClosed, op, "the machine has ended").WithComponent(component)
}

// judge makes the error of a call.
func (h *Host) judge(op string, l *link, fault *wire.Fault, err error) error {
	if err == nil && fault == nil {
		return nil
	}
	if err == nil {
		return FaultError(op, fault)
	}
	if bad := l.guard.fault(); bad != nil {
		return vm.Errorf(vm.KindProtocol, op, "%w", bad).WithComponent(component)
	}
	select {
	case <-h.closed:
		return closedError(op)
	default:
	}
	if errors.Is(err, ttrpc.ErrClosed) || errors.Is(err, net.ErrClosed) || errors.Is(err, syscall.ECONNRESET) {
		return vm.Errorf(vm.KindClosed, op, "the connection to the agent was lost").WithComponent(component)
	}
	return vm.Errorf(vm.KindProtocol, op, "the agent broke the protocol: %s", Clean(err.Error())).WithComponent(component)
}

// FaultError makes the error of what the guest could not do.
func FaultError(op string, f *wire.Fault) error {
	text := Clean(f.Message)
	errno := syscall.Errno(0)
	if f.Errno > 0 && f.Errno < 4096 { // MAX_ERRNO (include/linux/err.h)
		errno = syscall.Errno(f.Errno)
	}
	kind, ok := kinds[errno]
	if !ok {
		kind = vm.KindGuest
	}
	e := vm.Errorf(kind, op, "%s", text).WithComponent(component)
	if errno != 0 {
		e.Err = &guestError{text: text, errno: errno}
	}
	return e
}

// guestError is what the guest says, with its error number.
type guestError struct {
	text  string
	errno syscall.Errno
}

func (e *guestError) Error() string {
	if e.text == "" {
		return e.errno.Error()
	}
	return e.text
}

func (e *guestError) Unwrap() error { return e.errno }

// kinds are the classes of error numbers that have one of their own.
var kinds = map[syscall.Errno]vm.Kind{
	syscall.ENOENT: vm.KindNotFound, syscall.EEXIST: vm.KindExists, syscall.ENOTEMPTY: vm.KindExists,
	syscall.EACCES: vm.KindPermission, syscall.EPERM: vm.KindPermission, syscall.EROFS: vm.KindPermission,
	syscall.EINVAL: vm.KindInvalidArg, syscall.ENAMETOOLONG: vm.KindInvalidArg,
	syscall.ENOSYS: vm.KindUnsupported, syscall.EOPNOTSUPP: vm.KindUnsupported,
	syscall.EMFILE: vm.KindLimit, syscall.ENFILE: vm.KindLimit, syscall.EDQUOT: vm.KindLimit,
	syscall.ESRCH: vm.KindState,
}

// Clean makes text of the guest's fit for people: one line, not too long, printable.
func Clean(s string) string {
	if len(s) > wire.MaxMessage {
		s = s[:wire.MaxMessage]
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || (r >= 0x80 && r < 0xa0) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
}

func (h *Host) log(format string, a ...any) {
	if h.cfg.Log != nil {
		h.cfg.Log(fmt.Sprintf(format, a...))
	}
}
