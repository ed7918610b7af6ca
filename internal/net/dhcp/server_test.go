package dhcp_test

import (
	"bytes"
	"encoding/hex"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/libcapsa/libcapsa/internal/net/dhcp"
	"github.com/libcapsa/libcapsa/internal/net/ether"
)

// TestOfferBytes is the wire image of an answer, field by field.
func TestOfferBytes(t *testing.T) {
	s := server(t, func(c *dhcp.Config) {
		c.Reservations = map[ether.MAC]dhcp.Reservation{guest: {Addr: ip("10.0.2.9"), Hostname: "web"}}
		c.Routes = []dhcp.Route{{Prefix: netip.MustParsePrefix("172.16.0.0/12"), Via: ip("10.0.2.3")}}
	})
	want, err := hex.DecodeString(strings.Join([]string{
		"02010600", hex.EncodeToString([]byte("xid!")), "00008000",
		"00000000", "0a000209", "00000000", "00000000",
		"02ca95a00001", strings.Repeat("00", 10+64+128), "63825363",
		"350102", "36040a000202",
		"330400000e10", "3a0400000708", "3b0400000c4e",
		"0104ffffff00", "03040a000202", "06040a000202", "1a0205dc",
		"790c" + "0cac10" + "0a000203" + "00" + "0a000202",
		"1c040a0002ff", "0c03" + hex.EncodeToString([]byte("web")),
		"0f0e" + hex.EncodeToString([]byte("capsa.internal")),
		"7710" + "05" + hex.EncodeToString([]byte("capsa")) + "08" + hex.EncodeToString([]byte("internal")) + "00",
		"ff",
	}, ""))
	require.NoError(t, err)
	got := mustAsk(t, s, sent{kind: dhcp.Discover, broadcast: true}, start)
	require.Equal(t, hex.EncodeToString(want), hex.EncodeToString(got.Payload))
	require.Equal(t, "255.255.255.255:68", got.Dst.String())
	require.Equal(t, ether.Broadcast, got.MAC)
}

func TestLeaseRenewRelease(t *testing.T) {
	s := server(t, nil)
	addr := lease(t, s, guest, start)
	require.Equal(t, []dhcp.Lease{{MAC: guest, Addr: addr, Ends: start.Add(time.Hour)}}, s.Leases(start))

	// T1 and T2 (RFC 2131 section 4.4.5).
	renewal := start.Add(30 * time.Minute)
	ack := mustAsk(t, s, sent{kind: dhcp.Request, ciaddr: addr.String()}, renewal)
	require.Equal(t, dhcp.ACK, ack.Type)
	require.Equal(t, netip.AddrPortFrom(addr, 68), ack.Dst)
	require.Equal(t, guest, ack.MAC)
	require.Equal(t, time.Hour, seconds(ack.options[51]))
	require.Equal(t, 30*time.Minute, seconds(ack.options[58]))
	require.Equal(t, 52*time.Minute+30*time.Second, seconds(ack.options[59]))
	got, ok := s.Addr(guest, start.Add(89*time.Minute))
	require.True(t, ok)
	require.Equal(t, addr, got)

	// In another's name: nothing happens.
	_, ok = ask(t, s, sent{kind: dhcp.Release, mac: other, ciaddr: addr.String(), server: "10.0.2.2"}, renewal)
	require.False(t, ok)
	require.Len(t, s.Leases(renewal), 1)
	_, ok = ask(t, s, sent{kind: dhcp.Release, ciaddr: addr.String(), server: "10.0.2.2"}, renewal)
	require.False(t, ok)
	require.Empty(t, s.Leases(renewal))
	_, ok = s.Addr(guest, renewal)
	require.False(t, ok)
	require.Equal(t, addr, lease(t, s, guest, renewal), "the same one again")
}

func TestAddressIsKept(t *testing.T) {
	s := server(t, nil)
	first := lease(t, s, guest, start)
	second := lease(t, s, other, start)
	require.NotEqual(t, first, second)
	day := start.Add(24 * time.Hour)
	require.Empty(t, s.Leases(day))
	require.Equal(t, second, lease(t, s, other, day))
	require.Equal(t, first, lease(t, s, guest, day))
	// A server that starts anew gives the same one.
	require.Equal(t, first, lease(t, server(t, nil), guest, day))
}

