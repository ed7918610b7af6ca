package initrd_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/libcapsa/libcapsa/internal/agent/initrd"
	"github.com/libcapsa/libcapsa/internal/vm"
)

// agentFile stands for an agent.
func agentFile(t *testing.T, text string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "agent")
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	t.Setenv(initrd.PathVariable, path)
}

func TestOwn(t *testing.T) {
	agentFile(t, "the agent")
	path, err := initrd.Temp(initrd.Config{})
	require.NoError(t, err)
	defer os.Remove(path)
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	require.True(t, bytes.HasPrefix(data, []byte("070701")), "no cpio archive")
	require.Contains(t, string(data), "init\x00")
	require.Contains(t, string(data), "the agent")
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode())
}

// TestAdded: what the kernel unpacks after a user's own file begins at a multiple of four.
func TestAdded(t *testing.T) {
	agentFile(t, "the agent")
	base := filepath.Join(t.TempDir(), "base")
	require.NoError(t, os.WriteFile(base, []byte("12345"), 0o600))
	var b bytes.Buffer
	require.NoError(t, initrd.Write(&b, initrd.Config{Base: base}))
	require.Equal(t, "12345\x00\x00\x00070701", b.String()[:14])
	require.Contains(t, b.String(), initrd.AddedPath+"\x00")
}

// TestErrors also leaves nothing behind.
func TestErrors(t *testing.T) {
	tmp := t.TempDir()
	t.Setenv("TMPDIR", tmp)
	t.Cleanup(func() {
		left, err := filepath.Glob(filepath.Join(tmp, "capsa-initrd-*"))
		require.NoError(t, err)
		require.Empty(t, left)
	})
	t.Setenv(initrd.PathVariable, "/no/such/agent")
	_, err := initrd.Temp(initrd.Config{})
	require.Equal(t, vm.KindNotFound, vm.KindOf(err))
	agentFile(t, "x")
	_, err = initrd.Temp(initrd.Config{Base: "/no/such/base"})
	require.Equal(t, vm.KindNotFound, vm.KindOf(err))
	_, err = initrd.Temp(initrd.Config{Modules: t.TempDir()})
	require.ErrorContains(t, err, "modules")
}
