package vm

import (
	"strings"
	"unicode"
)

// What is at the other end of the guest's cable besides NetworkUser and NetworkNAT.
const (
	// NetworkShared: a network of several machines, which the caller has made.
	NetworkShared NetworkMode = "shared"
	// NetworkFD: whoever holds the other end of a descriptor, such as passt.
	NetworkFD NetworkMode = "fd"
	// NetworkTAP: a TAP interface of the host.
	NetworkTAP NetworkMode = "tap"
)

// Framing says how frames lie on a descriptor.
type Framing string

// The framings.
const (
	// FramingStream: a stream socket; before each frame its length in 4 bytes, big
	// endian. It is QEMU's "-netdev stream", which passt and gvproxy speak.
	FramingStream Framing = ""
	// FramingDatagram: a frame is a message: a datagram or seqpacket socket.
	FramingDatagram Framing = "datagram"
	// FramingTAP: the descriptor of a TAP interface, with IFF_NO_PI, and with
	// IFF_VNET_HDR for long frames.
	FramingTAP Framing = "tap"
)

const (
	// MaxTAPName is the longest name of an interface in bytes: IFNAMSIZ with its zero
	// byte (Linux, include/uapi/linux/if.h).
	MaxTAPName = 15
	// MaxSnapLen is how many bytes of a frame a capture keeps at most: libpcap's
	// MAXIMUM_SNAPLEN.
	MaxSnapLen = 262144
	// MinCaptureSize is what a capture without frames takes, and a few frames.
	MinCaptureSize = 4096
)

// Cable is the descriptor of NetworkFD and NetworkTAP, and of NetworkShared for a
// machine in a process of its own. A backend uses a copy of its own.
type Cable struct {
	TAP     string // of NetworkTAP: the interface's name; "": File is one
	File    int    // 0: none
	Framing Framing
	Header  bool // struct virtio_net_hdr with its number of buffers, 12 bytes, comes before each frame
}

// Capture says where the frames of a network device are written to, as pcapng. The
// zero value captures nothing.
type Capture struct {
	Path    string // of a file, which is made, or emptied
	File    int    // descriptor in place of a path; 0: none. A backend uses a copy of its own
	SnapLen int    // bytes of each frame; 0: all
	MaxSize uint64 // bytes of the file, at which the capture ends; 0: no limit
}

// Enabled says whether anything is captured.
func (c Capture) Enabled() bool { return c.Path != "" || c.File != 0 }

// RateLimit bounds one way; zero fields bound nothing. A burst of 0 is a tenth of a
// second's.
type RateLimit struct {
	BytesPerSec, BytesBurst     uint64 // of Ethernet
	PacketsPerSec, PacketsBurst uint64 // of a long frame: those that it will be cut into
}

// NetworkLimits bound what passes a network device. What is over a bound waits; of new
// connections the guest has to ask again.
type NetworkLimits struct {
	FromGuest, ToGuest RateLimit
	// New flows that the guest opens; of NetworkUser and NetworkShared.
	ConnectionsPerSec, ConnectionsBurst uint64
}

// Descriptors are the descriptors of a configuration: where each is kept, also those
// that are 0.
func (c *Config) Descriptors() []*int {
	return []*int{&c.Network.Cable.File, &c.Network.Capture.File}
}

// own says that the machine's network is run by this library.
func (m NetworkMode) own() bool { return m == NetworkUser || m == NetworkShared }

// cable checks the other end of a cable, and what is measured and bounded there.
func (p *Problems) cable(c NetworkConfig) {
	k := c.Cable
	if k.Framing != FramingStream && k.Framing != FramingDatagram && k.Framing != FramingTAP {
		p.add("network.cable.framing", `"datagram" and "tap" are; without one it is a stream`, "%q is not known", string(k.Framing))
	}
	if k.File < 0 {
		p.add("network.cable", "", "%d is no descriptor", k.File)
	}
	switch c.Mode {
	case NetworkFD:
		if k.File == 0 {
			p.add("network.cable", "attach one", "there is no descriptor")
		}
	case NetworkTAP:
		p.tapName(k)
	case NetworkShared:
	default:
		if k != (Cable{}) {
			p.add("network.cable", `the modes "fd" and "tap" have one`, "there is no descriptor in this mode")
		}
	}
	p.Limits(c.Limits)
	if l := c.Limits; l.ConnectionsPerSec != 0 && !c.Mode.own() {
		p.add("network.limits.connections_per_sec", "", "nothing in this mode knows of connections")
	}
	p.Capture("network.capture.", c.Capture)
	if c.Mode == NetworkNone && (c.Capture.Enabled() || c.Limits != (NetworkLimits{})) {
		p.add("network.mode", "choose a network", "there is none to capture or to bound")
	}
}

// tapName: as the kernel takes it (Linux, net/core/dev.c, dev_valid_name).
func (p *Problems) tapName(k Cable) {
	name := k.TAP
	switch {
	case name == "" && k.File == 0:
		p.add("network.cable.tap", "", "no interface is given")
	case len(name) > MaxTAPName:
		p.add("network.cable.tap", "", "%q is %d bytes long; at most %d are possible", name, len(name), MaxTAPName)
	case name == "." || name == ".." || strings.ContainsAny(name, "/:%") || strings.ContainsFunc(name, unicode.IsSpace):
		p.add("network.cable.tap", "", "%q is no name of an interface", name)
	}
}

// Limits checks NetworkConfig.Limits.
func (p *Problems) Limits(l NetworkLimits) {
	for _, burst := range []struct {
		field     string
		rate, one uint64
	}{
		{"from_guest.bytes_burst", l.FromGuest.BytesPerSec, l.FromGuest.BytesBurst},
		{"from_guest.packets_burst", l.FromGuest.PacketsPerSec, l.FromGuest.PacketsBurst},
		{"to_guest.bytes_burst", l.ToGuest.BytesPerSec, l.ToGuest.BytesBurst},
		{"to_guest.packets_burst", l.ToGuest.PacketsPerSec, l.ToGuest.PacketsBurst},
		{"connections_burst", l.ConnectionsPerSec, l.ConnectionsBurst},
	} {
		if burst.one != 0 && burst.rate == 0 {
			p.add("network.limits."+burst.field, "give a rate too", "a burst without a rate bounds nothing")
		}
	}
}

// Capture checks a Capture, whose fields are below field.
func (p *Problems) Capture(field string, c Capture) {
	p.path(field+"path", c.Path)
	switch {
	case c.Path != "" && c.File != 0:
		p.add(field+"path", "leave one of them out", "both a path and a descriptor are given")
	case c.File < 0:
		p.add(field+"file", "", "%d is no descriptor", c.File)
	case !c.Enabled() && c != (Capture{}):
		p.add(field+"path", "give a path or a descriptor", "nothing is written to")
	}
	if c.SnapLen < 0 || c.SnapLen > MaxSnapLen {
		p.add(field+"snap_len", "use 0 for whole frames", "%d bytes; up to %d are possible", c.SnapLen, MaxSnapLen)
	}
	if c.MaxSize != 0 && c.MaxSize < MinCaptureSize {
		p.add(field+"max_size", "use 0 for no limit", "%d bytes; at least %d are needed", c.MaxSize, MinCaptureSize)
	}
}

// CheckCable is the error of a call for the network device of a machine that has none,
// or nil.
func (c Config) CheckCable(op string) error {
	if c.Network.Enabled() && c.Network.Mode != NetworkNAT {
		return nil
	}
	return Errorf(KindUnsupported, op, "the machine has no network device of its own").WithHint("build it with a network")
}
