//go:build linux

package gateway_test

import (
	"encoding/json"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/libcapsa/libcapsa/internal/net/frame"
	"github.com/libcapsa/libcapsa/internal/net/gateway"
	"github.com/libcapsa/libcapsa/internal/net/link"
	"github.com/libcapsa/libcapsa/internal/vm"
)

// checker is a guest that takes frames and looks whether they are proper ones.
type checker struct{ t *testing.T }

func (c *checker) Receive(frames []link.Frame) int {
	for _, f := range frames {
		var p frame.Packet
		if r := p.Parse(&f); r != frame.OK {
			c.t.Errorf("a frame to the guest is malformed (%v): %x", r, f.Data)
		}
	}
	return len(frames)
}

// FuzzFrames sends two frames of a guest to a gateway that lets nothing out. What
// comes back is well-formed, whatever they were.
func FuzzFrames(f *testing.F) {
	everybody := netip.MustParseAddr("255.255.255.255")
	header := func(to [6]byte, kind uint16, packet []byte) []byte {
		return append(append(append(append([]byte{}, to[:]...), guestMAC[:]...), byte(kind>>8), byte(kind)), packet...)
	}
	discover := header(broadcast, 0x0800, ipv4(none, everybody, 17, udp(68, 67, dhcpMessage(1))))
	solicitation := header([6]byte{0x33, 0x33, 0, 0, 0, 2}, 0x86dd, icmp6("fe80::5eff:fe10:1", "ff02::2", []byte{133, 0, 0, 0, 0, 0, 0, 0}))
	arp := header(broadcast, 0x0806, append([]byte{0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0x5e, 0x10, 0, 1, 10, 0, 2, 15, 0, 0, 0, 0, 0, 0}, 10, 0, 2, 2))
	dns := header(gatewayMAC, 0x0800, ipv4(guest4, gateway4, 17, udp(5353, 53, []byte("\x00\x07\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x01a\x00\x00\x01\x00\x01"))))
	f.Add(discover, solicitation)
	f.Add(arp, dns)
	f.Add(dns[:40], discover[:14])
	f.Fuzz(func(t *testing.T, one, two []byte) {
		cfg := vm.NetworkConfig{Mode: vm.NetworkUser, Policy: json.RawMessage(`{"default": "deny-all"}`)}.WithDefaults()
		g, err := gateway.New(gateway.Config{Network: cfg, MAC: guestMAC})
		require.NoError(t, err)
		g.Attach(&checker{t}, link.Offloads{Checksum: true})
		for _, b := range [][]byte{one, two} {
			if len(b) >= 12 {
				b = append([]byte{}, b...)
				copy(b[6:], guestMAC[:])
			}
			g.Send([]link.Frame{{Data: [][]byte{b}}})
		}
		g.Detach()
		require.NoError(t, g.Close())
	})
}
