// Package plan decides what a machine is in the terms of Virtualization.framework:
// [Make] turns a configuration and a description of the [Mac] into a [Plan], a plain
// value, or refuses. Every decision and every refusal of the backend is made here, so
// that all of them are tested on any platform.
//
// It does not touch the framework. It does look at the files that the configuration
// names, as the framework says no more of a wrong one than "Internal Virtualization
// error". Package vz carries plans out.
package plan
