// Package vz is the backend for macOS: machines of Virtualization.framework.
//
// Package plan decides what a machine is; this package runs it: it keeps the machine's
// life, carries its console, its network and its sockets, and writes its exit record.
// The framework itself is behind [Framework], which package framework implements on
// macOS, so that everything here is tested on any platform.
//
// Only capsa-vzd has it: a program needs an entitlement to run machines, which a shared
// library in somebody else's process cannot have.
//
// # What is different from KVM
//
// The framework restarts a guest that reboots, and says nothing of it. It gives no
// output before the guest's console driver is up. A kernel that panics hangs, as its
// command line says, and the machine is ended when the last line on the console is the
// end of a panic and nothing follows it for panicWait.
package vz
