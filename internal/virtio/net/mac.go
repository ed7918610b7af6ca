package net

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
)

// MAC is an Ethernet address.
type MAC [6]byte

// Bits of the first byte of an address (IEEE 802-2014 section 8.2).
const (
	macGroup = 1 // of several stations
	macLocal = 2 // given by nobody's registry
)

// DeriveMAC is the address of interface index of the machine that seed stands
// for: always the same, with 46 bits of the hash of both, and of nobody's
// registry. The seed is whatever distinguishes the machine from others on its
// networks, of any length.
func DeriveMAC(seed []byte, index uint32) MAC {
	h := sha256.New()
	var prefix [16]byte // tells this use of a seed from others
	copy(prefix[:12], "virtio net 1")
	binary.LittleEndian.PutUint32(prefix[12:], index)
	_, _ = h.Write(prefix[:]) // a hash has no errors
	_, _ = h.Write(seed)
	var m MAC
	copy(m[:], h.Sum(nil))
	m[0] = m[0]&^macGroup | macLocal
	return m
}

// Valid says whether an interface may have the address: one station's, and not
// zero.
func (m MAC) Valid() bool { return m[0]&macGroup == 0 && m != MAC{} }

// String is the usual form, "02:00:5e:10:00:01".
func (m MAC) String() string {
	text := make([]byte, 0, 3*len(m))
	for i, b := range m {
		if i > 0 {
			text = append(text, ':')
		}
		text = hex.AppendEncode(text, []byte{b})
	}
	return string(text)
}
