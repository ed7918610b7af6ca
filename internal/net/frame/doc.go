// Package frame reads Ethernet frames of a guest, and makes frames fit a guest
// that takes no offloads.
//
// A guest's frame lies in guest memory and may change at any time. [Packet.Parse]
// therefore copies the first [MaxHeaders] bytes once, and everything that is
// decided is decided by the copy; what lies behind the headers is only ever
// carried on, or summed. Nothing here allocates, and all work is bounded by the
// frame's length.
//
// It is pure: no sockets, no goroutines, no state between frames.
package frame
