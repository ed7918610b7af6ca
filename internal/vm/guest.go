package vm

import (
	"fmt"
	"net/netip"
	"path"
	"slices"
	"strings"
)

// AgentPort is the port of the host to which a guest's agent connects. It is above
// the ports that services of the host usually have, and no other may be bound there.
const AgentPort = 51802

// Limits of a GuestConfig.
const (
	// MaxMounts is the largest number of mounts.
	MaxMounts = 256
	// MaxHostnameSize is the longest name of a machine, in bytes: __NEW_UTS_LEN
	// (include/uapi/linux/utsname.h).
	MaxHostnameSize = 64
	// MaxMainSize is the largest number of bytes of all arguments and of the
	// environment of a main program, together.
	MaxMainSize = 1 << 20
)

// GuestConfig is what the machine's agent, a program of this library's in the guest,
// sets up there, and what it runs. The zero value has no agent.
type GuestConfig struct {
	Agent    AgentPlace     `json:"agent,omitempty"`
	Modules  string         `json:"modules,omitempty"` // directory of the host with the kernel's modules (.ko), for a kernel that needs some
	Root     RootConfig     `json:"root,omitzero"`
	Mounts   []Mount        `json:"mounts,omitempty"`   // in this order
	Hostname string         `json:"hostname,omitempty"` // "": Config.Name if it is one, else "capsa"
	Network  GuestNetwork   `json:"network,omitzero"`
	Main     *ProgramConfig `json:"main,omitempty"` // its end is the machine's; nil: none
}

// AgentPlace says how the agent gets into the guest.
type AgentPlace string

// The places.
const (
	// AgentNone: there is none.
	AgentNone AgentPlace = ""
	// AgentInitrd: the library's own initial file system, which has the agent and
	// nothing else. Config.Boot.Initrd is empty.
	AgentInitrd AgentPlace = "initrd"
	// AgentAdded: the agent is added to the initial file system of Config.Boot.Initrd,
	// as /capsa-agent, and is its first process.
	AgentAdded AgentPlace = "added"
	// AgentInstalled: the guest's own system starts an agent that is installed in it.
	// It sets nothing up.
	AgentInstalled AgentPlace = "installed"
)

// RootKind says what becomes the guest's root directory.
type RootKind string

// The kinds.
const (
	RootInitrd RootKind = ""      // the initial file system stays
	RootDisk   RootKind = "disk"  // a file system on a disk
	RootShare  RootKind = "share" // a shared directory
)

// Overlay says where what is written to the root directory goes.
type Overlay string

// The choices.
const (
	OverlayMemory Overlay = ""     // into the guest's memory; gone with the machine
	OverlayDisk   Overlay = "disk" // to a disk, which gets an ext4 file system from whoever made it
	OverlayNone   Overlay = "none" // to the root itself, or nowhere if that is read-only
)

// RootConfig is the guest's root directory.
type RootConfig struct {
	Kind    RootKind `json:"kind,omitempty"`
	Source  string   `json:"source,omitempty"` // Disk.Serial, or Share.Tag
	Type    string   `json:"type,omitempty"`   // file system on the disk: "ext4", "erofs", "squashfs"; "": found out
	Overlay Overlay  `json:"overlay,omitempty"`

	OverlaySource string `json:"overlay_source,omitempty"` // Disk.Serial, of OverlayDisk
	OverlayMiB    uint64 `json:"overlay_mib,omitempty"`    // of OverlayMemory; 0: half of the guest's memory
	ReadOnly      bool   `json:"read_only,omitempty"`      // of OverlayNone
}

// MountKind says what is mounted.
type MountKind string

// The kinds.
const (
	MountShare MountKind = "share" // a shared directory, by its tag
	MountDisk  MountKind = "disk"  // a file system on a disk, by the disk's serial
	MountTmpfs MountKind = "tmpfs" // memory
)

// Mount is something that is mounted in the guest before anything runs there.
type Mount struct {
	Kind     MountKind `json:"kind"`
	Source   string    `json:"source,omitempty"` // Share.Tag or Disk.Serial
	Target   string    `json:"target"`           // absolute; made if need be
	Type     string    `json:"type,omitempty"`   // file system on a disk; "": found out
	ReadOnly bool      `json:"read_only,omitempty"`
	SizeMiB  uint64    `json:"size_mib,omitempty"` // of a tmpfs; 0: half of the guest's memory
}

// GuestNetwork is how the guest's first network device is set up. The zero value
// asks by DHCP if the machine has a network.
type GuestNetwork struct {
	Mode        NetworkSetup `json:"mode,omitempty"`
	Addresses   []string     `json:"addresses,omitempty"` // "10.0.2.15/24", of NetworkStatic
	Routers     []string     `json:"routers,omitempty"`
	NameServers []string     `json:"name_servers,omitempty"` // instead of those that DHCP tells
	Search      []string     `json:"search,omitempty"`
}

