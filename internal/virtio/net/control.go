package net

import (
	"encoding/binary"

	"github.com/libcapsa/libcapsa/internal/virtio/virtq"
)

// struct virtio_net_ctrl, section 5.1.6.5: u8 class, u8 command and their data,
// readable; u8 ack, writable.
const (
	ctrlHeader = 2
	ctrlOK     = 0 // VIRTIO_NET_OK
	ctrlErr    = 1 // VIRTIO_NET_ERR
)

// Commands, class in the high byte.
const (
	ctrlPromiscuous uint16 = 0x0000 // VIRTIO_NET_CTRL_RX_PROMISC: u8, on or off
	ctrlAllMulti    uint16 = 0x0001 // VIRTIO_NET_CTRL_RX_ALLMULTI: u8, on or off
	ctrlMACTable    uint16 = 0x0100 // VIRTIO_NET_CTRL_MAC_TABLE_SET: two tables
	ctrlMACAddr     uint16 = 0x0101 // VIRTIO_NET_CTRL_MAC_ADDR_SET: u8[6]
	ctrlVLANAdd     uint16 = 0x0200 // VIRTIO_NET_CTRL_VLAN_ADD: le16
	ctrlVLANDel     uint16 = 0x0201 // VIRTIO_NET_CTRL_VLAN_DEL: le16
)

// control serves the control queue. It belongs to that queue's worker.
type control struct {
	s        *session
	features uint64
}

// serve answers one command. It is quick, and nobody else changes the filter.
func (t *control) serve(c *virtq.Chain) (written uint32, err error) {
	t.s.dev.counters.commands.Add(1)
	ack := [1]byte{ctrlOK}
	if !t.run(c) {
		ack[0] = ctrlErr
		t.s.dev.counters.refused.Add(1)
	}
	written = uint32(c.CopyOut(ack[:], 0))
	t.s.counters.AddRequests(1, 0)
	return written, nil
}

// run carries a command out, or says that it cannot.
func (t *control) run(c *virtq.Chain) bool {
	var head [ctrlHeader]byte
	if c.CopyIn(head[:], 0) < ctrlHeader {
		return false
	}
	f := *t.s.filter.Load()
	var ok bool
	switch cmd := binary.BigEndian.Uint16(head[:]); cmd {
	case ctrlPromiscuous:
		f.promiscuous, ok = t.onOff(c)
	case ctrlAllMulti:
		f.allMulti, ok = t.onOff(c)
	case ctrlMACTable:
		ok = t.macTables(c, &f)
	case ctrlMACAddr:
		ok = t.macAddr(c, &f)
	case ctrlVLANAdd, ctrlVLANDel:
		ok = t.vlan(c, &f, cmd == ctrlVLANAdd)
	}
	if ok {
		t.s.filter.Store(&f)
	}
	return ok
}

func (t *control) has(feature uint64) bool { return t.features&feature != 0 }

// onOff is the data of a command that switches. A frame in a filter that is
// being switched is taken by the old one or the new one.
func (t *control) onOff(c *virtq.Chain) (on, ok bool) {
	var b [1]byte
	ok = t.has(FeatureCtrlRx) && c.CopyIn(b[:], ctrlHeader) == len(b)
	return b[0] != 0, ok
}

// macTables are two of struct virtio_net_ctrl_mac, one after the other: first
// single stations, then groups.
func (t *control) macTables(c *virtq.Chain, f *filter) bool {
	if !t.has(FeatureCtrlRx) {
		return false
	}
	unicast, next, ok := macTable(c, ctrlHeader)
	if !ok {
		return false
	}
	multicast, _, ok := macTable(c, next)
	if !ok {
		return false
	}
	f.unicast, f.multicast = unicast, multicast
	return true
}

// macTable reads le32 entries and as many addresses from off on, and returns
// where they end. All must be there, though only maxAddrs are looked at.
func macTable(c *virtq.Chain, off int) (table addrs, next int, ok bool) {
	const size = len(MAC{})
	var count [4]byte
	if c.CopyIn(count[:], off) < len(count) {
		return addrs{}, 0, false
	}
	n := int(binary.LittleEndian.Uint32(count[:]))
	off += len(count)
	next = off + n*size // below 2^35
	if next > c.ReadLen() {
		return addrs{}, 0, false
	}
	if n > maxAddrs {
		return addrs{all: true}, next, true
	}
	table.list = make([]MAC, n)
	for i := range table.list {
		c.CopyIn(table.list[i][:], off+i*size)
	}
	return table, next, true
}

// macAddr sets the address of the interface.
func (t *control) macAddr(c *virtq.Chain, f *filter) bool {
	var mac MAC
	if !t.has(FeatureCtrlMACAddr) || c.CopyIn(mac[:], ctrlHeader) < len(mac) || !mac.Valid() {
		return false
	}
	f.mac = mac
	t.s.dev.setMAC(mac)
	return true
}

// vlan adds a VLAN to the wanted ones, or takes it away.
func (t *control) vlan(c *virtq.Chain, f *filter, want bool) bool {
	var b [2]byte
	if f.vlans == nil || c.CopyIn(b[:], ctrlHeader) < len(b) {
		return false
	}
	id := binary.LittleEndian.Uint16(b[:])
	if id >= vlans {
		return false
	}
	table := *f.vlans
	if want {
		table[id/64] |= 1 << (id % 64)
	} else {
		table[id/64] &^= 1 << (id % 64)
	}
	f.vlans = &table
	return true
}
