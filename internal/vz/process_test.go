package vz_test

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/libcapsa/libcapsa/internal/sockpair"
	"github.com/libcapsa/libcapsa/internal/vm"
	"github.com/libcapsa/libcapsa/internal/vmtest"
	"github.com/libcapsa/libcapsa/internal/vz"
	"github.com/libcapsa/libcapsa/internal/vz/plan"
	"github.com/libcapsa/libcapsa/internal/vzd"
	"github.com/libcapsa/libcapsa/internal/vzd/client"
	"github.com/libcapsa/libcapsa/internal/vzd/daemon"
)

// daemonRole makes the test's program a daemon with this backend, and oldRole one on a
// Mac that is too old.
const daemonRole, oldRole = "vz-daemon", "vz-daemon-old"

func TestMain(m *testing.M) {
	f := framework()
	switch {
	case len(os.Args) > 1 && os.Args[1] == oldRole:
		f.Host.Version.Major = 12
		fallthrough
	case len(os.Args) > 1 && os.Args[1] == daemonRole:
		syscall.Exit(daemon.Run(os.Args[2:], vz.New(f), vzd.Options{}, os.Stderr))
	}
	os.Exit(m.Run())
}

// isolated is this backend as the library has it: in processes of their own, one of
// which says what it can do.
func isolated(t *testing.T, role string) *client.Backend {
	t.Helper()
	exe, err := os.Executable()
	require.NoError(t, err)
	return client.New(client.Config{Name: plan.Name, Path: exe, Args: []string{role}})
}

func TestConformanceOfProcess(t *testing.T) {
	vmtest.Conformance(t, isolated(t, daemonRole), vmtest.Guests{
		Spin: guest(t, "spin"), PowerOff: guest(t, "poweroff"), Panic: guest(t, "panic"), Echo: guest(t, "echo"),
		Print: guest(t, "print"), PrintText: "hello from the guest", Polite: guest(t, "polite"), PoliteText: "ready",
	})
}

// TestProcessRefusals: what the daemon's table says is what the library tells and refuses.
func TestProcessRefusals(t *testing.T) {
	vmtest.CheckLeaks(t)
	b := isolated(t, daemonRole)
	caps, err := b.Capabilities()
	require.NoError(t, err)
	own, err := vz.New(framework()).Capabilities()
	require.NoError(t, err)
	own.Fits = nil // which stays there
	require.Equal(t, own, caps)
	dir := t.TempDir()
	near, far, err := sockpair.Datagrams(4096, 4096)
	require.NoError(t, err)
	defer func() { _, _ = unix.Close(near), unix.Close(far) }()
	files := vmtest.Files{
		Kernel: guest(t, "spin").Boot.Kernel, Socket: near, Disk: filepath.Join(dir, "raw"), Dir: dir, State: filepath.Join(dir, "state"),
	}
	require.NoError(t, os.WriteFile(files.Disk, make([]byte, 1<<20), 0o600))
	require.NoError(t, os.WriteFile(files.State, []byte("state"), 0o600))
	require.NoError(t, os.WriteFile(plan.IdentifierPath(files.State), []byte("identifier"), 0o600))
	vmtest.CheckRefusals(t, caps, files, func(cfg vm.Config) error {
		m, err := b.New(cfg, vm.Host{})
		if err != nil {
			return err
		}
		return m.Close()
	})
	_, err = isolated(t, oldRole).Capabilities()
	require.ErrorIs(t, err, vm.KindUnsupported)
	require.ErrorContains(t, err, "it needs macOS 13 or later")
}

// TestProcessSave: a state is saved and restored through the process.
func TestProcessSave(t *testing.T) {
	vmtest.CheckLeaks(t)
	b := isolated(t, daemonRole)
	cfg := *guest(t, "print")
	dir := t.TempDir()
	t.Chdir(dir)
	m, err := b.New(cfg, vm.Host{})
	require.NoError(t, err)
	require.NoError(t, m.Start())
	require.ErrorIs(t, m.(vm.Saver).Save("state"), vm.KindState)
	require.NoError(t, m.Pause())
	require.NoError(t, m.(vm.Saver).Save("state"))
	require.ErrorIs(t, m.(vm.Saver).Save("state"), vm.KindExists)
	require.NoError(t, m.Close())
	require.FileExists(t, filepath.Join(dir, "state"))
	cfg.Restore = filepath.Join(dir, "state")
	out := vmtest.NewRecorder()
	m, err = b.New(cfg, vm.Host{Console: out})
	require.NoError(t, err)
	require.NoError(t, m.Start())
	<-out.Seen("hello from the guest")
	require.NoError(t, m.Close())
}
