package ndp_test

import (
	"encoding/binary"
	"encoding/hex"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/libcapsa/libcapsa/internal/net/ether"
	"github.com/libcapsa/libcapsa/internal/net/ndp"
)

var (
	gateway  = ether.MAC{0x02, 0, 0, 0, 0, 0xfe}
	guest    = ether.MAC{0x02, 0, 0, 0, 0, 0x0f}
	neighbor = ether.MAC{0x02, 0, 0, 0, 0, 0x10}
)

func ip(s string) netip.Addr { return netip.MustParseAddr(s) }

const (
	gatewayLL  = "fe80::ca:fe"
	gatewayIP  = "fd00:ca::2"
	guestLL    = "fe80::ff:fe00:f"
	guestIP    = "fd00:ca::f"
	neighborIP = "fd00:ca::10"
	allNodes   = "ff02::1"
	allRouters = "ff02::2"
)

func config() ndp.Config {
	return ndp.Config{
		MAC: gateway, LinkLocal: ip(gatewayLL), Prefix: netip.MustParsePrefix("fd00:ca::/64"),
		Lifetime: ndp.MaxLifetime, MTU: 1500, HopLimit: 64, DNS: []netip.Addr{ip(gatewayIP)},
		Search: []string{"capsa.internal"}, Other: true,
		Lookup: func(a netip.Addr) (ether.MAC, bool) {
			mac, known := map[string]ether.MAC{
				gatewayIP: gateway, guestIP: guest, guestLL: guest, neighborIP: neighbor,
			}[a.String()]
			return mac, known
		},
	}
}

func router(t testing.TB) *ndp.Router {
	t.Helper()
	r, err := ndp.New(config())
	require.NoError(t, err)
	return r
}

// sum adds 16-bit words, the slow and obvious way (RFC 1071).
func sum(b []byte) uint16 {
	total := 0
	for i, v := range b {
		total += int(v) << (8 * ((i + 1) % 2))
	}
	for total > 0xffff {
		total = total&0xffff + total>>16
	}
	return uint16(total)
}

func pseudo(src, dst netip.Addr, size int) []byte {
	b := append(src.AsSlice(), dst.AsSlice()...)
	return append(binary.BigEndian.AppendUint32(b, uint32(size)), 0, 0, 0, 58)
}

// packet makes one with a right checksum.
func packet(src, dst, body string) []byte {
	icmp, err := hex.DecodeString(strings.ReplaceAll(body, " ", ""))
	if err != nil {
		panic(err)
	}
	if len(icmp) >= 4 {
		icmp[2], icmp[3] = 0, 0
		binary.BigEndian.PutUint16(icmp[2:], ^sum(append(pseudo(ip(src), ip(dst), len(icmp)), icmp...)))
	}
	b := []byte{0x60, 0, 0, 0, 0, byte(len(icmp)), 58, 255}
	b = append(append(b, ip(src).AsSlice()...), ip(dst).AsSlice()...)
	return append(b, icmp...)
}

func hexIP(s string) string { return hex.EncodeToString(ip(s).AsSlice()) }

// read returns source, destination and body, of a packet that must be well-formed.
func read(t *testing.T, b []byte) (src, dst, body string) {
	t.Helper()
	require.Equal(t, []byte{0x60, 0, 0, 0}, b[:4])
	require.Equal(t, []byte{58, 255}, b[6:8])
	icmp := b[40:]
	require.EqualValues(t, len(icmp), binary.BigEndian.Uint16(b[4:]))
	s, d := netip.AddrFrom16([16]byte(b[8:])), netip.AddrFrom16([16]byte(b[24:]))
	require.EqualValues(t, 0xffff, sum(append(pseudo(s, d, len(icmp)), icmp...)), "checksum")
	plain := append([]byte(nil), icmp...)
	plain[2], plain[3] = 0, 0
	return s.String(), d.String(), hex.EncodeToString(plain)
}

// advertisement is the wire image of a router advertisement.
var advertisement = strings.Join([]string{
	"86000000", "40", "40", "ffff", "00000000", "00000000",
	"0101" + "0200000000fe",
	"05010000" + "000005dc",
	"030440c0" + "ffffffff" + "ffffffff" + "00000000" + "fd0000ca000000000000000000000000",
	"19030000" + "ffffffff" + "fd0000ca000000000000000000000002",
	"1f030000" + "ffffffff" + "05" + hex.EncodeToString([]byte("capsa")) + "08" + hex.EncodeToString([]byte("internal")) + "00",
}, "")

