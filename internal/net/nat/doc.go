// Package nat is the network of one machine in user space: it ends the guest's TCP
// connections, UDP flows and pings at this process, and carries their bytes through
// sockets of the host, as far as the machine's policy lets it.
//
// An [Engine] is the host's side (link.Host) of a network device. It needs no
// privileges and changes nothing about the host.
//
// # Ways
//
// Each frame of the guest is read by package frame: headers are copied out once
// and checked, sources that are not the guest's and destinations that nobody has
// are dropped, and fragments are put together. From there on
//
//   - TCP goes to netstack (gvisor.dev/gvisor), under an IP header of ours. A SYN is
//     decided about by the policy and then connected on the host; only when that has
//     succeeded is the guest's handshake completed. A refusal is a reset, an
//     unreachable host is an ICMP error, a host that does not answer is silence.
//     Both ends of a connection may close one direction, and resets go through. Two
//     goroutines carry the bytes, straight between netstack's buffers and the
//     socket.
//   - UDP and pings go to a connected socket for each flow, of which the kernel drops
//     what others send. Errors that come back become ICMP errors.
//   - ARP, neighbor discovery, DHCP, DNS and pings of the gateway are served here, or
//     by the handlers in [Services].
//
// Netstack makes segments of up to 64 KiB with partial checksums. A driver that
// takes them gets them as they are, others get what package frame cuts out of them.
//
// # Names
//
// Where the policy decides by name, a connection's first bytes are held, up to 16
// KiB and three seconds, until package sniff knows what name they say; nothing
// reaches the other side before.
//
// # Bounds
//
// Limits bounds the flows, those among them that are not established, and the bytes
// that wait in netstack: a flow is granted a part of what is left, 4 MiB at most and
// 32 KiB at least, and it counts until the guest has taken everything, for a minute
// at most after both directions have ended. Frames that the guest has no room for wait, up to 8 MiB; beyond
// that they are lost, which TCP takes as congestion. Datagrams are never queued.
// Reassembly holds 64 packets. An idle flow costs memory and a descriptor, and no
// time; one timer runs while there are UDP or ping sessions.
//
// # Goroutines
//
// Those of this package are contained by package safe and joined by [Engine.Close].
// Netstack starts its own: one dispatcher of TCP segments for each processor, the
// forwarder's (which run our code, contained), and timers. A panic in those cannot be
// recovered from outside and ends the process. What is done against it: netstack
// sees TCP only (and UDP for sockets of Dial), in whole packets, with headers that
// were built or checked here; it neither resolves addresses nor reassembles. What a
// hostile guest controls is TCP's fields, options and payload.
package nat
