package capsa

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"

	"github.com/libcapsa/libcapsa/internal/vm"
)

// Serials and tags that the builder gives what it adds by itself.
const (
	rootName    = "capsa-root"
	changesName = "capsa-changes"
)

// NewSandbox returns a builder for a machine in which programs are run: with the
// library's agent in it (see VM.Exec, VM.Files), in a process of its own, without a
// network, without shares, one vCPU and 256 MiB. Give it a kernel and a root directory
// (SetRootDisk, SetRootDir), which the guest sees under a writable overlay in its own
// memory: nothing that runs there changes the original.
func NewSandbox() *Builder {
	cfg := vm.DefaultConfig()
	cfg.Isolation = vm.IsolationProcess
	cfg.Guest.Agent = vm.AgentInitrd
	return &Builder{cfg: cfg}
}

// SetGuest says all that the agent does in the guest.
func (b *Builder) SetGuest(g GuestConfig) error {
	return b.set("set guest", func(p *vm.Problems) { p.Guest(g) }, func(c *vm.Config) {
		c.Guest = vm.Config{Guest: g}.Clone().Guest
	})
}

// SetRootDisk makes a disk's file system the guest's root directory: ext4, erofs or
// squashfs, found out by content. The disk becomes read-only and what is written goes
// into the guest's memory; with overlay OverlayNone the disk is used as it is, and with
// OverlayDisk what is written goes to changes, a disk with an empty ext4 file system.
// It takes the place of the root directory that was set before.
func (b *Builder) SetRootDisk(d Disk, overlay Overlay, changes ...Disk) error {
	const op = "set root disk"
	if overlay == OverlayDisk != (len(changes) == 1) || len(changes) > 1 {
		return vm.Errorf(vm.KindInvalidArg, op, "an overlay on a disk takes one disk for the changes, and no other does")
	}
	d.Serial = rootName
	d.ReadOnly = d.ReadOnly || overlay != OverlayNone
	root := RootConfig{Kind: vm.RootDisk, Source: rootName, Overlay: overlay}
	if overlay == OverlayNone {
		root.ReadOnly = d.ReadOnly
	}
	disks := []Disk{d}
	if len(changes) == 1 {
		c := changes[0]
		c.Serial, root.OverlaySource = changesName, changesName
		disks = append(disks, c)
	}
	return b.setRoot(op, root, disks, nil)
}

// SetRootDir makes a directory of the host the guest's root directory. It is shared
// read-only, and what is written goes into the guest's memory; with overlay OverlayNone
// the guest writes the directory itself. Files belong to the guest's users as they do to
// the host's if this process is root's, else all to the guest's root.
func (b *Builder) SetRootDir(path string, overlay Overlay) error {
	const op = "set root directory"
	if overlay == OverlayDisk {
		return vm.Errorf(vm.KindInvalidArg, op, "the overlay of a directory is in memory, or there is none")
	}
	s := Share{Tag: rootName, Path: path, ReadOnly: overlay != OverlayNone}
	if s.ReadOnly {
		s.Cache = vm.ShareCacheAlways
	}
	if os.Geteuid() == 0 {
		s.Owner = vm.SharePassthrough
	}
	return b.setRoot(op, RootConfig{Kind: vm.RootShare, Source: rootName, Overlay: overlay}, nil, []Share{s})
}

// setRoot puts a root in place of the one before.
func (b *Builder) setRoot(op string, root RootConfig, disks []Disk, shares []Share) error {
	next := func(c *vm.Config) {
		c.Guest.Root = root
		c.Disks = slices.DeleteFunc(c.Disks, func(d Disk) bool { return d.Serial == rootName || d.Serial == changesName })
		c.Shares = slices.DeleteFunc(c.Shares, func(s Share) bool { return s.Tag == rootName })
		c.Disks = append(c.Disks, vm.Config{Disks: disks}.Clone().Disks...)
		c.Shares = append(c.Shares, shares...)
	}
	return b.set(op, func(p *vm.Problems) {
		c := b.cfg.Clone()
		if !c.Guest.Enabled() {
			c.Guest.Agent = vm.AgentInitrd
		}
		next(&c)
		p.Guest(c.Guest)
		p.Disks(c.Disks)
		p.Shares(c.Shares)
	}, next)
}

// Mount mounts a directory of the host in the guest before anything runs there. A share
// without a tag gets one.
func (b *Builder) Mount(s Share, target string) error {
	const op = "mount"
	if s.Tag == "" {
		s.Tag = freeTag(b.Config().Shares)
	}
	m := Mount{Kind: vm.MountShare, Source: s.Tag, Target: target, ReadOnly: s.ReadOnly}
	return b.set(op, func(p *vm.Problems) {
		g := b.cfg.Clone().Guest
		g.Mounts = append(g.Mounts, m)
		p.Guest(g)
		p.Shares(append(b.cfg.Clone().Shares, s))
	}, func(c *vm.Config) {
		c.Guest.Mounts = append(c.Guest.Mounts, m)
		c.Shares = append(c.Shares, vm.Config{Shares: []Share{s}}.Clone().Shares...)
	})
}

// SetMain makes a program the machine's main one: the agent runs it on the console, and
// its end is the machine's, with CauseMainExited. nil: none.
func (b *Builder) SetMain(main *ProgramConfig) error {
	return b.set("set main", func(p *vm.Problems) {
		g := b.cfg.Clone().Guest
		g.Main = main
		p.Guest(g)
	}, func(c *vm.Config) { c.Guest.Main = vm.Config{Guest: GuestConfig{Main: main}}.Clone().Guest.Main })
}

// SetHostname sets the guest's own name.
func (b *Builder) SetHostname(name string) error {
	return b.set("set hostname", func(p *vm.Problems) {
		g := b.cfg.Clone().Guest
		g.Hostname = name
		p.Guest(g)
	}, func(c *vm.Config) { c.Guest.Hostname = name })
}

// freeTag is a tag that none of the shares has.
func freeTag(shares []Share) string {
	for i := 0; ; i++ {
		tag := fmt.Sprintf("capsa-%d", i)
		if !slices.ContainsFunc(shares, func(s Share) bool { return s.Tag == tag }) {
			return tag
		}
	}
}

// SetGuestJSON says in JSON what the agent does in the guest, in the form that the key
// "guest" has in the description's: strict, and what is left out stays as it is.
func (b *Builder) SetGuestJSON(text []byte) error {
	const op = "set guest"
	whole, err := json.Marshal(map[string]json.RawMessage{"guest": text})
	if err != nil {
		return vm.Errorf(vm.KindConfig, op, "%w", err)
	}
	var strict vm.Config
	if err := strict.UnmarshalJSON(whole); err != nil {
		return err
	}
	g := b.Config().Guest
	if err := json.Unmarshal(text, &g); err != nil {
		return vm.Errorf(vm.KindConfig, op, "%w", err)
	}
	return b.SetGuest(g)
}