const (
	rs       = "85000000 00000000"
	sourceIs = "0101 02000000000f"
	targetIs = "0201 02000000000f"
)

func ns(target string) string { return "87000000 00000000" + hexIP(target) }
func na(flags, target string) string {
	return "88000000" + flags + "000000" + hexIP(target)
}
func claim(mac ether.MAC) string { return "0201" + hex.EncodeToString(mac[:]) }

func TestHandle(t *testing.T) {
	everybody := ether.MAC{0x33, 0x33, 0, 0, 0, 1}
	for _, tt := range []struct {
		name      string
		packet    []byte
		src, dst  string // of the answer; empty: none
		body      string
		to        ether.MAC
		neighbour string
		conflict  bool
	}{
		{"router solicitation", packet(guestLL, allRouters, rs+sourceIs), gatewayLL, guestLL, advertisement, guest, guestLL, false},
		{"router solicitation without an option", packet(guestLL, allRouters, rs), gatewayLL, guestLL, advertisement, guest, guestLL, false},
		{"router solicitation without an address", packet("::", allRouters, rs), gatewayLL, allNodes, advertisement, everybody, "", false},
		{"router solicitation with padding", append(packet(guestLL, allRouters, rs), 1, 2, 3), gatewayLL, guestLL, advertisement, guest, guestLL, false},
		{"router solicitation with an unknown option", packet(guestLL, allRouters, rs+"e001000000000000"), gatewayLL, guestLL, advertisement, guest, guestLL, false},

		{"solicitation of the gateway", packet(guestIP, "ff02::1:ff00:2", ns(gatewayIP)+sourceIs),
			gatewayIP, guestIP, na("e0", gatewayIP) + claim(gateway), guest, guestIP, false},
		{"solicitation of the gateway's link-local address", packet(guestLL, "ff02::1:ffca:fe", ns(gatewayLL)+sourceIs),
			gatewayLL, guestLL, na("e0", gatewayLL) + claim(gateway), guest, guestLL, false},
		{"unicast, of one who wonders whether it is still there", packet(guestIP, gatewayIP, ns(gatewayIP)),
			gatewayIP, guestIP, na("e0", gatewayIP) + claim(gateway), guest, guestIP, false},
		{"solicitation of a neighbour", packet(guestIP, "ff02::1:ff00:10", ns(neighborIP)+sourceIs),
			neighborIP, guestIP, na("60", neighborIP) + claim(neighbor), guest, guestIP, false},
		{"solicitation of nobody", packet(guestIP, "ff02::1:ff00:99", ns("fd00:ca::99")+sourceIs), "", "", "", ether.MAC{}, guestIP, false},
		{"solicitation in the gateway's name", packet(gatewayIP, "ff02::1:ff00:10", ns(neighborIP)+sourceIs), "", "", "", ether.MAC{}, "", true},

		{"probe of its own address", packet("::", "ff02::1:ff00:f", ns(guestIP)), "", "", "", ether.MAC{}, "", false},
		{"probe of a free address", packet("::", "ff02::1:ff00:99", ns("fd00:ca::99")), "", "", "", ether.MAC{}, "", false},
		{"probe of the gateway's address", packet("::", "ff02::1:ff00:2", ns(gatewayIP)),
			gatewayIP, allNodes, na("a0", gatewayIP) + claim(gateway), everybody, "", true},

		{"advertisement", packet(guestIP, gatewayIP, na("60", guestIP)+targetIs), "", "", "", ether.MAC{}, guestIP, false},
		{"unsolicited advertisement", packet(guestLL, allNodes, na("20", guestIP)+targetIs), "", "", "", ether.MAC{}, guestIP, false},
		{"advertisement of a neighbour's address", packet(guestLL, allNodes, na("20", neighborIP)+targetIs), "", "", "", ether.MAC{}, "", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := router(t)
			got := r.Handle(tt.packet, guest)
			require.True(t, got.Handled)
			require.Zero(t, r.Stats().Malformed)
			require.Equal(t, tt.conflict, got.Conflict)
			if tt.neighbour == "" {
				require.False(t, got.Neighbour.IsValid())
			} else {
				require.Equal(t, ip(tt.neighbour), got.Neighbour)
				require.Equal(t, guest, got.NeighbourMAC)
			}
			if tt.src == "" {
				require.Empty(t, got.Packets)
				return
			}
			require.Len(t, got.Packets, 1)
			require.Equal(t, tt.to, got.Packets[0].To)
			src, dst, body := read(t, got.Packets[0].Bytes)
			require.Equal(t, tt.src, src)
			require.Equal(t, tt.dst, dst)
			require.Equal(t, tt.body, body)
		})
	}
}

