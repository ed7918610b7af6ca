package backend

// all lists the backends, the preferred first.
func all() []entry {
	return []entry{
		absent("vz", "this build has no Virtualization.framework backend", "run libcapsa on Linux with KVM"),
		absent("kvm", "KVM exists on Linux only", "use the vz backend on macOS"),
	}
}