// NetworkSetup is the way.
type NetworkSetup string

// The ways.
const (
	NetworkDHCP   NetworkSetup = ""       // if there is a network
	NetworkStatic NetworkSetup = "static" // as told
	NetworkManual NetworkSetup = "none"   // the agent leaves it alone
)

// ProgramConfig is a program that runs in the guest.
type ProgramConfig struct {
	Args []string `json:"args"`
	Env  []string `json:"env,omitempty"` // "NAME=value", besides the agent's defaults
	Dir  string   `json:"dir,omitempty"`
	User string   `json:"user,omitempty"` // "name", "1000", "name:group", "1000:1000"
	TTY  bool     `json:"tty,omitempty"`  // the console is its controlling terminal
}

// Enabled says whether the guest has an agent.
func (g GuestConfig) Enabled() bool { return g.Agent != AgentNone }

func (g GuestConfig) clone() GuestConfig {
	g.Mounts = slices.Clone(g.Mounts)
	n := &g.Network
	n.Addresses, n.Routers = slices.Clone(n.Addresses), slices.Clone(n.Routers)
	n.NameServers, n.Search = slices.Clone(n.NameServers), slices.Clone(n.Search)
	if g.Main != nil {
		main := *g.Main
		main.Args, main.Env = slices.Clone(main.Args), slices.Clone(main.Env)
		g.Main = &main
	}
	return g
}

// Guest checks what Config.Guest says by itself.
func (p *Problems) Guest(g GuestConfig) {
	switch g.Agent {
	case AgentNone:
		p.agentless(g)
		return
	case AgentInitrd, AgentAdded, AgentInstalled:
	default:
		p.add("guest.agent", `"initrd", "added" and "installed" are`, "%q is not known", string(g.Agent))
	}
	p.path("guest.modules", g.Modules)
	if len(g.Hostname) > MaxHostnameSize || strings.ContainsFunc(g.Hostname, notInHostname) {
		p.add("guest.hostname", "", "%q is not a name of up to %d letters, digits, dots and hyphens", g.Hostname, MaxHostnameSize)
	}
	p.root(g.Root)
	if len(g.Mounts) > MaxMounts {
		p.add("guest.mounts", "", "%d are too many; at most %d are possible", len(g.Mounts), MaxMounts)
		return
	}
	for i, m := range g.Mounts {
		p.mount(fmt.Sprintf("guest.mounts[%d].", i), m)
	}
	p.guestNetwork(g.Network)
	if g.Main != nil {
		p.program("guest.main.", *g.Main)
	}
}

// agentless: what only an agent can do is not asked for without one.
func (p *Problems) agentless(g GuestConfig) {
	for _, f := range []struct {
		field string
		given bool
	}{
		{"modules", g.Modules != ""}, {"root", g.Root != RootConfig{}}, {"mounts", len(g.Mounts) > 0},
		{"hostname", g.Hostname != ""}, {"main", g.Main != nil},
		{"network", g.Network.Mode != "" || len(g.Network.Addresses)+len(g.Network.NameServers) > 0},
	} {
		if f.given {
			p.add("guest."+f.field, "set guest.agent", "is given, and the guest has no agent that would do it")
		}
	}
}

func notInHostname(r rune) bool {
	return r != '-' && r != '.' && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
}

func (p *Problems) root(r RootConfig) {
	switch r.Kind {
	case RootInitrd:
		if r != (RootConfig{}) {
			p.add("guest.root.kind", `"disk" and "share" are`, "is not given, and the root is described")
		}
		return
	case RootDisk, RootShare:
		if r.Source == "" {
			p.add("guest.root.source", "give the disk's serial or the share's tag", "is not given")
		}
	default:
		p.add("guest.root.kind", `"disk" and "share" are`, "%q is not known", string(r.Kind))
	}
	p.fileSystem("guest.root.type", r.Type)
	switch r.Overlay {
	case OverlayMemory, OverlayNone:
		if r.OverlaySource != "" {
			p.add("guest.root.overlay_source", `set overlay to "disk"`, "is given without a use")
		}
	case OverlayDisk:
		if r.OverlaySource == "" {
			p.add("guest.root.overlay_source", "give the disk's serial", "is not given")
		}
	default:
		p.add("guest.root.overlay", `"disk" and "none" are`, "%q is not known", string(r.Overlay))
	}
	if r.OverlayMiB > MaxMemory/MiB {
		p.add("guest.root.overlay_mib", "", "%d is too much", r.OverlayMiB)
	}
}

// fileSystem checks the name of a file system's type.
func (p *Problems) fileSystem(field, name string) {
	if len(name) > MaxNameSize || strings.ContainsFunc(name, func(r rune) bool { return notInHostname(r) && r != '_' }) {
		p.add(field, "", "%q is no type of a file system", name)
	}
}

