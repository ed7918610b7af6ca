package cli

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/libcapsa/libcapsa/capsa"
	"github.com/libcapsa/libcapsa/internal/image"
	"github.com/libcapsa/libcapsa/internal/vm"
)

// machineFlags are those that say what a machine is.
type machineFlags struct {
	config             string
	kernel, initrd     string
	kernelArgs         []string
	modules            string
	cpus               int
	memory             string
	volumes, ports     []string
	disks              []string
	network, policy    string
	hostname           string
	timeout            time.Duration
	isolation, backend string
	write              bool
	changed            func(name string) bool
}

func (m *machineFlags) register(f *pflag.FlagSet) {
	f.StringVar(&m.config, "config", "", "`file` with a machine in TOML or JSON, which the flags change (see capsa config)")
	f.StringVar(&m.kernel, "kernel", "", "kernel `file`: bzImage or vmlinux (default: $CAPSA_KERNEL or what is installed)")
	f.StringVar(&m.initrd, "initrd", "", "initial RAM disk `file`")
	f.StringArrayVar(&m.kernelArgs, "kernel-arg", nil, "`argument` for the kernel's command line (repeat)")
	f.StringVar(&m.modules, "modules", "", "`directory` with the modules of a kernel that needs them")
	f.IntVar(&m.cpus, "cpus", 1, "number of virtual `processors`")
	f.StringVar(&m.memory, "memory", "256M", "memory `size`: 512M, 2G")
	f.StringArrayVarP(&m.volumes, "volume", "v", nil, "`directory` to share: HOST:GUEST[:ro] (repeat); for a kernel GUEST is the share's tag")
	f.StringArrayVarP(&m.ports, "publish", "p", nil, "`port` of the guest to open here: [ADDRESS:]HOST:GUEST[/udp] (repeat)")
	f.StringArrayVar(&m.disks, "disk", nil, "disk `image` to attach: FILE[:ro] (repeat)")
	f.StringVar(&m.network, "network", "none", "network `mode`: none, user, nat; user with --publish or --policy")
	f.StringVar(&m.policy, "policy", "", "what the guest may reach: allow-all, deny-all, public-only, or a `file` with rules in JSON")
	f.StringVar(&m.hostname, "hostname", "", "the guest's own `name`")
	f.DurationVar(&m.timeout, "timeout", 0, "the machine's longest life, such as 90s")
	f.StringVar(&m.isolation, "isolation", "", "where the machine runs: process (of its own) or none (in this one); images: process")
	f.StringVar(&m.backend, "backend", "", "`name` of the backend (see capsa backends)")
	f.BoolVar(&m.write, "write", false, "a directory or disk image is written itself, not an overlay of it")
}

// builder is the machine that the flags say, with an image in it or without one.
func (m *machineFlags) builder(a *App, img *image.Image) (*capsa.Builder, error) {
	b := capsa.NewBuilder()
	if img != nil {
		b = capsa.NewSandbox()
	}
	if m.config != "" {
		data, err := a.readConfig(m.config)
		if err != nil {
			return nil, err
		}
		if b, err = capsa.FromJSON(data); err != nil {
			return nil, err
		}
	}
	a.useBackend(b)
	for _, step := range []func(*capsa.Builder) error{
		m.boot, m.resources, m.disksAndShares, m.networking,
		func(b *capsa.Builder) error { return m.root(b, img) },
	} {
		if err := step(b); err != nil {
			return nil, err
		}
	}
	return b, nil
}

// boot chooses the kernel.
func (m *machineFlags) boot(b *capsa.Builder) error {
	kernel, err := m.kernel, error(nil)
	if kernel == "" && b.Config().Boot.Kernel == "" {
		if kernel, err = findKernel(); err != nil {
			return err
		}
	}
	for _, x := range []struct {
		path string
		set  func(string) error
	}{{kernel, b.SetKernel}, {m.initrd, b.SetInitrd}} {
		if x.path == "" {
			continue
		}
		abs, err := filepath.Abs(x.path)
		if err != nil {
			return vm.Wrap("boot", err)
		}
		if err := x.set(abs); err != nil {
			return err
		}
	}
	if len(m.kernelArgs) > 0 {
		return b.AddArg(m.kernelArgs...)
	}
	return nil
}

