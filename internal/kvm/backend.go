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
	path  string
	gate  kvmsys.Gate // nil but in tests
	load  load
	facts *hostFacts
}

// facts is what KVM offers on this host.
type facts struct {
	cpuid []kvmsys.CPUIDEntry
	caps  vm.Capabilities // MaxMemory is the processor's
}

// hostFacts keeps the facts: they do not change while the process runs, and
// asking takes 35 system calls, one of them 0.3 ms, in nested machines more.
type hostFacts struct {
	mu    sync.Mutex
	known *facts // nil: not asked yet; guarded by mu
}

// thisHost is shared by all backends of the process. It is a cache of properties
// of the host and no state.
var thisHost hostFacts

func (h *hostFacts) get(sys *kvmsys.System, path string) (*facts, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.known == nil {
		if err := checkRequired(sys, path); err != nil {
			return nil, err
		}
		table, err := sys.SupportedCPUID()
		if err != nil {
			return nil, stepError(err)
		}
		h.known = &facts{cpuid: table, caps: capabilities(sys, cpuModel{supported: table})}
	}
	return h.known, nil
}

var _ vm.Backend = (*Backend)(nil)

// New makes the backend. It does not touch the host.
func New() *Backend {
	return &Backend{path: kvmsys.DevicePath, load: loadLinux, facts: &thisHost}
}

// Name implements vm.Backend.
func (b *Backend) Name() string { return Name }

// open opens the device and says what it offers.
func (b *Backend) open() (*kvmsys.System, *facts, error) {
	sys, err := kvmsys.Open(b.path, b.gate)
	if err != nil {
		return nil, nil, hostError("open KVM", b.path, err)
	}
	f, err := b.facts.get(sys, b.path)
	if err != nil {
		_ = sys.Close()
		return nil, nil, err
	}
	return sys, f, nil
}

// Capabilities implements vm.Backend.
func (b *Backend) Capabilities() (vm.Capabilities, error) {
	sys, f, err := b.open()
	if err != nil {
		return vm.Capabilities{}, err
	}
	_ = sys.Close()
	return f.now(), nil
}

// now are the capabilities with the host's memory as it is.
func (f *facts) now() vm.Capabilities {
	caps := f.caps
	if host := hostMemory(); host != 0 {
		caps.MaxMemory = min(caps.MaxMemory, host/vm.MiB*vm.MiB)
	}
	return caps
}

// capabilities is what a Config is checked against, but for the host's memory.
func capabilities(sys *kvmsys.System, model cpuModel) vm.Capabilities {
	c := offers().Capabilities()
	c.MaxCPUs, c.MaxMemory = maxVCPUs(sys), maxMemory(model.physBits())
	c.Fits, c.Detail = fits, detail(sys)
	return c
}

// offers is everything but what the table says.
func offers() vm.Offers {
	o := vm.Offers{}
	for _, f := range vm.Features() {
		o[f] = ""
	}
	o[vm.FeatureBootEFI] = "the vz backend; this one boots kernels only: set boot.kernel"
	o[vm.FeatureNetworkNAT] = `the vz backend; network mode "user" works everywhere`
	o[vm.FeatureRosetta] = "the vz backend on a Mac with Apple silicon"
	o[vm.FeatureSave] = "the vz backend on a Mac with Apple silicon"
	return o
}

// maxMemory is the most memory that the processor can address in a machine, in
// bytes and whole MiB.
func maxMemory(physBits uint32) uint64 {
	const gap = layout.HighMemBase - layout.LowMemEnd
	return min(uint64(1)<<physBits-gap, vm.MaxMemory) / vm.MiB * vm.MiB
}

// New implements vm.Backend.
func (b *Backend) New(cfg vm.Config, host vm.Host) (vm.Machine, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err // without a look at the host: it is wrong anywhere
	}
	if err := thisPoller.start(); err != nil {
		return nil, stepError(err)
	}
	growFDTable()
	sys, f, err := b.open()
	if err != nil {
		return nil, err
	}
	// A machine needs the device for its making only.
	defer func() { _ = sys.Close() }()
	caps := f.now()
	if err := cfg.ValidateFor(Name, caps); err != nil {
		return nil, err
	}
	if err := caps.Lacks(cfg, opNew, Name); err != nil {
		return nil, err
	}
	model := cpuModel{supported: f.cpuid, cpus: cfg.CPUs}
	m, err := newMachine(sys, model, cfg.WithDefaults(), host, b.load)
	if err != nil {
		return nil, err // not m: a nil *machine is not a nil vm.Machine
	}
	return m, nil
}
