//go:build linux

package setup

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// What the image's builder puts into an initial file system (guest/image).
const (
	moduleDir  = "/lib/modules"
	moduleList = "/etc/modules"
)

// fileSystem is one that the kernel itself has.
type fileSystem struct {
	kind, where, options string
	flags                uintptr
	must                 bool
}

const quiet = unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC

// kernelFileSystems, in the order in which they are mounted.
var kernelFileSystems = []fileSystem{
	{"devtmpfs", "/dev", "mode=0755", unix.MS_NOSUID, true},
	{"proc", "/proc", "", quiet, true},
	{"sysfs", "/sys", "", quiet, true},
	{"devpts", "/dev/pts", "mode=620,ptmxmode=666,gid=5", unix.MS_NOSUID | unix.MS_NOEXEC, false},
	{"tmpfs", "/dev/shm", "mode=1777", unix.MS_NOSUID | unix.MS_NODEV, false},
	{"cgroup2", "/sys/fs/cgroup", "nsdelegate,memory_recursiveprot", quiet, false},
	{"tmpfs", "/run", "mode=0755", unix.MS_NOSUID | unix.MS_NODEV, true},
	{"tmpfs", "/tmp", "mode=1777", unix.MS_NOSUID | unix.MS_NODEV, true},
}

// Early mounts the kernel's file systems and loads the modules that the image has: what
// is needed to call the host.
func Early() error {
	for _, f := range kernelFileSystems {
		if err := f.mount(); err != nil && f.must {
			return err
		}
	}
	for name, target := range map[string]string{
		"/dev/fd": "/proc/self/fd", "/dev/stdin": "fd/0", "/dev/stdout": "fd/1", "/dev/stderr": "fd/2",
	} {
		_ = os.Symlink(target, name) // there already
	}
	return loadModules()
}

func (f fileSystem) mount() error {
	if err := os.MkdirAll(f.where, 0o755); err != nil {
		return err
	}
	err := unix.Mount(f.kind, f.where, f.kind, f.flags, f.options)
	if err == unix.EINVAL && f.options != "" { // an older kernel
		err = unix.Mount(f.kind, f.where, f.kind, f.flags, "")
	}
	if err == unix.EBUSY { // the kernel did
		return nil
	}
	if err != nil {
		return fmt.Errorf("mount %s: %w", f.where, err)
	}
	return nil
}

// loadModules loads the listed modules, dependencies first.
func loadModules() error {
	list, err := os.Open(moduleList)
	if os.IsNotExist(err) {
		return nil
	}
	if err != nil {
		return err
	}
	defer list.Close()
	for lines := bufio.NewScanner(list); lines.Scan(); {
		name := strings.TrimSpace(lines.Text())
		if name == "" || strings.HasPrefix(name, "#") {
			continue
		}
		if err := loadModule(filepath.Join(moduleDir, name+".ko")); err != nil {
			return fmt.Errorf("module %s: %w", name, err)
		}
	}
	return nil
}

func loadModule(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := unix.FinitModule(int(f.Fd()), "", 0); err != nil && err != unix.EEXIST {
		return err
	}
	return nil
}
