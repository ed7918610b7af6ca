//go:build linux

package kvm

import "errors"

// cleanup is a stack of things to undo. A constructor pushes after each step,
// and runs it when a later one fails; a machine keeps it and runs it at its end.
type cleanup struct{ steps []func() error }

// add pushes what undoes the last step.
func (c *cleanup) add(undo func() error) { c.steps = append(c.steps, undo) }

// run undoes everything, last first, once. Every step is run whatever the
// others say.
func (c *cleanup) run() error {
	var errs []error
	for i := len(c.steps) - 1; i >= 0; i-- {
		errs = append(errs, c.steps[i]())
	}
	c.steps = nil
	return errors.Join(errs...)
}
