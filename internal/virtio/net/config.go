package net

import "encoding/binary"

// struct virtio_net_config, section 5.1.4: offsets in bytes, little-endian.
// What follows belongs to features that are not offered.
const (
	offMAC      = 0  // u8[6]
	offStatus   = 6  // le16
	offMaxPairs = 8  // le16 max_virtqueue_pairs, with MQ only
	offMTU      = 10 // le16
	configSize  = 12
)

// statusLinkUp is VIRTIO_NET_S_LINK_UP.
const statusLinkUp = 1

// ReadConfig implements [virtio.Device].
func (d *Device) ReadConfig(offset uint32, p []byte) {
	clear(p)
	if offset >= configSize {
		return
	}
	var fields [configSize]byte
	d.mu.Lock()
	copy(fields[offMAC:], d.mac[:])
	if !d.down.Load() {
		fields[offStatus] = statusLinkUp
	}
	d.mu.Unlock()
	binary.LittleEndian.PutUint16(fields[offMaxPairs:], 1)
	binary.LittleEndian.PutUint16(fields[offMTU:], uint16(d.mtu))
	copy(p, fields[offset:])
}

// WriteConfig implements [virtio.Device]: everything is read-only for drivers
// that are not legacy ones (section 5.1.4).
func (d *Device) WriteConfig(uint32, []byte) {}

// ConfigGeneration implements [virtio.Generational].
func (d *Device) ConfigGeneration() uint32 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.generation
}
