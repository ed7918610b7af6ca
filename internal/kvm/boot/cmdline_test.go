package boot

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/libcapsa/libcapsa/internal/kvm/layout"
	"github.com/libcapsa/libcapsa/internal/vm"
)

func ptr(s string) *string { return &s }

func TestCmdline(t *testing.T) {
	machine := []string{"console=hvc0", "quiet", "panic=-1", "virtio_mmio.device=4K@0xd0100000:5", "virtio_mmio.device=4K@0xd1a00000:7"}
	for _, tt := range []struct {
		name string
		c    Cmdline
		want string
	}{
		{"nothing", Cmdline{}, ""},
		{"machine", Cmdline{Machine: machine[:3]}, "console=hvc0 quiet panic=-1"},
		{"user after machine", Cmdline{Machine: machine[:2], User: []string{"init=/bin/sh"}}, "console=hvc0 quiet init=/bin/sh"},
		{"user's value wins", Cmdline{Machine: machine[:3], User: []string{"panic=5"}}, "console=hvc0 quiet panic=5"},
		{"user's own duplicates stay", Cmdline{Machine: machine[:1], User: []string{"console=ttyS0", "console=hvc1"}}, "console=ttyS0 console=hvc1"},
		{"flag", Cmdline{Machine: machine[:2], User: []string{"quiet"}}, "console=hvc0 quiet"},
		{"dash is underscore", Cmdline{Machine: []string{"a_b-c=1", "d"}, User: []string{"a-b_c=2"}}, "d a-b_c=2"},
		{"prefix is another key", Cmdline{Machine: machine[:3], User: []string{"panic_on_oops=1"}}, "console=hvc0 quiet panic=-1 panic_on_oops=1"},
		{"devices add up", Cmdline{Machine: machine[3:], User: []string{"virtio_mmio.device=4K@0xe0000000:8"}}, "virtio_mmio.device=4K@0xd0100000:5 virtio_mmio.device=4K@0xd1a00000:7 virtio_mmio.device=4K@0xe0000000:8"},
		{"several in one", Cmdline{Machine: machine[:3], User: []string{"panic=7 console=ttyS0"}}, "quiet panic=7 console=ttyS0"},
		{"quoted", Cmdline{Machine: machine[:3], User: []string{`dyndbg="file x +p; panic=1"`}}, `console=hvc0 quiet panic=-1 dyndbg="file x +p; panic=1"`},
		{"quoted as a whole", Cmdline{Machine: machine[:3], User: []string{`"panic=1"`}}, `console=hvc0 quiet "panic=1"`},
		{"for init", Cmdline{Machine: machine[:3], User: []string{"--", "panic=1"}}, "console=hvc0 quiet panic=-1 -- panic=1"},
		{"UTF-8", Cmdline{User: []string{"name=größe"}}, "name=größe"},
		{"override", Cmdline{Machine: machine, Override: ptr("  console=ttyS0  a=\"b ")}, "  console=ttyS0  a=\"b "},
		{"empty override", Cmdline{Machine: machine, Override: ptr("")}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			before := strings.Join(tt.c.Machine, " ")
			got, err := tt.c.Build(2047)
			require.NoError(t, err)
			require.Equal(t, tt.want, got)
			require.Equal(t, before, strings.Join(tt.c.Machine, " "), "the caller's slice")
		})
	}
}

func TestCmdlineBad(t *testing.T) {
	for _, tt := range []struct {
		name string
		arg  string
		text string
	}{
		{"NUL", "a\x00b", "a NUL byte at byte 1"},
		{"newline", "init=/bin/sh\n", "a newline at byte 12"},
		{"carriage return", "a\r", "a carriage return"},
		{"escape", "a\x1b[2J", "control character 0x1b"},
		{"not UTF-8", "a=\xFF", "not UTF-8 at byte 2 (0xff)"},
		{"cut UTF-8", "a=\xC3", "not UTF-8 at byte 2"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Cmdline{User: []string{"ok", tt.arg}}.Build(2047)
			require.ErrorContains(t, err, tt.text[:5])
			require.ErrorIs(t, err, vm.KindConfig)
			_, err = Cmdline{Override: &tt.arg}.Build(2047)
			require.ErrorContains(t, err, tt.text)
			require.ErrorIs(t, err, vm.KindConfig)
		})
	}
	for arg, text := range map[string]string{"": "empty", " \t": "empty", `a="b`: "unmatched"} {
		_, err := Cmdline{User: []string{"ok", arg}}.Build(2047)
		require.ErrorIs(t, err, vm.KindConfig)
		require.ErrorContains(t, err, text)
		require.ErrorContains(t, err, "argument 1")
	}
}