func (p *Problems) mount(field string, m Mount) {
	switch m.Kind {
	case MountShare, MountDisk:
		if m.Source == "" {
			p.add(field+"source", "give the share's tag or the disk's serial", "is not given")
		}
	case MountTmpfs:
		if m.Source != "" {
			p.add(field+"source", "", "a tmpfs has none")
		}
	default:
		p.add(field+"kind", `"share", "disk" and "tmpfs" are`, "%q is not known", string(m.Kind))
	}
	if !path.IsAbs(m.Target) || path.Clean(m.Target) == "/" {
		p.add(field+"target", "", "%q is not an absolute path below /", m.Target)
	}
	p.path(field+"target", m.Target)
	p.fileSystem(field+"type", m.Type)
	if m.SizeMiB > MaxMemory/MiB {
		p.add(field+"size_mib", "", "%d is too much", m.SizeMiB)
	}
}

func (p *Problems) guestNetwork(n GuestNetwork) {
	switch n.Mode {
	case NetworkDHCP, NetworkManual:
		if len(n.Addresses)+len(n.Routers) > 0 {
			p.add("guest.network.mode", `"static" takes addresses`, "addresses or routers are given without a use")
		}
	case NetworkStatic:
		if len(n.Addresses) == 0 {
			p.add("guest.network.addresses", "", "none is given")
		}
	default:
		p.add("guest.network.mode", `"static" and "none" are`, "%q is not known", string(n.Mode))
	}
	for i, a := range n.Addresses {
		if _, err := netip.ParsePrefix(a); err != nil {
			p.add(fmt.Sprintf("guest.network.addresses[%d]", i), "10.0.2.15/24 is one", "%q is not an address with the length of its prefix", a)
		}
	}
	for field, list := range map[string][]string{"routers": n.Routers, "name_servers": n.NameServers} {
		for i, a := range list {
			if _, err := netip.ParseAddr(a); err != nil {
				p.add(fmt.Sprintf("guest.network.%s[%d]", field, i), "", "%q is not an IP address", a)
			}
		}
	}
	for i, s := range n.Search {
		if s == "" || len(s) > 253 || strings.ContainsFunc(s, func(r rune) bool { return notInHostname(r) && r != '_' }) {
			p.add(fmt.Sprintf("guest.network.search[%d]", i), "", "%q is not a domain", s)
		}
	}
}

// program checks a program by itself; see also package capsa's Command.
func (p *Problems) program(field string, c ProgramConfig) {
	if len(c.Args) == 0 || c.Args[0] == "" {
		p.add(field+"args", "", "no program is given")
	}
	size := 0
	for i, list := range [][]string{c.Args, c.Env, {c.Dir, c.User}} {
		name := []string{"args", "env", "dir or user"}[i]
		for _, s := range list {
			size += len(s) + 1
			if strings.IndexByte(s, 0) >= 0 {
				p.add(field+name, "", "%q contains a NUL byte", s)
			}
		}
	}
	if size > MaxMainSize {
		p.add(field+"args", "", "and env are %d bytes long together; at most %d are allowed", size, MaxMainSize)
	}
}

// guestFits checks Config.Guest against the rest of the configuration.
func (p *Problems) guestFits(c Config) {
	g := c.Guest
	if !g.Enabled() {
		return
	}
	switch {
	case g.Agent == AgentInitrd && c.Boot.Initrd != "":
		p.add("boot.initrd", `with guest.agent "added" the agent is added to it`, "is given, and the agent brings its own")
	case g.Agent == AgentAdded && c.Boot.Initrd == "":
		p.add("boot.initrd", `use guest.agent "initrd"`, "is not given, and the agent is to be added to it")
	}
	serials, tags := map[string]bool{}, map[string]bool{}
	for _, d := range c.Disks {
		serials[d.Serial] = true
	}
	for _, s := range c.Shares {
		tags[s.Tag] = true
	}
	known := func(field, kind, source string) {
		switch {
		case source == "":
		case kind == "disk" && !serials[source]:
			p.add(field, "", "no disk has the serial %q", source)
		case kind == "share" && !tags[source]:
			p.add(field, "", "no share has the tag %q", source)
		}
	}
	known("guest.root.source", string(g.Root.Kind), g.Root.Source)
	known("guest.root.overlay_source", "disk", g.Root.OverlaySource)
	for i, m := range g.Mounts {
		known(fmt.Sprintf("guest.mounts[%d].source", i), string(m.Kind), m.Source)
	}
	for i, v := range c.Vsock.Ports {
		if v.Port == AgentPort && v.Mode == VsockConnect {
			p.add(fmt.Sprintf("vsock.ports[%d].port", i), "", "%d is the agent's", v.Port)
		}
	}
}
