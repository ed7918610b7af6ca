package tree

import (
	"archive/tar"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"syscall"
)

// Write writes the archive (PAX) of a file or directory, and of what is in it, under
// another name. Of files with several names the later ones are links.
func Write(w io.Writer, from, name string) error {
	t := tar.NewWriter(w)
	links := links{}
	err := filepath.WalkDir(from, func(p string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, p)
		if err != nil {
			return err
		}
		return links.write(t, p, path.Join(name, filepath.ToSlash(rel)))
	})
	return errors.Join(err, t.Close())
}

// write writes one file. Sockets are left out: they have no meaning elsewhere.
func (l links) write(t *tar.Writer, file, name string) error {
	info, err := os.Lstat(file)
	if err != nil || info.Mode()&fs.ModeSocket != 0 {
		return err
	}
	target := ""
	if info.Mode()&fs.ModeSymlink != 0 {
		if target, err = os.Readlink(file); err != nil {
			return err
		}
	}
	h, err := tar.FileInfoHeader(info, target)
	if err != nil {
		return err
	}
	h.Name, h.Uname, h.Gname, h.Format = name, "", "", tar.FormatPAX
	if info.IsDir() {
		h.Name += "/"
	}
	if first := l.first(info, name); first != "" {
		h.Typeflag, h.Linkname, h.Size = tar.TypeLink, first, 0
		return t.WriteHeader(h)
	}
	if err := t.WriteHeader(h); err != nil || !info.Mode().IsRegular() {
		return err
	}
	src, err := os.Open(file)
	if err != nil {
		return err
	}
	defer src.Close()
	n, err := io.Copy(t, io.LimitReader(src, h.Size))
	if err == nil && n < h.Size {
		err = &fs.PathError{Op: "read", Path: file, Err: io.ErrUnexpectedEOF} // it became shorter meanwhile
	}
	return err
}

// links are the names of files that have several, by device and inode.
type links map[[2]uint64]string

// first is the name under which the file is already there, or "".
func (l links) first(info fs.FileInfo, name string) string {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok || st.Nlink < 2 || !info.Mode().IsRegular() {
		return ""
	}
	key := [2]uint64{uint64(st.Dev), st.Ino} //nolint:unconvert // an int32 on macOS
	first := l[key]
	if first == "" {
		l[key] = name
	}
	return first
}
