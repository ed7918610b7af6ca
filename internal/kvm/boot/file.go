package boot

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"strings"
	"syscall"

	"github.com/libcapsa/libcapsa/internal/guestmem"
	"github.com/libcapsa/libcapsa/internal/vm"
)

// Names of what was being done, for errors.
const (
	opKernel = "kernel"
	opInitrd = "initrd"
	opLoad   = "load guest"
)

// image is an open regular file with the size it had when it was opened.
type image struct {
	op   string
	path string
	size uint64
	file *os.File
}

// openImage opens a regular file. It never waits: O_NONBLOCK keeps the open of a FIFO or of a device from blocking, and such
// files are then refused without a read.
func openImage(op, path string) (*image, error) {
	if strings.ContainsRune(path, 0) {
		return nil, vm.Errorf(vm.KindConfig, op, "path %q contains a NUL byte", path).WithHint("no file can have that name")
	}
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_CLOEXEC|syscall.O_NOCTTY, 0)
	if err != nil {
		return nil, openError(op, path, err)
	}
	st, err := f.Stat()
	if err == nil {
		switch mode := st.Mode(); {
		case !mode.IsRegular():
			err = vm.Errorf(vm.KindConfig, op, "is a %s, not a regular file", typeName(mode)).WithPath(path).
				WithHint("give the path of a regular file")
		case st.Size() == 0:
			err = vm.Errorf(vm.KindConfig, op, "is empty").WithPath(path).WithHint(emptyHint(op))
		default:
			return &image{op: op, path: path, size: uint64(st.Size()), file: f}, nil
		}
	} else {
		err = vm.Errorf(vm.KindOf(err), op, "%w", err).WithPath(path)
	}
	_ = f.Close() // the error above says more
	return nil, err
}

func emptyHint(op string) string {
	if op == opInitrd {
		return "leave the initrd out, or give a cpio archive"
	}
	return "give a bzImage or an ELF vmlinux; was the build or download interrupted?"
}

func openError(op, path string, err error) error {
	e := vm.Errorf(vm.KindOf(err), op, "%w", err).WithPath(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return e.WithHint("check the path; a relative one starts at " + workingDir())
	case errors.Is(err, fs.ErrPermission):
		return e.WithHint("make the file readable for this user; Debian's /boot/vmlinuz-* is, Ubuntu's needs chmod +r")
	case errors.Is(err, syscall.ENXIO): // open(2): what opening a socket gives
		e.Kind = vm.KindConfig
		return e.WithHint("is it a socket? give the path of a regular file")
	case errors.Is(err, syscall.ELOOP), errors.Is(err, syscall.ENOTDIR), errors.Is(err, syscall.ENAMETOOLONG):
		e.Kind = vm.KindConfig
		return e.WithHint("check the path: it leads through a link to itself, through a file as if it were a directory, or is too long")
	}
	return e
}

func workingDir() string {
	if dir, err := os.Getwd(); err == nil {
		return dir
	}
	return "the working directory"
}

func typeName(m fs.FileMode) string {
	switch {
	case m.IsDir():
		return "directory"
	case m&fs.ModeNamedPipe != 0:
		return "FIFO"
	case m&fs.ModeSocket != 0:
		return "socket"
	case m&fs.ModeDevice != 0:
		return "device"
	}
	return "special file"
}

// readAt fills p from offset off. A file that ends early was changed since it was opened: its size had been checked.
func (f *image) readAt(p []byte, off uint64) error {
	n, err := f.file.ReadAt(p, int64(off))
	switch {
	case n == len(p):
		return nil
	case errors.Is(err, io.EOF):
		return vm.Errorf(vm.KindIO, f.op, "became shorter while it was read: %d bytes at offset %d are not there, the file had %d bytes",
			len(p)-n, off+uint64(n), f.size).WithPath(f.path).WithHint("do not write to the file while the machine is built")
	default:
		return vm.Errorf(vm.KindOf(err), f.op, "%w", err).WithPath(f.path)
	}
}

// piece is a run of the file and the guest address where it goes.
type piece struct {
	run
	addr uint64
}

// place puts pieces of the file into guest memory: shared with other machines, or copied.
func (f *image) place(mem *guestmem.Memory, h *Hold, pieces ...piece) error {
	runs := make([]run, len(pieces))
	for i, p := range pieces {
		runs[i] = p.run
	}
	img, err := h.image(f, runs)
	if err != nil {
		return err
	}
	for _, p := range pieces {
		if img == nil {
			err = f.copyTo(mem, p.addr, p.off, p.size)
		} else if err = mem.Place(p.addr, img, p.off, p.size); err != nil {
			err = vm.Errorf(vm.KindInternal, f.op, "%d bytes at guest address %#x: %w", p.size, p.addr, err).WithPath(f.path)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// copyTo reads size bytes at offset off of the file straight into guest memory at addr.
func (f *image) copyTo(mem *guestmem.Memory, addr, off, size uint64) error {
	if size == 0 {
		return nil
	}
	b, err := mem.Slice(addr, size)
	if err != nil {
		return vm.Errorf(vm.KindInternal, f.op, "%d bytes at guest address %#x: %w", size, addr, err).WithPath(f.path)
	}
	return f.readAt(b, off)
}

func (f *image) close() error {
	if err := f.file.Close(); err != nil {
		return vm.Errorf(vm.KindIO, f.op, "%w", err).WithPath(f.path)
	}
	return nil
}

// Initrd is an open initial RAM disk.
type Initrd struct{ image }

// OpenInitrd opens an initrd and checks that it is a regular file with something in it. The caller closes it. Errors are of
// kind NOT_FOUND, PERMISSION, CONFIG (not a file one can boot from) and IO.
func OpenInitrd(path string) (*Initrd, error) {
	f, err := openImage(opInitrd, path)
	if err != nil {
		return nil, err
	}
	return &Initrd{*f}, nil
}

// Size is its size in bytes.
func (i *Initrd) Size() uint64 { return i.size }

// Close closes the file.
func (i *Initrd) Close() error { return i.close() }

func (i *Initrd) load(mem *guestmem.Memory, h *Hold, addr uint64) error {
	return i.place(mem, h, piece{run{0, i.size}, addr})
}
