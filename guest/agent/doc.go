// Package agent is the guest's side of package internal/agent/wire: it calls the host and
// does what it is asked to, as whoever it runs as, in most guests root and process 1. It
// trusts the host; what it bounds are mistakes. It is no part of the library: it runs in
// guests alone, and in tests as an ordinary process.
package agent