func TestRequest(t *testing.T) {
	for _, tt := range []struct {
		name string
		m    sent
		want dhcp.Type // zero: silence
		dst  string
	}{
		{"reboot with a free address", sent{requested: "10.0.2.16"}, dhcp.ACK, "10.0.2.16:68"},
		{"reboot, broadcast wanted", sent{requested: "10.0.2.16", broadcast: true}, dhcp.ACK, "255.255.255.255:68"},
		{"reboot from another network", sent{requested: "192.168.1.7"}, dhcp.NAK, "255.255.255.255:68"},
		{"reboot with the server's address", sent{requested: "10.0.2.2"}, dhcp.NAK, "255.255.255.255:68"},
		{"reboot with another's address", sent{requested: "OTHER"}, dhcp.NAK, "255.255.255.255:68"},
		{"renewal after the server started anew", sent{ciaddr: "10.0.2.16"}, dhcp.ACK, "10.0.2.16:68"},
		{"renewal of another network's", sent{ciaddr: "192.168.1.7"}, dhcp.NAK, "255.255.255.255:68"},
		{"another server was chosen", sent{requested: "10.0.2.16", server: "10.0.2.99"}, 0, ""},
		{"nothing is asked for", sent{}, dhcp.NAK, "255.255.255.255:68"},
		{"selection of what was not offered", sent{requested: "10.0.2.200", server: "10.0.2.2"}, dhcp.NAK, "255.255.255.255:68"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := server(t, nil)
			taken := lease(t, s, other, start)
			if tt.m.requested == "OTHER" {
				tt.m.requested = taken.String()
			}
			if tt.m.requested == taken.String() && tt.want == dhcp.ACK || tt.m.ciaddr == taken.String() {
				t.Fatalf("the table's address %v is taken", taken)
			}
			tt.m.kind = dhcp.Request
			reply, ok := ask(t, s, tt.m, start)
			require.Equal(t, tt.want != 0, ok)
			if !ok {
				return
			}
			require.Equal(t, tt.want, reply.Type)
			require.Equal(t, tt.dst, reply.Dst.String())
			if tt.want == dhcp.NAK {
				require.Equal(t, "0.0.0.0", reply.yiaddr())
				require.Equal(t, ether.Broadcast, reply.MAC)
				require.Equal(t, []byte{53, 54, 56}, reply.order)
				require.False(t, reply.Addr.IsValid())
			}
		})
	}
}

func TestDecline(t *testing.T) {
	s := server(t, nil)
	addr := lease(t, s, guest, start)
	for _, m := range []sent{
		{mac: other, requested: addr.String(), server: "10.0.2.2"},
		{requested: "10.0.2.200", server: "10.0.2.2"},
		{requested: addr.String(), server: "10.0.2.3"},
	} {
		m.kind = dhcp.Decline
		_, ok := ask(t, s, m, start)
		require.False(t, ok)
		require.Zero(t, s.Stats().Declined)
	}
	_, ok := ask(t, s, sent{kind: dhcp.Decline, requested: addr.String(), server: "10.0.2.2"}, start)
	require.False(t, ok)
	require.EqualValues(t, 1, s.Stats().Declined)
	second := lease(t, s, guest, start)
	require.NotEqual(t, addr, second)
	third := lease(t, s, other, start)
	require.NotContains(t, []netip.Addr{addr, second}, third)
	last := ether.MAC{2, 0, 0, 0, 0, 9}
	_, ok = ask(t, s, sent{kind: dhcp.Discover, mac: last}, start)
	require.False(t, ok, "the declined one is not given out")
	require.EqualValues(t, 1, s.Stats().Exhausted)
	require.Equal(t, addr, lease(t, s, last, start.Add(11*time.Minute)))
}

func TestRapidCommit(t *testing.T) {
	s := server(t, nil)
	ack := mustAsk(t, s, sent{kind: dhcp.Discover, options: []byte{80, 0}}, start)
	require.Equal(t, dhcp.ACK, ack.Type)
	require.Contains(t, ack.order, byte(80))
	require.Len(t, s.Leases(start), 1)
	plain := mustAsk(t, s, sent{kind: dhcp.Request, ciaddr: ack.yiaddr(), options: []byte{80, 0}}, start)
	require.NotContains(t, plain.order, byte(80))
}

