//go:build !darwin && !(linux && amd64)

package backend

import "runtime"

// all lists the backends, the preferred first.
func all() []entry {
	here := runtime.GOOS + "/" + runtime.GOARCH
	return []entry{
		absent("kvm", "the KVM backend is for linux/amd64, this build is for "+here, "run libcapsa on a 64-bit x86 Linux host"),
		absent("vz", "the Virtualization.framework backend is for macOS, this build is for "+here, "run libcapsa on a 64-bit x86 Linux host"),
	}
}
