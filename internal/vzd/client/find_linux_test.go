package client

import (
	"bufio"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestHere: this program is its own library.
func TestHere(t *testing.T) {
	t.Parallel()
	exe, err := os.Executable()
	require.NoError(t, err)
	require.Equal(t, exe, libraryPath())
	require.True(t, trusted())
}

func TestMapped(t *testing.T) {
	t.Parallel()
	const maps = `7f00-8000 r--p 00000000 fe:01 12 /usr/lib/my libs/libcapsa.so.0
8000-9000 r-xp 00001000 fe:01 12 /usr/lib/libcapsa.so.0 (deleted)
nonsense
a000-b000 rw-p 00000000 00:00 0
b000-c000 r-xp 00000000 00:00 0 [vdso]
`
	for addr, want := range map[uint64]string{
		0x7f00: "/usr/lib/my libs/libcapsa.so.0", 0x8fff: "/usr/lib/libcapsa.so.0", 0x9000: "", 0xa000: "", 0xb000: "", 0: "",
	} {
		require.Equal(t, want, mapped(bufio.NewScanner(strings.NewReader(maps)), addr))
	}
}
