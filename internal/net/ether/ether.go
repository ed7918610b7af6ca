// Package ether has Ethernet addresses, as the services of a machine's network
// pass them around.
package ether

import "fmt"

// MAC is an Ethernet address (EUI-48), in the order of the wire.
type MAC [6]byte

// Broadcast is the address of everybody on the link.
var Broadcast = MAC{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}

// String is six pairs of hexadecimal digits, joined by colons.
func (m MAC) String() string {
	return fmt.Sprintf("%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2], m[3], m[4], m[5])
}

// Unicast tells whether it is the address of one interface. A frame comes from no other kind. The
// lowest bit of the first byte is set in group addresses (IEEE 802 section 8.2).
func (m MAC) Unicast() bool { return m[0]&1 == 0 && m != MAC{} }
