package net

import (
	"encoding/binary"
	"slices"

	"github.com/libcapsa/libcapsa/internal/net/link"
)

// maxAddrs is how many addresses of each kind a filter has. A driver that wants
// more gets all of that kind: filters are the device's best effort (section
// 5.1.6.5.1). QEMU has as many (MAC_TABLE_ENTRIES).
const maxAddrs = 64

const (
	typeVLAN = 0x8100 // IEEE 802.1Q: a tag follows
	vlanMask = 0x0FFF // its identifier
	vlans    = 4096
)

// filter says which frames a driver wants. It never changes: commands make a
// new one.
type filter struct {
	promiscuous bool // everything
	allMulti    bool // every group
	mac         MAC
	unicast     addrs
	multicast   addrs
	vlans       *[vlans / 64]uint64 // bit set: wanted; nil: all are
}

// addrs is a table of addresses.
type addrs struct {
	list []MAC
	all  bool // they did not fit
}

func (a *addrs) has(m MAC) bool { return a.all || slices.Contains(a.list, m) }

// newFilter is what holds before the first command: everything, as QEMU does
// it. A driver that does not know the commands never says what it wants.
func newFilter(mac MAC, features uint64) *filter {
	f := &filter{promiscuous: true, mac: mac}
	if features&FeatureCtrlVLAN != 0 {
		f.vlans = new([vlans / 64]uint64)
	}
	return f
}

// takes says whether the driver wants a frame.
func (f *filter) takes(frame *link.Frame) bool {
	if f.promiscuous {
		return true
	}
	var head [ethHeader + 2]byte // with the identifier of a tag
	n := 0
	for _, d := range frame.Data {
		if n == len(head) {
			break
		}
		n += copy(head[n:], d)
	}
	return f.takesVLAN(head[12:]) && f.takesAddr(MAC(head[:6]))
}

// takesVLAN looks at the type of a frame and what follows it. Identifier 0 is
// no VLAN but a priority.
func (f *filter) takesVLAN(b []byte) bool {
	if f.vlans == nil || binary.BigEndian.Uint16(b) != typeVLAN {
		return true
	}
	id := binary.BigEndian.Uint16(b[2:]) & vlanMask
	return id == 0 || f.vlans[id/64]&(1<<(id%64)) != 0
}

func (f *filter) takesAddr(dst MAC) bool {
	switch {
	case dst[0]&macGroup == 0:
		return dst == f.mac || f.unicast.has(dst)
	case dst == MAC{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}:
		return true
	default:
		return f.allMulti || f.multicast.has(dst)
	}
}
