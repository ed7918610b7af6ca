package nat

import (
	"encoding/hex"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/libcapsa/libcapsa/internal/net/frame"
	"github.com/libcapsa/libcapsa/internal/net/link"
)

// Frames to the guest, byte by byte.
func TestBuildGolden(t *testing.T) {
	t.Parallel()
	m := builder{from: gatewayMAC, to: guestMAC, mtu: 1500}
	ether := "525400000002525400000001"
	datagram := func() []byte {
		b := append(make([]byte, udpRoom), "capsa"...)
		udpHeader(b, 53, 4000)
		return b
	}
	t.Run("UDP over IPv4", func(t *testing.T) {
		f := m.packet(nil, datagram(), frame.UDP, 6, gateway4, guest4.Addr(), 7)
		require.Len(t, f, 1)
		assert.Equal(t, link.Header{Flags: link.NeedsChecksum, CSumStart: 34, CSumOffset: 6}, f[0].Header)
		assert.Equal(t, ether+"0800"+"450000210000000040116"+"2bc0a0002020a00020f"+"00350fa0000d182f"+"6361707361", hex.EncodeToString(f[0].Data[0]))
	})
	t.Run("UDP over IPv6", func(t *testing.T) {
		f := m.packet(nil, datagram(), frame.UDP, 6, gateway6, guest6, 7)
		require.Len(t, f, 1)
		assert.Equal(t, link.Header{Flags: link.NeedsChecksum, CSumStart: 54, CSumOffset: 6}, f[0].Header)
		assert.Equal(t, ether+"86dd"+"60000000000d1140"+"fd000000000000000000000000000002"+"fd000000000000000000000000000015"+
			"00350fa0000dfa36"+"6361707361", hex.EncodeToString(f[0].Data[0]))
	})
	t.Run("too big", func(t *testing.T) {
		f := m.icmpError(tooBig, gateway4, guest4.Addr(), somewhere.Addr(), frame.UDP, [8]byte{1, 2, 3, 4, 5, 6, 7, 8}, 1480, 1400)
		require.Len(t, f, 1)
		b := f[0].Data[0]
		assert.Equal(t, "0304", hex.EncodeToString(b[34:36]))
		assert.Equal(t, "00000578", hex.EncodeToString(b[38:42]), "the next hop's MTU")
		assert.Equal(t, "450005dc000000004011a701"+"0a00020fc0000201"+"0102030405060708", hex.EncodeToString(b[42:]))
	})
}
