//go:build linux && amd64

package jail

import (
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/libcapsa/libcapsa/internal/vm"
)

// rule allows accesses (LANDLOCK_ACCESS_FS_*) to a file, or to everything beneath a
// directory.
type rule struct {
	path   string
	access uint64
}

// Accesses by purpose.
const (
	read  = unix.LANDLOCK_ACCESS_FS_READ_FILE
	list  = read | unix.LANDLOCK_ACCESS_FS_READ_DIR
	write = read | unix.LANDLOCK_ACCESS_FS_WRITE_FILE | unix.LANDLOCK_ACCESS_FS_TRUNCATE
	// device is also that of disks, which may be block devices.
	device = write | unix.LANDLOCK_ACCESS_FS_IOCTL_DEV
	// create is making files and removing them.
	create = write | unix.LANDLOCK_ACCESS_FS_MAKE_REG | unix.LANDLOCK_ACCESS_FS_REMOVE_FILE
	// bind is making unix sockets and removing them.
	bind = unix.LANDLOCK_ACCESS_FS_MAKE_SOCK | unix.LANDLOCK_ACCESS_FS_REMOVE_FILE
	// scratch is everything for temporary files.
	scratch = create | bind | list | unix.LANDLOCK_ACCESS_FS_MAKE_DIR | unix.LANDLOCK_ACCESS_FS_REMOVE_DIR
	// tree is what a shared directory takes: all but execution.
	tree = every &^ (unix.LANDLOCK_ACCESS_FS_EXECUTE | unix.LANDLOCK_ACCESS_FS_IOCTL_DEV)
)

// defaultScratch is where temporary overlays go that name no directory.
const defaultScratch = "/var/tmp"

// system is what the runtime, KVM and the file server read of the host.
var system = []rule{
	{"/dev/kvm", device}, {"/dev/null", write}, {"/proc/self", list}, {"/proc/sys", list}, {"/proc/meminfo", read},
	{"/sys/fs/cgroup", list}, {"/sys/kernel/mm", list}, {"/sys/devices/system/cpu", list},
}

// rules are what a machine needs.
func rules(cfg vm.Config, temp string) []rule {
	out := append([]rule(nil), system...)
	out = append(out, rule{cfg.Boot.Kernel, read}, rule{cfg.Boot.Initrd, read})
	for _, d := range cfg.Disks {
		out = append(out, diskRules(d)...)
	}
	for _, s := range cfg.Shares {
		access := uint64(tree)
		if s.ReadOnly {
			access = list
		}
		out = append(out, rule{s.Path, access})
	}
	for _, p := range cfg.Vsock.Ports {
		if p.Mode == vm.VsockListen {
			out = append(out, rule{filepath.Dir(p.Path), bind})
		}
	}
	if cfg.Network.Mode == vm.NetworkUser {
		out = append(out, nameServers()...)
	}
	for _, f := range cfg.Network.Forwards {
		if f.Path != "" {
			out = append(out, rule{filepath.Dir(f.Path), bind})
		}
	}
	if temp != "" {
		out = append(out, rule{temp, scratch}, rule{filepath.Dir(temp), unix.LANDLOCK_ACCESS_FS_REMOVE_DIR})
	}
	return out
}

// resolvConf is the file with the host's name servers (resolv.conf(5)).
const resolvConf = "/etc/resolv.conf"

// nameServers allow to read that file, also when it has been replaced where it
// really is: in a directory of its own, as those have it that write it.
func nameServers() []rule {
	out := []rule{{resolvConf, read}}
	if real, err := filepath.EvalSymlinks(resolvConf); err == nil && filepath.Dir(real) != filepath.Dir(resolvConf) {
		out = append(out, rule{filepath.Dir(real), read})
	}
	return out
}

// diskRules are those of a disk: its image, what takes its changes, and where its
// backing files may be.
func diskRules(d vm.Disk) []rule {
	access := uint64(device)
	if d.ReadOnly || d.Temporary || d.Overlay != "" {
		access = read | unix.LANDLOCK_ACCESS_FS_IOCTL_DEV
	}
	out := []rule{{d.Path, access}}
	if d.Format != vm.DiskRaw {
		out = append(out, rule{filepath.Dir(d.Path), read})
		if real, err := filepath.EvalSymlinks(d.Path); err == nil {
			out = append(out, rule{filepath.Dir(real), read})
		}
	}
	for _, dir := range d.BackingDirs {
		out = append(out, rule{dir, read})
	}
	if d.Overlay != "" {
		if _, err := os.Stat(d.Overlay); err == nil {
			out = append(out, rule{d.Overlay, write}, rule{filepath.Dir(d.Overlay), read})
		} else {
			// The directory is opened too, to make the new name last (fsync(2)).
			out = append(out, rule{filepath.Dir(d.Overlay), create | list})
		}
	}
	if d.Temporary {
		dir := d.ScratchDir
		if dir == "" {
			dir = defaultScratch
		}
		out = append(out, rule{dir, create})
	}
	return out
}

// restrictFiles lets all threads of the process access what the rules allow, and
// nothing else in any file system; and TCP ports, if tcp is set. It returns the version
// of Landlock.
func restrictFiles(allow []rule, tcp bool) (abi int, err error) {
	abi, err = landlockVersion()
	if err != nil {
		return 0, fmt.Errorf("%w: %w", errMissing, err)
	}
	handled := handledBy(abi)
	ruleset, err := newRuleset(handled, tcp, abi)
	if err != nil {
		return abi, err
	}
	defer func() { _ = unix.Close(ruleset) }()
	for _, r := range allow {
		if err := addRule(ruleset, r, handled); err != nil {
			return abi, err
		}
	}
	return abi, restrictSelf(ruleset)
}

// every is each access that there is in the version of Landlock that this knows, 5
// (Documentation/userspace-api/landlock.rst).
const every = unix.LANDLOCK_ACCESS_FS_IOCTL_DEV<<1 - 1

// handledBy are the accesses that a version of Landlock knows.
func handledBy(abi int) uint64 {
	switch {
	case abi >= 5:
		return every
	case abi >= 3:
		return every &^ unix.LANDLOCK_ACCESS_FS_IOCTL_DEV
	case abi == 2:
		return unix.LANDLOCK_ACCESS_FS_TRUNCATE - 1
	}
	return unix.LANDLOCK_ACCESS_FS_REFER - 1
}

// ofFiles are the accesses that make sense for something that is no directory.
const ofFiles = unix.LANDLOCK_ACCESS_FS_EXECUTE | device

// addRule allows an access. What is not there needs no rule: whoever opens it is told.
func addRule(ruleset int, r rule, handled uint64) error {
	if r.path == "" {
		return nil
	}
	fd, err := unix.Open(r.path, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil //nolint:nilerr // as above
	}
	defer func() { _ = unix.Close(fd) }()
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return os.NewSyscallError("fstat", err)
	}
	access := r.access & handled
	if st.Mode&unix.S_IFMT != unix.S_IFDIR {
		access &= ofFiles
	}
	if access == 0 {
		return nil
	}
	return addPath(ruleset, fd, access)
}
