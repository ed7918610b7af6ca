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
	cpus *cpuidCache
}

// cpuidCache keeps what KVM_GET_SUPPORTED_CPUID says: it does not change while
// the process runs, and asking takes 0.3 ms, in nested machines more.
type cpuidCache struct {
	mu    sync.Mutex
	table []kvmsys.CPUIDEntry // nil: not asked yet; guarded by mu
}

// hostCPUs is shared by all backends of the process. It is a cache of a property
// of the host and no state.
var hostCPUs cpuidCache

func (c *cpuidCache) get(sys *kvmsys.System) ([]kvmsys.CPUIDEntry, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.table == nil {
		table, err := sys.SupportedCPUID()
		if err != nil {
			return nil, stepError(err)
		}
		c.table = table
	}
	return c.table, nil
}

var _ vm.Backend = (*Backend)(nil)

// New makes the backend. It does not touch the host.
func New() *Backend {
	return &Backend{path: kvmsys.DevicePath, load: loadLinux, cpus: &hostCPUs}
}

// Name implements vm.Backend.
func (b *Backend) Name() string { return Name }

// Capabilities implements vm.Backend.
func (b *Backend) Capabilities() (vm.Capabilities, error) {
	sys, err := openKVM(b.path, b.gate)
	if err != nil {
		return vm.Capabilities{}, err
	}
	defer func() { _ = sys.Close() }()
	table, err := b.cpus.get(sys)
	if err != nil {
		return vm.Capabilities{}, err
	}
	caps := capabilities(sys, cpuModel{supported: table})
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
			vm.FeatureBootLinux: true, vm.FeatureDisk: true,
		},
		Fits: fits,
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
	table, err := b.cpus.get(sys)
	if err != nil {
		return nil, err
	}
	model := cpuModel{supported: table, cpus: cfg.CPUs}
	if err := cfg.ValidateFor(Name, capabilities(sys, model)); err != nil {
		return nil, err
	}
	m, err := newMachine(sys, model, cfg.WithDefaults(), host, b.load)
	if err != nil {
		return nil, err // not m: a nil *machine is not a nil vm.Machine
	}
	return m, nil
}
