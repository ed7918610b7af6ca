package plan

import (
	"fmt"
	"net"
	"strconv"
	"strings"

	"github.com/libcapsa/libcapsa/internal/vm"
)

// Plan is a machine in the framework's terms. The files are checked.
type Plan struct {
	CPUs   int
	Memory uint64 // bytes
	Boot   Boot
	// Identifier is that of the machine which Restore was saved of; nil: a new one.
	Identifier []byte
	Devices    []Device // in the order in which the guest finds those of a kind
	Restore    string   // path of a saved state; "": it boots
}

// Boot is one of LinuxBoot and EFIBoot.
type Boot interface{ boot() string }

// LinuxBoot is VZLinuxBootLoader.
type LinuxBoot struct{ Kernel, Initrd, Cmdline string }

// EFIBoot is VZEFIBootLoader with its variable store.
type EFIBoot struct {
	Variables string
	Create    bool // the file is not there yet: creating overwrites
}

// Device is one of the types below.
type Device interface{ device() string }

// Serial is the console: a virtio console with a file handle at its host's end.
type Serial struct{}

// Block is a virtio block device with an image file.
type Block struct {
	Path     string
	Serial   string // VZVirtioBlockDeviceConfiguration.blockDeviceIdentifier; "": none
	ReadOnly bool
	Cache    CacheMode
	Sync     SyncMode
}

// CacheMode is VZDiskImageCachingMode, with its numbers. Its automatic mode has
// corrupted file systems on Apple silicon (utmapp/UTM issue 4840) and is not used.
type CacheMode int

// The modes.
const (
	CacheUncached CacheMode = 1
	CacheCached   CacheMode = 2
)

// SyncMode is VZDiskImageSynchronizationMode, with its numbers.
type SyncMode int

// The modes. Full is F_FULLFSYNC, which waits for the drive's own cache.
const (
	SyncFull  SyncMode = 1
	SyncFsync SyncMode = 2
)

// NIC is a virtio network device.
type NIC struct {
	MAC net.HardwareAddr
	NAT bool // behind the platform's NAT; else on a datagram socket, one frame each
}

// Share is a virtio file system device with one directory.
type Share struct {
	Tag, Path string
	ReadOnly  bool
}

// RosettaShare is a share with Rosetta in it.
type RosettaShare struct{ Tag string }

// Vsock is the socket device.
type Vsock struct{}

// Entropy is the entropy device.
type Entropy struct{}

// Balloon is the traditional memory balloon.
type Balloon struct{}

func (b LinuxBoot) boot() string {
	return fmt.Sprintf("linux kernel=%q initrd=%q cmdline=%q", b.Kernel, b.Initrd, b.Cmdline)
}

func (b EFIBoot) boot() string {
	return fmt.Sprintf("efi variables=%q create=%v", b.Variables, b.Create)
}

func (Serial) device() string { return "serial" }

func (d Block) device() string {
	cache := map[CacheMode]string{CacheUncached: "uncached", CacheCached: "cached"}[d.Cache]
	sync := map[SyncMode]string{SyncFull: "full", SyncFsync: "fsync"}[d.Sync]
	return fmt.Sprintf("block path=%q serial=%q read-only=%v cache=%s sync=%s", d.Path, d.Serial, d.ReadOnly, cache, sync)
}

func (d NIC) device() string {
	behind := "socket"
	if d.NAT {
		behind = "nat"
	}
	return fmt.Sprintf("nic mac=%v behind=%s", d.MAC, behind)
}

func (d Share) device() string {
	return fmt.Sprintf("share tag=%q path=%q read-only=%v", d.Tag, d.Path, d.ReadOnly)
}

func (d RosettaShare) device() string { return fmt.Sprintf("rosetta tag=%q", d.Tag) }
func (Vsock) device() string          { return "vsock" }
func (Entropy) device() string        { return "entropy" }
func (Balloon) device() string        { return "balloon" }

// String has a line for each part, for people and for tests.
func (p *Plan) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "machine cpus=%d memory=%d\n", p.CPUs, p.Memory)
	if p.Identifier != nil {
		fmt.Fprintf(&b, "identifier %x\n", p.Identifier)
	}
	b.WriteString("boot " + p.Boot.boot() + "\n")
	for _, d := range p.Devices {
		b.WriteString(d.device() + "\n")
	}
	if p.Restore != "" {
		b.WriteString("restore " + strconv.Quote(p.Restore) + "\n")
	}
	return b.String()
}

const opNew = "new machine"

// Make decides what the machine is on that Mac, or refuses. A refusal for want of a
// capability is of vm.KindUnsupported and names what it needs.
func Make(cfg vm.Config, mac Mac) (*Plan, error) {
	caps, err := mac.Capabilities()
	if err != nil {
		return nil, err
	}
	if err := cfg.ValidateFor(Name, caps); err != nil {
		return nil, err
	}
	if err := caps.Lacks(cfg, opNew, Name); err != nil {
		return nil, err
	}
	cfg = cfg.WithDefaults()
	p := &Plan{CPUs: cfg.CPUs, Memory: cfg.Memory, Restore: cfg.Restore}
	for _, step := range []func(vm.Config, Mac) error{p.addDisks, p.addBoot, p.addRestore} {
		if err := step(cfg, mac); err != nil {
			return nil, vm.Wrap(opNew, err)
		}
	}
	if err := p.addShares(cfg); err != nil {
		return nil, vm.Wrap(opNew, err)
	}
	p.addRest(cfg)
	return p, nil
}

func (p *Plan) addBoot(cfg vm.Config, mac Mac) error {
	if cfg.EFI.Enabled() {
		return p.addEFI(cfg.EFI.Variables)
	}
	if err := CheckKernel(cfg.Boot.Kernel, mac.Arch); err != nil {
		return err
	}
	if cfg.Boot.Initrd != "" {
		if _, err := regular(cfg.Boot.Initrd); err != nil {
			return err
		}
	}
	line, err := commandLine(cfg, mac.Arch)
	if err != nil {
		return err
	}
	p.Boot = LinuxBoot{Kernel: cfg.Boot.Kernel, Initrd: cfg.Boot.Initrd, Cmdline: line}
	return nil
}

// addRest adds what nothing can be wrong with.
func (p *Plan) addRest(cfg vm.Config) {
	p.Devices = append(p.Devices, Serial{})
	if cfg.Network.Enabled() {
		p.Devices = append(p.Devices, NIC{MAC: macOf(cfg), NAT: cfg.Network.Mode == vm.NetworkNAT})
	}
	if cfg.Vsock.Enabled() {
		p.Devices = append(p.Devices, Vsock{})
	}
	p.Devices = append(p.Devices, Entropy{})
	if !cfg.Balloon.Off {
		p.Devices = append(p.Devices, Balloon{})
	}
}
