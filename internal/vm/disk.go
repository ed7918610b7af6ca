package vm

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
)

// Limits of a Disk.
const (
	// MaxDisks is the largest number of disks that makes sense: a typing mistake
	// or an attack beyond it. Backends have a lower limit of their own.
	MaxDisks = 256

	// MaxSerialSize is the longest serial, in bytes: VIRTIO_BLK_ID_BYTES (virtio
	// 1.2 section 5.2.6).
	MaxSerialSize = 20

	// MaxDiskQueues is the largest number of queues of a disk.
	MaxDiskQueues = 16
)

// DiskFormat is the format of a disk's image.
type DiskFormat string

// The formats.
const (
	// DiskAuto is qcow2 if the content says so, else an error: the guest writes
	// the content of a raw disk, and could make it look like anything.
	DiskAuto  DiskFormat = ""
	DiskRaw   DiskFormat = "raw"
	DiskQcow2 DiskFormat = "qcow2"
)

// Disk is one disk of a machine. Paths are bytes as the host's file system has
// them. The guest sees the disks in the order of Config.Disks: /dev/vda, /dev/vdb…
type Disk struct {
	Path     string     // image or block device
	Format   DiskFormat // of Path
	ReadOnly bool       // the guest cannot write; several machines may share the image

	// Changes go to an overlay, and Path is only read: to the qcow2 image at
	// Overlay, made if need be and kept, or, if Temporary, to an unnamed file in
	// ScratchDir that is gone with the machine. Backends have a default for it.
	Overlay    string
	Temporary  bool
	ScratchDir string

	// BackingDirs are the directories in which a qcow2 image may have its backing
	// files, besides its own.
	BackingDirs []string

	Serial string // what the guest sees: up to MaxSerialSize bytes of printable ASCII without '/'
	Direct bool   // past the host's page cache
	Queues int    // 0: as suits the number of vCPUs
	Limit  DiskLimit

	// Root makes the guest's kernel take its root file system from this disk: from
	// the partition that is marked as such, else the first of Linux, else the whole
	// disk. Args with a root= of their own win.
	Root bool
}

// DiskLimit bounds the rate of a disk's requests; zero fields bound nothing. A
// burst is what may come at once after a pause; 0: a tenth of a second's.
type DiskLimit struct {
	IOPS        uint64 // requests per second
	IOPSBurst   uint64 // requests
	BytesPerSec uint64
	BytesBurst  uint64 // bytes
}

// writes says whether the machine writes to the image itself.
func (d Disk) writes() bool { return !d.ReadOnly && !d.Temporary && d.Overlay == "" }

func (d Disk) clone() Disk {
	d.BackingDirs = slices.Clone(d.BackingDirs)
	return d
}

// Disk checks the i-th of Config.Disks by itself.
func (p *Problems) Disk(i int, d Disk) {
	field := func(name string) string { return fmt.Sprintf("disks[%d].%s", i, name) }
	if d.Path == "" {
		p.add(field("path"), "set the path of an image or block device", "no image is given")
	}
	p.path(field("path"), d.Path)
	p.path(field("overlay"), d.Overlay)
	p.path(field("scratch_dir"), d.ScratchDir)
	for k, dir := range d.BackingDirs {
		f := fmt.Sprintf("%s[%d]", field("backing_dirs"), k)
		if dir == "" {
			p.add(f, "", "is empty")
		}
		p.path(f, dir)
	}
	switch d.Format {
	case DiskAuto, DiskRaw, DiskQcow2:
	default:
		p.add(field("format"), `"raw" and "qcow2" are`, "%q is not known", string(d.Format))
	}
	p.overlay(field, d)
	p.serial(field("serial"), d.Serial)
	if d.Queues < 0 || d.Queues > MaxDiskQueues {
		p.add(field("queues"), "use 0 for as many as suit the machine", "%d; up to %d are possible", d.Queues, MaxDiskQueues)
	}
	if l := d.Limit; l.IOPSBurst != 0 && l.IOPS == 0 {
		p.add(field("limit.iops_burst"), "set limit.iops too", "a burst of requests without a limit of requests")
	}
	if l := d.Limit; l.BytesBurst != 0 && l.BytesPerSec == 0 {
		p.add(field("limit.bytes_burst"), "set limit.bytes_per_sec too", "a burst of bytes without a limit of bytes")
	}
}

