package plan_test

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/libcapsa/libcapsa/internal/vm"
	"github.com/libcapsa/libcapsa/internal/vmtest"
	"github.com/libcapsa/libcapsa/internal/vz/plan"
	"github.com/libcapsa/libcapsa/internal/vz/vztest"
)

var update = flag.Bool("update", false, "write the golden files anew")

// golden compares text with a file of testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name+".golden")
	if *update {
		require.NoError(t, os.WriteFile(path, []byte(got), 0o644))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, string(want), got)
}

// files makes the files that configurations of this test name.
func files(t *testing.T, arch string) vmtest.Files {
	t.Helper()
	dir := t.TempDir()
	f := vmtest.Files{
		Kernel: filepath.Join(dir, "Image"), Disk: filepath.Join(dir, "disk.raw"), Dir: dir, State: filepath.Join(dir, "state"),
		Socket: 3, // nobody opens it
	}
	write(t, f.Kernel, vztest.Kernel(arch))
	write(t, f.Disk, make([]byte, 1<<20))
	write(t, f.State, []byte("state"))
	write(t, plan.IdentifierPath(f.State), []byte{1, 2, 3})
	return f
}

func write(t *testing.T, path string, b []byte) string {
	t.Helper()
	require.NoError(t, os.WriteFile(path, b, 0o600))
	return path
}

// versions are all major ones, and those minor ones that something came with.
func versions() (all []plan.Version) {
	for major := 11; major <= 26; major++ {
		all = append(all, plan.Version{Major: major})
	}
	return append(all, plan.Version{Major: 12, Minor: 3}, plan.Version{Major: 12, Minor: 7}, plan.Version{Major: 13, Minor: 5},
		plan.Version{Major: 14, Minor: 4}, plan.Version{Major: 15, Minor: 5}, plan.Version{Major: 26, Minor: 1})
}

// TestEveryMac: on every Mac what is reported available is never refused, and a refusal
// names what is needed. The golden file has what each offers.
func TestEveryMac(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	for _, arch := range []string{"arm64", "amd64"} {
		files := files(t, arch)
		for _, v := range versions() {
			for _, rosetta := range []plan.Rosetta{plan.RosettaNotSupported, plan.RosettaNotInstalled, plan.RosettaInstalled} {
				mac := vztest.Mac(v, arch)
				mac.Rosetta = rosetta
				caps, err := mac.Capabilities()
				head := fmt.Sprintf("%v %s rosetta=%d", v, arch, rosetta)
				if v.Major < 13 {
					require.ErrorIs(t, err, vm.KindUnsupported, head)
					require.ErrorContains(t, err, "macOS 13 or later")
					_, refusal := plan.Make(vmtest.Config(files.Kernel), mac)
					require.Equal(t, err, refusal, "the machine is refused in the same words")
					fmt.Fprintf(&out, "%s: %v\n", head, err)
					continue
				}
				require.NoError(t, err, head)
				vmtest.CheckRefusals(t, caps, files, func(c vm.Config) error { _, err := plan.Make(c, mac); return err })
				fmt.Fprintf(&out, "%s:%s\n", head, list(caps))
			}
		}
	}
	golden(t, "macs", out.String())
	caps, err := vztest.Mac(plan.Version{Major: 15}, "arm64").Capabilities()
	require.NoError(t, err)
	var needs strings.Builder
	for _, f := range slices.Sorted(maps.Keys(caps.Needs)) {
		fmt.Fprintf(&needs, "%s: %s\n", f, caps.Needs[f])
	}
	golden(t, "needs", needs.String())
}

func list(caps vm.Capabilities) (s string) {
	for _, f := range vm.Features() {
		if caps.Has(f) {
			s += " " + string(f)
		}
	}
	return s
}

