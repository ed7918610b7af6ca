//go:build linux

package kvm

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/libcapsa/libcapsa/internal/kvm/kvmsys"
	"github.com/libcapsa/libcapsa/internal/kvm/kvmtest"
	"github.com/libcapsa/libcapsa/internal/vm"
)

func TestOpenErrorsAdvise(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	fails := func(errno error) kvmsys.Gate {
		return func(string) error { return errno }
	}
	for _, c := range []struct {
		name string
		path string
		gate kvmsys.Gate
		kind vm.Kind
		hint string
	}{
		{"missing", filepath.Join(dir, "none"), nil, vm.KindUnavailable, "load kvm_intel or kvm_amd"},
		{"not KVM", file, nil, vm.KindUnavailable, "not KVM"},
		{"a directory", dir, nil, vm.KindUnavailable, "not KVM"},
		{"no access", file, fails(unix.EACCES), vm.KindUnavailable, "usermod -aG kvm"},
		{"no module", file, fails(unix.ENODEV), vm.KindUnavailable, "kvm_amd"},
		{"busy", file, fails(unix.EBUSY), vm.KindUnavailable, "another hypervisor"},
		{"too many files", file, fails(unix.EMFILE), vm.KindLimit, "ulimit -n"},
		{"no memory", file, fails(unix.ENOMEM), vm.KindNoMemory, ""},
		{"something else", file, fails(unix.EIO), vm.KindIO, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := New()
			b.path, b.gate = c.path, c.gate
			_, err := b.Capabilities()
			var e *vm.Error
			require.ErrorAs(t, err, &e)
			require.Equal(t, c.kind, e.Kind, "%v", err)
			require.Contains(t, e.Hint, c.hint)
			require.Equal(t, c.path, e.Path)
			cfg := config(file)
			m, err := b.New(cfg, vm.Host{})
			require.Nil(t, m)
			require.Equal(t, c.kind, vm.KindOf(err))
		})
	}
}

func TestVersionErrorAdvises(t *testing.T) {
	err := hostError("open KVM", "/dev/kvm", &kvmsys.VersionError{Got: 11})
	require.ErrorIs(t, err, vm.KindUnsupported)
	require.ErrorContains(t, err, "version 11, want 12")
}

// Everything that is missing is named at once.
func TestMissingCapabilities(t *testing.T) {
	kvmtest.Require(t)
	b := New()
	b.facts = &hostFacts{}
	b.gate = func(call string) error {
		if call == "KVM_CHECK_EXTENSION" {
			return unix.EINVAL
		}
		return nil
	}
	_, err := b.Capabilities()
	require.ErrorIs(t, err, vm.KindUnsupported)
	for _, c := range required {
		require.ErrorContains(t, err, c.name)
	}
}

func TestCapabilities(t *testing.T) {
	kvmtest.Require(t)
	caps, err := New().Capabilities()
	require.NoError(t, err)
	require.GreaterOrEqual(t, caps.MaxCPUs, 1)
	require.Zero(t, caps.MaxMemory%vm.MiB)
	require.Equal(t, "12", caps.Detail["api_version"])
	require.Equal(t, "1", caps.Detail["KVM_CAP_IMMEDIATE_EXIT"])
	require.NotEmpty(t, caps.Detail["kernel"])
}

func TestMaxMemory(t *testing.T) {
	t.Parallel()
	require.LessOrEqual(t, (&facts{caps: vm.Capabilities{MaxMemory: maxMemory(52)}}).now().MaxMemory, hostMemory())
	require.LessOrEqual(t, maxMemory(32), uint64(1)<<32)
}
