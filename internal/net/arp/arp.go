// Package arp answers the Address Resolution Protocol for a gateway, and for other
// machines of its network whose place the gateway knows (RFC 826, RFC 5227).
//
// It is a function from packet to packet, without sockets and without a table: what
// a packet tells about its sender is handed to the caller.
package arp

import (
	"encoding/binary"
	"net/netip"

	"github.com/libcapsa/libcapsa/internal/net/ether"
)

// Size is the length of a packet for IPv4 over Ethernet, in bytes, without the
// Ethernet header. Frames have padding after it.
const Size = 28

// The layout of a packet (RFC 826), in bytes from its beginning, and its constants.
const (
	offHardware  = 0
	offProtocol  = 2
	offSizes     = 4
	offOperation = 6
	offSenderMAC = 8
	offSender    = 14
	offTargetMAC = 18
	offTarget    = 24

	hardwareEthernet = 1
	protocolIPv4     = 0x0800
	sizes            = 6<<8 | 4

	operationRequest = 1
	operationReply   = 2
)

// Kind is what a packet was.
type Kind uint8

// The kinds of packets.
const (
	Malformed    Kind = iota // not a packet, or not its sender's
	Request                  // who has an address?
	Probe                    // the same, of one who has no address yet (RFC 5227 section 2.1.1)
	Reply                    // an address is at a MAC
	Announcement             // the same, unasked for (RFC 5227 section 2.3)
)

// Result is what follows from a packet.
type Result struct {
	Kind Kind
	// Reply is a packet to send to the MAC To; nil: none.
	Reply []byte
	To    ether.MAC
	// Sender has the source MAC of the frame. Invalid: not said.
	Sender netip.Addr
	// Conflict: the sender claims an address that Lookup gives to another. If it
	// probed for it, the reply tells it so; if it announced it, the reply is an
	// announcement to everybody (RFC 5227 section 2.4). Sender is invalid then.
	Conflict bool
}

// Lookup returns whose an address is. The gateway's own are among them.
type Lookup func(netip.Addr) (ether.MAC, bool)

// Handle judges the payload of a frame from a MAC. The payload is not kept.
func Handle(payload []byte, from ether.MAC, lookup Lookup) Result {
	if !valid(payload, from) {
		return Result{}
	}
	sender, target := addr(payload[offSender:]), addr(payload[offTarget:])
	r := Result{Kind: kind(payload, sender, target)}
	if sender != netip.IPv4Unspecified() {
		owner, known := lookup(sender)
		r.Conflict = known && owner != from
		if !r.Conflict {
			r.Sender = sender
		}
	}
	switch {
	case r.Conflict:
		owner, _ := lookup(sender)
		r.Reply, r.To = Announce(owner, sender), ether.Broadcast
	case r.Kind == Request || r.Kind == Probe:
		if owner, known := lookup(target); known && owner != from {
			r.Conflict = r.Kind == Probe
			r.Reply, r.To = pack(operationReply, owner, target, from, sender), from
		}
	}
	return r
}

// valid: a packet that is what its frame says. A sender is one interface, with an
// address that a host can have, or none.
func valid(b []byte, from ether.MAC) bool {
	if len(b) < Size ||
		binary.BigEndian.Uint16(b[offHardware:]) != hardwareEthernet ||
		binary.BigEndian.Uint16(b[offProtocol:]) != protocolIPv4 ||
		binary.BigEndian.Uint16(b[offSizes:]) != sizes {
		return false
	}
	operation := binary.BigEndian.Uint16(b[offOperation:])
	sender := addr(b[offSender:])
	unspecified := sender == netip.IPv4Unspecified()
	return (operation == operationRequest || operation == operationReply && !unspecified) &&
		from.Unicast() && ether.MAC(b[offSenderMAC:]) == from &&
		!sender.IsMulticast() && !sender.IsLoopback() && sender != broadcast
}

var broadcast = netip.AddrFrom4([4]byte{255, 255, 255, 255})

func kind(b []byte, sender, target netip.Addr) Kind {
	switch {
	case sender == target:
		return Announcement
	case binary.BigEndian.Uint16(b[offOperation:]) == operationReply:
		return Reply
	case sender == netip.IPv4Unspecified():
		return Probe
	}
	return Request
}

// Ask is a packet to ether.Broadcast that asks who has an address.
func Ask(mac ether.MAC, sender, target netip.Addr) []byte {
	return pack(operationRequest, mac, sender, ether.MAC{}, target)
}

// Announce is a packet to ether.Broadcast that tells whose an address is (RFC 5227
// section 3: a request).
func Announce(mac ether.MAC, owned netip.Addr) []byte {
	return pack(operationRequest, mac, owned, ether.MAC{}, owned)
}

// pack makes a packet. Preconditions: the addresses are IPv4.
func pack(operation uint16, senderMAC ether.MAC, sender netip.Addr, targetMAC ether.MAC, target netip.Addr) []byte {
	b := make([]byte, Size)
	binary.BigEndian.PutUint16(b[offHardware:], hardwareEthernet)
	binary.BigEndian.PutUint16(b[offProtocol:], protocolIPv4)
	binary.BigEndian.PutUint16(b[offSizes:], sizes)
	binary.BigEndian.PutUint16(b[offOperation:], operation)
	copy(b[offSenderMAC:], senderMAC[:])
	copy(b[offSender:], sender.AsSlice())
	copy(b[offTargetMAC:], targetMAC[:])
	copy(b[offTarget:], target.AsSlice())
	return b
}

func addr(b []byte) netip.Addr { return netip.AddrFrom4([4]byte(b)) }
