package capsa_test

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/libcapsa/libcapsa/capsa"
	"github.com/libcapsa/libcapsa/internal/vm"
	"github.com/libcapsa/libcapsa/internal/vmtest"
)

func TestSetters(t *testing.T) {
	t.Parallel()
	b := capsa.NewBuilder()
	require.NoError(t, b.SetName("web"))
	require.NoError(t, b.SetKernel("/k"))
	require.NoError(t, b.SetInitrd("/i"))
	require.NoError(t, b.AddArg("a", "b=c"))
	require.NoError(t, b.AddArg())
	require.NoError(t, b.SetCPUs(4))
	require.NoError(t, b.SetMemoryMiB(1024))
	require.NoError(t, b.SetConsole(capsa.ConsoleConfig{Cols: 132}))
	require.NoError(t, b.SetTimeout(time.Minute))
	dirs := []string{"/images"}
	require.NoError(t, b.AddDisk(capsa.Disk{Path: "/a.qcow2", BackingDirs: dirs, Root: true}))
	dirs[0] = "/changed by the caller"
	require.NoError(t, b.AddDisk(capsa.Disk{Path: "/b.img", Format: capsa.DiskRaw}))
	uid := uint32(1000)
	require.NoError(t, b.AddShare(capsa.Share{Tag: "src", Path: "/src", HostUID: &uid}))
	uid = 1 // changed by the caller
	require.NoError(t, b.AddShare(capsa.Share{Tag: "out", Path: "/out", ReadOnly: true}))
	require.Equal(t, capsa.Config{
		Name:    "web",
		Boot:    capsa.LinuxBoot{Kernel: "/k", Initrd: "/i", Args: []string{"a", "b=c"}},
		CPUs:    4,
		Memory:  1024 * capsa.MiB,
		Console: capsa.ConsoleConfig{RingSize: vm.DefaultRingSize, Cols: 132, Rows: vm.DefaultRows},
		Disks: []capsa.Disk{
			{Path: "/a.qcow2", BackingDirs: []string{"/images"}, Root: true},
			{Path: "/b.img", Format: capsa.DiskRaw},
		},
		Shares: []capsa.Share{
			{Tag: "src", Path: "/src", HostUID: id(1000)},
			{Tag: "out", Path: "/out", ReadOnly: true},
		},
		Timeout: time.Minute,
	}, b.Config())
	b.ClearDisks()
	require.Empty(t, b.Config().Disks)
	b.ClearShares()
	require.Empty(t, b.Config().Shares)
	require.NoError(t, b.SetCmdline("quiet"))
	require.Equal(t, "quiet", *b.Config().Boot.Cmdline)
	b.ClearCmdline()
	require.Nil(t, b.Config().Boot.Cmdline)
	require.NoError(t, b.SetInitrd(""))
}

// TestSettersRefuse: a refused value is named and changes nothing.
func TestSettersRefuse(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		set  func(*capsa.Builder) error
	}{
		{"name", func(b *capsa.Builder) error { return b.SetName("a\x00") }},
		{"no kernel", func(b *capsa.Builder) error { return b.SetKernel("") }},
		{"kernel", func(b *capsa.Builder) error { return b.SetKernel("a\x00") }},
		{"initrd", func(b *capsa.Builder) error { return b.SetInitrd("a\x00") }},
		{"second argument", func(b *capsa.Builder) error { return b.AddArg("good", "bad\n") }},
		{"command line", func(b *capsa.Builder) error { return b.SetCmdline(strings.Repeat("x", 4096)) }},
		{"cpus", func(b *capsa.Builder) error { return b.SetCPUs(0) }},
		{"huge cpus", func(b *capsa.Builder) error { return b.SetCPUs(math.MaxInt) }},
		{"memory", func(b *capsa.Builder) error { return b.SetMemoryMiB(0) }},
		{"memory that would wrap to 1 MiB", func(b *capsa.Builder) error { return b.SetMemoryMiB(1<<44 + 1) }},
		{"memory that would wrap to 0", func(b *capsa.Builder) error { return b.SetMemoryMiB(1 << 44) }},
		{"console", func(b *capsa.Builder) error { return b.SetConsole(capsa.ConsoleConfig{RingSize: 1}) }},
		{"disk without a path", func(b *capsa.Builder) error { return b.AddDisk(capsa.Disk{}) }},
		{"share without a tag", func(b *capsa.Builder) error { return b.AddShare(capsa.Share{Path: "/"}) }},
		{"disk of no format", func(b *capsa.Builder) error { return b.AddDisk(capsa.Disk{Path: "a", Format: "vdi"}) }},
		{"timeout", func(b *capsa.Builder) error { return b.SetTimeout(-1) }},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			b := capsa.NewBuilder()
			before := b.Config()
			e := refusal(t, vm.KindInvalidArg, test.set(b))
			require.NotEmpty(t, e.Problems)
			require.Equal(t, before, b.Config())
		})
	}
}