// overlay checks what takes the changes of a disk.
func (p *Problems) overlay(field func(string) string, d Disk) {
	const useless = "a read-only disk takes no changes and needs no overlay"
	switch {
	case d.Overlay != "" && d.Temporary:
		p.add(field("temporary"), "choose one", "both a temporary overlay and one at %q", d.Overlay)
	case d.Overlay != "" && d.ReadOnly:
		p.add(field("overlay"), "", useless)
	case d.Temporary && d.ReadOnly:
		p.add(field("temporary"), "", useless)
	case d.Overlay != "" && filepath.Clean(d.Overlay) == filepath.Clean(d.Path):
		p.add(field("overlay"), "", "is the image itself")
	}
	if d.ScratchDir != "" && !d.Temporary {
		p.add(field("scratch_dir"), "set temporary too", "there is no temporary overlay to put there")
	}
}

func (p *Problems) serial(field, serial string) {
	switch {
	case len(serial) > MaxSerialSize:
		p.add(field, "", "is %d bytes long; at most %d are allowed", len(serial), MaxSerialSize)
	case strings.ContainsFunc(serial, func(r rune) bool { return r < ' ' || r > '~' || r == '/' }):
		p.add(field, "guests make a file name of it", "%q has characters other than printable ASCII without '/'", serial)
	}
}

// Disks checks Config.Disks, each by itself and all together.
func (p *Problems) Disks(disks []Disk) {
	if len(disks) > MaxDisks {
		p.add("disks", "", "%d are too many; at most %d are possible", len(disks), MaxDisks)
		return
	}
	for i, d := range disks {
		p.Disk(i, d)
	}
	p.sameImage(disks)
	serials := make(map[string]int)
	root := -1
	for i, d := range disks {
		if d.Serial != "" {
			if first, given := serials[d.Serial]; given {
				p.add(fmt.Sprintf("disks[%d].serial", i), "", "%q is the serial of disk %d too", d.Serial, first)
			} else {
				serials[d.Serial] = i
			}
		}
		switch {
		case !d.Root:
		case root >= 0:
			p.add(fmt.Sprintf("disks[%d].root", i), "", "disk %d has the root file system already", root)
		default:
			root = i
		}
	}
}

// sameImage finds disks of which one writes what the other uses, as far as paths
// tell; the locks on images tell the rest.
func (p *Problems) sameImage(disks []Disk) {
	type use struct {
		disk   int
		writes bool
	}
	used := make(map[string]use)
	claim := func(i int, field, path string, writes bool) {
		if path == "" {
			return
		}
		path = filepath.Clean(path)
		before, taken := used[path]
		switch {
		case taken && before.disk != i && (writes || before.writes):
			p.add(fmt.Sprintf("disks[%d].%s", i, field), "make one read-only, or give each an overlay",
				"disk %d uses %q too, and one of them writes it", before.disk, path)
		case !taken || writes:
			used[path] = use{i, writes}
		}
	}
	for i, d := range disks {
		claim(i, "path", d.Path, d.writes())
		claim(i, "overlay", d.Overlay, true)
	}
}

// rootArg checks that a disk that shall be the root can be.
func (p *Problems) rootArg(c Config) {
	if c.Boot.Cmdline == nil || hasRoot(*c.Boot.Cmdline) {
		return
	}
	for i, d := range c.Disks {
		if d.Root {
			p.add(fmt.Sprintf("disks[%d].root", i), "put root= into the command line, or use arguments",
				"the whole command line is given, and it has no root=")
		}
	}
}

// hasRoot says whether a command line names a root file system.
func hasRoot(line string) bool {
	return slices.ContainsFunc(strings.Fields(line), func(arg string) bool { return strings.HasPrefix(arg, "root=") })
}
