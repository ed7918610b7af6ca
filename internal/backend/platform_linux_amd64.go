package backend

// all lists the backends, the preferred first.
func all() []entry {
	return []entry{
		absent("kvm", "this build has no KVM backend", "build libcapsa with its KVM backend"),
		absent("vz", "Virtualization.framework exists on macOS only", "use the kvm backend on Linux"),
	}
}
