package arp_test

import (
	"encoding/hex"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/libcapsa/libcapsa/internal/net/arp"
	"github.com/libcapsa/libcapsa/internal/net/ether"
)

var (
	gateway  = ether.MAC{0x02, 0, 0, 0, 0, 0xfe}
	guest    = ether.MAC{0x02, 0, 0, 0, 0, 0x0f}
	neighbor = ether.MAC{0x02, 0, 0, 0, 0, 0x10}
)

// lookup: the gateway is 10.0.2.2, the guest 10.0.2.15, a neighbour 10.0.2.16.
func lookup(a netip.Addr) (ether.MAC, bool) {
	mac, known := map[string]ether.MAC{"10.0.2.2": gateway, "10.0.2.15": guest, "10.0.2.16": neighbor}[a.String()]
	return mac, known
}

const (
	request    = "0001080006040001"
	reply      = "0001080006040002"
	guestIP    = "0a00020f"
	gatewayIP  = "0a000202"
	guestMAC   = "02000000000f"
	gatewayMAC = "0200000000fe"
	none       = "000000000000"
)

func TestHandle(t *testing.T) {
	for _, tt := range []struct {
		name, packet string
		kind         arp.Kind
		reply        string
		to           ether.MAC
		sender       string
		conflict     bool
	}{
		{"request for the gateway", request + guestMAC + guestIP + none + gatewayIP, arp.Request,
			reply + gatewayMAC + gatewayIP + guestMAC + guestIP, guest, "10.0.2.15", false},
		{"request with padding", request + guestMAC + guestIP + none + gatewayIP + none + none + none, arp.Request,
			reply + gatewayMAC + gatewayIP + guestMAC + guestIP, guest, "10.0.2.15", false},
		{"request for a neighbour", request + guestMAC + guestIP + none + "0a000210", arp.Request,
			reply + "020000000010" + "0a000210" + guestMAC + guestIP, guest, "10.0.2.15", false},
		{"request for nobody", request + guestMAC + guestIP + none + "0a000263", arp.Request, "", ether.MAC{}, "10.0.2.15", false},
		{"probe of its own address", request + guestMAC + "00000000" + none + guestIP, arp.Probe, "", ether.MAC{}, "", false},
		{"probe of a free address", request + guestMAC + "00000000" + none + "0a000263", arp.Probe, "", ether.MAC{}, "", false},
		{"probe of the gateway's address", request + guestMAC + "00000000" + none + gatewayIP, arp.Probe,
			reply + gatewayMAC + gatewayIP + guestMAC + "00000000", guest, "", true},
		{"announcement", request + guestMAC + guestIP + none + guestIP, arp.Announcement, "", ether.MAC{}, "10.0.2.15", false},
		{"announcement as a reply", reply + guestMAC + guestIP + guestMAC + guestIP, arp.Announcement, "", ether.MAC{}, "10.0.2.15", false},
		{"announcement of the gateway's address", request + guestMAC + gatewayIP + none + gatewayIP, arp.Announcement,
			request + gatewayMAC + gatewayIP + none + gatewayIP, ether.Broadcast, "", true},
		{"request in the gateway's name", request + guestMAC + gatewayIP + none + "0a000210", arp.Request,
			request + gatewayMAC + gatewayIP + none + gatewayIP, ether.Broadcast, "", true},
		{"reply", reply + guestMAC + guestIP + gatewayMAC + gatewayIP, arp.Reply, "", ether.MAC{}, "10.0.2.15", false},
		{"reply in the gateway's name", reply + guestMAC + gatewayIP + gatewayMAC + guestIP, arp.Reply,
			request + gatewayMAC + gatewayIP + none + gatewayIP, ether.Broadcast, "", true},
		{"new address", request + guestMAC + "0a000263" + none + "0a000263", arp.Announcement, "", ether.MAC{}, "10.0.2.99", false},

		{"cut", request + guestMAC + guestIP + none + "0a0002", 0, "", ether.MAC{}, "", false},
		{"empty", "", 0, "", ether.MAC{}, "", false},
		{"not Ethernet", "0006080006040001" + guestMAC + guestIP + none + gatewayIP, 0, "", ether.MAC{}, "", false},
		{"not IPv4", "000186dd06040001" + guestMAC + guestIP + none + gatewayIP, 0, "", ether.MAC{}, "", false},
		{"long addresses", "0001080006100001" + guestMAC + guestIP + none + gatewayIP, 0, "", ether.MAC{}, "", false},
		{"reverse request", "0001080006040003" + guestMAC + guestIP + none + gatewayIP, 0, "", ether.MAC{}, "", false},
		{"another sender than the frame's", request + gatewayMAC + guestIP + none + gatewayIP, 0, "", ether.MAC{}, "", false},
		{"multicast sender", request + guestMAC + "e0000001" + none + gatewayIP, 0, "", ether.MAC{}, "", false},
		{"broadcast sender", request + guestMAC + "ffffffff" + none + gatewayIP, 0, "", ether.MAC{}, "", false},
		{"loopback sender", request + guestMAC + "7f000001" + none + gatewayIP, 0, "", ether.MAC{}, "", false},
		{"reply of nobody", reply + guestMAC + "00000000" + gatewayMAC + gatewayIP, 0, "", ether.MAC{}, "", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			packet, err := hex.DecodeString(tt.packet)
			require.NoError(t, err)
			r := arp.Handle(packet, guest, lookup)
			require.Equal(t, tt.kind, r.Kind)
			require.Equal(t, tt.reply, hex.EncodeToString(r.Reply))
			require.Equal(t, tt.to, r.To)
			require.Equal(t, tt.conflict, r.Conflict)
			sender := netip.Addr{}
			if tt.sender != "" {
				sender = netip.MustParseAddr(tt.sender)
			}
			require.Equal(t, sender, r.Sender)
		})
	}
}

func TestAsk(t *testing.T) {
	b := arp.Ask(gateway, netip.MustParseAddr("10.0.2.2"), netip.MustParseAddr("10.0.2.15"))
	require.Equal(t, request+gatewayMAC+gatewayIP+none+guestIP, hex.EncodeToString(b))
	require.Equal(t, arp.Request, arp.Handle(b, gateway, lookup).Kind)
}

func FuzzHandle(f *testing.F) {
	for _, seed := range []string{
		request + guestMAC + guestIP + none + gatewayIP,
		reply + guestMAC + gatewayIP + gatewayMAC + guestIP,
		request + guestMAC + "00000000" + none + gatewayIP,
	} {
		b, err := hex.DecodeString(seed)
		require.NoError(f, err)
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r := arp.Handle(b, guest, lookup)
		if r.Kind == arp.Malformed {
			require.Equal(t, arp.Result{}, r)
			return
		}
		if r.Reply != nil {
			require.Len(t, r.Reply, arp.Size)
			require.Contains(t, []ether.MAC{guest, ether.Broadcast}, r.To)
		}
		if r.Sender.IsValid() {
			owner, known := lookup(r.Sender)
			require.True(t, !known || owner == guest)
		}
	})
}
