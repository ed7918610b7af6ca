package capsa

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"

	"github.com/libcapsa/libcapsa/internal/vm"
)

// Limits of what a guest sends.
const (
	defaultMaxBytes = 16 << 30
	defaultMaxFiles = 1_000_000
	maxDepth        = 256 // directories in directories
)

// unpacker unpacks an archive that a hostile guest wrote. Every name is opened below
// root, a descriptor, by calls that do not follow links out of it (os.Root).
type unpacker struct {
	root *os.Root
	name string // of the top, in place of the archive's
	o    CopyOptions
	dirs []dirMode // whose permissions are set at the end, since they may forbid writing
}

type dirMode struct {
	name string
	mode fs.FileMode
}

func newUnpacker(root *os.Root, name string, o CopyOptions) *unpacker {
	if o.MaxBytes <= 0 {
		o.MaxBytes = defaultMaxBytes
	}
	if o.MaxFiles <= 0 {
		o.MaxFiles = defaultMaxFiles
	}
	return &unpacker{root: root, name: name, o: o}
}

func broken(format string, a ...any) error {
	return vm.Errorf(vm.KindProtocol, "copy out", format, a...).WithComponent("agent")
}

func (u *unpacker) run(r io.Reader) error {
	t := tar.NewReader(r)
	for {
		h, err := t.Next()
		if err == io.EOF {
			return u.finish()
		}
		if err != nil {
			return broken("the guest's archive is damaged: %w", err)
		}
		if u.o.MaxFiles--; u.o.MaxFiles < 0 {
			return vm.Errorf(vm.KindLimit, "copy out", "more files than allowed")
		}
		if u.o.MaxBytes -= h.Size; h.Size < 0 || u.o.MaxBytes < 0 {
			return vm.Errorf(vm.KindLimit, "copy out", "more bytes than allowed")
		}
		name, err := u.rename(h.Name)
		if err != nil {
			return err
		}
		if err := u.entry(t, h, name); err != nil {
			return err
		}
	}
}

// rename puts the top's name in place of the archive's.
func (u *unpacker) rename(name string) (string, error) {
	clean := strings.TrimSuffix(name, "/")
	if clean == "" || path.IsAbs(clean) || path.Clean(clean) != clean || clean == ".." || strings.HasPrefix(clean, "../") {
		return "", broken("the guest's archive has the name %q", name)
	}
	parts := strings.Split(clean, "/")
	if len(parts) > maxDepth {
		return "", broken("the guest's archive is %d directories deep", len(parts))
	}
	parts[0] = u.name
	return path.Join(parts...), nil
}

// entry makes one file. Others than those of the cases are left out.
func (u *unpacker) entry(r io.Reader, h *tar.Header, name string) error {
	mode := fs.FileMode(h.Mode) & 0o777
	var err error
	switch h.Typeflag {
	case tar.TypeDir:
		err = u.directory(name)
		u.dirs = append(u.dirs, dirMode{name, mode})
	case tar.TypeReg:
		err = u.file(r, name, mode)
	case tar.TypeSymlink:
		if err = u.clear(name); err == nil {
			err = u.root.Symlink(h.Linkname, name)
		}
	case tar.TypeLink:
		var old string
		if old, err = u.rename(h.Linkname); err == nil {
			if err = u.clear(name); err == nil {
				err = u.root.Link(old, name)
			}
		}
	default:
		return nil
	}
	if err != nil || h.Typeflag == tar.TypeLink {
		return err
	}
	if u.o.KeepOwner {
		if err := u.root.Lchown(name, h.Uid, h.Gid); err != nil {
			return err
		}
	}
	if h.Typeflag == tar.TypeReg {
		return u.root.Chtimes(name, h.ModTime, h.ModTime)
	}
	return nil
}

// directory makes one, or finds it there.
func (u *unpacker) directory(name string) error {
	err := u.root.Mkdir(name, 0o700)
	if !errors.Is(err, fs.ErrExist) {
		return err
	}
	info, err := u.root.Lstat(name)
	if err == nil && !info.IsDir() {
		return fmt.Errorf("%s is there and is no directory: %w", name, fs.ErrExist)
	}
	return err
}

// clear removes a file that is in the way.
func (u *unpacker) clear(name string) error {
	info, err := u.root.Lstat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case info.IsDir():
		return fmt.Errorf("%s is there and is a directory: %w", name, fs.ErrExist)
	}
	return u.root.Remove(name)
}

// file writes a new file in place of the one that is there.
func (u *unpacker) file(r io.Reader, name string, mode fs.FileMode) error {
	if err := u.clear(name); err != nil {
		return err
	}
	f, err := u.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, r)
	if err == nil {
		err = f.Chmod(mode)
	}
	return errors.Join(err, f.Close())
}

// finish sets the permissions of directories, the innermost first.
func (u *unpacker) finish() error {
	for i := len(u.dirs) - 1; i >= 0; i-- {
		if err := u.root.Chmod(u.dirs[i].name, u.dirs[i].mode); err != nil {
			return err
		}
	}
	return nil
}