func TestMalformed(t *testing.T) {
	edit := func(b []byte, at int, v byte) []byte { b[at] = v; return b }
	solicitation := func() []byte { return packet(guestIP, "ff02::1:ff00:2", ns(gatewayIP)+sourceIs) }
	for name, b := range map[string][]byte{
		"hop limit":                    edit(solicitation(), 7, 254),
		"checksum":                     edit(solicitation(), 42, 0x55),
		"length beyond the frame":      edit(solicitation(), 5, 200),
		"length too small":             edit(solicitation(), 5, 4),
		"code":                         packet(guestIP, "ff02::1:ff00:2", "87010000 00000000"+hexIP(gatewayIP)),
		"multicast source":             packet(allNodes, "ff02::1:ff00:2", ns(gatewayIP)),
		"loopback source":              packet("::1", "ff02::1:ff00:2", ns(gatewayIP)),
		"IPv4 source":                  packet("::ffff:1.2.3.4", "ff02::1:ff00:2", ns(gatewayIP)),
		"short solicitation":           packet(guestIP, "ff02::1:ff00:2", rs[:2]+"000000 00000000"+"0102")[:50],
		"short neighbour solicitation": packet(guestIP, "ff02::1:ff00:2", "87000000 00000000 fd00"),
		"multicast target":             packet(guestIP, "ff02::1:ff00:1", ns(allNodes)),
		"another group":                packet(guestIP, "ff02::1:ff00:3", ns(gatewayIP)),
		"another host":                 packet(guestIP, neighborIP, ns(gatewayIP)),
		"probe by unicast":             packet("::", gatewayIP, ns(gatewayIP)),
		"probe with a MAC":             packet("::", "ff02::1:ff00:2", ns(gatewayIP)+sourceIs),
		"router solicitation of nobody with a MAC": packet("::", allRouters, rs+sourceIs),
		"router solicitation to a host":            packet(guestLL, neighborIP, rs),
		"option of length 0":                       packet(guestLL, allRouters, rs+"0100000000000000"),
		"option beyond the end":                    packet(guestLL, allRouters, rs+"010200000000000f"),
		"half an option":                           packet(guestLL, allRouters, rs+"0101"),
		"long MAC":                                 packet(guestLL, allRouters, rs+"0102000000000000"+"0000000000000000"),
		"another's MAC":                            packet(guestLL, allRouters, rs+"0101020000000010"),
		"multicast MAC":                            packet(guestLL, allRouters, rs+"0101333300000001"),
		"short advertisement":                      packet(guestIP, gatewayIP, "88000000 60000000"),
		"advertisement of a group":                 packet(guestIP, gatewayIP, na("60", allNodes)),
		"solicited by everybody":                   packet(guestIP, allNodes, na("60", guestIP)),
	} {
		r := router(t)
		require.Equal(t, ndp.Result{Handled: true}, r.Handle(b, guest), name)
		require.EqualValues(t, 1, r.Stats().Malformed, name)
	}
}

// TestOthers: packets that are for somebody else, and those of would-be routers.
func TestOthers(t *testing.T) {
	r := router(t)
	for _, b := range [][]byte{
		nil, make([]byte, 40), packet(guestIP, gatewayIP, "80000000 00010001"),
		packet(guestIP, gatewayIP, "84000000 00000000"), packet(guestIP, gatewayIP, "8a000000 00000000"),
	} {
		require.Equal(t, ndp.Result{}, r.Handle(b, guest))
	}
	require.Equal(t, ndp.Result{Handled: true}, r.Handle(packet(guestLL, allNodes, advertisement), guest))
	require.Equal(t, ndp.Result{Handled: true}, r.Handle(packet(guestLL, guestIP, "89000000 00000000"), guest))
	require.Equal(t, ndp.Stats{Rogue: 2}, r.Stats())
}

