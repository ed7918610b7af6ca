package frame

import (
	"bytes"
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/libcapsa/libcapsa/internal/net/link"
)

func TestParseGolden(t *testing.T) {
	t.Parallel()
	frag := "45000028 00012000 4006 8cbf 0a00020f c0000201 "
	for name, c := range map[string]struct {
		frame string
		h     link.Header
		want  Reason
	}{
		"tcp":                 {frame: ether4 + ip4tcp + syn},
		"padding":             {frame: ether4 + ip4tcp + syn + "0000 00000000"},
		"arp":                 {frame: "ffffffffffff 525400000002 0806 0001080006040001"},
		"empty":               {want: Runt},
		"13 bytes":            {frame: "525400000001 525400000002 08", want: Runt},
		"giant":               {frame: strings.Repeat("00", link.MaxFrame+1), want: Giant},
		"ethernet only":       {frame: ether4, want: BadIPHeader},
		"from a group":        {frame: "525400000001 010000000002 0800" + ip4tcp, want: BadMAC},
		"vlan":                {frame: "525400000001 525400000002 8100 0001", want: BadEtherType},
		"llc":                 {frame: "525400000001 525400000002 0026 4242", want: BadEtherType},
		"v6 in v4":            {frame: ether4 + "65" + ip4tcp[2:] + syn, want: BadIPHeader},
		"ihl 4":               {frame: ether4 + "44" + ip4tcp[2:] + syn, want: BadIPHeader},
		"ihl beyond":          {frame: ether4 + "4f" + ip4tcp[2:] + syn, want: BadIPHeader},
		"total below ihl":     {frame: ether4 + "45000013" + ip4tcp[8:] + syn, want: BadIPHeader},
		"total beyond":        {frame: ether4 + "45000029" + ip4tcp[8:] + syn, want: BadIPLength},
		"checksum":            {frame: ether4 + strings.Replace(ip4tcp, "6cbf", "6cc0", 1) + syn, want: BadIPChecksum},
		"fragment":            {frame: ether4 + frag + "0000000000000000 0000000000000000 00000000", want: BadFragment},
		"igmp":                {frame: ether4 + "45000014 00004000 4002 6cd8 0a00020f c0000201", want: BadProtocol},
		"tcp cut off":         {frame: ether4 + "45000020 00014000 4006 6cc7 0a00020f c0000201 0000000000000000 00000000", want: BadTransport},
		"tcp offset 4":        {frame: ether4 + ip4tcp + strings.Replace(syn, "5002", "4002", 1), want: BadTransport},
		"tcp offset 15":       {frame: ether4 + ip4tcp + strings.Replace(syn, "5002", "f002", 1), want: BadTransport},
		"tcp port 0":          {frame: ether4 + ip4tcp + "0000" + syn[4:], want: BadTransport},
		"v6 empty":            {frame: ether6 + "60000000 0000 3b 40" + addrs6, want: BadProtocol},
		"v6 beyond":           {frame: ether6 + "60000000 0001 06 40" + addrs6, want: BadIPLength},
		"v6 tcp":              {frame: ether6 + "60000000 0014 06 40" + addrs6 + syn},
		"v6 options, tcp":     {frame: ether6 + "60000000 001c 3c 40" + addrs6 + "06000104 00000000" + syn},
		"v6 routing":          {frame: ether6 + "60000000 001c 2b 40" + addrs6 + "06000100 00000000" + syn, want: BadExtension},
		"v6 late hop-by-hop":  {frame: ether6 + "60000000 0024 3c 40" + addrs6 + "00000104 00000000 06000104 00000000" + syn, want: BadExtension},
		"v6 extension beyond": {frame: ether6 + "60000000 0008 3c 40" + addrs6 + "06010104 00000000", want: BadExtension},
		"v6 atomic fragment":  {frame: ether6 + "60000000 001c 2c 40" + addrs6 + "06000000 00000001" + syn},
		"v4's icmp in v6":     {frame: ether6 + "60000000 0008 01 40" + addrs6 + "0800000000000000", want: BadProtocol},

		"partial":               {frame: ether4 + ip4tcp + syn, h: link.Header{Flags: 1, CSumStart: 34, CSumOffset: 16}},
		"partial, beyond":       {frame: ether4 + ip4tcp + syn, h: link.Header{Flags: 1, CSumStart: 34, CSumOffset: 19}, want: BadOffload},
		"partial, 65535":        {frame: ether4 + ip4tcp + syn, h: link.Header{Flags: 1, CSumStart: 65535, CSumOffset: 65535}, want: BadOffload},
		"partial, elsewhere":    {frame: ether4 + ip4tcp + syn, h: link.Header{Flags: 1, CSumStart: 34, CSumOffset: 6}, want: BadOffload},
		"partial, in Ethernet":  {frame: ether4 + ip4tcp + syn, h: link.Header{Flags: 1, CSumStart: 0, CSumOffset: 0}, want: BadOffload},
		"gso":                   {frame: ether4 + ip4tcp + syn, h: link.Header{Flags: 1, CSumStart: 34, CSumOffset: 16, GSOType: 1, GSOSize: 1}},
		"gso with ecn":          {frame: ether4 + ip4tcp + syn, h: link.Header{Flags: 1, CSumStart: 34, CSumOffset: 16, GSOType: 0x81, GSOSize: 1}},
		"gso of 0":              {frame: ether4 + ip4tcp + syn, h: link.Header{Flags: 1, CSumStart: 34, CSumOffset: 16, GSOType: 1}, want: BadOffload},
		"gso, no checksum":      {frame: ether4 + ip4tcp + syn, h: link.Header{GSOType: 1, GSOSize: 1}, want: BadOffload},
		"gso of v6":             {frame: ether4 + ip4tcp + syn, h: link.Header{Flags: 1, CSumStart: 34, CSumOffset: 16, GSOType: 4, GSOSize: 1}, want: BadOffload},
		"gso of udp":            {frame: ether4 + ip4tcp + syn, h: link.Header{Flags: 1, CSumStart: 34, CSumOffset: 16, GSOType: 5, GSOSize: 1}, want: BadOffload},
		"gso of udp, the old":   {frame: ether4 + ip4tcp + syn, h: link.Header{Flags: 1, CSumStart: 34, CSumOffset: 16, GSOType: 3, GSOSize: 1}, want: BadOffload},
		"gso of what is no tcp": {frame: "ffffffffffff 525400000002 0806 0001080006040001", h: link.Header{GSOType: 1, GSOSize: 1}, want: BadOffload},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := one(unhex(t, c.frame))
			f.Header = c.h
			assert.Equal(t, c.want.String(), new(Packet).Parse(f).String())
		})
	}
}

