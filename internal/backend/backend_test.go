package backend

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/libcapsa/libcapsa/internal/vm"
	"github.com/libcapsa/libcapsa/internal/vmtest"
)

func unusable(kind vm.Kind, hint string) *vmtest.Fake {
	f := vmtest.NewFake()
	f.CapabilitiesErr = vm.Errorf(kind, "open /dev/kvm", "it does not work").WithHint(hint)
	return f
}

func TestChoose(t *testing.T) {
	t.Parallel()
	good, denied, gone := vmtest.NewFake(), unusable(vm.KindPermission, "join group kvm"), unusable(vm.KindUnavailable, "load kvm")
	tests := []struct {
		name    string
		entries []entry
		want    vm.Backend
		kind    vm.Kind
	}{
		{"first usable", []entry{{name: "a", backend: denied}, {name: "b", backend: good}}, good, 0},
		{"preferred wins", []entry{{name: "a", backend: good}, {name: "b", backend: denied}}, good, 0},
		{"error of the preferred", []entry{{name: "a", backend: denied}, {name: "b", backend: gone}}, nil, vm.KindPermission},
		{"the only one speaks for itself", []entry{{name: "a", backend: denied}, absent("b", "no", "")}, denied, 0},
		{"none built", []entry{absent("a", "no", "go away")}, nil, vm.KindUnsupported},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			got, err := choose(test.entries)
			if test.kind != 0 {
				require.ErrorIs(t, err, test.kind)
				require.NotEmpty(t, err.(*vm.Error).Hint)
				return
			}
			require.NoError(t, err)
			require.Same(t, test.want, got)
		})
	}
}

func TestByName(t *testing.T) {
	t.Parallel()
	good := vmtest.NewFake()
	entries := []entry{{name: "fake", backend: good}, absent("vz", "not here", "buy a Mac")}
	got, err := find(entries, "fake")
	require.NoError(t, err)
	require.Same(t, good, got)
	_, err = find(entries, "vz")
	require.ErrorIs(t, err, vm.KindUnsupported)
	_, err = find(entries, "nonsense")
	require.ErrorIs(t, err, vm.KindNotFound)
	require.Contains(t, err.Error(), "known are: ")
}

func TestIsolated(t *testing.T) {
	t.Parallel()
	own, apart := vmtest.NewFake(), vmtest.NewFake()
	entries := []entry{{name: "both", backend: own, isolated: apart}, {name: "here", backend: own}, absent("vz", "not here", "buy a Mac")}
	got, err := isolate(entries, "both")
	require.NoError(t, err)
	require.Same(t, apart, got)
	for name, kind := range map[string]vm.Kind{"here": vm.KindUnsupported, "vz": vm.KindUnsupported, "nonsense": vm.KindNotFound} {
		_, err = isolate(entries, name)
		require.ErrorIs(t, err, kind, name)
		require.NotEmpty(t, err.(*vm.Error).Hint)
	}
}

func TestDoctor(t *testing.T) {
	t.Parallel()
	r := examine([]entry{
		{name: "a", backend: unusable(vm.KindPermission, "join group kvm")},
		{name: "b", backend: vmtest.NewFake(), isolated: unusable(vm.KindUnavailable, "install it")},
		{name: "d", backend: vmtest.NewFake(), isolated: vmtest.NewFake()},
		absent("c", "not here", "go elsewhere"),
	})
	require.True(t, r.OK)
	require.Equal(t, "b", r.Default)
	require.Equal(t, "permission denied", r.Backends[0].Kind)
	require.Equal(t, "join group kvm", r.Backends[0].Hint)
	require.Equal(t, 64, r.Backends[1].Capabilities.MaxCPUs)
	require.False(t, r.Backends[1].Isolated)
	require.Contains(t, r.Backends[1].Isolation, "install it")
	require.True(t, r.Backends[2].Isolated)
	require.Equal(t, "go elsewhere", r.Backends[3].Hint)
	text, err := json.Marshal(r)
	require.NoError(t, err)
	require.Contains(t, string(text), `"hint":"join group kvm"`)
}

// TestThisBuild: whatever this host is, the answers are complete and consistent.
func TestThisBuild(t *testing.T) {
	t.Parallel()
	r := Doctor()
	require.Len(t, r.Backends, len(Names()))
	for _, b := range r.Backends {
		if !b.Usable {
			require.NotEmpty(t, b.Problem, b.Name)
			require.NotEmpty(t, b.Hint, b.Name)
			require.NotEmpty(t, b.Kind, b.Name)
		}
	}
}
