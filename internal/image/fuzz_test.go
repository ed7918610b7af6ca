package image

import (
	"archive/tar"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/libcapsa/libcapsa/internal/vm"
)

// FuzzLayers: whatever two layers say, the result is a file system or an error that blames them.
func FuzzLayers(f *testing.F) {
	f.Add(archive(f, dir("d"), file("d/x", "1"), symlink("l", "/d")), archive(f, file("l/.wh.x", ""), hardlink("l/h", "d/x"), file("d/.wh..wh..opq", "")))
	f.Add(archive(f, symlink("a", "b"), symlink("b", "a")), archive(f, file("a/x", "")))
	f.Add(archive(f, file("../x", "")), gzipped(f, archive(f, device("dev/x", tar.TypeChar))))
	f.Add(zstandard(f, archive(f, file("x", "1"))), []byte{})
	f.Fuzz(func(t *testing.T, lower, upper []byte) {
		got, err := merged(t, Limits{Bytes: 1 << 20, Files: 1000, Ratio: 10}, bytesBlob(lower), bytesBlob(upper))
		if err != nil {
			kind := vm.KindOf(err)
			require.True(t, kind == vm.KindProtocol || kind == vm.KindLimit || kind == vm.KindUnsupported, "%v", err)
			return
		}
		require.Contains(t, got, " /\n")
		require.NotContains(t, got, "/../")
	})
}
