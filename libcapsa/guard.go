package main

/*
#include "priv.h"
*/
import "C"

import (
	"encoding/json"
	"errors"
	"fmt"
	"runtime/debug"
	"strings"

	"github.com/libcapsa/libcapsa/capsa"
	"github.com/libcapsa/libcapsa/internal/safe"
)

// statusInterrupted is CAPSA_E_INTERRUPTED: KindCancelled with detail 1.
const statusInterrupted = C.capsa_status(C.CAPSA_E_INTERRUPTED)

// errInterrupted ends a wait whose thread ran a signal handler.
var errInterrupted = errors.New("a signal handler ran")

// guard runs an export: a panic becomes CAPSA_E_INTERNAL, an error becomes the
// caller's error object.
func guard(c *C.priv_call, name string, fn func() error) (status C.capsa_status) {
	// As safe.Run, which would double the price of a trivial call. Faults stay
	// panics: this goroutine is the caller's thread, which runs exports alone.
	debug.SetPanicOnFault(true)
	defer contain(c, name, &status)
	return result(c, name, fn())
}

// on runs an export on the object of a handle, as guard does.
func on[T any](k kind, h C.uintptr_t, c *C.priv_call, name string, fn func(T) error) (status C.capsa_status) {
	debug.SetPanicOnFault(true)
	defer contain(c, name, &status)
	object, err := lookup[T](k, uintptr(h))
	if err == nil {
		err = fn(object)
	}
	return result(c, name, err)
}

// contain is deferred: it makes the status of a call that panics.
func contain(c *C.priv_call, name string, status *C.capsa_status) {
	if v := recover(); v != nil {
		*status = fail(c, name, safe.Recovered(name, v))
	}
}

func result(c *C.priv_call, name string, err error) C.capsa_status {
	if err == nil {
		return C.CAPSA_OK
	}
	return fail(c, name, err)
}

// free runs a _free export, which has nobody to tell.
func free(name string, fn func()) { _ = safe.Run(name, fn) }

// fail stores the error object for an error and returns its status.
func fail(c *C.priv_call, name string, err error) C.capsa_status {
	if errors.Is(err, errPending) {
		return C.PRIV_PENDING
	}
	status := -C.capsa_status(kindOf(err))
	if errors.Is(err, errInterrupted) {
		status = statusInterrupted
	}
	if c.err == nil {
		return status
	}
	text := errorText(name, err)
	errno := 0
	if e, ok := errors.AsType[*capsa.Error](err); ok {
		errno = e.Errno()
	}
	return C.priv_fail(c, status, C.int32_t(errno), bytesPointer(text), C.size_t(len(text)))
}

// errorDetail is the JSON of capsa_error_detail_json.
type errorDetail struct {
	Op       string          `json:"op,omitempty"`
	Kind     string          `json:"kind"`
	Path     string          `json:"path,omitempty"`
	Problems []capsa.Problem `json:"problems,omitempty"`
	Stack    string          `json:"stack,omitempty"`
}

// errorText is an error in the form that priv_fail wants: message, hint,
// component and detail, each ended by a zero byte, then the console's tail.
func errorText(name string, err error) []byte {
	e, ok := errors.AsType[*capsa.Error](err)
	if !ok {
		e = &capsa.Error{Op: name, Kind: kindOf(err), Err: err}
	}
	detail := errorDetail{Op: e.Op, Kind: e.Kind.String(), Path: e.Path, Problems: e.Problems}
	if p, ok := errors.AsType[*safe.PanicError](err); ok {
		detail.Stack = string(p.Stack)
	}
	encoded, jsonErr := json.Marshal(detail)
	if jsonErr != nil {
		encoded = []byte("{}")
	}
	message := e.Message()
	if e.Op == "" {
		message = name + ": " + message
	}
	if detail.Stack != "" {
		message = fmt.Sprintf("%s; this is a fault of libcapsa, please report it with the stack in the detail", message)
	}
	var text []byte
	for _, s := range []string{message, e.Hint, e.Component, string(encoded)} {
		text = append(text, oneText(s)...)
		text = append(text, 0)
	}
	return append(text, e.ConsoleTail...)
}

// oneText makes a string fit to stand in C as UTF-8: no zero bytes, no invalid
// sequences (paths are bytes).
func oneText(s string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\\0")
}
