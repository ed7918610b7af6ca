package capsa

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/libcapsa/libcapsa/internal/backend"
	"github.com/libcapsa/libcapsa/internal/vm"
)

// Builder describes a machine and builds any number of them. Setters check what
// can be checked without the rest, return an *Error of KindInvalidArg, and change
// nothing when they fail; the last call wins. All methods may be called from any
// goroutine.
type Builder struct {
	mu      sync.Mutex
	cfg     vm.Config  // guarded by mu
	backend vm.Backend // given by UseBackend, else nil; guarded by mu
	network *Network   // given by Attach, else nil; guarded by mu
}

// NewBuilder returns a builder with one vCPU, 256 MiB, the best backend of the
// host, and nothing to boot.
func NewBuilder() *Builder { return &Builder{cfg: vm.DefaultConfig()} }

// FromConfig returns a builder for cfg, which it copies and does not check: Build
// does.
func FromConfig(cfg Config) *Builder { return &Builder{cfg: cfg.WithDefaults()} }

// FromJSON returns a builder for the JSON form of a configuration. What is left
// out is as in NewBuilder. The form is strict: a key that is unknown or given
// twice is an error, of KindConfig, with every problem. Values are checked by
// Build.
//
//	{"boot": {"kernel": "/boot/vmlinuz", "initrd": "/boot/initrd.img", "args": ["quiet"]},
//	 "cpus": 2, "memory_mib": 512, "name": "web", "timeout_ms": 60000,
//	 "console": {"ring_size": 1048576, "cols": 80, "rows": 24}, "backend": "kvm", "isolation": "process",
//	 "disks": [{"path": "debian.qcow2", "temporary": true, "root": true},
//	           {"path": "data.img", "format": "raw", "serial": "data", "limit": {"iops": 500}}],
//	 "balloon": {"enabled": true, "reporting": true, "deflate_on_oom": true},
//	 "vsock": {"ports": [{"port": 1024, "mode": "listen", "path": "/run/web.sock"},
//	                     {"port": 9, "mode": "connect", "path": "/run/log.sock", "type": "seqpacket"}]},
//	 "network": {"mode": "user", "policy": {"default": "public-only"},
//	             "forwards": [{"protocol": "tcp", "host": "127.0.0.1:8080", "guest_port": 80}]}}
func FromJSON(data []byte) (*Builder, error) {
	cfg := vm.DefaultConfig()
	if err := cfg.UnmarshalJSON(data); err != nil {
		return nil, err
	}
	return &Builder{cfg: cfg}, nil
}

// JSON returns the description in its JSON form. It fails for what JSON cannot
// say: a path that is not UTF-8.
func (b *Builder) JSON() ([]byte, error) { return b.Config().MarshalJSON() }

// MarshalJSON is JSON, for package json.
func (b *Builder) MarshalJSON() ([]byte, error) { return b.JSON() }

var _ json.Marshaler = (*Builder)(nil)

// Config returns a copy of the description.
func (b *Builder) Config() Config {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.cfg.Clone()
}

// Clone returns a copy that from now on changes by itself.
func (b *Builder) Clone() *Builder {
	b.mu.Lock()
	defer b.mu.Unlock()
	return &Builder{cfg: b.cfg.Clone(), backend: b.backend, network: b.network}
}

// set makes a change unless check finds a problem.
func (b *Builder) set(op string, check func(*vm.Problems), change func(*vm.Config)) error {
	var p vm.Problems
	b.mu.Lock()
	defer b.mu.Unlock()
	check(&p)
	if err := p.Err(vm.KindInvalidArg, op); err != nil {
		return err
	}
	change(&b.cfg)
	return nil
}

// SetName names the machine for people and logs: up to 64 bytes of printable
// UTF-8, "" for none.
func (b *Builder) SetName(name string) error {
	return b.set("set name", func(p *vm.Problems) { p.Name(name) }, func(c *vm.Config) { c.Name = name })
}

// SetKernel sets the host path of the kernel: a bzImage or an ELF vmlinux, told
// apart by content. Build opens it.
func (b *Builder) SetKernel(path string) error {
	return b.set("set kernel", func(p *vm.Problems) { p.Kernel(path) }, func(c *vm.Config) { c.Boot.Kernel = path })
}

// SetInitrd sets the host path of the initial RAM disk, "" for none. Build opens
// it.
func (b *Builder) SetInitrd(path string) error {
	return b.set("set initrd", func(p *vm.Problems) { p.Initrd(path) }, func(c *vm.Config) { c.Boot.Initrd = path })
}

