package plan

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/libcapsa/libcapsa/internal/vm"
)

// Name is the backend's name.
const Name = "vz"

// Version is a version of macOS.
type Version struct{ Major, Minor int }

// ParseVersion reads what sysctl kern.osproductversion says: "15.3.1".
func ParseVersion(s string) (v Version, err error) {
	major, rest, _ := strings.Cut(s, ".")
	minor, _, _ := strings.Cut(rest, ".")
	if v.Major, err = strconv.Atoi(major); err != nil {
		return Version{}, fmt.Errorf("%q is no version of macOS", s)
	}
	if minor != "" {
		if v.Minor, err = strconv.Atoi(minor); err != nil {
			return Version{}, fmt.Errorf("%q is no version of macOS", s)
		}
	}
	return v, nil
}

// AtLeast says whether v is that version or a later one.
func (v Version) AtLeast(major, minor int) bool {
	return v.Major > major || v.Major == major && v.Minor >= minor
}

// String is the version in words: "macOS 13.5".
func (v Version) String() string {
	if v.Minor == 0 {
		return fmt.Sprintf("macOS %d", v.Major)
	}
	return fmt.Sprintf("macOS %d.%d", v.Major, v.Minor)
}

// Rosetta says whether Linux guests can have Rosetta
// (VZLinuxRosettaDirectoryShare.availability).
type Rosetta int

// The answers, with the framework's numbers.
const (
	RosettaNotSupported Rosetta = 0
	RosettaNotInstalled Rosetta = 1
	RosettaInstalled    Rosetta = 2
)

// Mac is what decides what machines can be: the host and what the framework says.
type Mac struct {
	Version Version
	Arch    string // GOARCH: "arm64", "amd64"

	Virtualization bool // the processor and the system can run machines (sysctl kern.hv_support)
	Entitled       bool // this process may (entitlement com.apple.security.virtualization)
	Program        string

	MinCPUs, MaxCPUs     int
	MinMemory, MaxMemory uint64 // bytes
	Rosetta              Rosetta
}

// oldest is the first version with all that every machine needs: EFI, machine
// identifiers, and NSFileHandle attachments that Validate checks.
const oldest = 13

const component = Name

// Check says why no machine can run on this Mac, or nil.
func (m Mac) Check() error {
	const op = "examine the Mac"
	fail := func(kind vm.Kind, hint, format string, a ...any) error {
		return vm.Errorf(kind, op, format, a...).WithComponent(component).WithHint(hint)
	}
	switch {
	case m.Arch != "arm64" && m.Arch != "amd64":
		return fail(vm.KindUnsupported, "build for arm64 or amd64", "no Mac has a processor of type %q", m.Arch)
	case !m.Version.AtLeast(oldest, 0):
		return fail(vm.KindUnsupported, "it needs "+Version{oldest, 0}.String()+" or later", "this is %v", m.Version)
	case !m.Virtualization:
		return fail(vm.KindUnavailable, "in a virtual machine, its host must allow nested virtualization",
			"the system offers no virtualization (sysctl kern.hv_support)")
	case !m.Entitled:
		e := vm.Errorf(vm.KindPermission, op, "the program is not signed with the entitlement com.apple.security.virtualization").
			WithComponent(component).WithPath(m.Program)
		return e.WithHint("run make sign; whoever signed it again without --entitlements took it away")
	}
	return nil
}

// Capabilities is what the backend can do on this Mac. The error is that of Check.
func (m Mac) Capabilities() (vm.Capabilities, error) {
	if err := m.Check(); err != nil {
		return vm.Capabilities{}, err
	}
	c := m.offers().Capabilities()
	c.MaxCPUs, c.MaxMemory = min(m.MaxCPUs, vm.MaxCPUs), min(m.MaxMemory, vm.MaxMemory)/vm.MiB*vm.MiB
	c.Fits = m.fits
	c.Detail = map[string]string{
		"macos": fmt.Sprintf("%d.%d", m.Version.Major, m.Version.Minor), "arch": m.Arch,
		"min_cpus": fmt.Sprint(m.MinCPUs), "min_memory": fmt.Sprint(m.MinMemory), "program": m.Program,
	}
	return c, nil
}

// maxSocketPath is the longest path of a unix socket on macOS, in bytes: sun_path
// without the NUL that ends it (sys/un.h).
const maxSocketPath = 103

// fits finds machines that are too small, and paths that are too long.
func (m Mac) fits(c vm.Config) (p vm.Problems) {
	if c.CPUs < m.MinCPUs {
		p = append(p, vm.Problem{Field: "cpus", Message: fmt.Sprintf("%d is less than the %d that vz gives at least", c.CPUs, m.MinCPUs)})
	}
	if c.Memory < m.MinMemory {
		p = append(p, vm.Problem{Field: "memory_mib",
			Message: fmt.Sprintf("%d is less than the %d that vz gives at least", c.Memory/vm.MiB, (m.MinMemory+vm.MiB-1)/vm.MiB)})
	}
	long := func(field, path string) {
		if len(path) > maxSocketPath {
			p = append(p, vm.Problem{Field: field,
				Message: fmt.Sprintf("the path is %d bytes long; unix sockets of macOS have at most %d", len(path), maxSocketPath)})
		}
	}
	for i, v := range c.Vsock.Ports {
		long(fmt.Sprintf("vsock.ports[%d].path", i), v.Path)
	}
	for i, f := range c.Network.Forwards {
		long(fmt.Sprintf("network.forwards[%d].path", i), f.Path)
	}
	return p
}
