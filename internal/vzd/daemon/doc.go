// Package daemon makes a process of package vzd: one that the library has started,
// with the control socket as descriptor 3, and that ends when the library's process
// does. The command capsa-vzd calls it, and so do tests that execute themselves.
//
// # How it ends
//
// It serves until the client closes the connection. A client that dies closes it
// too, unless a child that the client has forked holds the socket open; therefore
// the process of the client is watched as well. The kernel's own way, a signal at the
// parent's death (PR_SET_PDEATHSIG), is of no use: it comes when the thread ends that
// started the daemon, and threads of a program end all the time.
package daemon
