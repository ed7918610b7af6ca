//go:build darwin && (cgo || vzstub)

package framework

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync"

	vzf "github.com/Code-Hex/vz/v3"
	"golang.org/x/sys/unix"

	"github.com/libcapsa/libcapsa/internal/vm"
	"github.com/libcapsa/libcapsa/internal/vz"
	"github.com/libcapsa/libcapsa/internal/vz/plan"
)

// framework implements vz.Framework.
type framework struct{ mac func() (plan.Mac, error) }

// New is the framework of this Mac.
func New() vz.Framework { return &framework{mac: sync.OnceValues(examine)} }

// Mac implements vz.Framework.
func (f *framework) Mac() (plan.Mac, error) { return f.mac() }

// examine describes this Mac. It does not change while the process runs.
func examine() (plan.Mac, error) {
	text, err := unix.Sysctl("kern.osproductversion")
	if err != nil {
		return plan.Mac{}, os.NewSyscallError("sysctl", err)
	}
	version, err := plan.ParseVersion(text)
	if err != nil {
		return plan.Mac{}, err
	}
	program, _ := os.Executable() // for people
	m := plan.Mac{Version: version, Arch: runtime.GOARCH, Program: program}
	support, err := unix.SysctlUint32("kern.hv_support")
	m.Virtualization = err == nil && support != 0
	if !version.AtLeast(13, 0) || !m.Virtualization { // nothing else is asked then
		return m, nil
	}
	m.MinCPUs = int(vzf.VirtualMachineConfigurationMinimumAllowedCPUCount())
	m.MaxCPUs = int(vzf.VirtualMachineConfigurationMaximumAllowedCPUCount())
	m.MinMemory = vzf.VirtualMachineConfigurationMinimumAllowedMemorySize()
	m.MaxMemory = vzf.VirtualMachineConfigurationMaximumAllowedMemorySize()
	m.Rosetta = rosetta()
	m.Entitled, err = entitled(uint(m.MinCPUs), m.MinMemory)
	return m, err
}

// entitled asks the framework to check the least configuration: it says so if it is for
// want of the entitlement that it does not like it.
func entitled(cpus uint, memory uint64) (bool, error) {
	boot, err := vzf.NewEFIBootLoader()
	if err != nil {
		return false, convert(err)
	}
	cfg, err := vzf.NewVirtualMachineConfiguration(boot, cpus, memory)
	if err != nil {
		return false, convert(err)
	}
	_, err = cfg.Validate()
	return err == nil || !lacksEntitlement(err.Error()), nil
}

// convert gives an error of the bindings its type.
func convert(err error) error {
	if e, ok := errors.AsType[*vzf.NSError](err); ok {
		return translate(e.Domain, e.Code, e.LocalizedDescription)
	}
	if errors.Is(err, vzf.ErrUnsupportedOSVersion) || errors.Is(err, vzf.ErrBuildTargetOSVersion) {
		return vm.Errorf(vm.KindUnsupported, "", "%w", err).WithComponent(plan.Name).
			WithHint("it needs a newer macOS, or a program that was built with the SDK of one")
	}
	return err
}

// pinned keeps alive, until the process ends, what the framework uses and the garbage
// collector would free.
var pinned struct {
	mu  sync.Mutex
	all []any
}

func pin(things ...any) {
	pinned.mu.Lock()
	defer pinned.mu.Unlock()
	pinned.all = append(pinned.all, things...)
}

// New implements vz.Framework.
func (f *framework) New(p *plan.Plan, ends vz.Ends) (vz.Guest, error) {
	for _, file := range []*os.File{ends.Input, ends.Output, ends.Network} {
		if file != nil {
			pin(file)
			if err := unix.SetNonblock(int(file.Fd()), false); err != nil { // as the framework expects
				return nil, os.NewSyscallError("fcntl", err)
			}
		}
	}
	b := &builder{ends: ends}
	boot, err := b.boot(p.Boot)
	if err != nil {
		return nil, convert(err)
	}
	if b.cfg, err = vzf.NewVirtualMachineConfiguration(boot, uint(p.CPUs), p.Memory); err != nil {
		return nil, convert(err)
	}
	if err := b.platform(p.Identifier); err != nil {
		return nil, convert(err)
	}
	for _, d := range p.Devices {
		if err := b.add(d); err != nil {
			return nil, fmt.Errorf("%T: %w", d, convert(err))
		}
	}
	if err := b.finish(p.Restore != ""); err != nil {
		return nil, convert(err)
	}
	machine, err := vzf.NewVirtualMachine(b.cfg)
	if err != nil {
		return nil, convert(err)
	}
	return newGuest(machine, b, ends.Log), nil
}