// AddArg appends arguments to the kernel's command line, after the machine's own;
// of several values of one key the last wins.
func (b *Builder) AddArg(args ...string) error {
	return b.set("add argument",
		func(p *vm.Problems) {
			for i, arg := range args {
				p.Arg(len(b.cfg.Boot.Args)+i, arg)
			}
		},
		func(c *vm.Config) { c.Boot.Args = append(c.Boot.Args, slices.Clone(args)...) })
}

// SetCmdline gives the whole command line, verbatim, in place of the machine's own
// and of all arguments; Build refuses to have both.
func (b *Builder) SetCmdline(line string) error {
	return b.set("set command line", func(p *vm.Problems) { p.Cmdline(line) }, func(c *vm.Config) { c.Boot.Cmdline = &line })
}

// ClearCmdline goes back to the machine's own command line and the arguments.
func (b *Builder) ClearCmdline() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.cfg.Boot.Cmdline = nil
}

// SetCPUs sets the number of virtual processors, at least 1. The backend's maximum
// is checked by Build.
func (b *Builder) SetCPUs(n int) error {
	return b.set("set cpus", func(p *vm.Problems) { p.CPUs(n) }, func(c *vm.Config) { c.CPUs = n })
}

// SetMemoryMiB sets the guest's memory in MiB (1048576 bytes).
func (b *Builder) SetMemoryMiB(mib uint64) error {
	size := mib * MiB
	if mib > vm.MaxMemory/MiB { // the product may have wrapped
		size = vm.MaxMemory + MiB
	}
	return b.set("set memory", func(p *vm.Problems) { p.Memory(size) }, func(c *vm.Config) { c.Memory = size })
}

// SetConsole sets the size of the console and how much of its output is kept; zero
// fields mean the defaults: 1 MiB, 80 by 24.
func (b *Builder) SetConsole(console ConsoleConfig) error {
	return b.set("set console", func(p *vm.Problems) { p.Console(console) }, func(c *vm.Config) {
		c.Console = console
		*c = c.WithDefaults()
	})
}

// AddDisk adds a disk; the guest sees the disks in the order in which they were
// added. Build opens the image and locks it: an image that a machine writes is no
// other's, in this process or another.
func (b *Builder) AddDisk(d Disk) error {
	return b.set("add disk",
		func(p *vm.Problems) {
			i := len(b.cfg.Disks)
			p.Disk(i, d)
			if i >= vm.MaxDisks {
				p.Disks(append(b.cfg.Clone().Disks, d))
			}
		},
		func(c *vm.Config) { c.Disks = append(c.Disks, vm.Config{Disks: []Disk{d}}.Clone().Disks...) })
}

// ClearDisks removes all disks.
func (b *Builder) ClearDisks() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.cfg.Disks = nil
}

// AddShare adds a directory of the host that the guest mounts by its tag: mount -t
// virtiofs TAG /mnt. Build opens the directory.
func (b *Builder) AddShare(s Share) error {
	return b.set("add share",
		func(p *vm.Problems) { p.Shares(append(b.cfg.Clone().Shares, s)) },
		func(c *vm.Config) { c.Shares = append(c.Shares, vm.Config{Shares: []Share{s}}.Clone().Shares...) })
}

// ClearShares removes all shares.
func (b *Builder) ClearShares() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.cfg.Shares = nil
}

// SetTimeout limits the machine's whole life, from Start on; it then ends with
// CauseTimedOut. 0: no limit.
func (b *Builder) SetTimeout(d time.Duration) error {
	return b.set("set timeout", func(p *vm.Problems) { p.Timeout(d) }, func(c *vm.Config) { c.Timeout = d })
}