func TestSetBackend(t *testing.T) {
	t.Parallel()
	b := capsa.NewBuilder()
	refused(t, vm.KindNotFound, b.SetBackend("nonsense"))
	require.NoError(t, b.SetBackend(""))
	b.UseBackend(vmtest.NewFake())
	require.Equal(t, "fake", b.Config().Backend)
	b.UseBackend(nil)
	require.Empty(t, b.Config().Backend)
}

func TestClone(t *testing.T) {
	t.Parallel()
	b := builder(t, vmtest.NewFake(), vmtest.KernelSpin)
	require.NoError(t, b.AddArg("a"))
	c := b.Clone()
	require.NoError(t, c.AddArg("b"))
	require.NoError(t, c.SetCPUs(2))
	require.Equal(t, []string{"a"}, b.Config().Boot.Args)
	require.Equal(t, 1, b.Config().CPUs)
	require.NoError(t, c.Validate(), "the backend is cloned too")
}

// TestLacksDisks: a backend without disks says so at build.
func TestLacksDisks(t *testing.T) {
	fake := vmtest.NewFake()
	delete(fake.Caps.Features, vm.FeatureDisk)
	b := builder(t, fake, vmtest.KernelSpin)
	require.NoError(t, b.Validate())
	require.NoError(t, b.AddDisk(capsa.Disk{Path: "a"}))
	_, err := b.Build()
	refused(t, vm.KindUnsupported, err)
	require.ErrorContains(t, err, "disk")
}

func id(n uint32) *uint32 { return &n }

// TestSharesOfOneTag: the second is refused, and changes nothing.
func TestSharesOfOneTag(t *testing.T) {
	t.Parallel()
	b := capsa.NewBuilder()
	require.NoError(t, b.AddShare(capsa.Share{Tag: "a", Path: "/x"}))
	err := b.AddShare(capsa.Share{Tag: "a", Path: "/y"})
	refused(t, vm.KindInvalidArg, err)
	require.ErrorContains(t, err, "share 0")
	require.Len(t, b.Config().Shares, 1)
}

func TestTooManyDisks(t *testing.T) {
	t.Parallel()
	b := capsa.NewBuilder()
	for range vm.MaxDisks {
		require.NoError(t, b.AddDisk(capsa.Disk{Path: "a", ReadOnly: true}))
	}
	refused(t, vm.KindInvalidArg, b.AddDisk(capsa.Disk{Path: "a", ReadOnly: true}))
}

func TestBuilderJSON(t *testing.T) {
	t.Parallel()
	b := capsa.NewBuilder()
	require.NoError(t, b.SetKernel("/k"))
	require.NoError(t, b.AddDisk(capsa.Disk{Path: "/d", Temporary: true, Limit: capsa.DiskLimit{IOPS: 7}}))
	text, err := b.JSON()
	require.NoError(t, err)
	again, err := capsa.FromJSON(text)
	require.NoError(t, err)
	require.Equal(t, b.Config(), again.Config())
	wrapped, err := json.Marshal(map[string]any{"vm": b})
	require.NoError(t, err)
	require.JSONEq(t, `{"vm":`+string(text)+`}`, string(wrapped))

	b.ClearDisks()
	short, err := capsa.FromJSON([]byte(`{"boot":{"kernel":"/k"}}`))
	require.NoError(t, err)
	require.Equal(t, b.Config(), short.Config(), "what is left out is as in NewBuilder")

	_, err = capsa.FromJSON([]byte(`{"cpu":1,"memory":1}`))
	require.Len(t, refusal(t, vm.KindConfig, err).Problems, 2)

	require.NoError(t, b.SetKernel("/\xff"))
	_, err = b.JSON()
	refused(t, vm.KindConfig, err)
}

