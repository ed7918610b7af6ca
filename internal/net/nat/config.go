package nat

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/libcapsa/libcapsa/internal/net/frame"
	"github.com/libcapsa/libcapsa/internal/net/policy"
)

// Sizes of IP packets in bytes.
const (
	minMTU     = 1280 // RFC 8200 section 5
	maxMTU     = 65535
	DefaultMTU = 1500
)

// Config is what a network of one machine is made from.
type Config struct {
	GatewayMAC, GuestMAC frame.MAC

	// Gateway4 is this side's address, Guest4 the machine's with the length of their
	// network: 10.0.2.2 and 10.0.2.15/24. Frames from other addresses are dropped.
	Gateway4 netip.Addr
	Guest4   netip.Prefix
	// Gateway6 is this side's address in Prefix6, whose others are the machine's to
	// choose. Both are zero for a machine without IPv6. Guest6 is where Dial and
	// forwarded ports find it over IPv6; zero: nowhere.
	Gateway6 netip.Addr
	Prefix6  netip.Prefix
	Guest6   netip.Addr

	MTU int // of IP packets, in bytes; 0: DefaultMTU

	// Policy decides about every flow.
	Policy *policy.Engine
	// HostAccess leads the gateway's address to the host's loopback. The policy
	// still decides, by the gateway's address.
	HostAccess bool
	// InterceptDNS answers everything to port 53, whatever its address.
	InterceptDNS bool

	Services Services
	Limits   Limits
	// Admit says whether the guest may open one more flow now; nil: always. One that
	// may not is dropped without a word, so that the guest asks again, and counted as
	// limited. It is called by the goroutine of Send and must not block.
	Admit func() bool

	// Dial opens TCP connections to the host's side; nil: the system's. The
	// connection has to be a syscall.Conn.
	Dial func(ctx context.Context, dst netip.AddrPort) (net.Conn, error)
	// Observe gets the events, one at a time, on a goroutine of its own. What it is
	// too slow for is dropped and counted.
	Observe func(Event)
}

// Limits bound what one machine can make the host hold. 0: the default.
type Limits struct {
	Flows      int   // TCP connections, DefaultFlows; no more than half of the descriptors of the process
	Connecting int   // of these, not established yet; DefaultConnecting
	Datagrams  int   // UDP sessions, DefaultFlows; no more than a quarter of the descriptors
	Pings      int   // ICMP echo sessions, DefaultPings
	Buffer     int64 // bytes that wait in TCP connections, both ways; DefaultBuffer
	Forwards   int   // forwarded ports, DefaultForwards
}

// The defaults of Limits.
const (
	DefaultFlows      = 16384
	DefaultConnecting = 4096
	DefaultPings      = 64
	DefaultBuffer     = 256 << 20
	DefaultForwards   = 1024
)

// DatagramService answers datagrams. payload is borrowed for the call. It must not
// block: it is called by the goroutine that carries the guest's frames. reply may
// be called any number of times, from any goroutine, at any time; it does not
// keep its argument.
type DatagramService func(payload []byte, from, to netip.AddrPort, reply func(payload []byte))

// Services are what the gateway itself offers, each nil if it offers it not.
// Whether that is allowed is theirs to decide.
type Services struct {
	// DHCP4 gets what is sent to UDP port 67. Its replies come from the gateway's port
	// 67 and go to whom it names: an address that the guest may not have yet, or
	// 255.255.255.255. Otherwise it is as DatagramService.
	DHCP4 func(payload []byte, from netip.AddrPort, reply func(payload []byte, to netip.AddrPort))
	// DHCP6 gets what is sent to UDP port 547.
	DHCP6 DatagramService
	// DNS gets what is sent to UDP port 53 of the gateway, and of everybody with
	// Config.InterceptDNS. to is whom the guest asked, and who answers.
	DNS DatagramService
	// DNSConn serves a connection to TCP port 53; LocalAddr is whom the guest asked.
	// It returns when the connection is closed, which Close does.
	DNSConn func(conn net.Conn)
	// Neighbor gets whole frames of ARP, and of ICMPv6 types 133 to 137 (RFC 4861).
	// reply takes whole frames. nil: the gateway answers for itself, and sends no
	// router advertisements.
	Neighbor func(frame []byte, reply func(frame []byte))
}

// withDefaults checks a configuration and fills in what is 0.
func (c Config) withDefaults() (Config, error) {
	if c.MTU == 0 {
		c.MTU = DefaultMTU
	}
	switch {
	case c.Policy == nil:
		return c, errors.New("nat: no policy: say which flows are allowed (policy.Compile)")
	case c.MTU < minMTU || c.MTU > maxMTU:
		return c, fmt.Errorf("nat: MTU %d: it is %d to %d bytes", c.MTU, minMTU, maxMTU)
	case c.GatewayMAC.Group() || c.GuestMAC.Group() || c.GatewayMAC == c.GuestMAC:
		return c, fmt.Errorf("nat: addresses %x of the gateway and %x of the guest: two different ones of single stations are needed", c.GatewayMAC, c.GuestMAC)
	case !c.Gateway4.Is4() || !c.Guest4.Contains(c.Gateway4) || c.Guest4.Addr() == c.Gateway4:
		return c, fmt.Errorf("nat: gateway %v and guest %v: two IPv4 addresses of one network are needed", c.Gateway4, c.Guest4)
	case c.Gateway6.IsValid() && (!c.Gateway6.Is6() || c.Gateway6.Is4In6() || !c.Prefix6.Contains(c.Gateway6)):
		return c, fmt.Errorf("nat: gateway %v is not in network %v", c.Gateway6, c.Prefix6)
	case c.Guest6.IsValid() && (!c.Gateway6.IsValid() || !c.Prefix6.Contains(c.Guest6) || c.Guest6 == c.Gateway6):
		return c, fmt.Errorf("nat: guest %v is not in network %v of gateway %v", c.Guest6, c.Prefix6, c.Gateway6)
	}
	l := &c.Limits
	l.Flows = orDefault(l.Flows, DefaultFlows)
	l.Connecting = orDefault(l.Connecting, DefaultConnecting)
	l.Datagrams = orDefault(l.Datagrams, DefaultFlows)
	l.Pings = orDefault(l.Pings, DefaultPings)
	l.Buffer = orDefault(l.Buffer, DefaultBuffer)
	l.Forwards = orDefault(l.Forwards, DefaultForwards)
	return c, nil
}

func orDefault[T int | int64](v, def T) T {
	if v <= 0 {
		return def
	}
	return v
}
