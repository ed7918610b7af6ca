package frame

import (
	"encoding/binary"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/libcapsa/libcapsa/internal/net/link"
)

func pattern(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i ^ i>>8)
	}
	return b
}

func TestSum(t *testing.T) {
	t.Parallel()
	b := pattern(300)
	for n := range b {
		var s Sum
		s.Add(b[:n])
		require.Equal(t, naive(b[:n]), s.Fold(), n)
		for cut := 0; cut <= n; cut += 7 {
			var s Sum
			s.Add(b[:cut])
			s.Add(b[cut:n])
			require.Equal(t, naive(b[:n]), s.Fold(), "%d of %d", cut, n)
		}
	}
	var s Sum
	s.Add([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff})
	s.Add([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff})
	assert.Equal(t, uint16(0xffff), s.Fold())
}

// cutAll cuts a frame and checks each piece: lengths, checksums, and that the
// payload is whole again at the end.
func cutAll(t *testing.T, src []byte, h link.Header, whole bool, body int) (out [][]byte) {
	t.Helper()
	c, ok := NewCut(src, h, whole)
	require.True(t, ok)
	var payload []byte
	for {
		dst := make([]byte, c.FrameSize())
		n, hdr := c.Next(dst)
		if n == 0 {
			break
		}
		f := &link.Frame{Header: hdr, Data: [][]byte{dst[:n]}}
		if !whole {
			require.Equal(t, link.NeedsChecksum, hdr.Flags)
			require.True(t, Complete(dst[:n], int(hdr.CSumStart), int(hdr.CSumOffset)))
			f.Header = link.Header{}
		}
		var p Packet
		require.Equal(t, OK, p.Parse(f))
		require.True(t, p.Valid(f))
		require.Equal(t, n, p.End)
		payload = append(payload, dst[body:n]...)
		out = append(out, dst[:n])
	}
	require.Equal(t, src[body:], payload)
	return out
}

func TestCutTCP(t *testing.T) {
	t.Parallel()
	for _, whole := range []bool{true, false} {
		src := tcp4(pattern(4000), FlagACK|FlagPSH|FlagFIN|FlagCWR)
		out := cutAll(t, src, link.Header{GSOType: link.GSOTCPv4, GSOSize: 1448}, whole, 54)
		require.Len(t, out, 3)
		for i, seq := range []uint32{0xffffff00, 1192, 2640} {
			assert.Equal(t, seq, binary.BigEndian.Uint32(out[i][38:]))
			assert.Equal(t, uint16(i), binary.BigEndian.Uint16(out[i][18:]), "identification")
		}
		assert.Equal(t, []uint8{FlagACK | FlagCWR, FlagACK, FlagACK | FlagPSH | FlagFIN},
			[]uint8{out[0][47], out[1][47], out[2][47]})

		header := []byte{0x9c, 0x40, 0, 80, 0, 0, 0, 1, 0, 0, 0, 1, 0x50, FlagACK, 0xff, 0xff, 0, 0, 0, 0}
		cutAll(t, ip6(TCP, append(header, pattern(2881)...), csumTCP), link.Header{GSOType: link.GSOTCPv6, GSOSize: 1440}, whole, 74)
	}
}

func TestCutUDP(t *testing.T) {
	t.Parallel()
	src := ip6(UDP, append([]byte{0, 9, 0, 10, 0, 0, 0, 0}, pattern(2500)...), csumUDP)
	out := cutAll(t, src, link.Header{GSOType: link.GSOUDPL4, GSOSize: 1200}, true, 62)
	require.Len(t, out, 3)
	assert.Equal(t, uint16(108), binary.BigEndian.Uint16(out[2][58:]))
}

func TestCutRefuses(t *testing.T) {
	t.Parallel()
	good := tcp4(pattern(100), FlagACK)
	for name, c := range map[string]struct {
		src  []byte
		size uint16
	}{
		"no size": {good, 0}, "no payload": {good[:54], 10}, "short": {good[:40], 10}, "empty": {nil, 10},
	} {
		_, ok := NewCut(c.src, link.Header{GSOSize: c.size}, true)
		assert.False(t, ok, name)
	}
}

func TestCompleteBounds(t *testing.T) {
	t.Parallel()
	b := make([]byte, 20)
	assert.True(t, Complete(b, 18, 0))
	assert.False(t, Complete(b, 18, 1))
	assert.False(t, Complete(b, -1, 1))
	assert.False(t, Complete(nil, 0, 0))
	assert.True(t, Complete(b, 0, 6))
	assert.Equal(t, []byte{0xff, 0xff}, b[6:8], "zero is said as 0xffff")
}
