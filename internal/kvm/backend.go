//go:build linux

package kvm

import (
	"sync"

	"github.com/libcapsa/libcapsa/internal/kvm/kvmsys"
	"github.com/libcapsa/libcapsa/internal/kvm/layout"
	"github.com/libcapsa/libcapsa/internal/vm"
)

// Name is the backend's name.
const Name = "kvm"

// Backend makes machines out of /dev/kvm. It is safe for concurrent use and
// keeps nothing open.
type Backend struct {
	path string
	gate kvmsys.Gate // nil but in tests
	load load

	mu    sync.Mutex
	cpuid []kvmsys.CPUIDEntry // KVM_GET_SUPPORTED_CPUID, asked for once: it is slow in nested machines; guarded by mu
}

var _ vm.Backend = (*Backend)(nil)

// New makes the backend. It does not touch the host.
func New() *Backend { return &Backend{path: kvmsys.DevicePath, load: loadLinux} }

// Name implements vm.Backend.
func (b *Backend) Name() string { return Name }

// Capabilities implements vm.Backend.
func (b *Backend) Capabilities() (vm.Capabilities, error) {
	sys, err := openKVM(b.path, b.gate)
	if err != nil {
		return vm.Capabilities{}, err
	}
	defer func() { _ = sys.Close() }()
	model, err := b.model(sys)
	if err != nil {
		return vm.Capabilities{}, err
	}
	caps := capabilities(sys, model)
	caps.Detail = detail(sys)
	return caps, nil
}

// capabilities is what a Config is checked against.
func capabilities(sys *kvmsys.System, model cpuModel) vm.Capabilities {
	return vm.Capabilities{
		MaxCPUs:   maxVCPUs(sys),
		MaxMemory: maxMemory(model.physBits()),
		Features: map[vm.Feature]bool{
			vm.FeaturePause: true, vm.FeaturePowerButton: true, vm.FeatureConsole: true,
			vm.FeatureConsoleResize: true, vm.FeatureEarlyConsole: true, vm.FeatureEntropy: true,
			vm.FeatureBootLinux: true,
		},
	}
}

// maxMemory is the most memory that a machine may have, in bytes and whole MiB:
// what the processor can address, and what the host has.
func maxMemory(physBits uint32) uint64 {
	const gap = layout.HighMemBase - layout.LowMemEnd
	limit := uint64(1)<<physBits - gap
	if host := hostMemory(); host != 0 {
		limit = min(limit, host)
	}
	return min(limit, vm.MaxMemory) / vm.MiB * vm.MiB
}

// model is the processor that KVM offers here, without what depends on a
// machine.
func (b *Backend) model(sys *kvmsys.System) (cpuModel, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.cpuid == nil {
		ids, err := sys.SupportedCPUID()
		if err != nil {
			return cpuModel{}, stepError(err)
		}
		b.cpuid = ids
	}
	return cpuModel{supported: b.cpuid}, nil
}

// New implements vm.Backend.
func (b *Backend) New(cfg vm.Config, host vm.Host) (vm.Machine, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err // without a look at the host: it is wrong anywhere
	}
	growFDTable()
	sys, err := openKVM(b.path, b.gate)
	if err != nil {
		return nil, err
	}
	// A machine needs the device for its making only.
	defer func() { _ = sys.Close() }()
	model, err := b.model(sys)
	if err != nil {
		return nil, err
	}
	if err := cfg.ValidateFor(Name, capabilities(sys, model)); err != nil {
		return nil, err
	}
	model.cpus = cfg.CPUs
	m, err := newMachine(sys, model, cfg.WithDefaults(), host, b.load)
	if err != nil {
		return nil, err // not m: a nil *machine is not a nil vm.Machine
	}
	return m, nil
}
