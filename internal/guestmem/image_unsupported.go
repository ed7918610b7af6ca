//go:build !linux

package guestmem

import (
	"errors"
	"io"
)

// NewImage makes no image on this platform.
func NewImage(string, uint64, func(io.WriterAt) error) (*Image, error) {
	return nil, errors.ErrUnsupported
}
