package vmtest

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/libcapsa/libcapsa/internal/vm"
)

// Files are what the configurations of Asking name: a kernel, a raw disk image, a
// directory, a machine's saved state, and a stream socket.
type Files struct {
	Kernel, Disk, Dir, State string
	Socket                   int
}

// Asking has for each feature that a configuration can ask for a configuration that
// does, and asks for as little else as possible. The files are as a backend wants them.
func Asking(f Files) map[vm.Feature]vm.Config {
	base := func(change func(*vm.Config)) vm.Config {
		c := Config(f.Kernel)
		change(&c)
		return c
	}
	disk := func(change func(*vm.Disk)) vm.Config {
		d := vm.Disk{Path: f.Disk, Format: vm.DiskRaw}
		change(&d)
		return base(func(c *vm.Config) { c.Disks = []vm.Disk{d} })
	}
	share := func(change func(*vm.Share)) vm.Config {
		s := vm.Share{Tag: "src", Path: f.Dir}
		change(&s)
		return base(func(c *vm.Config) { c.Shares = []vm.Share{s} })
	}
	network := func(n vm.NetworkConfig) vm.Config { return base(func(c *vm.Config) { c.Network = n }) }
	return map[vm.Feature]vm.Config{
		vm.FeatureBootLinux: base(func(*vm.Config) {}),
		vm.FeatureBootEFI: base(func(c *vm.Config) {
			c.Boot.Kernel, c.EFI.Variables = "", f.Dir+"/variables"
		}),
		vm.FeatureSave:          base(func(c *vm.Config) { c.Restore = f.State }),
		vm.FeatureInProcess:     base(func(c *vm.Config) { c.Isolation = vm.IsolationNone }),
		vm.FeatureRosetta:       base(func(c *vm.Config) { c.Rosetta = "rosetta" }),
		vm.FeatureDisk:          disk(func(*vm.Disk) {}),
		vm.FeatureDiskQcow2:     disk(func(d *vm.Disk) { d.Format = vm.DiskQcow2 }),
		vm.FeatureDiskOverlay:   disk(func(d *vm.Disk) { d.Overlay = f.Dir + "/overlay" }),
		vm.FeatureDiskTemporary: disk(func(d *vm.Disk) { d.Temporary = true }),
		vm.FeatureDiskLimit:     disk(func(d *vm.Disk) { d.Limit.IOPS = 100 }),
		vm.FeatureDiskQueues:    disk(func(d *vm.Disk) { d.Queues = 2 }),
		vm.FeatureShare:         share(func(*vm.Share) {}),
		vm.FeatureShareOwner:    share(func(s *vm.Share) { s.GuestUID = 1000 }),
		vm.FeatureShareCache:    share(func(s *vm.Share) { s.Cache = vm.ShareCacheNone }),
		vm.FeatureShareOptions:  share(func(s *vm.Share) { s.Xattr = vm.ShareXattrNone }),
		vm.FeatureShareLimits:   share(func(s *vm.Share) { s.Queues = 2 }),
		vm.FeatureVsock:         base(func(c *vm.Config) { c.Vsock.On = true }),
		vm.FeatureVsockSeqPacket: base(func(c *vm.Config) {
			c.Vsock.Ports = []vm.VsockPort{{Port: 9, Mode: vm.VsockConnect, Path: f.Dir + "/sock", Type: vm.VsockSeqPacket}}
		}),
		vm.FeatureNetwork:    network(vm.NetworkConfig{Mode: vm.NetworkUser}),
		vm.FeatureNetworkNAT: network(vm.NetworkConfig{Mode: vm.NetworkNAT}),
		vm.FeatureNetworkMTU: network(vm.NetworkConfig{Mode: vm.NetworkUser, MTU: 9000}),
		vm.FeatureNetworkFD:  network(vm.NetworkConfig{Mode: vm.NetworkFD, Cable: vm.Cable{File: f.Socket}}),
		vm.FeatureNetworkLimit: network(vm.NetworkConfig{
			Mode: vm.NetworkUser, Limits: vm.NetworkLimits{ConnectionsPerSec: 10},
		}),
		vm.FeatureNetworkCapture: network(vm.NetworkConfig{
			Mode: vm.NetworkUser, Capture: vm.Capture{Path: f.Dir + "/capture"},
		}),
	}
}

// CheckRefusals makes sure that a backend refuses exactly what it reports as missing:
// make, which is to make a machine or do as if, succeeds for a configuration whose needs
// are all reported, and otherwise fails with vm.KindUnsupported and says of everything
// that is missing what it would take.
func CheckRefusals(t *testing.T, caps vm.Capabilities, files Files, make func(vm.Config) error) {
	t.Helper()
	for _, f := range vm.Features() {
		need, missing := caps.Needs[f]
		require.Equal(t, !caps.Has(f), missing, "%s: either it is there or something is needed", f)
		require.Equal(t, missing, need != "", "%s: what does it need?", f)
	}
	for f, cfg := range Asking(files) {
		require.Contains(t, cfg.Needs(), f)
		err := make(cfg)
		good := true
		for _, needed := range cfg.Needs() {
			if !caps.Has(needed) {
				good = false
				require.ErrorIs(t, err, vm.KindUnsupported, "%s is missing", needed)
				require.ErrorContains(t, err, `"`+string(needed)+`"`)
				require.ErrorContains(t, err, "it needs "+caps.Needs[needed])
			}
		}
		if good {
			require.NoError(t, err, "%s is reported as available", f)
		}
	}
}