// TestUnusable: why nothing works, and what to do.
func TestUnusable(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(*plan.Mac)
		kind   vm.Kind
		text   string
	}{
		"no virtualization": {func(m *plan.Mac) { m.Virtualization = false }, vm.KindUnavailable, "nested"},
		"not entitled":      {func(m *plan.Mac) { m.Entitled = false }, vm.KindPermission, "make sign"},
		"old":               {func(m *plan.Mac) { m.Version = plan.Version{Major: 12, Minor: 6} }, vm.KindUnsupported, "this is macOS 12.6"},
		"another processor": {func(m *plan.Mac) { m.Arch = "ppc64" }, vm.KindUnsupported, "ppc64"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			mac := vztest.Mac(plan.Version{Major: 15}, "arm64")
			c.change(&mac)
			_, err := mac.Capabilities()
			require.ErrorIs(t, err, c.kind)
			require.ErrorContains(t, err, c.text)
			require.NotEmpty(t, err.(*vm.Error).Hint)
		})
	}
}

func TestLimits(t *testing.T) {
	t.Parallel()
	files := files(t, "arm64")
	for want, change := range map[string]func(*vm.Config){
		"cpus: 11 is more than the 10":             func(c *vm.Config) { c.CPUs = 11 },
		"memory_mib: 16385 is more than the 16384": func(c *vm.Config) { c.Memory = 16385 * vm.MiB },
		"memory_mib: 3 is less than the 4 that vz": func(c *vm.Config) { c.Memory = 3 * vm.MiB },
		"vsock.ports[0].path: the path is 104 bytes": func(c *vm.Config) {
			c.Vsock.Ports = []vm.VsockPort{{Port: 9, Mode: vm.VsockListen, Path: "/" + strings.Repeat("a", 103)}}
		},
		"network.forwards[0].path: the path is 104 bytes": func(c *vm.Config) {
			c.Network = vm.NetworkConfig{Mode: vm.NetworkUser, Forwards: []vm.Forward{
				{Protocol: vm.ForwardTCP, Path: "/" + strings.Repeat("a", 103), Guest: 80}}}
		},
		"command line: has 2061 bytes, kernels take": func(c *vm.Config) { c.Boot.Args = []string{"a=" + strings.Repeat("b", 2032)} },
	} {
		cfg := vmtest.Config(files.Kernel)
		change(&cfg)
		_, err := plan.Make(cfg, vztest.Mac(plan.Version{Major: 15}, "arm64"))
		require.ErrorIs(t, err, vm.KindLimit)
		require.ErrorContains(t, err, want)
	}
	mac := vztest.Mac(plan.Version{Major: 15}, "arm64")
	mac.MinCPUs = 2
	_, err := plan.Make(vmtest.Config(files.Kernel), mac)
	require.ErrorContains(t, err, "cpus: 1 is less than the 2")
}

// TestPlans: whole plans, as goldens.
func TestPlans(t *testing.T) {
	t.Parallel()
	for _, arch := range []string{"arm64", "amd64"} {
		f := files(t, arch)
		efi := vmtest.Config("")
		efi.EFI.Variables = filepath.Join(f.Dir, "variables")
		efi.Disks = []vm.Disk{{Path: f.Disk, Format: vm.DiskRaw}}
		made := efi.Clone()
		made.EFI.Variables = write(t, filepath.Join(f.Dir, "there"), []byte("x"))
		full := vmtest.Config(f.Kernel)
		full.Name, full.CPUs, full.Memory = "web", 4, 1<<30
		full.Boot.Initrd = write(t, filepath.Join(f.Dir, "initrd"), nil)
		full.Boot.Args = []string{"quiet", "panic=5"}
		full.Disks = []vm.Disk{
			{Path: f.Disk, Format: vm.DiskRaw, Serial: "root", Root: true},
			{Path: f.Disk, Format: vm.DiskRaw, ReadOnly: true, Direct: true},
		}
		full.Disks[0].ReadOnly = true // of the same image
		full.Shares = []vm.Share{{Tag: "src", Path: f.Dir}, {Tag: "etc", Path: "/etc", ReadOnly: true, Owner: vm.ShareCaller}}
		full.Vsock.On = true
		full.Network = vm.NetworkConfig{Mode: vm.NetworkUser}
		full.Balloon.Off = true
		line := "verbatim"
		nat := vmtest.Config(f.Kernel)
		nat.Boot.Cmdline = &line
		nat.Network = vm.NetworkConfig{Mode: vm.NetworkNAT, MAC: "02:00:5e:10:00:01"}
		plans := map[string]vm.Config{"efi": efi, "efi-again": made, "full": full, "nat": nat, "least": vmtest.Config(f.Kernel)}
		if arch == "arm64" {
			plans["restore"] = vmtest.Config(f.Kernel)
			c := plans["restore"]
			c.Restore, c.Rosetta = f.State, "rosetta"
			plans["restore"] = c
		}
		for name, cfg := range plans {
			p, err := plan.Make(cfg, vztest.Mac(plan.Version{Major: 15}, arch))
			require.NoError(t, err, name)
			golden(t, name+"-"+arch, strings.ReplaceAll(p.String(), f.Dir, "/dir"))
		}
	}
}

