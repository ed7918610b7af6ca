package image

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path"
	"strings"
)

// Initrd describes an initial file system.
type Initrd struct {
	Dirs    []string // empty directories
	Files   []File
	Links   []Link
	Modules []Module // stored in ModuleDir and listed in ModuleList, in this order
	Pad     int64    // bytes of incompressible-looking filler at /filler, 0 for none
}

// File is a file's place in the image and its content: that of a host file, or Data.
type File struct {
	Name, Source string
	Data         []byte // without a Source
	Perm         uint32
}

// Link is a symbolic link.
type Link struct{ Name, Target string }

// Where the modules and their load order are found in an image.
const (
	ModuleDir  = "lib/modules"
	ModuleList = "etc/modules"
)

// Write writes the image as a newc cpio archive. Every image has the device
// nodes /dev/console and /dev/null, which the kernel and init need before
// devtmpfs is mounted.
func (i *Initrd) Write(out io.Writer) error {
	w := NewWriter(out)
	for _, d := range append([]string{"dev", "proc", "sys", "tmp"}, i.Dirs...) {
		if err := w.Mkdir(d, 0o755); err != nil {
			return err
		}
	}
	if err := w.Device("dev/console", 0o600, 5, 1); err != nil {
		return err
	}
	if err := w.Device("dev/null", 0o666, 1, 3); err != nil {
		return err
	}
	for _, f := range i.Files {
		if err := copyFile(w, f); err != nil {
			return err
		}
	}
	for _, l := range i.Links {
		if err := w.Symlink(l.Name, l.Target); err != nil {
			return err
		}
	}
	if err := i.writeModules(w); err != nil {
		return err
	}
	if i.Pad > 0 {
		if err := w.File("filler", 0o444, io.LimitReader(&filler{state: 1}, i.Pad), i.Pad); err != nil {
			return err
		}
	}
	return w.Close()
}

func (i *Initrd) writeModules(w *Writer) error {
	if len(i.Modules) == 0 {
		return nil
	}
	var list strings.Builder
	for _, m := range i.Modules {
		if err := copyFile(w, File{Name: path.Join(ModuleDir, m.Name+".ko"), Source: m.Path, Perm: 0o444}); err != nil {
			return err
		}
		fmt.Fprintln(&list, m.Name)
	}
	return w.File(ModuleList, 0o444, strings.NewReader(list.String()), int64(list.Len()))
}

func copyFile(w *Writer, f File) error {
	if f.Source == "" {
		return w.File(f.Name, f.Perm, bytes.NewReader(f.Data), int64(len(f.Data)))
	}
	src, err := os.Open(f.Source)
	if err != nil {
		return err
	}
	defer src.Close()
	info, err := src.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s is not a regular file", f.Source)
	}
	return w.File(f.Name, f.Perm, src, info.Size())
}

// filler is an endless stream of reproducible bytes that do not compress
// (xorshift64, Marsaglia 2003): it gives an image of a wanted size.
type filler struct{ state uint64 }

func (f *filler) Read(p []byte) (int, error) {
	for i := range p {
		f.state ^= f.state << 13
		f.state ^= f.state >> 7
		f.state ^= f.state << 17
		p[i] = byte(f.state)
	}
	return len(p), nil
}
