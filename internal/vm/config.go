package vm

import (
	"slices"
	"time"
)

// Units and limits of a Config. Limits of a backend come from its Capabilities.
const (
	// MiB is the unit of memory sizes, in bytes.
	MiB uint64 = 1 << 20

	// MaxCPUs is the largest number of vCPUs that any backend could run: the
	// upper limit of KVM_MAX_VCPUS on x86 (Linux, arch/x86/kvm/Kconfig,
	// KVM_MAX_NR_VCPUS).
	MaxCPUs = 4096

	// MaxMemory is the largest guest memory that makes sense, in bytes: 64 TiB,
	// what Linux addresses with four-level page tables
	// (Documentation/arch/x86/x86_64/mm.rst).
	MaxMemory = 64 << 40

	// MaxNameSize is the longest name, in bytes.
	MaxNameSize = 64

	// MaxPathSize is the longest host path, in bytes, with its terminating NUL:
	// PATH_MAX of Linux (include/uapi/linux/limits.h).
	MaxPathSize = 4096

	// MaxCmdlineSize is the longest command line of any architecture, in bytes:
	// COMMAND_LINE_SIZE is 2048 on x86 and arm64; with the machine's own part and
	// for other kernels up to 4096 (s390). The loader checks the exact limit.
	MaxCmdlineSize = 4096

	// DefaultRingSize is how much console output is kept, in bytes.
	DefaultRingSize = 1 << 20
	// MinRingSize and MaxRingSize bound ConsoleConfig.RingSize, in bytes. A boot
	// log fits the least; the most keeps a typing mistake from eating the host.
	MinRingSize = 4 << 10
	MaxRingSize = 1 << 30

	// DefaultCols and DefaultRows are the size of the terminal, in characters:
	// the VT100's, 80 by 24.
	DefaultCols = 80
	DefaultRows = 24

	// DefaultMemory is the guest's memory when nothing is said, in bytes.
	DefaultMemory = 256 * MiB
)

// Config says what a virtual machine is made of. It is a plain value; Clone makes
// a copy that shares nothing.
type Config struct {
	Name    string // for people and logs; "" or up to 64 bytes of printable UTF-8
	Boot    LinuxBoot
	EFI     EFIBoot // in place of Boot
	CPUs    int     // number of vCPUs, at least 1
	Memory  uint64  // bytes, a multiple of 1 MiB
	Console ConsoleConfig
	Disks   []Disk  // in the order in which the guest sees them
	Shares  []Share // directories of the host, in the order in which the guest finds them
	Balloon BalloonConfig
	Vsock   VsockConfig
	Network NetworkConfig
	Guest   GuestConfig   // what the library's agent does in the guest; backends ignore it
	Timeout time.Duration // whole life of the machine from Start; ends it with CauseTimedOut; 0: none
	Backend string        // name of the backend to use, "" for the best of the host; backends ignore it

	// Rosetta is the tag of a shared directory with the translator for programs for
	// x86-64, which the guest registers with binfmt_misc; "": there is none.
	Rosetta string
	// Restore is the path of what Save has written of a machine of the same
	// configuration: Start goes on from there. "": the machine boots.
	Restore string

	Isolation Isolation // in which process the machine runs; backends ignore it
	Jail      Jail      // how much that process is confined, if it is the machine's own
}

// LinuxBoot is the direct boot of a Linux kernel. Paths are bytes as the host's
// file system has them; they need not be UTF-8.
type LinuxBoot struct {
	Kernel  string   // host path of a bzImage or ELF vmlinux
	Initrd  string   // host path of the initial RAM disk, "" for none
	Args    []string // command line arguments, after the machine's own; the last value of a key wins
	Cmdline *string  // non-nil: the whole command line, verbatim; then Args must be empty
}

// EFIBoot is the boot of whatever the firmware finds on the disks. The zero value is
// none.
type EFIBoot struct {
	// Variables is the file in which the firmware keeps its variables. It is made if
	// need be, and belongs to one machine at a time.
	Variables string
}

// Enabled says whether the machine boots that way.
func (e EFIBoot) Enabled() bool { return e.Variables != "" }

// ConsoleConfig is the guest's console. Zero fields mean the default.
type ConsoleConfig struct {
	RingSize   int    // bytes of output kept for readers; default DefaultRingSize
	Cols, Rows uint16 // size of the terminal in characters; default 80 by 24
}

// DefaultConfig is a configuration with everything but the kernel: one vCPU, 256
// MiB.
func DefaultConfig() Config {
	return Config{
		CPUs:    1,
		Memory:  DefaultMemory,
		Console: ConsoleConfig{RingSize: DefaultRingSize, Cols: DefaultCols, Rows: DefaultRows},
	}
}

// WithDefaults returns c with the zero fields of the console and of the network
// replaced by their defaults. CPUs and Memory have none: 0 is an error.
func (c Config) WithDefaults() Config {
	c = c.Clone()
	if c.Console.RingSize == 0 {
		c.Console.RingSize = DefaultRingSize
	}
	if c.Console.Cols == 0 {
		c.Console.Cols = DefaultCols
	}
	if c.Console.Rows == 0 {
		c.Console.Rows = DefaultRows
	}
	c.Network = c.Network.WithDefaults()
	return c
}

// Clone returns a copy that shares nothing with c.
func (c Config) Clone() Config {
	c.Boot.Args = slices.Clone(c.Boot.Args)
	if c.Boot.Cmdline != nil {
		line := *c.Boot.Cmdline
		c.Boot.Cmdline = &line
	}
	c.Disks = slices.Clone(c.Disks)
	for i := range c.Disks {
		c.Disks[i] = c.Disks[i].clone()
	}
	c.Shares = slices.Clone(c.Shares)
	for i := range c.Shares {
		c.Shares[i] = c.Shares[i].clone()
	}
	c.Vsock.Ports = slices.Clone(c.Vsock.Ports)
	c.Network = c.Network.clone()
	c.Guest = c.Guest.clone()
	return c
}
