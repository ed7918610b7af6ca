package vz

import (
	"github.com/libcapsa/libcapsa/internal/vm"
	"github.com/libcapsa/libcapsa/internal/vz/plan"
)

// Backend makes machines of Virtualization.framework. It is safe for concurrent use and
// keeps nothing open.
type Backend struct{ framework Framework }

var _ vm.Backend = (*Backend)(nil)

// New makes a backend. It does not touch the framework.
func New(f Framework) *Backend { return &Backend{framework: f} }

// Name implements vm.Backend.
func (b *Backend) Name() string { return plan.Name }

// Capabilities implements vm.Backend.
func (b *Backend) Capabilities() (vm.Capabilities, error) {
	mac, err := b.framework.Mac()
	if err != nil {
		return vm.Capabilities{}, wrap("examine the Mac", err)
	}
	return mac.Capabilities()
}

// New implements vm.Backend.
func (b *Backend) New(cfg vm.Config, host vm.Host) (vm.Machine, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err // without a look at the host: it is wrong anywhere
	}
	mac, err := b.framework.Mac()
	if err != nil {
		return nil, wrap(opNew, err)
	}
	p, err := plan.Make(cfg, mac)
	if err != nil {
		return nil, err
	}
	caps, err := mac.Capabilities()
	if err != nil {
		return nil, err
	}
	m, err := newMachine(b.framework, p, caps, cfg.WithDefaults(), host)
	if err != nil {
		return nil, err // not m: a nil *machine is not a nil vm.Machine
	}
	return m, nil
}

const (
	component = plan.Name
	opNew     = "new machine"
)

// wrap gives an error its type, unless it has one.
func wrap(op string, err error) error {
	if err == nil {
		return nil
	}
	if e, ok := vm.Wrap(op, err).(*vm.Error); ok && e.Component == "" {
		e.Component = component
		return e
	}
	return err
}
