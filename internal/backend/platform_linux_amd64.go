package backend

import (
	"github.com/libcapsa/libcapsa/internal/kvm"
	"github.com/libcapsa/libcapsa/internal/vzd/client"
)

// all lists the backends, the preferred first.
func all() []entry {
	return []entry{
		{name: kvm.Name, backend: kvm.New(), isolated: client.New(client.Config{Name: kvm.Name, Capabilities: kvm.New().Capabilities})},
		absent("vz", "Virtualization.framework exists on macOS only", "use the kvm backend on Linux"),
	}
}
