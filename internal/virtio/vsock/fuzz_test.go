package vsock

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/libcapsa/libcapsa/internal/guestmem"
	"github.com/libcapsa/libcapsa/internal/vsock/packet"
)

// FuzzTransmit: whatever bytes a guest sends, in whatever pieces, the host's
// side gets the header that a plain reading gives, or nothing when there is no
// whole header; and the chain comes back.
func FuzzTransmit(f *testing.F) {
	f.Add([]byte{}, []byte{44})
	f.Add(make([]byte, 43), []byte{1, 2})
	f.Add(bytesOf(packet.Header{SrcCID: 3, DstCID: 2, Op: packet.OpData}, 1, 2, 3), []byte{40, 2, 2})
	f.Add(make([]byte, 300), []byte{200, 0, 100})
	f.Fuzz(func(t *testing.T, raw, cuts []byte) {
		host := &fakeHost{}
		r := newRig(t, host, nil, guestmem.Span{})
		r.Start(ringFeatures)
		q := r.Queue(queueTransmit)
		var parts [][]byte
		rest := raw
		for _, n := range cuts[:min(len(cuts), 100)] {
			n := min(int(n), len(rest))
			if n > 0 {
				parts = append(parts, rest[:n])
			}
			rest = rest[n:]
		}
		if len(rest) > 0 {
			parts = append(parts, rest)
		}
		q.Add(parts, 8)
		q.Kick()
		require.Zero(t, q.Wait().Len)
		if len(raw) < packet.HeaderSize {
			require.Empty(t, host.headers())
			return
		}
		require.Equal(t, []packet.Header{packet.Decode((*[packet.HeaderSize]byte)(raw))}, host.headers())
		require.Equal(t, string(raw[packet.HeaderSize:]), string(host.payload[0]))
	})
}
