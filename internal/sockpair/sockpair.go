// Package sockpair makes the unix stream sockets on which the library talks to its
// caller and to its own daemon.
package sockpair

// New returns two connected unix stream sockets, close-on-exec and non-blocking. On
// Darwin they raise no SIGPIPE; on Linux SendFlags see to that. The error is an
// *os.SyscallError.
func New() (ours, theirs int, err error) { return pair() }
