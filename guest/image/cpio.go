// Package image builds initial file systems for guests: newc cpio archives,
// written without external tools and the same bytes for the same input.
//
// It knows nothing of virtual machines; guest/cmd/mkinitrd and the lab use it.
// A Writer belongs to one goroutine.
package image

import (
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
)

// File types and special bits of a mode, as in stat(2).
const (
	modeDir     = 0o040000
	modeRegular = 0o100000
	modeLink    = 0o120000
	modeChar    = 0o020000
)

// maxNewc is the largest number that a newc header's eight hex digits hold.
const maxNewc = 1<<32 - 1

// trailer is the name of the entry that ends an archive
// (Documentation/driver-api/early-userspace/buffer-format.rst).
const trailer = "TRAILER!!!"

// Writer writes a newc cpio archive. All files belong to root and have the
// modification time 0, so that an archive depends on its contents alone.
type Writer struct {
	w       io.Writer
	ino     uint32
	offset  int64
	made    map[string]bool
	closed  bool
	failure error
}

// NewWriter returns a Writer that writes to w.
func NewWriter(w io.Writer) *Writer {
	return &Writer{w: w, made: map[string]bool{}}
}

// Mkdir adds a directory, and its parents where they are missing.
func (w *Writer) Mkdir(name string, perm uint32) error {
	return w.entry(name, modeDir|perm&0o7777, 0, [2]uint32{}, strings.NewReader(""), 0)
}

// Symlink adds a symbolic link at name that points to target.
func (w *Writer) Symlink(name, target string) error {
	return w.entry(name, modeLink|0o777, 0, [2]uint32{}, strings.NewReader(target), int64(len(target)))
}

// Device adds a character device.
func (w *Writer) Device(name string, perm, major, minor uint32) error {
	return w.entry(name, modeChar|perm&0o7777, 0, [2]uint32{major, minor}, strings.NewReader(""), 0)
}

// File adds a regular file of exactly size bytes, read from r.
func (w *Writer) File(name string, perm uint32, r io.Reader, size int64) error {
	return w.entry(name, modeRegular|perm&0o7777, 0, [2]uint32{}, r, size)
}

// Close writes the trailer and pads the archive to a multiple of 512 bytes.
// It does not close the underlying writer.
func (w *Writer) Close() error {
	if w.failure != nil || w.closed {
		return w.failure
	}
	w.closed = true
	w.header(trailer, header{nlink: 1})
	w.pad(512)
	return w.failure
}

// entry adds one archive member and the directories above it.
func (w *Writer) entry(name string, mode, mtime uint32, rdev [2]uint32, r io.Reader, size int64) error {
	if w.failure != nil {
		return w.failure
	}
	if w.closed {
		return errors.New("cpio: write after close")
	}
	name = strings.TrimPrefix(path.Clean("/"+name), "/")
	switch {
	case name == "":
		return errors.New("cpio: empty name")
	case strings.ContainsRune(name, 0):
		return fmt.Errorf("cpio: name %q holds a NUL", name)
	case name == trailer:
		return fmt.Errorf("cpio: the name %s is the format's own", trailer)
	case size < 0 || size > maxNewc:
		return fmt.Errorf("cpio: %s: %d bytes do not fit the format (limit 4 GiB - 1)", name, size)
	}
	if w.made[name] {
		if mode&modeDir != 0 && mode&modeRegular != modeRegular {
			return nil
		}
		return fmt.Errorf("cpio: %s is there already", name)
	}
	if dir := path.Dir(name); dir != "." && !w.made[dir] {
		if err := w.Mkdir(dir, 0o755); err != nil {
			return err
		}
	}
	w.made[name] = true
	w.ino++
	h := header{ino: w.ino, mode: mode, nlink: 1, mtime: mtime, size: uint32(size), major: rdev[0], minor: rdev[1]}
	if mode&0o170000 == modeDir {
		h.nlink = 2
	}
	w.header(name, h)
	w.body(name, r, size)
	return w.failure
}

// header holds the fields of a newc header that are not constant here.
type header struct {
	ino, mode, nlink, mtime, size, major, minor uint32
}

// header writes a member's header and name.
func (w *Writer) header(name string, h header) {
	s := fmt.Sprintf("070701%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%s\x00",
		h.ino, h.mode, 0, 0, h.nlink, h.mtime, h.size, 0, 0, h.major, h.minor, len(name)+1, 0, name)
	w.write([]byte(s))
	w.pad(4)
}

// body writes a member's contents and complains when r has more or fewer than
// size bytes: a file that changes while it is read must not break the archive.
func (w *Writer) body(name string, r io.Reader, size int64) {
	if w.failure != nil {
		return
	}
	n, err := io.Copy(w.w, io.LimitReader(r, size))
	w.offset += n
	if err == nil && n < size {
		err = io.ErrUnexpectedEOF
	}
	if err == nil {
		if extra, _ := r.Read(make([]byte, 1)); extra > 0 {
			err = fmt.Errorf("it has more than the %d bytes announced", size)
		}
	}
	if err != nil {
		w.failure = fmt.Errorf("cpio: %s: %w", name, err)
		return
	}
	w.pad(4)
}

func (w *Writer) pad(to int64) {
	if rest := w.offset % to; rest != 0 {
		w.write(make([]byte, to-rest))
	}
}

func (w *Writer) write(b []byte) {
	if w.failure != nil {
		return
	}
	n, err := w.w.Write(b)
	w.offset += int64(n)
	if err != nil {
		w.failure = fmt.Errorf("cpio: %w", err)
	}
}
