package backend

import "github.com/libcapsa/libcapsa/internal/kvm"

// all lists the backends, the preferred first.
func all() []entry {
	return []entry{
		{name: "kvm", backend: kvm.New()},
		absent("vz", "Virtualization.framework exists on macOS only", "use the kvm backend on Linux"),
	}
}
