package backend

import "github.com/libcapsa/libcapsa/internal/vzd/client"

// all lists the backends, the preferred first. Machines of vz run in processes of their
// own, whatever is asked for: only a signed program may run them.
func all() []entry {
	vz := client.New(client.Config{Name: "vz"})
	return []entry{
		{name: "vz", backend: vz, isolated: vz},
		absent("kvm", "KVM exists on Linux only", "use the vz backend on macOS"),
	}
}
