package frame

// Reason is why a frame is refused.
type Reason uint8

// The reasons.
const (
	OK            Reason = iota
	Runt                 // shorter than an Ethernet header
	Giant                // longer than link.MaxFrame
	BadMAC               // from a group address
	BadEtherType         // neither IPv4, IPv6 nor ARP
	BadIPHeader          // cut off, another version, impossible lengths
	BadIPLength          // longer than the frame
	BadIPChecksum        // of the IPv4 header
	BadIPOption          // broken, or one that chooses the route
	BadExtension         // IPv6: broken, out of order, too long, or one that chooses the route
	BadFragment          // length or offset that no sender makes
	BadProtocol          // not TCP, UDP or ICMP
	BadTransport         // TCP, UDP or ICMP header cut off or impossible
	BadOffload           // what virtio says disagrees with the frame
	Reasons              // how many there are
)

var reasons = [Reasons]string{
	"ok", "runt", "giant", "mac", "ethertype", "ip header", "ip length", "ip checksum", "ip option",
	"ipv6 extension", "fragment", "protocol", "transport", "offload",
}

func (r Reason) String() string {
	if r >= Reasons {
		return "unknown"
	}
	return reasons[r]
}
