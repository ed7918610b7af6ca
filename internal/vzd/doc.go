// Package vzd is the daemon's side of the protocol of package wire: it serves one
// machine, of any backend, to one client.
//
// It knows no hypervisor and no process: package daemon makes a process of it, the
// command capsa-vzd a program, and tests run it on a goroutine. Package client is
// the other side.
//
// # The machine's life
//
// The machine lives as long as the connection: when the client closes it, breaks
// the protocol or dies, the machine is closed. A response to a call is sent after
// everything that the machine had told before, its end included, so that a client
// sees what a caller in the same process would see.
//
// # Concurrency
//
// Each call runs on a goroutine of its own, as calls of a vm.Machine may overlap.
// Nothing that a device does waits for the client but its console's output.
package vzd
