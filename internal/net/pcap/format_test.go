package pcap

import (
	"encoding/hex"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/libcapsa/libcapsa/internal/net/link"
)

// bytesOf turns "01 02 | 03" into bytes.
func bytesOf(t *testing.T, text string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.NewReplacer(" ", "", "|", "", "\n", "", "\t", "").Replace(text))
	require.NoError(t, err)
	return b
}

var (
	golden = time.Unix(1700000000, 123456789) // 0x17979CFE_3D85CD15 ns
	broken = link.Frame{Data: [][]byte{{1, 2, 3}, {}, {4, 5}}}
)

// Each block, byte for byte, from the draft's figures.
func TestGoldenBlocks(t *testing.T) {
	require.Equal(t, bytesOf(t, `
		0a 0d 0d 0a | 2c 00 00 00 | 4d 3c 2b 1a | 01 00 | 00 00 | ff ff ff ff ff ff ff ff
		04 00 08 00  6c 69 62 63 61 70 73 61 | 00 00 00 00 | 2c 00 00 00
		01 00 00 00 | 2c 00 00 00 | 01 00 | 00 00 | 00 00 04 00
		02 00 05 00  74 61 70 2d 30 00 00 00 | 09 00 01 00  09 00 00 00 | 00 00 00 00 | 2c 00 00 00`),
		appendHeader(nil, "tap-0", 262144))
	require.Equal(t, bytesOf(t, `
		01 00 00 00 | 20 00 00 00 | 01 00 | 00 00 | 60 00 00 00
		09 00 01 00  09 00 00 00 | 00 00 00 00 | 20 00 00 00`),
		appendHeader(nil, "", 96)[44:])
	require.Equal(t, bytesOf(t, `
		06 00 00 00 | 34 00 00 00 | 00 00 00 00 | fe 9c 97 17 | 15 cd 85 3d | 05 00 00 00 | 05 00 00 00
		01 02 03 04 05 00 00 00 | 02 00 04 00  02 00 00 00 | 00 00 00 00 | 34 00 00 00`),
		appendPacket(nil, packet{when: golden, dir: Sent, snap: 100}, &broken, 5))
	require.Equal(t, bytesOf(t, `
		06 00 00 00 | 3c 00 00 00 | 00 00 00 00 | fe 9c 97 17 | 15 cd 85 3d | 04 00 00 00 | 05 00 00 00
		01 02 03 04 | 02 00 04 00  01 00 00 00 | 04 00 08 00  09 01 00 00 00 00 00 00 | 00 00 00 00 | 3c 00 00 00`),
		appendPacket(nil, packet{when: golden, dir: Received, snap: 4, lost: 0x109}, &broken, 5))
	require.Equal(t, bytesOf(t, `
		05 00 00 00 | 4c 00 00 00 | 00 00 00 00 | fe 9c 97 17 | 15 cd 85 3d
		02 00 08 00  fe 9c 97 17 14 cd 85 3d | 03 00 08 00  fe 9c 97 17 15 cd 85 3d
		04 00 08 00  0a 00 00 00 00 00 00 00 | 05 00 08 00  03 00 00 00 00 00 00 00
		00 00 00 00 | 4c 00 00 00`),
		appendStatistics(nil, golden.Add(-1), golden, Stats{Frames: 7, Dropped: 3}))
}
