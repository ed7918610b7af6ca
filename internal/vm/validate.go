package vm

import (
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Problems collects what is wrong with a configuration. The Check functions add
// to it; package capsa uses them for single setters.
type Problems []Problem

func (p *Problems) add(field, hint, format string, a ...any) {
	*p = append(*p, Problem{Field: field, Message: fmt.Sprintf(format, a...), Hint: hint})
}

// Err is the one error of the given kind for all problems, or nil when there are
// none.
func (p Problems) Err(kind Kind, op string) error {
	if len(p) == 0 {
		return nil
	}
	return &Error{Op: op, Kind: kind, Problems: p}
}

// Validate checks everything that can be checked without the host and without a
// backend. It returns nil or an *Error of KindConfig with every problem at once.
func (c Config) Validate() error { return c.Check().Err(KindConfig, "validate") }

// ValidateFor is Validate and, in the same error, the limits of a backend. When
// nothing but those limits is wrong the kind is KindLimit.
func (c Config) ValidateFor(backend string, caps Capabilities) error {
	p := c.Check()
	kind := KindConfig
	if len(p) == 0 {
		kind = KindLimit
	}
	if caps.MaxCPUs > 0 && c.CPUs > caps.MaxCPUs && c.CPUs <= MaxCPUs {
		p.add("cpus", "", "%d is more than the %d that %s can give a machine on this host", c.CPUs, caps.MaxCPUs, backend)
	}
	if caps.MaxMemory > 0 && c.Memory > caps.MaxMemory && c.Memory <= MaxMemory {
		p.add("memory_mib", "", "%d is more than the %d that %s can give a machine on this host",
			c.Memory/MiB, caps.MaxMemory/MiB, backend)
	}
	if caps.Fits != nil && len(c.Disks) <= MaxDisks && len(c.Shares) <= MaxShares {
		p = append(p, caps.Fits(c)...)
	}
	return p.Err(kind, "validate")
}

// Check returns every problem that Validate would report.
func (c Config) Check() Problems {
	var p Problems
	p.Name(c.Name)
	p.EFI(c)
	if !c.EFI.Enabled() {
		p.Kernel(c.Boot.Kernel)
	}
	p.Initrd(c.Boot.Initrd)
	for i, arg := range c.Boot.Args {
		p.Arg(i, arg)
	}
	if c.Boot.Cmdline != nil {
		p.Cmdline(*c.Boot.Cmdline)
		if len(c.Boot.Args) > 0 {
			p.add("boot.cmdline", "put everything into the one or the other",
				"the whole command line is given, and %d arguments too", len(c.Boot.Args))
		}
	}
	p.argsSize(c.Boot.Args)
	p.CPUs(c.CPUs)
	p.Memory(c.Memory)
	p.Console(c.Console)
	p.Disks(c.Disks)
	p.rootArg(c)
	p.Shares(c.Shares)
	p.Rosetta(c)
	p.Restore(c.Restore)
	p.Vsock(c.Vsock)
	p.Network(c.Network)
	p.Guest(c.Guest)
	p.guestFits(c)
	p.Timeout(c.Timeout)
	p.text("backend", c.Backend)
	p.Isolation(c.Isolation)
	p.Jail(c.Jail)
	return p
}

// Name checks Config.Name.
func (p *Problems) Name(name string) { p.text("name", name) }

func (p *Problems) text(field, name string) {
	switch {
	case len(name) > MaxNameSize:
		p.add(field, "", "is %d bytes long; at most %d are allowed", len(name), MaxNameSize)
	case !utf8.ValidString(name):
		p.add(field, "", "%q is not UTF-8", name)
	case strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) }):
		p.add(field, "", "%q contains characters that cannot be printed", name)
	}
}

// Kernel checks LinuxBoot.Kernel.
func (p *Problems) Kernel(path string) {
	if path == "" {
		p.add("boot.kernel", "set the path of a bzImage or ELF vmlinux", "no kernel is given")
		return
	}
	p.path("boot.kernel", path)
}

