package packet

import (
	"encoding/hex"
	"testing"

	"github.com/stretchr/testify/require"
)

// The layout of struct virtio_vsock_hdr, byte for byte.
func TestGolden(t *testing.T) {
	h := Header{
		SrcCID: 0x0807060504030201, DstCID: 0x100f0e0d0c0b0a09, SrcPort: 0x14131211, DstPort: 0x18171615, Len: 0x1c1b1a19,
		Type: 0x1e1d, Op: 0x201f, Flags: 0x24232221, BufAlloc: 0x28272625, FwdCnt: 0x2c2b2a29,
	}
	var b [HeaderSize]byte
	h.Encode(&b)
	require.Equal(t, "0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f202122232425262728292a2b2c", hex.EncodeToString(b[:]))
	require.Equal(t, h, Decode(&b))
}

func TestNames(t *testing.T) {
	require.Equal(t, "stream", Stream.String())
	require.Equal(t, "seqpacket", SeqPacket.String())
	require.Equal(t, "type 9", Type(9).String())
	require.Equal(t, "credit request", OpCreditRequest.String())
	require.Equal(t, "operation 65535", Op(65535).String())
	require.True(t, ValidCID(FirstCID) && ValidCID(LastCID))
	require.False(t, ValidCID(HostCID) || ValidCID(LastCID+1) || ValidCID(1<<32+3))
}

// Every header is one that Encode makes: nothing is lost or invented.
func FuzzHeader(f *testing.F) {
	f.Add(make([]byte, HeaderSize))
	f.Add([]byte("0102030405060708090a0b0c0d0e0f10111213141516"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if len(raw) < HeaderSize {
			return
		}
		in := [HeaderSize]byte(raw)
		h := Decode(&in)
		_, _ = h.Type.String(), h.Op.String()
		var out [HeaderSize]byte
		h.Encode(&out)
		require.Equal(t, in, out)
	})
}
