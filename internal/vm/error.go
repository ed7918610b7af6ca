package vm

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"syscall"
)

// ConsoleTailSize is the number of bytes of console output that the error of a
// failed boot carries: the last 4 KiB.
const ConsoleTailSize = 4096

// Error is the error type of libcapsa: every error that leaves package capsa is
// an *Error. It is immutable once returned.
type Error struct {
	Op          string    // what was being done: "build", "start", "console.expect"
	Kind        Kind      // the class, for programs
	Component   string    // the part that failed: "kvm", "console", "boot"; may be ""
	Path        string    // the file concerned, if any
	Hint        string    // what the person should do about it; may be ""
	Problems    []Problem // for KindConfig: every problem found
	ConsoleTail []byte    // for KindBoot: the last output of the guest, at most ConsoleTailSize
	Err         error     // the cause; for KindIO usually an os.SyscallError
}

// Problem is one thing that is wrong with a configuration.
type Problem struct {
	Field   string `json:"field"`          // as in the JSON form: "memory_mib", "boot.args[2]"
	Message string `json:"message"`        // what is wrong, with the value
	Hint    string `json:"hint,omitempty"` // what to do
}

func (p Problem) String() string {
	s := p.Message
	if p.Field != "" {
		s = p.Field + ": " + s
	}
	if p.Hint != "" {
		s += " (" + p.Hint + ")"
	}
	return s
}

// Errorf makes an Error of the given kind whose cause is formatted like
// fmt.Errorf, %w included.
func Errorf(kind Kind, op, format string, a ...any) *Error {
	return &Error{Op: op, Kind: kind, Err: fmt.Errorf(format, a...)}
}

// Wrap turns any error into an *Error for op, and nil into nil. An error that is
// or wraps an *Error keeps its kind and everything else; its own op stays visible
// in the message. Errors of the operating system and of contexts get their kind
// from KindOf.
func Wrap(op string, err error) error {
	if err == nil {
		return nil
	}
	var e *Error
	if errors.As(err, &e) {
		return err
	}
	return &Error{Op: op, Kind: KindOf(err), Err: err}
}

// KindOf classifies an error: that of the outermost *Error or Kind, else by the
// errno or context error it wraps, else KindInternal. KindOf(nil) is 0.
func KindOf(err error) Kind {
	if err == nil {
		return 0
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Kind
	}
	if k, ok := errors.AsType[Kind](err); ok {
		return k
	}
	for _, c := range kindsOfCauses {
		if errors.Is(err, c.cause) {
			return c.kind
		}
	}
	if _, ok := errors.AsType[syscall.Errno](err); ok {
		return KindIO
	}
	return KindInternal
}

// kindsOfCauses maps well-known causes; first match wins.
var kindsOfCauses = []struct {
	cause error
	kind  Kind
}{
	{context.DeadlineExceeded, KindTimeout},
	{context.Canceled, KindCancelled},
	{fs.ErrNotExist, KindNotFound},
	{fs.ErrExist, KindExists},
	{fs.ErrPermission, KindPermission},
	{fs.ErrClosed, KindClosed},
	{syscall.ENOMEM, KindNoMemory},
	{syscall.EMFILE, KindLimit},
	{syscall.ENFILE, KindLimit},
	{os.ErrNoDeadline, KindLimit}, // epoll would not take a descriptor: fs.epoll.max_user_watches, or no memory
	{syscall.ENOSYS, KindUnsupported},
	{syscall.EPIPE, KindClosed},
}

// ContextError is the typed error of a context that has ended, for op: KindTimeout
// or KindCancelled. It returns nil while the context has not ended.
func ContextError(ctx context.Context, op string) error {
	err := ctx.Err()
	if err == nil {
		return nil
	}
	e := &Error{Op: op, Kind: KindOf(err), Err: err}
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, err) {
		e.Err = fmt.Errorf("%w: %w", err, cause)
	}
	return e
}

// WithHint sets what the person should do. It is for building an error:
// not to be called on one that others may already hold.
func (e *Error) WithHint(hint string) *Error { e.Hint = hint; return e }

// WithComponent sets the part that failed; see WithHint.
func (e *Error) WithComponent(c string) *Error { e.Component = c; return e }

// WithPath sets the file concerned; see WithHint.
func (e *Error) WithPath(p string) *Error { e.Path = p; return e }

// Message is the error without its hint, in one line.
func (e *Error) Message() string {
	var parts []string
	if e.Op != "" {
		parts = append(parts, e.Op)
	}
	if e.Path != "" && (e.Err == nil || !strings.Contains(e.Err.Error(), e.Path)) {
		parts = append(parts, e.Path)
	}
	switch {
	case e.Err != nil:
		parts = append(parts, e.Err.Error())
	default:
		parts = append(parts, e.Kind.String())
	}
	s := strings.Join(parts, ": ")
	for i, p := range e.Problems {
		sep := "; "
		if i == 0 {
			sep = ": "
		}
		s += sep + p.String()
	}
	return s
}

// Error is the message, followed by the hint in parentheses.
func (e *Error) Error() string {
	if e.Hint == "" {
		return e.Message()
	}
	return e.Message() + " (" + e.Hint + ")"
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// Is makes errors.Is(err, vm.KindState) true for an error of that kind. Since
// errors.Is looks through causes, it is also true when a cause is of that kind;
// KindOf gives the outermost.
func (e *Error) Is(target error) bool {
	k, ok := target.(Kind)
	return ok && e.Kind == k
}

// Errno is the operating system's error number at the bottom of the error, or 0.
func (e *Error) Errno() int {
	if n, ok := errors.AsType[syscall.Errno](e.Err); ok {
		return int(n)
	}
	return 0
}

// ErrClosed is what the operations of a closed object return, when there is
// nothing more to say.
var ErrClosed error = &Error{Kind: KindClosed}