// EFI checks Config.EFI: firmware takes kernel and command line from the disk.
func (p *Problems) EFI(c Config) {
	if !c.EFI.Enabled() {
		return
	}
	p.path("boot.efi.variables", c.EFI.Variables)
	const hint = "choose one: a kernel, or firmware that finds one on a disk"
	if c.Boot.Kernel != "" || c.Boot.Initrd != "" {
		p.add("boot.efi", hint, "both firmware and a kernel or an initial RAM disk")
	}
	if c.Boot.Cmdline != nil || len(c.Boot.Args) > 0 {
		p.add("boot.efi", hint, "a command line, but no kernel to give it to")
	}
	for i, d := range c.Disks {
		if d.Root {
			p.add(fmt.Sprintf("disks[%d].root", i), "the boot loader on the disk decides", "there is no kernel to tell it to")
		}
	}
}

// Rosetta checks Config.Rosetta.
func (p *Problems) Rosetta(c Config) {
	if c.Rosetta == "" {
		return
	}
	p.tag("rosetta", c.Rosetta)
	for i, s := range c.Shares {
		if s.Tag == c.Rosetta {
			p.add("rosetta", "", "%q is the tag of share %d too", c.Rosetta, i)
		}
	}
}

// Restore checks Config.Restore.
func (p *Problems) Restore(path string) { p.path("restore", path) }

// Initrd checks LinuxBoot.Initrd.
func (p *Problems) Initrd(path string) { p.path("boot.initrd", path) }

func (p *Problems) path(field, path string) {
	switch {
	case len(path) >= MaxPathSize:
		p.add(field, "", "the path is %d bytes long; fewer than %d are allowed", len(path), MaxPathSize)
	case strings.IndexByte(path, 0) >= 0:
		p.add(field, "", "the path %q contains a NUL byte", path)
	}
}

// Arg checks the i-th of LinuxBoot.Args. One argument may hold several words; it
// is joined to the others by a space.
func (p *Problems) Arg(i int, arg string) {
	field := fmt.Sprintf("boot.args[%d]", i)
	if strings.TrimSpace(arg) == "" {
		p.add(field, "", "is empty")
		return
	}
	p.cmdlineText(field, arg)
}

// Cmdline checks LinuxBoot.Cmdline. An empty one is allowed.
func (p *Problems) Cmdline(line string) { p.cmdlineText("boot.cmdline", line) }

func (p *Problems) cmdlineText(field, text string) {
	switch {
	case len(text) >= MaxCmdlineSize:
		p.add(field, "", "is %d bytes long; fewer than %d are allowed", len(text), MaxCmdlineSize)
	case !utf8.ValidString(text):
		p.add(field, "", "%q is not UTF-8", text)
	case strings.ContainsFunc(text, unicode.IsControl):
		p.add(field, "a command line is one line of text", "%q contains control characters (NUL, newline or the like)", text)
	}
}

// argsSize checks the arguments as a whole, unless one alone is too long.
func (p *Problems) argsSize(args []string) {
	size := 0
	for _, arg := range args {
		if len(arg) >= MaxCmdlineSize {
			return
		}
		size += len(arg) + len(" ")
	}
	if size >= MaxCmdlineSize {
		p.add("boot.args", "", "are %d bytes long together; fewer than %d are allowed", size, MaxCmdlineSize)
	}
}

// CPUs checks Config.CPUs.
func (p *Problems) CPUs(n int) {
	switch {
	case n < 1:
		p.add("cpus", "", "%d is too few; a machine needs at least 1", n)
	case n > MaxCPUs:
		p.add("cpus", "", "%d is too many; at most %d are possible", n, MaxCPUs)
	}
}

// Memory checks Config.Memory, in bytes.
func (p *Problems) Memory(size uint64) {
	switch {
	case size == 0:
		p.add("memory_mib", "256 is a good start", "no memory is given")
	case size > MaxMemory:
		p.add("memory_mib", "", "%d bytes are too many; at most %d MiB are possible", size, uint64(MaxMemory)/MiB)
	case size%MiB != 0:
		p.add("memory_mib", "", "%d bytes are not a multiple of 1 MiB", size)
	}
}

// Console checks Config.Console.
func (p *Problems) Console(c ConsoleConfig) {
	if c.RingSize != 0 && (c.RingSize < MinRingSize || c.RingSize > MaxRingSize) {
		p.add("console.ring_size", "use 0 for the default of 1 MiB", "%d bytes; from %d to %d are allowed",
			c.RingSize, MinRingSize, MaxRingSize)
	}
}

// Timeout checks Config.Timeout.
func (p *Problems) Timeout(d time.Duration) {
	if d < 0 {
		p.add("timeout_ms", "use 0 for no timeout", "%v is negative", d)
	}
}