// TestFiles: what is wrong with a file is said with its path.
func TestFiles(t *testing.T) {
	t.Parallel()
	f := files(t, "arm64")
	odd := write(t, filepath.Join(f.Dir, "odd"), make([]byte, 513))
	empty := write(t, filepath.Join(f.Dir, "empty"), nil)
	lonely := write(t, filepath.Join(f.Dir, "lonely"), []byte("state without identifier"))
	huge := write(t, filepath.Join(f.Dir, "huge"), nil)
	write(t, plan.IdentifierPath(huge), make([]byte, 65<<10))
	disk := func(d vm.Disk) func(*vm.Config) {
		d.Format = vm.DiskRaw
		return func(c *vm.Config) { c.Disks = []vm.Disk{d} }
	}
	for name, c := range map[string]struct {
		change func(*vm.Config)
		kind   vm.Kind
		text   string
	}{
		"no kernel":        {func(c *vm.Config) { c.Boot.Kernel = "/does/not/exist" }, vm.KindNotFound, "/does/not/exist"},
		"kernel directory": {func(c *vm.Config) { c.Boot.Kernel = f.Dir }, vm.KindInvalidArg, "no file of bytes"},
		"no initrd":        {func(c *vm.Config) { c.Boot.Initrd = "/does/not/exist" }, vm.KindNotFound, "/does/not/exist"},
		"no disk":          {disk(vm.Disk{Path: "/does/not/exist"}), vm.KindNotFound, "/does/not/exist"},
		"odd disk":         {disk(vm.Disk{Path: odd}), vm.KindInvalidArg, "truncate"},
		"empty disk":       {disk(vm.Disk{Path: empty}), vm.KindInvalidArg, "truncate"},
		"directory":        {disk(vm.Disk{Path: f.Dir}), vm.KindInvalidArg, "no file of bytes"},
		"device":           {disk(vm.Disk{Path: "/dev/null"}), vm.KindUnsupported, "disk-device"},
		"no share":         {func(c *vm.Config) { c.Shares = []vm.Share{{Tag: "a", Path: "/does/not/exist"}} }, vm.KindNotFound, "/does/not/exist"},
		"share of a file":  {func(c *vm.Config) { c.Shares = []vm.Share{{Tag: "a", Path: f.Disk}} }, vm.KindInvalidArg, "no directory"},
		"no state":         {func(c *vm.Config) { c.Restore = "/does/not/exist" }, vm.KindNotFound, "/does/not/exist"},
		"no identifier":    {func(c *vm.Config) { c.Restore = lonely }, vm.KindNotFound, "lonely.machine"},
		"wild identifier":  {func(c *vm.Config) { c.Restore = huge }, vm.KindInvalidArg, "no identifier"},
		"variables": {func(c *vm.Config) { c.Boot.Kernel, c.EFI.Variables = "", f.Dir }, vm.KindInvalidArg,
			"no file of bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := vmtest.Config(f.Kernel)
			c.change(&cfg)
			_, err := plan.Make(cfg, vztest.Mac(plan.Version{Major: 15}, "arm64"))
			require.ErrorIs(t, err, c.kind)
			require.ErrorContains(t, err, c.text)
		})
	}
}

