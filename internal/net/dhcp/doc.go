// Package dhcp is the DHCPv4 server of a machine's network (RFC 2131, RFC 2132).
//
// It is a state machine without sockets, goroutines and clock: Server.Handle takes
// the payload of a UDP datagram to port 67, the Ethernet address it came from and
// the time, and returns the payload of the answer and where it goes.
//
// The server takes itself for the only one on the link: it refuses addresses that it
// did not give out (NAK), where RFC 2131 would have it be silent, so that a guest
// with a lease of another network asks anew at once. A client is known by its
// Ethernet address alone and keeps its IP address for as long as nobody else needs
// it, after the lease's end too. Relays (giaddr) and BOOTP are not served.
//
// A guest that invents clients can use up the range, for the minute that an offer
// lasts or for a lease. Where several guests share a server, the caller lets each send
// from its own Ethernet address alone.
//
// All methods may be called at once from any goroutine.
package dhcp
