//go:build linux

package setup

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestProbe: each file system is known by its own bytes, and nothing else is.
func TestProbe(t *testing.T) {
	for _, m := range magics {
		path := filepath.Join(t.TempDir(), "disk")
		f, err := os.Create(path)
		require.NoError(t, err)
		require.NoError(t, f.Truncate(1<<20))
		_, err = f.WriteAt([]byte(m.bytes), m.offset)
		require.NoError(t, err)
		require.NoError(t, f.Close())
		kind, err := probe(path)
		require.NoError(t, err)
		require.Equal(t, m.kind, kind)
	}
	empty := filepath.Join(t.TempDir(), "empty")
	require.NoError(t, os.WriteFile(empty, nil, 0o600))
	kind, err := probe(empty)
	require.NoError(t, err)
	require.Empty(t, kind)
	_, _, err = fileSystemOf(empty)
	require.ErrorContains(t, err, "no file system")
}

// TestFirstPartition: a disk with a table has its file system in a partition.
func TestFirstPartition(t *testing.T) {
	disk := filepath.Join(t.TempDir(), "vda")
	for name, content := range map[string]string{"": "table", "1": "nothing", "2": "hsqs and more"} {
		require.NoError(t, os.WriteFile(disk+name, []byte(content), 0o600))
	}
	device, kind, err := fileSystemOf(disk)
	require.NoError(t, err)
	require.Equal(t, disk+"2", device)
	require.Equal(t, "squashfs", kind)
}
