// Package ndp is the gateway's part of Neighbor Discovery (RFC 4861, RFC 8106): it
// answers router solicitations and neighbour solicitations, for the gateway's
// addresses and for other machines of its network whose place the gateway knows.
//
// It is a function from packet to packet, without sockets, tables and clock. What a
// packet tells about its sender is handed to the caller. Duplicate address
// detection (RFC 4862 section 5.4) is respected: who probes for an address of
// somebody else is told so, and nothing is said about addresses that are free.
//
// A router's advertisement ends after Config.Lifetime, and hosts do not ask again by
// themselves; the caller sends an Advertisement at least once in that time.
//
// All methods may be called at once from any goroutine.
package ndp
