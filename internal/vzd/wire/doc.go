// Package wire is the protocol between the library and the daemon that runs one
// machine: frames of JSON with file descriptors over a connected unix stream
// socket. It knows how things look on the wire and nothing of what they do.
//
// # A frame
//
//	 0        4      5      6       8            16
//	┌────────┬──────┬──────┬───────┬────────────┬──────┐
//	│ size   │ kind │files │ magic │ id         │ body │
//	└────────┴──────┴──────┴───────┴────────────┴──────┘
//
// All numbers are little endian. size is that of the body, at most MaxBody; files
// is the number of descriptors that come with the frame's first byte (SCM_RIGHTS),
// at most MaxFiles. The id of a request is its caller's choice; its response,
// cancel and ack have the same.
//
// # A conversation
//
// The client sends requests, the daemon responses, events and logs. The first
// request is hello, which settles the version; create makes the one machine. A
// cancel says that nobody waits for a response any more, which comes nevertheless.
// Whoever gets a frame with descriptors acknowledges it, and only then the sender
// closes its own: macOS can lose a descriptor whose last holder closes it while it
// is on its way. Anything against these rules ends the connection, and with it the
// machine.
//
// # Versions
//
// Proto is the version. Within one, fields may be added; receivers ignore those
// that they do not know. Anything else, changes of a Config's JSON form included,
// makes a new version.
//
// # Trust
//
// The daemon runs a guest that may have taken it over. Every length is bounded
// before memory is taken for it, and what is decoded is checked before it is used.
package wire

// Proto is the version of the protocol.
const Proto = 2