// TestBuildRefuses: everything at once, typed, and nothing left behind.
func TestBuildRefuses(t *testing.T) {
	vmtest.CheckLeaks(t)
	b := capsa.FromConfig(capsa.Config{Name: "\n", Boot: capsa.LinuxBoot{Kernel: "/does/not/exist"}})
	b.UseBackend(vmtest.NewFake())
	_, err := b.Build()
	e := refusal(t, vm.KindConfig, err)
	var fields []string
	for _, p := range e.Problems {
		fields = append(fields, p.Field)
	}
	require.Equal(t, []string{"name", "cpus", "memory_mib", "boot.kernel"}, fields)
	require.Contains(t, err.Error(), "/does/not/exist")

	fake := vmtest.NewFake()
	_, err = builder(t, fake, "/does/not/exist").Build()
	require.Equal(t, "/does/not/exist", refusal(t, vm.KindNotFound, err).Path)

	b = builder(t, fake, vmtest.KernelSpin)
	require.NoError(t, b.SetCPUs(65))
	_, err = b.Build()
	refused(t, vm.KindLimit, err)

	fake.NewErr = os.NewSyscallError("open", os.ErrPermission)
	_, err = builder(t, fake, vmtest.KernelSpin).Build()
	refused(t, vm.KindPermission, err)

	fake = vmtest.NewFake()
	fake.Caps.Features = nil
	_, err = builder(t, fake, vmtest.KernelSpin).Build()
	require.ErrorContains(t, refusal(t, vm.KindUnsupported, err), "boot-linux")
	require.Zero(t, fake.Live())
}

// TestBuildWithoutBackend: the configuration's problems come first, then the
// backend's with its hint.
func TestBuildWithoutBackend(t *testing.T) {
	t.Parallel()
	fake := vmtest.NewFake()
	fake.CapabilitiesErr = vm.Errorf(vm.KindPermission, "open /dev/kvm", "no").WithHint("join group kvm")
	b := builder(t, fake, vmtest.KernelSpin)
	_, err := b.Build()
	require.Equal(t, "join group kvm", refusal(t, vm.KindPermission, err).Hint)
	b = capsa.NewBuilder()
	b.UseBackend(fake)
	_, err = b.Build()
	refused(t, vm.KindConfig, err)
}

// TestBuildNamesMissingFiles: only files that do not exist are added.
func TestBuildNamesMissingFiles(t *testing.T) {
	t.Parallel()
	there := filepath.Join(t.TempDir(), "kernel")
	require.NoError(t, os.WriteFile(there, nil, 0o600))
	b := capsa.FromConfig(capsa.Config{CPUs: 1, Boot: capsa.LinuxBoot{Kernel: there, Initrd: there + ".missing"}})
	b.UseBackend(vmtest.NewFake())
	e := refusal(t, vm.KindConfig, b.Validate())
	require.Len(t, e.Problems, 2)
	require.Equal(t, "boot.initrd", e.Problems[1].Field)
}

// TestBuilderHammer: setters, builds and clones from many goroutines.
func TestBuilderHammer(t *testing.T) {
	vmtest.CheckLeaks(t)
	fake := vmtest.NewFake()
	b := builder(t, fake, vmtest.KernelSpin)
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for range 50 {
				assert.NoError(t, b.SetCPUs(i+1))
				assert.NoError(t, b.SetName("x"))
				_, err := b.Clone().JSON()
				assert.NoError(t, err)
				m, err := b.Build()
				if assert.NoError(t, err) {
					assert.NoError(t, m.Close())
				}
			}
		})
	}
	all.Wait()
	require.Zero(t, fake.Live())
}

func TestDoctor(t *testing.T) {
	t.Parallel()
	text, err := json.Marshal(capsa.Doctor())
	require.NoError(t, err)
	var report map[string]any
	require.NoError(t, json.Unmarshal(text, &report))
	for _, key := range []string{"version", "abi_version", "features", "platform", "ok", "backends"} {
		require.Contains(t, report, key)
	}
	require.Equal(t, capsa.Version, report["version"])
	require.True(t, capsa.Has("console"))
	require.False(t, capsa.Has("teleport"))
	require.False(t, capsa.Has(""))
}