func TestParseFields(t *testing.T) {
	t.Parallel()
	var p Packet
	require.Equal(t, OK, p.Parse(one(unhex(t, ether4+ip4tcp+syn+"000000000000"))))
	assert.Equal(t, netip.MustParseAddr("10.0.2.15"), p.Src)
	assert.Equal(t, netip.MustParseAddr("192.0.2.1"), p.Dst)
	assert.Equal(t, []uint16{40000, 80}, []uint16{p.SrcPort, p.DstPort})
	assert.Equal(t, []int{34, 54, 54, 60}, []int{p.L4, p.Payload, p.End, p.Size})
	assert.Equal(t, FlagSYN, p.Flags)
	assert.Equal(t, 4, p.IP())

	require.Equal(t, OK, p.Parse(one(unhex(t, ether6+"60000000 0018 2c 40"+addrs6+"11000009 cafebabe"+"00010203 04050607 08090a0b 0c0d0e0f"))))
	assert.True(t, p.Fragment)
	assert.Equal(t, []any{UDP, uint32(0xcafebabe), 8, true}, []any{p.Proto, p.FragID, p.FragOff, p.More})
	assert.Equal(t, 6, p.IP())
}

// Whatever way a frame is cut into pieces, it is read the same.
func TestPieces(t *testing.T) {
	t.Parallel()
	b := tcp4(bytes.Repeat([]byte("libcapsa"), 50), FlagACK)
	var whole Packet
	require.Equal(t, OK, whole.Parse(one(b)))
	require.True(t, whole.Valid(one(b)))
	for i := range b {
		f := &link.Frame{Data: [][]byte{b[:i], nil, b[i:]}}
		var p Packet
		require.Equal(t, OK, p.Parse(f))
		require.Equal(t, whole, p)
		require.True(t, p.Valid(f))
		got := make([]byte, len(b))
		require.Equal(t, p.End-p.Payload, Copy(got, f, p.Payload, p.End))
		require.Equal(t, b[54:], got[:p.End-p.Payload])
	}
	b[60] ^= 1
	assert.False(t, whole.Valid(one(b)))
}

func TestValidUDP(t *testing.T) {
	t.Parallel()
	b := ip6(UDP, append([]byte{0, 9, 0, 10, 0, 12, 0, 0}, "capsa!!"[:4]...), csumUDP)
	var p Packet
	require.Equal(t, OK, p.Parse(one(b)))
	assert.True(t, p.Valid(one(b)))
	b[54+csumUDP], b[54+csumUDP+1] = 0, 0 // none: not over IPv6 (RFC 8200 section 8.1)
	require.Equal(t, OK, p.Parse(one(b)))
	assert.False(t, p.Valid(one(b)))
}
