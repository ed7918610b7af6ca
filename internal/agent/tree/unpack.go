package tree

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
)

// maxDepth is how deep directories may be in directories.
const maxDepth = 256

// Errors of what is wrong with an archive.
var (
	ErrBroken = errors.New("the archive is not right")
	ErrLimit  = errors.New("the archive has more than is allowed")
)

// Options say how an archive is unpacked.
type Options struct {
	Top       string // name in place of the first part of every name; "": as they are
	KeepOwner bool   // user and group numbers are kept
	KeepBits  bool   // set-user-ID, set-group-ID and sticky bits are kept
	MaxBytes  int64  // of files; 0: any number
	MaxFiles  int    // 0: any number
}

// Unpack unpacks a tar archive below a directory. A directory that is there is added to,
// a file replaced. Nothing outside of root is touched, whatever the archive says; device
// nodes, pipes and sockets are left out.
func Unpack(root *os.Root, r io.Reader, o Options) error {
	return (&unpacker{root: root, o: o}).run(r)
}

// unpacker unpacks one archive. Every name is opened below root, a descriptor, by calls
// that do not follow links out of it (os.Root).
type unpacker struct {
	root  *os.Root
	o     Options
	files int
	bytes int64
	dirs  []dirMode // whose permissions are set at the end, since they may forbid writing
}

type dirMode struct {
	name string
	mode fs.FileMode
}

func broken(format string, a ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrBroken}, a...)...)
}

func (u *unpacker) run(r io.Reader) error {
	t := tar.NewReader(r)
	for {
		h, err := t.Next()
		if err == io.EOF {
			return u.finish()
		}
		if err != nil {
			return fmt.Errorf("%w: %w", ErrBroken, err)
		}
		if u.files++; u.o.MaxFiles > 0 && u.files > u.o.MaxFiles {
			return fmt.Errorf("%w: more than %d files", ErrLimit, u.o.MaxFiles)
		}
		if h.Size < 0 || u.o.MaxBytes > 0 && h.Size > u.o.MaxBytes-u.bytes {
			return fmt.Errorf("%w: more than %d bytes", ErrLimit, u.o.MaxBytes)
		}
		u.bytes += h.Size
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
	clean := strings.TrimPrefix(strings.TrimSuffix(name, "/"), "./")
	if clean == "." {
		clean = ""
	}
	if clean == "" && u.o.Top == "" {
		return ".", nil
	}
	if clean == "" || path.IsAbs(clean) || path.Clean(clean) != clean || clean == ".." || strings.HasPrefix(clean, "../") {
		return "", broken("the name %q", name)
	}
	parts := strings.Split(clean, "/")
	if len(parts) > maxDepth {
		return "", broken("%d directories deep", len(parts))
	}
	if u.o.Top != "" {
		parts[0] = u.o.Top
	}
	return path.Join(parts...), nil
}

// entry makes one file. Others than those of the cases are left out.
func (u *unpacker) entry(r io.Reader, h *tar.Header, name string) error {
	mode := fs.FileMode(h.Mode) & 0o777
	if u.o.KeepBits {
		mode = h.FileInfo().Mode() & (fs.ModePerm | fs.ModeSetuid | fs.ModeSetgid | fs.ModeSticky)
	}
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
	if h.Typeflag != tar.TypeReg {
		return nil
	}
	if u.o.KeepOwner && u.o.KeepBits { // a new owner takes the bits away
		if err := u.root.Chmod(name, mode); err != nil {
			return err
		}
	}
	return u.root.Chtimes(name, h.ModTime, h.ModTime)
}

// directory makes one, or finds it there.
func (u *unpacker) directory(name string) error {
	if name == "." {
		return nil
	}
	if parent := path.Dir(name); parent != "." { // archives need not have them
		if err := u.root.MkdirAll(parent, 0o755); err != nil {
			return err
		}
	}
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

// clear makes room for a file.
func (u *unpacker) clear(name string) error {
	if parent := path.Dir(name); parent != "." {
		if err := u.root.MkdirAll(parent, 0o755); err != nil {
			return err
		}
	}
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
