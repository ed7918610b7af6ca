package dhcp_test

import (
	"encoding/binary"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/libcapsa/libcapsa/internal/net/dhcp"
	"github.com/libcapsa/libcapsa/internal/net/ether"
)

var (
	start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	guest = ether.MAC{0x02, 0xca, 0x95, 0xa0, 0x00, 0x01}
	other = ether.MAC{0x02, 0xca, 0x95, 0xa0, 0x00, 0x02}
)

func ip(s string) netip.Addr { return netip.MustParseAddr(s) }

// network is 10.0.2.0/24 with three addresses to give out.
func network() dhcp.Config {
	return dhcp.Config{
		Network: netip.MustParsePrefix("10.0.2.0/24"), Server: ip("10.0.2.2"), Router: ip("10.0.2.2"),
		First: ip("10.0.2.15"), Last: ip("10.0.2.17"),
		DNS: []netip.Addr{ip("10.0.2.2")}, Domain: "capsa.internal", Search: []string{"capsa.internal"}, MTU: 1500,
	}
}

func server(t *testing.T, change func(*dhcp.Config)) *dhcp.Server {
	t.Helper()
	config := network()
	if change != nil {
		change(&config)
	}
	s, err := dhcp.New(config)
	require.NoError(t, err)
	return s
}

// sent is a client's message; zero fields are left out.
type sent struct {
	kind      dhcp.Type
	mac       ether.MAC // zero: guest
	broadcast bool
	ciaddr    string
	requested string
	server    string
	options   []byte // in their wire form
}

func (m sent) bytes() []byte {
	b := make([]byte, 240)
	b[0], b[1], b[2] = 1, 1, 6
	copy(b[4:], "xid!")
	if m.broadcast {
		b[10] = 0x80
	}
	if m.ciaddr != "" {
		copy(b[12:], ip(m.ciaddr).AsSlice())
	}
	mac := m.from()
	copy(b[28:], mac[:])
	copy(b[236:], []byte{0x63, 0x82, 0x53, 0x63})
	b = append(b, 53, 1, byte(m.kind))
	if m.requested != "" {
		b = append(append(b, 50, 4), ip(m.requested).AsSlice()...)
	}
	if m.server != "" {
		b = append(append(b, 54, 4), ip(m.server).AsSlice()...)
	}
	return append(append(b, m.options...), 255)
}

func (m sent) from() ether.MAC {
	if m.mac == (ether.MAC{}) {
		return guest
	}
	return m.mac
}

// got is an answer, read back.
type got struct {
	dhcp.Reply
	options map[byte][]byte
	order   []byte
}

func (g got) yiaddr() string { return netip.AddrFrom4([4]byte(g.Payload[16:])).String() }

// ask requires the answer to be well-formed.
func ask(t *testing.T, s *dhcp.Server, m sent, now time.Time) (got, bool) {
	t.Helper()
	reply, ok := s.Handle(m.bytes(), m.from(), now)
	if !ok {
		require.Zero(t, reply)
		return got{}, false
	}
	return read(t, reply, m.from()), true
}

func read(t *testing.T, reply dhcp.Reply, mac ether.MAC) got {
	t.Helper()
	b := reply.Payload
	require.GreaterOrEqual(t, len(b), 300)
	require.Equal(t, []byte{2, 1, 6, 0}, b[:4])
	require.Equal(t, mac[:], b[28:34])
	require.Equal(t, []byte{0x63, 0x82, 0x53, 0x63}, b[236:240])
	require.EqualValues(t, 68, reply.Dst.Port())
	g := got{Reply: reply, options: map[byte][]byte{}}
	for b = b[240:]; b[0] != 255; {
		code, n := b[0], int(b[1])
		g.options[code] = append(g.options[code], b[2:2+n]...)
		g.order = append(g.order, code)
		b = b[2+n:]
	}
	for _, pad := range b[1:] {
		require.Zero(t, pad)
	}
	require.Equal(t, []byte{byte(reply.Type)}, g.options[53])
	require.Equal(t, []byte{10, 0, 2, 2}, g.options[54])
	return g
}

func mustAsk(t *testing.T, s *dhcp.Server, m sent, now time.Time) got {
	t.Helper()
	g, ok := ask(t, s, m, now)
	require.True(t, ok, "no answer")
	return g
}

// lease goes through the four messages and returns the address.
func lease(t *testing.T, s *dhcp.Server, mac ether.MAC, now time.Time) netip.Addr {
	t.Helper()
	offer := mustAsk(t, s, sent{kind: dhcp.Discover, mac: mac}, now)
	require.Equal(t, dhcp.Offer, offer.Type)
	ack := mustAsk(t, s, sent{kind: dhcp.Request, mac: mac, requested: offer.yiaddr(), server: "10.0.2.2"}, now)
	require.Equal(t, dhcp.ACK, ack.Type)
	require.Equal(t, offer.yiaddr(), ack.yiaddr())
	return ack.Addr
}

func seconds(b []byte) time.Duration {
	return time.Duration(binary.BigEndian.Uint32(b)) * time.Second
}
