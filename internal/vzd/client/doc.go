// Package client is a vm.Backend whose machines run in processes of their own: one
// daemon (capsa-vzd) for each machine, over the protocol of package wire.
//
// A Backend finds and starts the daemon; the machine it makes behaves as one in this
// process does, but that the death of its process is an exit record and not that of
// the caller. The daemon is not trusted: a guest may have taken it over. What it
// sends is bounded and checked, and descriptors from it are made sure to be sockets.
//
// # What belongs to a machine
//
// A process in a group of its own, four sockets (control, console, serial, log) and
// six goroutines. All are gone when Close returns, also when the daemon died. No
// signal is caught, and SIGCHLD is left alone: the process is waited for by its
// pidfd, and it does no harm when somebody else reaps it first.
package client
