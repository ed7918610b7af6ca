//go:build linux

package block

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/libcapsa/libcapsa/internal/block/qcow2"
	"github.com/libcapsa/libcapsa/internal/vm"
)

// maxChain is the longest chain of backing images: longer ones are a mistake or an
// attack on the number of open files.
const maxChain = 64

// Open opens an image. Errors are *vm.Error: NOT_FOUND, PERMISSION, CONFIG (not an
// image, or one that cannot be taken), UNAVAILABLE (in use), LIMIT, IO.
func Open(o Options) (Disk, error) {
	switch {
	case o.Temporary && o.Overlay != "":
		return nil, vm.Errorf(vm.KindConfig, "disk", "both a temporary overlay and one at %s", o.Overlay)
	case o.ReadOnly && (o.Temporary || o.Overlay != ""):
		return nil, vm.Errorf(vm.KindConfig, "disk", "a read-only disk takes no changes and needs no overlay")
	case o.Temporary:
		return openTemporary(o)
	case o.Overlay != "":
		return openKept(o)
	}
	return openChain(o, !o.ReadOnly)
}

// opener opens an image and what lies below it.
type opener struct {
	o     Options
	files []*file // to be closed when opening fails, else with the disk
	seen  map[fileID]bool
}

// openChain opens the image of o with everything below it.
func openChain(o Options, write bool) (Disk, error) {
	op := &opener{o: o, seen: make(map[fileID]bool)}
	d, err := op.open(o.Path, o.Format, write)
	if err != nil {
		op.closeFiles()
		return nil, err
	}
	return d, nil
}

func (op *opener) closeFiles() {
	for _, f := range op.files {
		_ = f.Close() // of a failed opening; there is nobody to tell
	}
}

// open opens one image of the chain and, through qcow2's backing name, the next.
func (op *opener) open(path string, format Format, write bool) (Disk, error) {
	f, err := op.openFile(path, write)
	if err != nil {
		return nil, err
	}
	info, err := qcow2.Inspect(f)
	switch {
	case format == Raw:
		d, err := openRaw(f, write)
		if err != nil {
			return nil, failure(path, err)
		}
		return d, nil
	case format != Auto && format != Qcow2:
		return nil, vm.Errorf(vm.KindConfig, "disk", "the format %q is not known", format).WithPath(path).WithHint("raw and qcow2 are")
	case errors.Is(err, qcow2.ErrNotQcow2):
		return nil, failure(path, err)
	case err != nil:
		return nil, failure(path, err)
	}
	return op.openQcow2(f, info, write)
}

// openFile opens and locks a file of the chain.
func (op *opener) openFile(path string, write bool) (*file, error) {
	if len(op.files) >= maxChain {
		return nil, vm.Errorf(vm.KindLimit, "disk", "the chain of backing files is longer than %d", maxChain).WithPath(op.o.Path)
	}
	f, err := openFile(path, write, op.o.Direct)
	if err != nil {
		return nil, failure(path, err)
	}
	op.files = append(op.files, f)
	if op.seen[f.id] {
		return nil, vm.Errorf(vm.KindConfig, "disk", "the image is its own backing file").WithPath(path)
	}
	op.seen[f.id] = true
	if err := f.lock(write); err != nil {
		return nil, failure(path, err)
	}
	return f, nil
}

// openQcow2 opens a qcow2 image over its backing image.
func (op *opener) openQcow2(f *file, info qcow2.Info, write bool) (Disk, error) {
	if info.Size == 0 || info.Size%SectorSize != 0 {
		return nil, failure(f.path, fmt.Errorf("its disk size of %d bytes is not a positive multiple of %d", info.Size, SectorSize))
	}
	below, err := op.openBacking(f.path, info)
	if err != nil {
		return nil, err
	}
	return op.assemble(f, below, write)
}

// assemble makes the disk of an image and the disk below it, which may be nil.
func (op *opener) assemble(f *file, below Disk, write bool) (Disk, error) {
	var backing qcow2.Backing
	if below != nil {
		backing = below
	}
	m, err := qcow2.Open(f, backing, write)
	if err != nil {
		return nil, failure(f.path, err)
	}
	return &qcow2Disk{m, f, below}, nil
}

// openBacking opens what the image at path names, nil when it names nothing.
func (op *opener) openBacking(path string, info qcow2.Info) (Disk, error) {
	if info.BackingFile == "" {
		return nil, nil
	}
	name, err := op.backingPath(path, info.BackingFile)
	if err != nil {
		return nil, err
	}
	format := Format(info.BackingFormat)
	if format == Auto {
		format = Qcow2 // never raw unless somebody says so
	}
	d, err := op.open(name, format, false)
	if err != nil {
		return nil, fmt.Errorf("backing file of %s: %w", path, err)
	}
	return d, nil
}

// backingPath resolves the name of a backing file, and refuses what lies elsewhere
// than the image's directory and the allowed ones.
func (op *opener) backingPath(image, name string) (string, error) {
	refuse := func(why, hint string) error {
		return vm.Errorf(vm.KindConfig, "disk", "its backing file %q %s", name, why).WithPath(image).WithHint(hint)
	}
	if i := strings.IndexByte(name, ':'); i >= 0 && !strings.Contains(name[:i], "/") {
		return "", refuse("is not a plain path", "rebase the image with: qemu-img rebase -u -b PATH -F FORMAT")
	}
	dir, err := filepath.EvalSymlinks(filepath.Dir(image))
	if err != nil {
		return "", failure(image, err)
	}
	if !filepath.IsAbs(name) {
		name = filepath.Join(dir, name)
	}
	real, err := filepath.EvalSymlinks(name)
	if err != nil {
		return "", failure(image, fmt.Errorf("its backing file: %w", err))
	}
	for _, d := range append([]string{dir}, op.o.BackingDirs...) {
		if d, err := filepath.EvalSymlinks(d); err == nil && below(d, real) {
			return real, nil
		}
	}
	return "", refuse("is outside the image's directory", fmt.Sprintf("if you trust the image, allow the directory %s for backing files", filepath.Dir(real)))
}

// below says whether path lies in dir or deeper.
func below(dir, path string) bool {
	rel, err := filepath.Rel(dir, path)
	return err == nil && rel != ".." && !strings.HasPrefix(rel, "../")
}

// failure types an error of the image at path.
func failure(path string, err error) error {
	e := &vm.Error{Op: "disk", Component: "block", Path: path, Kind: vm.KindOf(err), Err: err}
	var refused *qcow2.RefusedError
	switch {
	case errors.Is(err, qcow2.ErrNotQcow2):
		e.Kind, e.Hint = vm.KindConfig, "say that its format is raw if it is"
	case errors.As(err, &refused):
		e.Kind, e.Hint = vm.KindConfig, refused.Hint
	case errors.Is(err, errInUse):
		e.Kind, e.Hint = vm.KindUnavailable, "stop the other machine, or give each an overlay over a read-only image"
	case errors.Is(err, os.ErrNotExist), errors.Is(err, os.ErrPermission):
	case errors.Is(err, unix.EISDIR):
		e.Kind = vm.KindConfig
	case e.Kind == vm.KindInternal: // an image that contradicts itself
		e.Kind = vm.KindConfig
	}
	return e
}
