//go:build linux

// Package kvm is the Linux backend: it assembles a machine from KVM, guest
// memory and virtio devices, owns the vCPU threads, and decides how and when a
// machine ends.
//
// It holds no ring code and no device logic (those are in virtio and its
// subpackages), no addresses (package layout) and no ioctl numbers (package
// kvmsys). Package backend is its only user in production.
//
// # Who does what
//
// Backend.New assembles everything and starts nothing; a failure at any step
// releases what the steps before it acquired. Start makes one goroutine for
// each vCPU, locked to its thread. It enters the guest, serves what the guest
// asks for (exits.go) and looks at the gate (gate.go) between two entries.
// Whoever wants the machine to end calls end: the first caller writes the reason
// down, shuts the gate and kicks all vCPUs. The last of them to leave lets the
// devices finish what the guest had handed over, releases everything in the order
// vCPUs, devices, VM, memory, writes the exit record, and closes Done.
//
// # Locks
//
// machine.mu is a leaf but for gate.mu. opMu serialises Start, Pause and Resume
// and is taken first. No lock is held while a device or the host is called.
package kvm
