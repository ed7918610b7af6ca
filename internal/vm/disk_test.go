package vm_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/libcapsa/libcapsa/internal/vm"
)

func TestDisksAccepted(t *testing.T) {
	t.Parallel()
	line := "console=hvc0 root=/dev/vda1"
	tests := []struct {
		name   string
		disks  []vm.Disk
		change func(*vm.Config)
	}{
		{"image", []vm.Disk{{Path: "a.qcow2"}}, nil},
		{"path that is not UTF-8", []vm.Disk{{Path: "\xff"}}, nil},
		{"raw and written", []vm.Disk{{Path: "a", Format: vm.DiskRaw, Direct: true, Queues: vm.MaxDiskQueues}}, nil},
		{"two readers", []vm.Disk{{Path: "a", ReadOnly: true}, {Path: "./a", ReadOnly: true}}, nil},
		{"overlays over one image", []vm.Disk{{Path: "a", Overlay: "b"}, {Path: "a", Temporary: true}, {Path: "a", Overlay: "c"}}, nil},
		{"longest serial", []vm.Disk{{Path: "a", Serial: strings.Repeat("s", vm.MaxSerialSize)}}, nil},
		{"limit", []vm.Disk{{Path: "a", Limit: vm.DiskLimit{IOPS: 1, IOPSBurst: 1, BytesPerSec: 1, BytesBurst: 1 << 63}}}, nil},
		{"root", []vm.Disk{{Path: "a"}, {Path: "b", Root: true}}, nil},
		{"root in a whole command line", []vm.Disk{{Path: "a", Root: true}}, func(c *vm.Config) { c.Boot.Cmdline = &line }},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			c := valid()
			c.Disks = test.disks
			if test.change != nil {
				test.change(&c)
			}
			require.NoError(t, c.Validate())
		})
	}
}

func TestDisksRefused(t *testing.T) {
	t.Parallel()
	line := "console=hvc0 noroot=1"
	long := strings.Repeat("/", vm.MaxPathSize)
	tests := []struct {
		name   string
		disks  []vm.Disk
		change func(*vm.Config)
		want   []string
	}{
		{"no path", []vm.Disk{{}}, nil, []string{"disks[0].path"}},
		{"NUL in paths", []vm.Disk{{Path: "a\x00", Overlay: "b\x00"}}, nil, []string{"disks[0].path", "disks[0].overlay"}},
		{"long paths", []vm.Disk{{Path: long, Temporary: true, ScratchDir: long}}, nil, []string{"disks[0].path", "disks[0].scratch_dir"}},
		{"backing directories", []vm.Disk{{Path: "a", BackingDirs: []string{"/x", "", "\x00"}}}, nil,
			[]string{"disks[0].backing_dirs[1]", "disks[0].backing_dirs[2]"}},
		{"format", []vm.Disk{{Path: "a"}, {Path: "b", Format: "vmdk"}}, nil, []string{"disks[1].format"}},
		{"two overlays", []vm.Disk{{Path: "a", Overlay: "b", Temporary: true}}, nil, []string{"disks[0].temporary"}},
		{"overlay of a read-only disk", []vm.Disk{{Path: "a", Overlay: "b", ReadOnly: true}}, nil, []string{"disks[0].overlay"}},
		{"temporary read-only disk", []vm.Disk{{Path: "a", Temporary: true, ReadOnly: true}}, nil, []string{"disks[0].temporary"}},
		{"overlay is the image", []vm.Disk{{Path: "/d/a", Overlay: "/d/./a"}}, nil, []string{"disks[0].overlay"}},
		{"scratch directory for nothing", []vm.Disk{{Path: "a", ScratchDir: "/d"}}, nil, []string{"disks[0].scratch_dir"}},
		{"serial too long", []vm.Disk{{Path: "a", Serial: strings.Repeat("s", vm.MaxSerialSize+1)}}, nil, []string{"disks[0].serial"}},
		{"serial in Greek", []vm.Disk{{Path: "a", Serial: "κ"}}, nil, []string{"disks[0].serial"}},
		{"serial with a slash", []vm.Disk{{Path: "a", Serial: "a/b"}}, nil, []string{"disks[0].serial"}},
		{"serial twice", []vm.Disk{{Path: "a", Serial: "s"}, {Path: "b"}, {Path: "c", Serial: "s"}}, nil, []string{"disks[2].serial"}},
		{"queues", []vm.Disk{{Path: "a", Queues: -1}, {Path: "b", Queues: vm.MaxDiskQueues + 1}}, nil, []string{"disks[0].queues", "disks[1].queues"}},
		{"bursts alone", []vm.Disk{{Path: "a", Limit: vm.DiskLimit{IOPSBurst: 1, BytesBurst: 1}}}, nil,
			[]string{"disks[0].limit.iops_burst", "disks[0].limit.bytes_burst"}},
		{"two writers", []vm.Disk{{Path: "/d/a"}, {Path: "/d/../d/a"}}, nil, []string{"disks[1].path"}},
		{"reader, then writer", []vm.Disk{{Path: "a", ReadOnly: true}, {Path: "a"}}, nil, []string{"disks[1].path"}},
		{"writer, then overlay over it", []vm.Disk{{Path: "a"}, {Path: "a", Temporary: true}}, nil, []string{"disks[1].path"}},
		{"one overlay for two", []vm.Disk{{Path: "a", Overlay: "o"}, {Path: "b", Overlay: "o"}}, nil, []string{"disks[1].overlay"}},
		{"overlay is another's image", []vm.Disk{{Path: "a", ReadOnly: true}, {Path: "b", Overlay: "a"}}, nil, []string{"disks[1].overlay"}},
		{"two roots", []vm.Disk{{Path: "a", Root: true}, {Path: "b", Root: true}}, nil, []string{"disks[1].root"}},
		{"root that cannot be said", []vm.Disk{{Path: "a", Root: true}}, func(c *vm.Config) { c.Boot.Cmdline = &line }, []string{"disks[0].root"}},
		{"far too many", make([]vm.Disk, vm.MaxDisks+1), nil, []string{"disks"}},
		{"everything at once", []vm.Disk{{Format: "x"}, {Path: "a"}, {Path: "a"}}, func(c *vm.Config) { c.CPUs = 0 },
			[]string{"cpus", "disks[0].path", "disks[0].format", "disks[2].path"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			c := valid()
			c.Disks = test.disks
			if test.change != nil {
				test.change(&c)
			}
			err := c.Validate()
			require.ErrorIs(t, err, vm.KindConfig)
			require.Equal(t, test.want, fields(t, err))
		})
	}
}

