package image

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/libcapsa/libcapsa/internal/vm"
)

// fromDir makes an image of a directory. It is made anew when a name, a size, an owner or a time below has changed.
func (s *Store) fromDir(ctx context.Context, path string, o Options) (Image, error) {
	root, err := os.OpenRoot(path)
	if err != nil {
		return Image{}, vm.Wrap(op, err)
	}
	defer func() { _ = root.Close() }()
	d := directory{root: root, path: path, read: new(bool)}
	p := newPass(ctx, o.Limits.withDefaults())
	before, err := d.digest(&p)
	if err != nil {
		return Image{}, err
	}
	img, err := s.build(ctx, Image{Reference: string(kindDir) + ":" + path}, []string{"dir", before}, []layer{d}, o)
	if err != nil || !*d.read {
		return img, err
	}
	p = newPass(ctx, o.Limits.withDefaults())
	if after, err := d.digest(&p); err != nil || after != before {
		_ = os.Remove(img.Path) // it may be a mixture
		return Image{}, errors.Join(err, vm.Errorf(vm.KindState, op, "%s has changed while it was read", path).
			WithHint("try again when nobody writes there"))
	}
	return img, nil
}

// directory is a directory of the host as a layer. It stays on one file system, and follows no links.
type directory struct {
	root *os.Root
	path string
	read *bool // set when it has been
}

// digest is the sha256 of everything about the directory but the content of its files.
func (d directory) digest(p *pass) (string, error) {
	sum := sha256.New()
	err := d.walk(p, func(_ int, h *tar.Header, info fs.FileInfo) error {
		stat, ok := info.Sys().(*syscall.Stat_t)
		if !ok {
			return vm.Errorf(vm.KindUnsupported, op, "the host does not say who owns %s", h.Name)
		}
		sec, nsec := changed(stat)
		_, err := fmt.Fprintf(sum, "%q %q %q %d %o %d %d %d %d %d.%d %q\n", h.Name, h.Linkname, h.Typeflag, stat.Ino,
			h.Mode, h.Uid, h.Gid, h.Size, h.ModTime.UnixNano(), sec, nsec, h.PAXRecords)
		return err
	})
	return hex.EncodeToString(sum.Sum(nil)), err
}

func (d directory) each(p *pass, fn func(int, *tar.Header, io.Reader) error) error {
	*d.read = true
	return d.walk(p, func(n int, header *tar.Header, _ fs.FileInfo) error {
		r := &lazy{root: d.root, name: header.Name, left: header.Size}
		defer r.close()
		return fn(n, header, r)
	})
}

// walk calls fn for each file, in the order of names.
func (d directory) walk(p *pass, fn func(int, *tar.Header, fs.FileInfo) error) error {
	n := 0
	seen := map[inodeID]string{}
	var top inodeID
	return fs.WalkDir(d.root.FS(), ".", func(path string, e fs.DirEntry, err error) error {
		if err == nil {
			err = vm.ContextError(p.ctx, op)
		}
		if err != nil {
			return vm.Wrap(op, err)
		}
		info, err := e.Info()
		if err != nil {
			return vm.Wrap(op, err)
		}
		header, id, err := d.describe(path, info)
		if err != nil || header == nil {
			return err
		}
		if path == "." {
			top = id
		}
		if first, ok := seen[id]; ok && header.Typeflag != tar.TypeDir {
			header.Typeflag, header.Linkname, header.Size = tar.TypeLink, first, 0
		}
		seen[id] = path
		if p.budget -= header.Size; p.budget < 0 || n >= p.limit.Files {
			return over("%s has more than %d files or %d bytes", d.path, p.limit.Files, p.limit.Bytes)
		}
		err = fn(n, header, info)
		n++
		if err == nil && info.IsDir() && id.dev != top.dev {
			return fs.SkipDir // something is mounted here
		}
		return err
	})
}

// inodeID tells a file from all others of the host.
type inodeID struct{ dev, ino uint64 }

// describe is a file in the words of an archive; nil for what cannot be in one. What belongs to the user who packs it
// belongs to root in the guest, unless that user is root: files of an ordinary user are all his own.
func (d directory) describe(path string, info fs.FileInfo) (*tar.Header, inodeID, error) {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return nil, inodeID{}, vm.Errorf(vm.KindUnsupported, op, "the host does not say who owns %s", path)
	}
	h := &tar.Header{
		Name: path, Mode: int64(stat.Mode) & 0o7777, Uid: int(stat.Uid), Gid: int(stat.Gid), ModTime: info.ModTime(),
	}
	if euid := os.Geteuid(); euid != 0 && h.Uid == euid {
		h.Uid, h.Gid = 0, 0
	}
	id := inodeID{uint64(stat.Dev), stat.Ino} //nolint:unconvert // Dev has another type on macOS
	switch info.Mode().Type() {
	case 0:
		h.Typeflag, h.Size = tar.TypeReg, info.Size()
		if value := capability(filepath.Join(d.path, path), h.Mode); value != "" {
			h.PAXRecords = map[string]string{paxXattr + "security.capability": value}
		}
	case fs.ModeDir:
		h.Typeflag = tar.TypeDir
	case fs.ModeNamedPipe:
		h.Typeflag = tar.TypeFifo
	case fs.ModeSymlink:
		target, err := d.root.Readlink(path)
		if err != nil {
			return nil, id, vm.Wrap(op, err)
		}
		h.Typeflag, h.Linkname = tar.TypeSymlink, target
	default:
		return nil, id, nil
	}
	return h, id, nil
}

// capability returns a program's capabilities, as the kernel keeps them.
func capability(path string, mode int64) string {
	if mode&0o111 == 0 {
		return ""
	}
	value := make([]byte, 64)
	n, err := unix.Lgetxattr(path, "security.capability", value)
	if err != nil || n <= 0 {
		return ""
	}
	return strings.Clone(string(value[:n]))
}

// lazy opens a file when it is read, and gives exactly as much of it as was announced.
type lazy struct {
	root *os.Root
	name string
	left int64
	f    *os.File
}

func (l *lazy) Read(p []byte) (int, error) {
	if l.left == 0 {
		return 0, io.EOF
	}
	if l.f == nil {
		f, err := l.root.OpenFile(l.name, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
		if err != nil {
			return 0, err
		}
		l.f = f
	}
	n, err := l.f.Read(p[:min(int64(len(p)), l.left)])
	l.left -= int64(n)
	if errors.Is(err, io.EOF) && l.left > 0 {
		return n, vm.Errorf(vm.KindState, op, "%s became shorter while it was read", l.name).WithHint("try again")
	}
	return n, err
}

func (l *lazy) close() {
	if l.f != nil {
		l.f.Close()
	}
}
