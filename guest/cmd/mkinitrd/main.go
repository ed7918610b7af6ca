// Command mkinitrd writes a guest's initial file system.
//
//	mkinitrd -o OUT [-file NAME=SOURCE]... [-link NAME=TARGET]... [-dir NAME]...
//	         [-modules TREE -module NAME...] [-pad BYTES]
//
// Files keep their permission bits. Modules come with all that they depend on
// and are listed in /etc/modules in the order in which they can be loaded. The
// output appears whole or not at all.
package main

import (
	"bufio"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/libcapsa/libcapsa/guest/image"
)

// pairs collects the values of a repeated NAME=VALUE flag.
type pairs [][2]string

func (p *pairs) String() string { return fmt.Sprint([][2]string(*p)) }

func (p *pairs) Set(s string) error {
	name, value, ok := strings.Cut(s, "=")
	if !ok || name == "" || value == "" {
		return fmt.Errorf("want NAME=VALUE")
	}
	*p = append(*p, [2]string{name, value})
	return nil
}

// list collects the values of a repeated flag.
type list []string

func (l *list) String() string { return strings.Join(*l, ",") }

func (l *list) Set(s string) error {
	*l = append(*l, s)
	return nil
}

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "mkinitrd:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	var (
		files, links  pairs
		dirs, modules list
	)
	fs := flag.NewFlagSet("mkinitrd", flag.ContinueOnError)
	out := fs.String("o", "", "output `file`")
	tree := fs.String("modules", "", "`directory` with kernel modules")
	pad := fs.Int64("pad", 0, "`bytes` of filler, for a large image")
	fs.Var(&files, "file", "`NAME=SOURCE`: a file of the host")
	fs.Var(&links, "link", "`NAME=TARGET`: a symbolic link")
	fs.Var(&dirs, "dir", "`NAME`: an empty directory")
	fs.Var(&modules, "module", "`NAME` of a kernel module from -modules")
	if err := fs.Parse(args); err != nil {
		return err
	}
	if *out == "" || fs.NArg() > 0 {
		return fmt.Errorf("want -o FILE and no other arguments")
	}
	i := image.Initrd{Dirs: dirs, Pad: *pad}
	for _, f := range files {
		info, err := os.Stat(f[1])
		if err != nil {
			return err
		}
		i.Files = append(i.Files, image.File{Name: f[0], Source: f[1], Perm: uint32(info.Mode().Perm())})
	}
	for _, l := range links {
		i.Links = append(i.Links, image.Link{Name: l[0], Target: l[1]})
	}
	if len(modules) > 0 {
		m, err := image.OpenModules(*tree)
		if err != nil {
			return err
		}
		if i.Modules, err = m.Resolve(modules...); err != nil {
			return err
		}
	}
	return write(*out, &i)
}

// write makes the image beside its place and moves it there.
func write(out string, i *image.Initrd) error {
	f, err := os.CreateTemp(filepath.Dir(out), ".mkinitrd-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	b := bufio.NewWriterSize(f, 1<<20)
	if err := i.Write(b); err != nil {
		f.Close()
		return err
	}
	if err := b.Flush(); err != nil {
		f.Close()
		return err
	}
	if err := f.Chmod(0o644); err != nil {
		f.Close()
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return os.Rename(f.Name(), out)
}