func TestCmdlineLength(t *testing.T) {
	machine := []string{"console=hvc0"}
	fits := strings.Repeat("x", 2047-len("console=hvc0 "))
	line, err := Cmdline{Machine: machine, User: []string{fits}}.Build(2047)
	require.NoError(t, err)
	require.Len(t, line, 2047)

	_, err = Cmdline{Machine: machine, User: []string{fits + "yz"}}.Build(2047)
	require.ErrorIs(t, err, vm.KindLimit)
	for _, text := range []string{"has 2049 bytes", "takes 2047", "own arguments take 12 bytes", "shorten yours by 2"} {
		require.ErrorContains(t, err, text)
	}
	_, err = Cmdline{Override: ptr(strings.Repeat("x", 2048))}.Build(2047)
	require.ErrorIs(t, err, vm.KindLimit)
	require.ErrorContains(t, err, "shorten it by 1 bytes")
}

func TestMachineArgs(t *testing.T) {
	devices := []layout.Device{layout.Console, layout.Entropy, layout.Disk(0)}
	build := func(user ...string) string {
		line, err := Cmdline{Machine: MachineArgs(Machine{User: user, Devices: devices}), User: user}.Build(2047)
		require.NoError(t, err)
		return line + " "
	}
	line := build()
	require.Contains(t, line, "console=hvc0 ")
	require.Contains(t, line, "earlycon=uart8250,io,0x3f8 ")
	require.Contains(t, line, "panic=-1 ")
	require.Contains(t, line, "8250.nr_uarts=0 ")
	require.NotContains(t, line, "virtio_mmio", "ACPI announces them")
	require.NotContains(t, line, "tsc=")

	require.Contains(t, build("acpi=off"), "virtio_mmio.device=4K@0xd0100000:5 virtio_mmio.device=4K@0xd1a00000:7 virtio_mmio.device=4K@0xd1800000:23 ")

	serial := build("console=ttyS0")
	require.NotContains(t, serial, "nr_uarts")
	require.NotContains(t, serial, "hvc0")

	require.Contains(t, MachineArgs(Machine{ReliableTSC: true}), "tsc=reliable")
	require.Less(t, strings.Index(line, "quiet"), strings.Index(line, "earlycon"), "earlycon prints what is in the log when it comes")
	for _, arg := range []string{"loglevel=7", "ignore_loglevel", "debug"} {
		require.NotContains(t, build(arg), "quiet")
	}
}

// TestMachineArgsFit checks that the longest list of the machine leaves room for the user.
func TestMachineArgsFit(t *testing.T) {
	devices := []layout.Device{layout.Console, layout.Net, layout.Vsock, layout.Entropy, layout.Balloon}
	for i := range layout.MaxDisks {
		devices = append(devices, layout.Disk(i))
	}
	args := MachineArgs(Machine{User: []string{"acpi=off"}, Devices: devices, ReliableTSC: true})
	require.Less(t, len(strings.Join(args, " ")), 1100)
}

func TestACPIOff(t *testing.T) {
	for line, want := range map[string]bool{
		"": false, "acpi=off": true, "quiet acpi=off": true, "acpi=off acpi=force": false, "acpi=force acpi=off": true,
		"acpi=offf": false, "xacpi=off": false, "acpi=noirq": false, "-- acpi=off": false, `a="acpi=off b"`: false, `"x acpi=off"`: false,
	} {
		require.Equal(t, want, ACPIOff([]string{line}), line)
	}
}

func TestRootArgs(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		machine Machine
		want    []string
	}{
		{"not known", Machine{}, nil},
		{"written", Machine{Root: "/dev/vda1"}, []string{"root=/dev/vda1", "rw"}},
		{"read-only", Machine{Root: "/dev/vda1", RootReadOnly: true}, []string{"root=/dev/vda1", "ro"}},
		{"the user's", Machine{Root: "/dev/vda", User: []string{"quiet root=LABEL=x"}}, nil},
		{"the user mounts it read-only", Machine{Root: "/dev/vda", User: []string{"ro"}}, []string{"root=/dev/vda"}},
		{"init's arguments are not the kernel's", Machine{Root: "/dev/vda", User: []string{"-- root=x"}}, []string{"root=/dev/vda", "rw"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, test.want, rootArgs(test.machine))
		})
	}
}
