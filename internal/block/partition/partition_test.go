package partition

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestRoot(t *testing.T) {
	t.Parallel()
	gpt := func(kinds ...[]byte) []byte {
		b := make([]byte, 1<<20)
		b[mbrSignature], b[mbrSignature+1] = 0x55, 0xAA
		b[mbrEntries+4] = mbrGPT
		copy(b[512:], gptHeadMark)
		b[512+72], b[512+80], b[512+84] = 2, 128, 128
		for i, k := range kinds {
			copy(b[1024+128*i:], k)
		}
		return b
	}
	mbr := make([]byte, 1<<20)
	mbr[mbrSignature], mbr[mbrSignature+1], mbr[mbrEntries+16+4] = 0x55, 0xAA, mbrLinux
	wild := gpt(gptLinuxFS)
	copy(wild[512+72:], bytes.Repeat([]byte{0xff}, 16))
	for _, c := range []struct {
		name string
		disk []byte
		want int
	}{
		{"no table", make([]byte, 1<<20), 0},
		{"one sector", make([]byte, 512), 0},
		{"mbr", mbr, 2},
		{"gpt, marked root", gpt(gptLinuxFS, make([]byte, 16), gptRoots["amd64"]), 3},
		{"gpt, marked root of another processor", gpt(make([]byte, 16), gptRoots["arm64"], gptLinuxFS), 3},
		{"gpt, first linux", gpt(make([]byte, 16), gptLinuxFS, gptLinuxFS), 2},
		{"gpt, none", gpt(make([]byte, 16)), 0},
		{"gpt, wild header", wild, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			n, err := Root(bytes.NewReader(c.disk), uint64(len(c.disk)), "amd64")
			require.NoError(t, err)
			require.Equal(t, c.want, n)
		})
	}
}

// FuzzRoot: whatever a guest has written, there is an answer within the table.
func FuzzRoot(f *testing.F) {
	head := make([]byte, 4096)
	head[mbrSignature], head[mbrSignature+1], head[mbrEntries+4] = 0x55, 0xAA, mbrGPT
	copy(head[512:], gptHeadMark)
	head[512+72], head[512+80], head[512+84] = 2, 16, 128
	f.Add(head, "arm64")
	f.Fuzz(func(t *testing.T, disk []byte, arch string) {
		n, err := Root(bytes.NewReader(disk), uint64(len(disk)), arch)
		require.NoError(t, err)
		require.GreaterOrEqual(t, n, 0)
		require.LessOrEqual(t, n, gptMaxEntries)
	})
}
