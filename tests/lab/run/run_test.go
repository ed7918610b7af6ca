//go:build linux

package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestSettings(t *testing.T) {
	dir := t.TempDir()
	set := func(kv ...string) {
		for i := 0; i < len(kv); i += 2 {
			t.Setenv(kv[i], kv[i+1])
		}
	}
	set("LAB_KERNEL", "k", "LAB_INITRD", "i", "LAB_TIMEOUT", "7", "LAB_MEM", "", "LAB_RW", dir+":", "LAB_CPUS", "3")
	c, err := settings()
	require.NoError(t, err)
	require.Equal(t, 7*time.Second, c.timeout)
	require.Equal(t, 2048, c.memory)
	require.Equal(t, 3, c.cpus)
	require.Equal(t, []string{dir}, c.writable)

	for _, bad := range [][2]string{{"LAB_TIMEOUT", "soon"}, {"LAB_MEM", "-1"}, {"LAB_CPUS", "0"}, {"LAB_RW", dir + "/none"}, {"LAB_KERNEL", ""}} {
		t.Run(bad[0], func(t *testing.T) {
			t.Setenv(bad[0], bad[1])
			_, err := settings()
			require.ErrorContains(t, err, bad[0])
		})
	}
}

func TestArguments(t *testing.T) {
	m := &machine{config: config{machine: "microvm", kernel: "k", initrd: "i", memory: 64, cpus: 2, writable: []string{"/a,b"}}, dir: "/d"}
	line := strings.Join(m.arguments(), " ")
	require.Contains(t, line, "-M microvm,acpi=on")
	require.Contains(t, line, "local,id=rw0,path=/a,,b,security_model=none,multidevs=remap -device virtio-9p-device,fsdev=rw0,mount_tag=rw0")
	require.Contains(t, line, "path=/,security_model=none,multidevs=remap,readonly=on")
	m.machine = "q35"
	require.Contains(t, strings.Join(m.arguments(), " "), "virtio-serial-pci")
}

func TestTail(t *testing.T) {
	file := filepath.Join(t.TempDir(), "log")
	require.Empty(t, tail(file, 10))
	require.NoError(t, os.WriteFile(file, []byte("0123456789abcdef"), 0o600))
	require.Equal(t, "6789abcdef", tail(file, 10))
	require.Equal(t, "0123456789abcdef", tail(file, 100))
}

// failing is a writer that stops taking bytes.
type failing struct{ left int }

func (f *failing) Write(p []byte) (int, error) {
	if f.left -= len(p); f.left < 0 {
		return 0, errors.New("closed pipe")
	}
	return len(p), nil
}

// A counter counts on when its writer fails, and keeps the first error.
func TestCounter(t *testing.T) {
	c := &counter{w: &failing{left: 5}}
	ended := make(chan struct{})
	require.True(t, c.reached(0, ended))
	reached := make(chan bool)
	go func() { reached <- c.reached(9, ended) }()
	for range 3 {
		n, err := c.Write([]byte("abc"))
		require.NoError(t, err)
		require.Equal(t, 3, n)
	}
	require.True(t, <-reached)
	require.ErrorContains(t, c.failed(), "closed pipe")
	close(ended)
	require.False(t, c.reached(10, ended))
}