// resources are processors, memory and everything that is one call.
func (m *machineFlags) resources(b *capsa.Builder) error {
	fromFlags := m.config == ""
	if fromFlags || m.changed("cpus") {
		if err := b.SetCPUs(m.cpus); err != nil {
			return err
		}
	}
	if fromFlags || m.changed("memory") {
		bytes, err := parseSize("memory", m.memory)
		if err != nil {
			return err
		}
		if err := b.SetMemoryMiB(bytes / capsa.MiB); err != nil {
			return err
		}
	}
	if m.timeout > 0 {
		if err := b.SetTimeout(m.timeout); err != nil {
			return err
		}
	}
	if m.isolation != "" {
		if err := b.SetIsolation(capsa.Isolation(m.isolation)); err != nil {
			return err
		}
	}
	if m.backend != "" {
		return b.SetBackend(m.backend)
	}
	return nil
}

func (m *machineFlags) disksAndShares(b *capsa.Builder) error {
	for _, text := range m.volumes {
		share, target, err := parseVolume(text)
		if err != nil {
			return err
		}
		if !b.Config().Guest.Enabled() { // nobody mounts it there: the guest finds it by that name
			share.Tag = strings.Trim(target, "/")
			err = b.AddShare(share)
		} else {
			err = b.Mount(share, target)
		}
		if err != nil {
			return err
		}
	}
	for _, text := range m.disks {
		disk, err := parseDisk(text)
		if err != nil {
			return err
		}
		if err := b.AddDisk(disk); err != nil {
			return err
		}
	}
	return nil
}

// networking gives the guest a network, as little as is asked for.
func (m *machineFlags) networking(b *capsa.Builder) error {
	network := b.Config().Network
	mode := network.Mode
	switch {
	case m.changed("network"):
		mode = capsa.NetworkMode(strings.Replace(m.network, "none", string(capsa.NetworkNone), 1))
	case mode == capsa.NetworkNone && (len(m.ports) > 0 || m.policy != ""):
		mode = capsa.NetworkUser
	}
	if mode != network.Mode {
		network.Mode = mode
		if err := b.SetNetwork(network); err != nil {
			return err
		}
	}
	if m.policy != "" {
		policy, err := readPolicy(m.policy)
		if err != nil {
			return err
		}
		if err := b.SetPolicyJSON(policy); err != nil {
			return err
		}
	}
	for _, text := range m.ports {
		forward, err := parseForward(text)
		if err != nil {
			return err
		}
		if err := b.AddForward(forward); err != nil {
			return err
		}
	}
	return nil
}

// readPolicy is a policy in JSON: one that is nothing but a default, or what is in a file.
func readPolicy(text string) ([]byte, error) {
	if !strings.ContainsAny(text, "./") {
		return json.Marshal(map[string]string{"default": text})
	}
	data, err := os.ReadFile(text)
	return data, vm.Wrap("policy", err)
}

// root makes an image the guest's root directory.
func (m *machineFlags) root(b *capsa.Builder, img *image.Image) error {
	if m.hostname != "" {
		if err := b.SetHostname(m.hostname); err != nil {
			return err
		}
	}
	if m.modules != "" {
		guest := b.Config().Guest
		abs, err := filepath.Abs(m.modules)
		if err != nil {
			return vm.Wrap("modules", err)
		}
		guest.Modules = abs
		if err := b.SetGuest(guest); err != nil {
			return err
		}
	}
	if img == nil {
		return nil
	}
	overlay := capsa.OverlayMemory
	if m.write {
		overlay = capsa.OverlayNone
	}
	if path, ok := strings.CutPrefix(img.Reference, "dir:"); ok && m.write {
		return b.SetRootDir(path, overlay)
	}
	return b.SetRootDisk(capsa.Disk{Path: img.Path, Format: img.Format}, overlay)
}
