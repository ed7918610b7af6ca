package wire

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"syscall"

	"github.com/libcapsa/libcapsa/internal/safe"
	"github.com/libcapsa/libcapsa/internal/vm"
)

// Limits of an error on its way.
const (
	maxText     = 64 << 10 // of one text, bytes
	maxProblems = 1024
	maxKinds    = 16
)

// Error is a *vm.Error, or an error that wraps one.
type Error struct {
	Op          text         `json:"op,omitempty"`
	Kind        vm.Kind      `json:"kind"`
	Component   text         `json:"component,omitempty"`
	Path        text         `json:"path,omitempty"`
	Hint        text         `json:"hint,omitempty"`
	Problems    []vm.Problem `json:"problems,omitempty"`
	ConsoleTail []byte       `json:"console_tail,omitempty"`
	Cause       *cause       `json:"cause,omitempty"`
	Around      text         `json:"around,omitempty"` // the words of an error that wraps it, if there is one
}

// cause is what an error wraps: its words, and what programs look for in it.
type cause struct {
	Text  text          `json:"text"`
	Errno syscall.Errno `json:"errno,omitempty"`
	Kinds []vm.Kind     `json:"kinds,omitempty"` // of every *vm.Error in it
	Panic *panicked     `json:"panic,omitempty"`
}

// panicked is a *safe.PanicError.
type panicked struct {
	Name  text `json:"name"`
	Value text `json:"value"`
	Stack text `json:"stack"`
}

// EncodeError makes the form of an error of op; nil of nil.
func EncodeError(op string, err error) *Error {
	if err == nil {
		return nil
	}
	e, ok := errors.AsType[*vm.Error](err)
	if !ok {
		e = &vm.Error{Op: op, Kind: vm.KindOf(err), Err: err}
	}
	out := &Error{
		Op: clip(e.Op), Kind: e.Kind, Component: clip(e.Component), Path: clip(e.Path), Hint: clip(e.Hint),
		Problems:    e.Problems[:min(len(e.Problems), maxProblems)],
		ConsoleTail: e.ConsoleTail[max(0, len(e.ConsoleTail)-vm.ConsoleTailSize):],
	}
	if e.Err != nil {
		out.Cause = encodeCause(e.Err)
	}
	if ok && err != error(e) {
		out.Around = clip(err.Error())
	}
	return out
}

func clip(s string) text { return text(s[:min(len(s), maxText)]) }

func encodeCause(err error) *cause {
	c := &cause{Text: clip(err.Error())}
	if n, ok := errors.AsType[syscall.Errno](err); ok {
		c.Errno = n
	}
	for _, k := range vm.Kinds() {
		if errors.Is(err, k) && len(c.Kinds) < maxKinds {
			c.Kinds = append(c.Kinds, k)
		}
	}
	if p, ok := errors.AsType[*safe.PanicError](err); ok {
		c.Panic = &panicked{Name: clip(p.Name), Value: clip(fmt.Sprint(p.Value)), Stack: clip(string(p.Stack))}
	}
	return c
}

// Decode is the error, or nil. A kind that is not known is KindInternal.
func (e *Error) Decode() error {
	if e == nil {
		return nil
	}
	out := &vm.Error{
		Op: string(e.Op), Kind: e.Kind, Component: string(e.Component), Path: string(e.Path), Hint: string(e.Hint),
		Problems:    e.Problems,
		ConsoleTail: e.ConsoleTail[:min(len(e.ConsoleTail), vm.ConsoleTailSize)],
	}
	if !slices.Contains(vm.Kinds(), e.Kind) {
		out.Kind = vm.KindInternal
	}
	if e.Cause != nil {
		out.Err = e.Cause.decode()
	}
	if e.Around != "" {
		return &around{text: string(e.Around), inner: out}
	}
	return out
}

// around is an error that wraps a *vm.Error.
type around struct {
	text  string
	inner *vm.Error
}

// Error is the whole text.
func (a *around) Error() string { return a.text }

// Unwrap is the *vm.Error.
func (a *around) Unwrap() error { return a.inner }

// remote is the cause of an error of another process.
type remote struct {
	text  string
	kinds []vm.Kind
	inner []error // what errors.As finds
}

func (c *cause) decode() *remote {
	r := &remote{text: cmp.Or(string(c.Text), "no reason was given"), kinds: c.Kinds}
	if c.Errno != 0 {
		r.inner = append(r.inner, c.Errno)
	}
	if p := c.Panic; p != nil {
		r.inner = append(r.inner, &safe.PanicError{Name: string(p.Name), Value: string(p.Value), Stack: []byte(p.Stack)})
	}
	return r
}

// Error is the cause's words.
func (r *remote) Error() string { return r.text }

// Unwrap is what is known of the causes of the cause.
func (r *remote) Unwrap() []error { return r.inner }

// Is finds the kinds of errors that were in the cause.
func (r *remote) Is(target error) bool {
	k, ok := target.(vm.Kind)
	return ok && slices.Contains(r.kinds, k)
}
