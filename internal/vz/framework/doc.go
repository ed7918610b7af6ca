// Package framework is Virtualization.framework for package vz, through the bindings of
// github.com/Code-Hex/vz. It carries plans out and decides nothing. Only capsa-vzd
// imports it; on other systems, and without cgo, it is empty.
//
// # What it works around
//
// The bindings, version 3.7.1, have faults that matter here:
//
//   - They hand numbers of descriptors to NSFileHandle, which neither copies nor owns
//     them. All files stay open until the process ends (pinned).
//   - A socket connection's descriptor is closed twice: by them, and by the object that
//     they took it from. Connections are taken one at a time, and looked at before they
//     are used; another process has no descriptors to be hit.
//   - Close of a listener does not wake Accept: a goroutine stays behind for each.
//   - Wrappers of balloon devices release what they never retained: there is one, which
//     is pinned.
//   - Connect has no end of its own: a late answer is closed.
//   - Finalizers give up what callbacks still use: a guest is pinned.
//
// A process runs one machine and leaves by os.Exit, so that nothing of this adds up.
package framework