// SetBackend chooses the backend by name: "kvm"; "" for the best of the host. The
// error is of KindNotFound or KindUnsupported.
func (b *Builder) SetBackend(name string) error {
	if name != "" {
		if _, err := backend.ByName(name); err != nil {
			return err
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.cfg.Backend, b.backend = name, nil
	return nil
}

// SetIsolation chooses the process in which the machine runs. In a process of its
// own a machine that fails, whoever's fault it is, fails alone: Wait then gives
// CauseVMMCrash. Build needs the program capsa-vzd for it, beside the library, beside
// the program, in PATH, or where CAPSA_VZD_PATH says; without it the error is of
// KindUnavailable. Backends of UseBackend run in the caller's process only.
func (b *Builder) SetIsolation(i Isolation) error {
	return b.set("set isolation", func(p *vm.Problems) { p.Isolation(i) }, func(c *vm.Config) { c.Isolation = i })
}

// SetJail says how much a process of the machine's own is confined. The default is as
// far as this library goes, and Build fails where the host cannot do that; an EventLog
// says what holds.
func (b *Builder) SetJail(j Jail) error {
	return b.set("set jail", func(p *vm.Problems) { p.Jail(j) }, func(c *vm.Config) { c.Jail = j })
}

// UseBackend chooses a backend that the caller has made; nil for the best of the
// host. Its name goes into the JSON form.
func (b *Builder) UseBackend(own Backend) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.backend, b.cfg.Backend = own, ""
	if own != nil {
		b.cfg.Backend = own.Name()
	}
}

// Validate checks the description as Build does, without opening or making
// anything: every problem at once, in an *Error of KindConfig or, if only limits
// of the backend are exceeded, KindLimit.
func (b *Builder) Validate() error {
	_, _, err := b.check()
	return err
}

// Build validates everything, opens and loads the kernel, and makes the machine.
// Nothing runs yet. The builder is unchanged and can build again. Close the
// machine when it is no longer needed.
func (b *Builder) Build() (*VM, error) {
	cfg, chosen, err := b.check()
	if err != nil {
		return nil, err
	}
	b.mu.Lock()
	network := b.network
	b.mu.Unlock()
	return newVM(chosen, cfg, network)
}

// check returns the configuration and backend, or what is wrong with them. What is
// wrong with the configuration is said even when there is no usable backend.
func (b *Builder) check() (vm.Config, vm.Backend, error) {
	b.mu.Lock()
	cfg, chosen := b.cfg.Clone(), b.backend
	b.mu.Unlock()

	chosen, caps, backendErr := resolve(cfg, chosen)
	name := ""
	if backendErr == nil {
		name = chosen.Name()
	}
	if err := withPolicyProblems(cfg.ValidateFor(name, caps), cfg); err != nil {
		return cfg, nil, withFileProblems(err, cfg)
	}
	if backendErr != nil {
		return cfg, nil, vm.Wrap("build", backendErr)
	}
	if err := caps.Lacks(cfg, "build", name); err != nil {
		return cfg, nil, err
	}
	return cfg.WithDefaults(), chosen, nil
}

// resolve finds the backend and asks what it can do.
func resolve(cfg vm.Config, own vm.Backend) (vm.Backend, vm.Capabilities, error) {
	apart := cfg.Isolation == vm.IsolationProcess
	var err error
	switch {
	case own != nil && apart:
		err = vm.Errorf(vm.KindUnsupported, "build", "a backend that the caller made cannot run in a process of its own").
			WithHint("choose a backend by name, or no isolation")
	case own != nil:
	case cfg.Backend == "":
		own, err = backend.Default()
	default:
		own, err = backend.ByName(cfg.Backend)
	}
	if err == nil && apart {
		own, err = backend.Isolated(own.Name())
	}
	if err != nil {
		return nil, vm.Capabilities{}, err
	}
	caps, err := own.Capabilities()
	return own, caps, err
}

// withFileProblems adds files that cannot be found to the problems of a
// configuration that is wrong anyway, so that one attempt tells all. When nothing
// else is wrong the backend reports them, from opening the files.
func withFileProblems(err error, cfg vm.Config) error {
	e, ok := errors.AsType[*vm.Error](err)
	if !ok {
		return err
	}
	all := *e
	all.Op = "build"
	type file struct{ field, path string }
	files := []file{{"boot.kernel", cfg.Boot.Kernel}, {"boot.initrd", cfg.Boot.Initrd}}
	for i, d := range cfg.Disks {
		files = append(files, file{fmt.Sprintf("disks[%d].path", i), d.Path})
	}
	for i, s := range cfg.Shares {
		files = append(files, file{fmt.Sprintf("shares[%d].path", i), s.Path})
	}
	for _, f := range files {
		if f.path == "" {
			continue
		}
		if _, err := os.Stat(f.path); errors.Is(err, os.ErrNotExist) {
			all.Problems = append(all.Problems, vm.Problem{Field: f.field, Message: "no such file: " + f.path})
		}
	}
	return &all
}
