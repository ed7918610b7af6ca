package dhcp_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/libcapsa/libcapsa/internal/net/dhcp"
	"github.com/libcapsa/libcapsa/internal/net/ether"
)

func TestMalformed(t *testing.T) {
	good := sent{kind: dhcp.Discover}
	edit := func(at int, v byte) []byte {
		b := good.bytes()
		b[at] = v
		return b
	}
	for name, payload := range map[string][]byte{
		"empty":                 nil,
		"short":                 good.bytes()[:239],
		"no options":            good.bytes()[:240],
		"a reply":               edit(0, 2),
		"not Ethernet":          edit(1, 6),
		"hardware length":       edit(2, 16),
		"relayed":               edit(24, 10),
		"cookie":                edit(236, 0),
		"type of two bytes":     edit(241, 2),
		"option beyond the end": edit(241, 200),
		"cut":                   good.bytes()[:242],
		"requested of 3 bytes":  sent{kind: dhcp.Request, options: []byte{50, 3, 1, 2, 3}}.bytes(),
		"two requested":         sent{kind: dhcp.Request, requested: "10.0.2.15", options: []byte{50, 4, 10, 0, 2, 16}}.bytes(),
		"server of 0 bytes":     sent{kind: dhcp.Request, options: []byte{54, 0}}.bytes(),
		"size of 1 byte":        sent{kind: dhcp.Discover, options: []byte{57, 1, 9}}.bytes(),
		"overload of 4":         sent{kind: dhcp.Discover, options: []byte{52, 1, 4}}.bytes(),
		"long":                  append(good.bytes(), make([]byte, 9000)...),
	} {
		s := server(t, nil)
		_, ok := s.Handle(payload, guest, start)
		require.False(t, ok, name)
		require.Equal(t, dhcp.Stats{Malformed: 1}, s.Stats(), name)
	}
}

func TestSpoofed(t *testing.T) {
	s := server(t, nil)
	_, ok := s.Handle(sent{kind: dhcp.Discover}.bytes(), other, start)
	require.False(t, ok)
	_, ok = s.Handle(sent{kind: dhcp.Discover, mac: ether.Broadcast}.bytes(), ether.Broadcast, start)
	require.False(t, ok)
	require.Equal(t, dhcp.Stats{Spoofed: 2}, s.Stats())
}

func TestNoAnswerToServersMessages(t *testing.T) {
	s := server(t, nil)
	for kind := range dhcp.Type(255) {
		if kind == dhcp.Discover || kind == dhcp.Request || kind == dhcp.Inform {
			continue
		}
		_, ok := ask(t, s, sent{kind: kind}, start)
		require.False(t, ok, kind)
	}
}

// TestOverload: options in the fields for names (RFC 2132 section 9.3), and one of
// them in pieces (RFC 3396).
func TestOverload(t *testing.T) {
	s := server(t, nil)
	b := sent{kind: dhcp.Request, options: []byte{52, 1, 3}}.bytes()
	copy(b[108:], []byte{0, 50, 2, 10, 0, 255})
	copy(b[44:], []byte{50, 2, 2, 16, 255})
	reply, ok := s.Handle(b, guest, start)
	require.True(t, ok)
	require.Equal(t, dhcp.ACK, reply.Type)
	require.Equal(t, "10.0.2.16", reply.Addr.String())
	require.Equal(t, "unknown", dhcp.Type(0).String())
	require.Equal(t, "ACK", reply.Type.String())
}

func FuzzHandle(f *testing.F) {
	for _, m := range []sent{
		{kind: dhcp.Discover, options: []byte{80, 0, 55, 3, 1, 3, 119, 57, 2, 5, 220}},
		{kind: dhcp.Request, requested: "10.0.2.15", server: "10.0.2.2"},
		{kind: dhcp.Request, ciaddr: "10.0.2.15", options: []byte{61, 2, 1, 2}},
		{kind: dhcp.Decline, requested: "10.0.2.15", server: "10.0.2.2"},
		{kind: dhcp.Release, ciaddr: "10.0.2.15", server: "10.0.2.2"},
		{kind: dhcp.Inform, ciaddr: "10.0.2.77", options: []byte{52, 1, 3}},
	} {
		f.Add(m.bytes(), byte(0), byte(1))
	}
	config := network()
	s, err := dhcp.New(config)
	require.NoError(f, err)
	now := start
	f.Fuzz(func(t *testing.T, payload []byte, client, minutes byte) {
		mac := guest
		mac[5] = client
		if len(payload) >= 34 {
			copy(payload[28:], mac[:])
		}
		now = now.Add(time.Duration(minutes) * time.Minute)
		reply, ok := s.Handle(payload, mac, now)
		require.LessOrEqual(t, s.Clients(), 3)
		leases := s.Leases(now)
		require.LessOrEqual(t, len(leases), 3)
		if !ok {
			return
		}
		g := read(t, reply, mac)
		require.LessOrEqual(t, len(g.Payload), 1472)
		if reply.Type == dhcp.NAK {
			return
		}
		require.True(t, config.Network.Contains(reply.Addr))
		require.NotEqual(t, config.Server, reply.Addr)
	})
}
