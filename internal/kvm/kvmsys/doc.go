//go:build linux

// Package kvmsys is the thinnest possible layer over /dev/kvm for x86-64:
// ioctl numbers and structures of linux/kvm.h, one method per ioctl, and the
// shared kvm_run page with accessors that cannot read outside of it.
//
// It decides nothing: which capabilities are required, what a failure means
// and what to do about it belong to package kvm, the only caller.
//
// Errors are *os.SyscallError with the ioctl's kernel name, wrapped exactly
// once; errors.Is sees the errno. Calls interrupted by a signal are repeated,
// except for KVM_RUN, where the interruption is the message.
//
// Concurrency: System and VM methods may be called from any goroutine, as the
// kernel serialises them. A VCPU belongs to the thread that runs it; only
// Kick-related methods (SetImmediateExit) may be called from elsewhere.
package kvmsys
