// Package console is the host's side of a guest's console: what the guest
// prints, kept in a bounded ring that any number of readers follow, and the
// bytes that the host types.
//
// The writer is the machine's console device. It never waits: when a reader
// is slow or absent the oldest bytes are overwritten, and each [Reader] says
// how many it never saw. Nothing polls and no timer runs: readers sleep until
// bytes, the end of the stream, or the end of their context.
//
// On top of the bytes stand [Reader.Expect] (wait for one of several texts or
// regular expressions), [Console.Run] (run a shell command, get its output and
// exit status) and [Console.FD] (the console as a file descriptor).
//
// The package knows no machine and no backend; package capsa joins them. All
// methods of all types may be called from any goroutine.
package console
