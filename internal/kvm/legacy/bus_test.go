package legacy

// bus finds the device of a port, for tests that play whole sequences of accesses. The machine has one of its own.
type bus []struct {
	first, count int
	device       Device
}

func (b *bus) add(first, count int, d Device) {
	*b = append(*b, struct {
		first, count int
		device       Device
	}{first, count, d})
}

// at calls fn with the device at port, the offset in it, and the part of p that belongs to it.
func (b bus) at(port uint16, p []byte, fn func(d Device, offset uint16, p []byte)) {
	for _, k := range b {
		if at := int(port) - k.first; at >= 0 && at < k.count {
			fn(k.device, uint16(at), p[:min(len(p), k.count-at)])
		}
	}
}

func (b bus) read(port uint16, p []byte)  { b.at(port, p, Device.Read) }
func (b bus) write(port uint16, p []byte) { b.at(port, p, Device.Write) }
