package vm_test

import (
	"encoding/json"
	"maps"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/libcapsa/libcapsa/internal/vm"
	"github.com/libcapsa/libcapsa/internal/vmtest"
)

// TestFeatures: every feature has one name, and every configuration that asks for one
// is known to.
func TestFeatures(t *testing.T) {
	t.Parallel()
	all := vm.Features()
	require.Equal(t, slices.Compact(slices.Clone(all)), all)
	asking := vmtest.Asking(vmtest.Files{Kernel: "/k", Disk: "/d", Dir: "/dir", State: "/s", Socket: 3})
	for f, cfg := range asking {
		require.Contains(t, all, f)
		require.NoError(t, cfg.Validate(), f)
		require.Contains(t, cfg.Needs(), f)
	}
	plain := vmtest.Config("/k")
	require.Equal(t, []vm.Feature{vm.FeatureBootLinux}, plain.Needs(), "defaults ask for nothing")
}

// TestRefusals: whatever is missing, alone or with all the others, is named with its
// field and its need, and nothing else is refused.
func TestRefusals(t *testing.T) {
	t.Parallel()
	files := vmtest.Files{Kernel: "/k", Disk: "/d", Dir: "/dir", State: "/s", Socket: 3}
	asking := vmtest.Asking(files)
	offers := vm.Offers{}
	for _, f := range vm.Features() {
		offers[f] = ""
	}
	check := func(o vm.Offers) {
		caps := o.Capabilities()
		vmtest.CheckRefusals(t, caps, files, func(c vm.Config) error { return caps.Lacks(c, "build", "b") })
	}
	check(offers)
	for f := range asking {
		some := maps.Clone(offers)
		some[f] = "something for " + string(f)
		check(some)
	}
	for f := range offers {
		offers[f] = "a lot for " + string(f)
	}
	check(offers)

	caps := vm.Offers{vm.FeatureBootLinux: "", vm.FeatureDisk: "", vm.FeatureDiskQcow2: "raw", vm.FeaturePause: "luck"}.Capabilities()
	cfg := vmtest.Config("/k")
	cfg.Disks = []vm.Disk{{Path: "/a", Format: vm.DiskRaw}, {Path: "/b"}}
	err := caps.Lacks(cfg, "build", "b")
	require.EqualError(t, err, `build: unsupported: disks[1].format: backend b lacks the capability "disk-qcow2" (it needs raw)`)
	require.EqualError(t, caps.Refuse(vm.FeaturePause, "pause", "b"), `pause: backend b lacks the capability "pause" (it needs luck)`)
	require.NoError(t, caps.Refuse(vm.FeatureDisk, "pause", "b"))
	require.ErrorIs(t, vm.Capabilities{}.Refuse(vm.FeatureDisk, "x", "b"), vm.KindUnsupported, "without a need too")
}

func TestEFIAndTheRest(t *testing.T) {
	t.Parallel()
	const text = `{"boot":{"efi":{"variables":"/v"}},"cpus":1,"memory_mib":256,"rosetta":"ros","restore":"/state"}`
	cfg := vm.DefaultConfig()
	require.NoError(t, json.Unmarshal([]byte(text), &cfg))
	require.NoError(t, cfg.Validate())
	require.Equal(t, vm.EFIBoot{Variables: "/v"}, cfg.EFI)
	require.Equal(t, "ros", cfg.Rosetta)
	require.Equal(t, "/state", cfg.Restore)
	again, err := json.Marshal(cfg)
	require.NoError(t, err)
	back := vm.DefaultConfig()
	require.NoError(t, json.Unmarshal(again, &back))
	require.Equal(t, cfg, back)

	line := "quiet"
	for want, change := range map[string]func(*vm.Config){
		"boot.efi: both firmware":              func(c *vm.Config) { c.Boot.Kernel = "/k" },
		"boot.efi: a command line":             func(c *vm.Config) { c.Boot.Cmdline = &line },
		"disks[0].root: there is no kernel":    func(c *vm.Config) { c.Disks = []vm.Disk{{Path: "/d", Root: true}} },
		"boot.efi.variables: the path":         func(c *vm.Config) { c.EFI.Variables = "/a\x00b" },
		"restore: the path":                    func(c *vm.Config) { c.Restore = "/a\x00b" },
		`rosetta: "ros" is the tag of share 0`: func(c *vm.Config) { c.Shares = []vm.Share{{Tag: "ros", Path: "/"}} },
		"rosetta: is 40 bytes long":            func(c *vm.Config) { c.Rosetta = "0123456789012345678901234567890123456789" },
	} {
		bad := cfg.Clone()
		change(&bad)
		require.ErrorContains(t, bad.Validate(), want)
	}
}
