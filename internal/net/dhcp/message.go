package dhcp

import (
	"encoding/binary"
	"net/netip"

	"github.com/libcapsa/libcapsa/internal/net/ether"
)

// The layout of a message (RFC 2131 section 2), in bytes from its beginning.
const (
	offOp      = 0
	offHType   = 1
	offHLen    = 2
	offXID     = 4
	offFlags   = 10
	offCIAddr  = 12
	offYIAddr  = 16
	offSIAddr  = 20
	offGIAddr  = 24
	offCHAddr  = 28
	offSName   = 44
	offFile    = 108
	offCookie  = 236
	offOptions = 240

	// minPayload is the shortest message of BOOTP (RFC 951 section 3), which
	// some clients insist on.
	minPayload = 300
	// maxPayload is the longest message that is read: what fits into a frame of
	// 9000 bytes. Clients send a few hundred.
	maxPayload = 9000 - 28
	// clientPayload is what every client takes: an IP datagram of 576 bytes (RFC
	// 2131 section 2), less the headers of IP and UDP.
	clientPayload = 576 - 28
	// linkPayload is the most that is sent whatever the client takes: an
	// unfragmented datagram.
	linkPayload = 1500 - 28
)

// Values of fields (RFC 2131 section 2, RFC 2132 section 2).
const (
	opRequest     = 1
	opReply       = 2
	htypeEthernet = 1
	flagBroadcast = 0x8000
	cookie        = 0x63825363
)

// Type is a message type (RFC 2132 section 9.6).
type Type uint8

// The message types.
const (
	Discover Type = 1
	Offer    Type = 2
	Request  Type = 3
	Decline  Type = 4
	ACK      Type = 5
	NAK      Type = 6
	Release  Type = 7
	Inform   Type = 8
)

var typeNames = [...]string{"", "DISCOVER", "OFFER", "REQUEST", "DECLINE", "ACK", "NAK", "RELEASE", "INFORM"}

// String is the name in RFC 2131, without its prefix.
func (t Type) String() string {
	if int(t) < len(typeNames) && t != 0 {
		return typeNames[t]
	}
	return "unknown"
}

// message is a client's message, copied out of its payload.
type message struct {
	kind      Type
	xid       [4]byte
	flags     uint16
	ciaddr    netip.Addr // 0.0.0.0: none
	chaddr    ether.MAC
	requested netip.Addr // invalid: none
	server    netip.Addr // invalid: none
	clientID  []byte
	wanted    []byte // the parameter request list; nil: not given
	limit     int    // bytes of payload that the client takes
	rapid     bool
}

// parse checks a payload. It is false for what is not a client's message over
// Ethernet, or contradicts itself.
func parse(payload []byte) (message, bool) {
	if len(payload) < offOptions || len(payload) > maxPayload ||
		payload[offOp] != opRequest || payload[offHType] != htypeEthernet || int(payload[offHLen]) != len(ether.MAC{}) ||
		addr(payload[offGIAddr:]) != netip.IPv4Unspecified() ||
		binary.BigEndian.Uint32(payload[offCookie:]) != cookie {
		return message{}, false
	}
	m := message{
		xid:    [4]byte(payload[offXID:]),
		flags:  binary.BigEndian.Uint16(payload[offFlags:]),
		ciaddr: addr(payload[offCIAddr:]),
		chaddr: ether.MAC(payload[offCHAddr:]),
	}
	options, ok := options(payload)
	return m, ok && m.take(options)
}

// take reads the options that matter here.
func (m *message) take(options map[byte][]byte) bool {
	kind := options[optType]
	if len(kind) != 1 {
		return false
	}
	m.kind = Type(kind[0])
	var ok bool
	if m.requested, ok = optionAddr(options, optRequested); !ok {
		return false
	}
	if m.server, ok = optionAddr(options, optServer); !ok {
		return false
	}
	m.clientID, m.wanted = options[optClientID], options[optWanted]
	if len(m.clientID) > maxOption {
		return false
	}
	_, m.rapid = options[optRapid]
	m.limit = clientPayload
	if size, there := options[optMaxSize]; there {
		if len(size) != 2 {
			return false
		}
		m.limit = min(max(m.limit, int(binary.BigEndian.Uint16(size))-28), linkPayload)
	}
	return true
}

func optionAddr(options map[byte][]byte, code byte) (netip.Addr, bool) {
	value, there := options[code]
	if !there {
		return netip.Addr{}, true
	}
	if len(value) != 4 {
		return netip.Addr{}, false
	}
	return addr(value), true
}

// addr reads the four bytes of an address.
func addr(b []byte) netip.Addr { return netip.AddrFrom4([4]byte(b)) }
