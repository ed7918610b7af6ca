package vm_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/libcapsa/libcapsa/internal/vm"
)

func valid() vm.Config {
	c := vm.DefaultConfig()
	c.Boot.Kernel = "/boot/vmlinuz"
	return c
}

// fields are the fields that an error complains about, in order.
func fields(t *testing.T, err error) []string {
	t.Helper()
	var e *vm.Error
	require.ErrorAs(t, err, &e)
	var names []string
	for _, p := range e.Problems {
		names = append(names, p.Field)
		require.NotEmpty(t, p.Message)
	}
	return names
}

func TestValidateAccepts(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		change func(*vm.Config)
	}{
		{"defaults", func(*vm.Config) {}},
		{"name of 64 bytes", func(c *vm.Config) { c.Name = strings.Repeat("n", 64) }},
		{"name in Greek", func(c *vm.Config) { c.Name = "κάψα 1" }},
		{"path that is not UTF-8", func(c *vm.Config) { c.Boot.Kernel = "/boot/\xff\xfe" }},
		{"one MiB", func(c *vm.Config) { c.Memory = vm.MiB }},
		{"edges of the gap", func(c *vm.Config) { c.Memory = 3073 * vm.MiB }},
		{"largest memory", func(c *vm.Config) { c.Memory = vm.MaxMemory }},
		{"many cpus", func(c *vm.Config) { c.CPUs = vm.MaxCPUs }},
		{"empty command line", func(c *vm.Config) { c.Boot.Cmdline = new(string) }},
		{"argument with spaces", func(c *vm.Config) { c.Boot.Args = []string{`a="b c"`, "quiet root=/dev/vda"} }},
		{"zero console means defaults", func(c *vm.Config) { c.Console = vm.ConsoleConfig{} }},
		{"timeout", func(c *vm.Config) { c.Timeout = time.Nanosecond }},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			c := valid()
			test.change(&c)
			require.NoError(t, c.Validate())
		})
	}
}