func TestUnasked(t *testing.T) {
	r := router(t)
	p := r.Advertisement()
	src, dst, body := read(t, p.Bytes)
	require.Equal(t, []string{gatewayLL, allNodes, advertisement}, []string{src, dst, body})
	require.Equal(t, ether.MAC{0x33, 0x33, 0, 0, 0, 1}, p.To)
	p = r.Solicitation(ip(guestIP))
	src, dst, body = read(t, p.Bytes)
	require.Equal(t, []string{gatewayLL, "ff02::1:ff00:f"}, []string{src, dst})
	require.Equal(t, "8700000000000000"+hexIP(guestIP)+"01010200000000fe", body)
	require.Equal(t, ether.MAC{0x33, 0x33, 0xff, 0, 0, 0x0f}, p.To)
}

// TestLeast: what is not configured is not said.
func TestLeast(t *testing.T) {
	r, err := ndp.New(ndp.Config{MAC: gateway, LinkLocal: ip(gatewayLL), Managed: true})
	require.NoError(t, err)
	_, _, body := read(t, r.Advertisement().Bytes)
	require.Equal(t, "86000000"+"00800000"+"00000000"+"00000000"+"01010200000000fe", body)
	require.Empty(t, r.Handle(packet(guestIP, "ff02::1:ff00:2", ns(gatewayIP)), guest).Packets)
}

func TestConfig(t *testing.T) {
	for _, tt := range []struct {
		change func(*ndp.Config)
		want   string
	}{
		{func(c *ndp.Config) { c.MAC = ether.Broadcast }, "MAC"},
		{func(c *ndp.Config) { c.LinkLocal = ip(gatewayIP) }, "link-local"},
		{func(c *ndp.Config) { c.LinkLocal = ip("169.254.0.1") }, "link-local"},
		{func(c *ndp.Config) { c.Prefix = netip.MustParsePrefix("fd00::/48") }, "64 bits"},
		{func(c *ndp.Config) { c.Lifetime = 24 * time.Hour }, "lifetime"},
		{func(c *ndp.Config) { c.MTU = 1000 }, "MTU"},
		{func(c *ndp.Config) { c.DNS = []netip.Addr{ip("10.0.0.1")} }, "DNS"},
		{func(c *ndp.Config) { c.DNS = make([]netip.Addr, 9) }, "at most 8"},
		{func(c *ndp.Config) { c.Search = []string{"a..b"} }, "search"},
		{func(c *ndp.Config) {
			c.Search = []string{strings.Repeat("a.", 120), strings.Repeat("a.", 120), strings.Repeat("a.", 120)}
		}, "at most 512"},
	} {
		c := config()
		tt.change(&c)
		_, err := ndp.New(c)
		require.ErrorContains(t, err, tt.want)
	}
}

func FuzzHandle(f *testing.F) {
	f.Add(packet(guestLL, allRouters, rs+sourceIs), true)
	f.Add(packet("::", allRouters, rs), true)
	f.Add(packet(guestIP, "ff02::1:ff00:2", ns(gatewayIP)+sourceIs), true)
	f.Add(packet("::", "ff02::1:ff00:2", ns(gatewayIP)), true)
	f.Add(packet(guestLL, allNodes, na("20", guestIP)+targetIs), false)
	r := router(f)
	f.Fuzz(func(t *testing.T, b []byte, right bool) {
		if size := len(b) - 40; right && size >= 8 && size < 65536 {
			// Deeper than chance finds a checksum.
			b[7] = 255
			binary.BigEndian.PutUint16(b[4:], uint16(size))
			b[42], b[43] = 0, 0
			src, dst := netip.AddrFrom16([16]byte(b[8:])), netip.AddrFrom16([16]byte(b[24:]))
			binary.BigEndian.PutUint16(b[42:], ^sum(append(pseudo(src, dst, size), b[40:]...)))
		}
		got := r.Handle(b, guest)
		require.LessOrEqual(t, len(got.Packets), 1)
		for _, p := range got.Packets {
			require.LessOrEqual(t, len(p.Bytes), 1280)
			read(t, p.Bytes)
		}
		if got.Neighbour.IsValid() {
			owner, known := config().Lookup(got.Neighbour)
			require.True(t, !known || owner == guest)
		}
	})
}
