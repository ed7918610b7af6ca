//go:build linux && amd64

// Package jail takes from the daemon's process what a machine does not need, so that
// a guest that takes the monitor over has gained little.
//
// It works in two steps. Enter, before the machine is made, limits the process to
// the files that the configuration names (Landlock). Seal, after it was made, drops
// all capabilities, and leaves the system calls of a machine that runs (seccomp): no
// program is executed, no network is reached, and files are opened only if the
// machine shares directories.
//
// What the host's kernel cannot do is an error, unless the configuration asks for
// less (vm.JailPartial, vm.JailOff). What holds in the end is said in words.
//
// The process must be without cgo: only then all of its threads can be restricted.
package jail
