// Package lan is a network of several machines: a switch, and for each machine a
// gateway of its own (package gateway) that looks like one to all of them.
//
// # Who gets what
//
// A machine's frame goes to its own gateway, to one other machine, or nowhere. The
// switch knows who is there: each port has the address that its interface was given, one
// IPv4 address, and the IPv6 addresses that it was first to use, up to a few; the one
// that follows from its interface's address is nobody else's. So nothing is flooded:
// ARP and neighbour solicitations go to the one who is asked for, and frames to nobody
// are dropped. Broadcasts and multicasts of other kinds reach the others only in a
// network that is made so, and so many in a second.
//
// Having a gateway each, machines share no table: one that fills its own with flows,
// names or forwarded ports takes nothing from the others, and a policy with its pinned
// names is each machine's own.
//
// # What a hostile guest meets
//
// A frame that is not from the port's own addresses goes nowhere, nor do router
// advertisements, redirects and DHCP answers. What is delivered are the headers that were
// checked, not what the guest's memory has become since.
//
// # Policy
//
// A flow from one machine to another needs the leave of both: of the opener's policy, as
// an outbound flow to the other's address, and of the other's, as an inbound one. Flows
// are tracked, so that answers need no rule, in a table that is bounded for each opener.
// A policy that changes is asked again about every flow at its next packet.
//
// A network without NAT has the same gateways, which give addresses and names and carry
// nothing further.
package lan
