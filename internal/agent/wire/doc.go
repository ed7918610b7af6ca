// Package wire is what the host and the agent in a guest say to each other.
//
// The guest calls: its agent connects to one port of the host, once for control and
// once more for each stream of data, so that nothing in the guest listens and the
// host asks nobody whether the guest is up. A connection begins with a [Hello] of the
// guest. The control connection's is answered by a [Welcome], which fixes the version
// and, the first time, gives the guest the machine's token; init asks before anything
// else runs in the guest, so whoever comes first is the agent. From then on both kinds
// of connection show the token, and control is ttrpc (agent.proto): the host calls,
// the guest answers.
//
// Bulk data has streams: the host makes up a number, names it in a call, and the guest
// connects and shows token and number. Then the connection carries bytes and nothing
// else, with the flow control of the socket.
//
// Neither side trusts the other's lengths: a Hello and a Welcome are of one size, and
// the limits below hold for control messages, on both sides.
package wire

//go:generate protoc -I. --go_out=paths=source_relative:. --go-ttrpc_out=paths=source_relative:. agent.proto