func TestValidateRefuses(t *testing.T) {
	t.Parallel()
	line := "quiet"
	long := strings.Repeat("x", vm.MaxCmdlineSize)
	tests := []struct {
		name   string
		change func(*vm.Config)
		want   []string
	}{
		{"name too long", func(c *vm.Config) { c.Name = strings.Repeat("n", 65) }, []string{"name"}},
		{"name not UTF-8", func(c *vm.Config) { c.Name = "a\xff" }, []string{"name"}},
		{"name with a newline", func(c *vm.Config) { c.Name = "a\nb" }, []string{"name"}},
		{"name with an escape", func(c *vm.Config) { c.Name = "\x1b[31m" }, []string{"name"}},
		{"no kernel", func(c *vm.Config) { c.Boot.Kernel = "" }, []string{"boot.kernel"}},
		{"NUL in kernel", func(c *vm.Config) { c.Boot.Kernel = "/boot/a\x00b" }, []string{"boot.kernel"}},
		{"kernel path too long", func(c *vm.Config) { c.Boot.Kernel = strings.Repeat("/", vm.MaxPathSize) }, []string{"boot.kernel"}},
		{"NUL in initrd", func(c *vm.Config) { c.Boot.Initrd = "\x00" }, []string{"boot.initrd"}},
		{"empty argument", func(c *vm.Config) { c.Boot.Args = []string{"a", " "} }, []string{"boot.args[1]"}},
		{"NUL in argument", func(c *vm.Config) { c.Boot.Args = []string{"a\x00b"} }, []string{"boot.args[0]"}},
		{"newline in argument", func(c *vm.Config) { c.Boot.Args = []string{"a\nb"} }, []string{"boot.args[0]"}},
		{"argument not UTF-8", func(c *vm.Config) { c.Boot.Args = []string{"\xc3"} }, []string{"boot.args[0]"}},
		{"argument too long", func(c *vm.Config) { c.Boot.Args = []string{long} }, []string{"boot.args[0]"}},
		{"arguments too long together", func(c *vm.Config) { c.Boot.Args = []string{long[:3000], long[:3000]} }, []string{"boot.args"}},
		{"NUL in command line", func(c *vm.Config) { s := "\x00"; c.Boot.Cmdline = &s }, []string{"boot.cmdline"}},
		{"both", func(c *vm.Config) { c.Boot.Cmdline, c.Boot.Args = &line, []string{"a"} }, []string{"boot.cmdline"}},
		{"no cpu", func(c *vm.Config) { c.CPUs = 0 }, []string{"cpus"}},
		{"negative cpus", func(c *vm.Config) { c.CPUs = -1 }, []string{"cpus"}},
		{"too many cpus", func(c *vm.Config) { c.CPUs = vm.MaxCPUs + 1 }, []string{"cpus"}},
		{"no memory", func(c *vm.Config) { c.Memory = 0 }, []string{"memory_mib"}},
		{"half a MiB", func(c *vm.Config) { c.Memory = vm.MiB / 2 }, []string{"memory_mib"}},
		{"one byte more", func(c *vm.Config) { c.Memory = vm.MiB + 1 }, []string{"memory_mib"}},
		{"too much memory", func(c *vm.Config) { c.Memory = vm.MaxMemory + vm.MiB }, []string{"memory_mib"}},
		{"all ones", func(c *vm.Config) { c.Memory = ^uint64(0) }, []string{"memory_mib"}},
		{"ring too small", func(c *vm.Config) { c.Console.RingSize = 1 }, []string{"console.ring_size"}},
		{"ring too large", func(c *vm.Config) { c.Console.RingSize = vm.MaxRingSize + 1 }, []string{"console.ring_size"}},
		{"negative ring", func(c *vm.Config) { c.Console.RingSize = -1 }, []string{"console.ring_size"}},
		{"negative timeout", func(c *vm.Config) { c.Timeout = -1 }, []string{"timeout_ms"}},
		{"backend name", func(c *vm.Config) { c.Backend = "a\x00" }, []string{"backend"}},
		{"everything at once", func(c *vm.Config) { *c = vm.Config{Name: "\n", Timeout: -1} },
			[]string{"name", "boot.kernel", "cpus", "memory_mib", "timeout_ms"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			c := valid()
			test.change(&c)
			err := c.Validate()
			require.ErrorIs(t, err, vm.KindConfig)
			require.Equal(t, test.want, fields(t, err))
			require.NotContains(t, err.Error(), "\n", "an error is one line")
			require.NotContains(t, err.Error(), "\x00")
		})
	}
}

func TestValidateFor(t *testing.T) {
	t.Parallel()
	caps := vm.Capabilities{MaxCPUs: 2, MaxMemory: 512 * vm.MiB}
	c := valid()
	require.NoError(t, c.ValidateFor("kvm", caps))
	c.CPUs, c.Memory = 3, 513*vm.MiB
	err := c.ValidateFor("kvm", caps)
	require.Equal(t, vm.KindLimit, vm.KindOf(err))
	require.Equal(t, []string{"cpus", "memory_mib"}, fields(t, err))
	require.NoError(t, c.ValidateFor("kvm", vm.Capabilities{}), "an unknown limit is none")
	c.Boot.Kernel = ""
	err = c.ValidateFor("kvm", caps)
	require.Equal(t, vm.KindConfig, vm.KindOf(err))
	require.Equal(t, []string{"boot.kernel", "cpus", "memory_mib"}, fields(t, err))
}

func TestClone(t *testing.T) {
	t.Parallel()
	line := "quiet"
	c := valid()
	c.Boot.Args, c.Boot.Cmdline = []string{"a"}, &line
	d := c.Clone()
	require.Equal(t, c, d)
	d.Boot.Args[0] = "b"
	*d.Boot.Cmdline = "loud"
	require.Equal(t, "a", c.Boot.Args[0])
	require.Equal(t, "quiet", line)
}

func TestWithDefaults(t *testing.T) {
	t.Parallel()
	c := vm.Config{Console: vm.ConsoleConfig{Cols: 132}}.WithDefaults()
	require.Equal(t, vm.ConsoleConfig{RingSize: vm.DefaultRingSize, Cols: 132, Rows: vm.DefaultRows}, c.Console)
	require.Zero(t, c.CPUs)
}
