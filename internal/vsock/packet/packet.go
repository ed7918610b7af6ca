package packet

// Packet is one packet of the guest.
type Packet struct {
	// Header is a copy: the guest cannot change it any more.
	Header Header
	// Payload is guest memory, for system calls only: the guest may change it
	// at any time. None of the buffers is empty.
	Payload [][]byte
	// Size is the number of bytes in Payload. It need not be Header.Len.
	Size int
	// Weight is how many descriptors of the transmit queue the packet takes.
	Weight int
	// Tag is the device's, to tell a packet that comes back to it.
	Tag uint16
}

// Slot is room for one packet to the guest.
type Slot struct {
	// Room is guest memory behind the header, for system calls only. None of
	// the buffers is empty.
	Room [][]byte
	// Size is the number of bytes in Room, from 1 to MaxPayload.
	Size int
	// Header is set by the host's side, Header.Len to the number of bytes
	// written to Room, from its start.
	Header Header
}

// Guest is a running driver, as the host's side reaches it through its device.
// One value stands for the time from DRIVER_OK to the next reset; after that
// its methods do nothing.
type Guest interface {
	// Deliver has packets for the guest fetched and delivered, now and on the
	// calling goroutine, unless another one is at it: that one then looks
	// again. The caller holds no lock that fetching takes.
	Deliver()
	// Notify has the same done soon and on another goroutine.
	Notify()
	// Reclaim has the packets fetched that the host's side kept and is done
	// with.
	Reclaim()
	// TransportReset tells the driver that its connections are gone (virtio
	// 1.2 section 5.10.6.7).
	TransportReset()
}

// Link is what the host's side must know of a running driver.
type Link struct {
	Guest Guest
	// SeqPacket: the driver knows sockets of that type.
	SeqPacket bool
	// Keep is how much the packets that are kept at once may weigh together,
	// so that the transmit queue goes on for the others.
	Keep int
}