func TestRootOnAPartition(t *testing.T) {
	t.Parallel()
	f := files(t, "arm64")
	table := make([]byte, 1<<20) // an MBR, whose second entry is of type Linux
	table[510], table[511], table[446+16+4] = 0x55, 0xAA, 0x83
	write(t, f.Disk, table)
	for want, change := range map[string]func(*vm.Config){
		"quiet console=hvc0 panic=0 root=/dev/vda2 rw":                func(*vm.Config) {},
		"quiet console=hvc0 panic=0 root=/dev/vda2 ro":                func(c *vm.Config) { c.Disks[0].ReadOnly = true },
		"quiet console=hvc0 panic=0 root=/dev/vda2 ro a":              func(c *vm.Config) { c.Boot.Args = []string{"ro a"} },
		"quiet console=hvc0 panic=0 root=/dev/nfs":                    func(c *vm.Config) { c.Boot.Args = []string{"root=/dev/nfs"} },
		"console=hvc0 panic=0 root=/dev/vda2 rw debug":                func(c *vm.Config) { c.Boot.Args = []string{"debug"} },
		"quiet console=hvc0 panic=0 root=/dev/vda2 rw -- root=/dev/x": func(c *vm.Config) { c.Boot.Args = []string{"-- root=/dev/x"} },
	} {
		cfg := vmtest.Config(f.Kernel)
		cfg.Disks = []vm.Disk{{Path: f.Disk, Format: vm.DiskRaw, Root: true}}
		change(&cfg)
		p, err := plan.Make(cfg, vztest.Mac(plan.Version{Major: 15}, "arm64"))
		require.NoError(t, err)
		require.Equal(t, want, p.Boot.(plan.LinuxBoot).Cmdline)
	}
}

func TestParseVersion(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]plan.Version{"15.3.1": {Major: 15, Minor: 3}, "11": {Major: 11}, "26.0": {Major: 26}} {
		got, err := plan.ParseVersion(text)
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	for _, text := range []string{"", "x", "15.x", ".5"} {
		_, err := plan.ParseVersion(text)
		require.Error(t, err, text)
	}
	require.True(t, plan.Version{Major: 15, Minor: 4}.AtLeast(15, 4))
	require.False(t, plan.Version{Major: 15, Minor: 4}.AtLeast(15, 5))
	require.True(t, plan.Version{Major: 26}.AtLeast(15, 5))
}

// TestAddresses: a machine with a name keeps its address.
func TestAddresses(t *testing.T) {
	t.Parallel()
	f := files(t, "arm64")
	mac := func(name, given string) string {
		cfg := vmtest.Config(f.Kernel)
		cfg.Name, cfg.Network = name, vm.NetworkConfig{Mode: vm.NetworkNAT, MAC: given}
		p, err := plan.Make(cfg, vztest.Mac(plan.Version{Major: 15}, "arm64"))
		require.NoError(t, err)
		for _, d := range p.Devices {
			if nic, ok := d.(plan.NIC); ok {
				require.Zero(t, nic.MAC[0]&1)
				return nic.MAC.String()
			}
		}
		return ""
	}
	require.Equal(t, mac("a", ""), mac("a", ""))
	require.NotEqual(t, mac("a", ""), mac("b", ""))
	require.NotEqual(t, mac("", ""), mac("", ""))
	require.Equal(t, "02:00:5e:10:00:01", mac("a", "02:00:5e:10:00:01"))
}
