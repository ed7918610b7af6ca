// Package vm is the platform-neutral contract between libcapsa's product
// (package capsa) and the code that runs virtual machines (the backends).
//
// # What is here
//
//   - [Config], what a virtual machine is made of, its validation, which reports
//     every problem at once, and its one JSON form;
//   - [Backend], [Machine] and [Host], the three sides of running one;
//   - [State] and the one table of legal transitions;
//   - [Exit] and [Cause], the record of how a machine ended;
//   - [Error] and [Kind], the only error type that leaves the library;
//   - [Event], [Stats] and [Capabilities], what a machine tells;
//   - [Pipe] and [PanicScanner], small tools that every backend needs.
//
// # What is not here
//
// Nothing that knows an operating system, a hypervisor or a virtio device: the
// package imports the standard library alone and has no build tags. It opens no
// files: whether the kernel exists is the backend's to say.
//
// # Who calls it
//
// Package capsa builds a Config, asks package backend for a Backend, and drives
// the Machine. Backends implement Backend and Machine, and prove it by passing
// vmtest.Conformance.
//
// # Concurrency
//
// Config, Exit, Stats and Event are plain values. Pipe and PanicScanner are safe
// for concurrent use. Every method of a Machine may be called at any time from
// any goroutine; see [Machine] for what that means.
package vm