func TestDiskLimitsOfBackend(t *testing.T) {
	t.Parallel()
	caps := vm.Capabilities{Fits: func(c vm.Config) vm.Problems {
		if len(c.Disks) <= 2 {
			return nil
		}
		return vm.Problems{{Field: "disks", Message: "no room"}}
	}}
	c := valid()
	for i := range 2 {
		c.Disks = append(c.Disks, vm.Disk{Path: fmt.Sprint("disk", i)})
	}
	require.NoError(t, c.ValidateFor("kvm", caps))
	c.Disks = append(c.Disks, vm.Disk{Path: "one more"})
	err := c.ValidateFor("kvm", caps)
	require.ErrorIs(t, err, vm.KindLimit, "nothing but the limit is wrong")
	require.Equal(t, []string{"disks"}, fields(t, err))
	c.CPUs = 0
	err = c.ValidateFor("kvm", caps)
	require.ErrorIs(t, err, vm.KindConfig)
	require.Equal(t, []string{"cpus", "disks"}, fields(t, err))
}

func TestNeedsDisks(t *testing.T) {
	t.Parallel()
	c := valid()
	caps := vm.Capabilities{Features: map[vm.Feature]bool{vm.FeatureBootLinux: true}}
	require.NoError(t, caps.Lacks(c, "build", "vz"))
	c.Disks = []vm.Disk{{Path: "a"}}
	err := caps.Lacks(c, "build", "vz")
	require.ErrorIs(t, err, vm.KindUnsupported)
	require.ErrorContains(t, err, `"disk"`)
}

func TestCloneOfDisks(t *testing.T) {
	t.Parallel()
	c := valid()
	c.Disks = []vm.Disk{{Path: "a", BackingDirs: []string{"/x"}}}
	d := c.Clone()
	d.Disks[0].Path, d.Disks[0].BackingDirs[0] = "b", "/y"
	require.Equal(t, []vm.Disk{{Path: "a", BackingDirs: []string{"/x"}}}, c.Disks)
}

func TestJSONOfDisksRefusesBytes(t *testing.T) {
	t.Parallel()
	c := valid()
	c.Disks = []vm.Disk{{Path: "\xff", BackingDirs: []string{"/x", "\xff"}}}
	_, err := c.MarshalJSON()
	require.Equal(t, []string{"disks[0].path", "disks[0].backing_dirs[1]"}, fields(t, err))
}