func TestInform(t *testing.T) {
	s := server(t, nil)
	ack := mustAsk(t, s, sent{kind: dhcp.Inform, ciaddr: "10.0.2.77"}, start)
	require.Equal(t, dhcp.ACK, ack.Type)
	require.Equal(t, "10.0.2.77:68", ack.Dst.String())
	require.Equal(t, guest, ack.MAC)
	require.Equal(t, "0.0.0.0", ack.yiaddr())
	for _, code := range []byte{51, 58, 59} {
		require.NotContains(t, ack.order, code)
	}
	require.Equal(t, []byte{10, 0, 2, 2}, ack.options[6])
	require.Empty(t, s.Leases(start))
	for _, from := range []string{"", "10.0.2.2", "10.0.2.255", "192.168.1.1", "127.0.0.1"} {
		_, ok := ask(t, s, sent{kind: dhcp.Inform, ciaddr: from}, start)
		require.False(t, ok, from)
	}
}

func TestReservation(t *testing.T) {
	s := server(t, func(c *dhcp.Config) {
		c.Reservations = map[ether.MAC]dhcp.Reservation{guest: {Addr: ip("10.0.2.16"), Hostname: "web"}}
	})
	reserved, ok := s.Addr(guest, start)
	require.True(t, ok)
	require.Equal(t, ip("10.0.2.16"), reserved)
	for i := range byte(2) {
		require.NotEqual(t, reserved, lease(t, s, ether.MAC{2, 0, 0, 0, 0, i}, start))
	}
	nak := mustAsk(t, s, sent{kind: dhcp.Request, mac: ether.MAC{2, 0, 0, 0, 0, 1}, requested: "10.0.2.16"}, start)
	require.Equal(t, dhcp.NAK, nak.Type)
	_, ok = ask(t, s, sent{kind: dhcp.Discover, mac: ether.MAC{2, 0, 0, 0, 0, 7}}, start)
	require.False(t, ok)
	require.Equal(t, reserved, lease(t, s, guest, start))
	_, _ = ask(t, s, sent{kind: dhcp.Decline, requested: "10.0.2.16", server: "10.0.2.2"}, start)
	require.Equal(t, reserved, lease(t, s, guest, start), "it stays its owner's")
	require.Len(t, s.Leases(start), 3)
}

// TestManyClients: a guest that invents clients gets what there is, and the tables do
// not grow.
func TestManyClients(t *testing.T) {
	s := server(t, nil)
	mac := func(i int) ether.MAC { return ether.MAC{2, 0, 0, byte(i >> 16), byte(i >> 8), byte(i)} }
	offers := 0
	for i := range 100_000 {
		if _, ok := s.Handle(sent{kind: dhcp.Discover, mac: mac(i)}.bytes(), mac(i), start); ok {
			offers++
		}
	}
	require.Equal(t, 3, offers)
	require.EqualValues(t, 100_000-3, s.Stats().Exhausted)
	// What was only offered is free again after a while.
	require.True(t, lease(t, s, guest, start.Add(2*time.Minute)).IsValid())
	require.LessOrEqual(t, s.Clients(), 3)
}

func TestParameterRequestList(t *testing.T) {
	s := server(t, nil)
	few := mustAsk(t, s, sent{kind: dhcp.Discover, options: []byte{55, 2, 1, 3}}, start)
	require.Equal(t, []byte{53, 54, 51, 58, 59, 1, 3, 6}, few.order)
	all := mustAsk(t, s, sent{kind: dhcp.Discover}, start)
	require.Equal(t, []byte{53, 54, 51, 58, 59, 1, 3, 6, 26, 28, 15, 119}, all.order)
	id := mustAsk(t, s, sent{kind: dhcp.Discover, options: []byte{61, 3, 1, 2, 3}}, start)
	require.Equal(t, []byte{1, 2, 3}, id.options[61])
}

func TestMessageSize(t *testing.T) {
	long := make([]string, 8)
	for i := range long {
		long[i] = strings.Repeat(string(rune('a'+i)), 60) + ".example"
	}
	s := server(t, func(c *dhcp.Config) { c.Search = long })
	short := mustAsk(t, s, sent{kind: dhcp.Discover}, start)
	require.NotContains(t, short.order, byte(119))
	require.LessOrEqual(t, len(short.Payload), 548)
	require.EqualValues(t, 1, s.Stats().LeftOut)
	// RFC 3396: in pieces.
	big := mustAsk(t, s, sent{kind: dhcp.Discover, options: []byte{57, 2, 0x05, 0xdc}}, start)
	require.Equal(t, 3, bytes.Count(big.order, []byte{119}))
	require.Len(t, big.options[119], 8*(61+8+1))
	tiny := mustAsk(t, s, sent{kind: dhcp.Discover, options: []byte{57, 2, 0, 0}}, start)
	require.Equal(t, short.order, tiny.order)
}
