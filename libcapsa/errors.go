package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/libcapsa/libcapsa/capsa"
)

// errorf makes the errors that arise in this package itself.
func errorf(kind capsa.Kind, op, format string, a ...any) *capsa.Error {
	return &capsa.Error{Op: op, Kind: kind, Err: fmt.Errorf(format, a...)}
}

// kindOf is the kind of an error of package capsa. What has none is a fault of
// the library.
func kindOf(err error) capsa.Kind {
	if e, ok := errors.AsType[*capsa.Error](err); ok {
		return e.Kind
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return capsa.KindTimeout
	case errors.Is(err, context.Canceled):
		return capsa.KindCancelled
	}
	return capsa.KindInternal
}
