//go:build linux

package setup

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/libcapsa/libcapsa/internal/agent/wire"
)

// Where the parts of a root directory are mounted while it is put together.
const (
	lowerDir   = "/run/capsa/lower"
	changesDir = "/run/capsa/changes"
	newRoot    = "/run/capsa/root"
)

// changes is the file system of an overlay's changes, out of reach by name; -1: none.
var changes = -1

// moved are the mounts of Early that a new root takes along.
var moved = []string{"/dev", "/proc", "/sys", "/tmp", "/run"}

// enterRoot puts the root directory together and goes there.
func enterRoot(r *wire.Root) error {
	if r.GetKind() == "" {
		return nil
	}
	base := newRoot
	if r.Overlay != "none" {
		base = lowerDir
	}
	readOnly := r.Overlay != "none" || r.ReadOnly
	if err := mountBase(r, base, readOnly); err != nil {
		return fmt.Errorf("root directory: %w", err)
	}
	if r.Overlay != "none" {
		if err := mountOverlay(r); err != nil {
			return fmt.Errorf("overlay of the root directory: %w", err)
		}
	}
	return switchRoot(newRoot)
}

func mountBase(r *wire.Root, target string, readOnly bool) error {
	switch r.Kind {
	case "disk":
		return mountDisk(r.Source, r.Type, target, readOnly)
	case "share":
		flags := uintptr(0)
		if readOnly {
			flags = unix.MS_RDONLY
		}
		return mount(r.Source, target, "virtiofs", flags, "")
	}
	return fmt.Errorf("no kind of root %q", r.Kind)
}

// mountOverlay puts a layer for changes over the root.
func mountOverlay(r *wire.Root) error {
	switch r.Overlay {
	case "memory":
		options := "mode=0755"
		if r.OverlaySize > 0 {
			options = fmt.Sprintf("%s,size=%d", options, r.OverlaySize)
		}
		if err := mount("changes", changesDir, "tmpfs", 0, options); err != nil {
			return err
		}
	case "disk":
		if err := mountDisk(r.OverlaySource, "", changesDir, false); err != nil {
			return err
		}
	default:
		return fmt.Errorf("no kind of overlay %q", r.Overlay)
	}
	// The root will be over it; the end of the machine needs it.
	fd, err := unix.Open(changesDir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("open", err)
	}
	changes = fd
	upper, work := filepath.Join(changesDir, "upper"), filepath.Join(changesDir, "work")
	for _, dir := range []string{upper, work} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	options := strings.Join([]string{"lowerdir=" + lowerDir, "upperdir=" + upper, "workdir=" + work}, ",")
	return mount("overlay", newRoot, "overlay", 0, options)
}

// switchRoot makes a mounted directory the root of everything, as switch_root(8) does.
// Only /run/capsa stays behind, out of sight: programs have no use for it.
func switchRoot(dir string) error {
	if err := unix.Chdir(dir); err != nil {
		return os.NewSyscallError("chdir", err)
	}
	for _, where := range moved {
		to := "." + where
		if _, err := os.Stat(to); err != nil {
			if err := os.MkdirAll(to, 0o755); err != nil {
				return fmt.Errorf("the root directory has no %s and cannot get one: %w", where, err)
			}
		}
		if where == "/run" { // the new root is below it
			if err := unix.Mount("tmpfs", to, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=0755"); err != nil {
				return fmt.Errorf("mount %s: %w", where, err)
			}
			continue
		}
		if err := unix.Mount(where, to, "", unix.MS_MOVE, ""); err != nil {
			return fmt.Errorf("move %s: %w", where, err)
		}
	}
	if err := unix.Mount(".", "/", "", unix.MS_MOVE, ""); err != nil {
		return fmt.Errorf("move the root directory: %w", err)
	}
	if err := unix.Chroot("."); err != nil {
		return os.NewSyscallError("chroot", err)
	}
	return os.NewSyscallError("chdir", unix.Chdir("/"))
}
