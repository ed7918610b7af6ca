//go:build linux

package block

import (
	"errors"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/libcapsa/libcapsa/internal/block/qcow2"
	"github.com/libcapsa/libcapsa/internal/vm"
)

// qcow2Disk is an image with its file and the disk below it.
type qcow2Disk struct {
	*qcow2.Image
	f     *file
	below Disk
}

func (d *qcow2Disk) BlockSize() uint32 { return blockSize(d.f) }

func (d *qcow2Disk) Granularity() uint32 { return uint32(d.Info().ClusterSize) }

// Close flushes and closes the whole chain.
func (d *qcow2Disk) Close() error {
	if d.f.closed.Load() {
		return nil
	}
	err := errors.Join(d.Image.Close(), d.f.Close())
	if d.below != nil {
		err = errors.Join(err, d.below.Close())
	}
	return err
}

// openTemporary opens the image read-only under an overlay in a file without a name.
func openTemporary(o Options) (Disk, error) {
	dir := o.ScratchDir
	if dir == "" {
		dir = DefaultScratchDir
	}
	base, err := openChain(o, false)
	if err != nil {
		return nil, err
	}
	f, err := unnamed(dir)
	if err != nil {
		return nil, errors.Join(failure(dir, err), base.Close())
	}
	d, err := newOverlay(dir, f, base, qcow2.CreateOptions{Size: base.Size()})
	if err != nil {
		return nil, errors.Join(failure(dir, err), f.Close(), base.Close())
	}
	return d, nil
}

// unnamed makes a file in dir that has no name, or, where the file system knows none
// (overlayfs before Linux 6.3, 9p), one that loses it at once.
func unnamed(dir string) (*os.File, error) {
	f, err := os.OpenFile(dir, unix.O_TMPFILE|os.O_RDWR|unix.O_CLOEXEC, 0o600)
	if !errors.Is(err, unix.EOPNOTSUPP) && !errors.Is(err, unix.EISDIR) {
		return f, err
	}
	f, err = os.CreateTemp(dir, ".capsa-scratch-*")
	if err != nil {
		return nil, err
	}
	if err := os.Remove(f.Name()); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// newOverlay makes an image in the empty file f over base.
func newOverlay(path string, f *os.File, base Disk, o qcow2.CreateOptions) (Disk, error) {
	out, err := newFile(path, f)
	if err != nil {
		return nil, err
	}
	if err := qcow2.Create(out, o); err != nil {
		return nil, err
	}
	m, err := qcow2.Open(out, base, true)
	if err != nil {
		return nil, err
	}
	return &qcow2Disk{m, out, base}, nil
}

// openKept opens the overlay, made first when it is not there, over the image that o
// names: not over what the overlay's own header names, which its guest cannot change
// but its owner may have.
func openKept(o Options) (Disk, error) {
	if err := createOverlay(o); err != nil {
		return nil, err
	}
	op := &opener{o: o, seen: make(map[fileID]bool)}
	d, err := op.openOver()
	if err != nil {
		op.closeFiles()
		return nil, err
	}
	return d, nil
}

func (op *opener) openOver() (Disk, error) {
	f, err := op.openFile(op.o.Overlay, true)
	if err != nil {
		return nil, err
	}
	info, err := qcow2.Inspect(f)
	if err != nil {
		return nil, failure(f.path, err)
	}
	base, err := op.open(op.o.Path, op.o.Format, false)
	if err != nil {
		return nil, err
	}
	if info.Size != base.Size() {
		return nil, vm.Errorf(vm.KindConfig, "disk", "the overlay is of a disk of %d bytes, and %s has %d", info.Size, op.o.Path, base.Size()).
			WithPath(op.o.Overlay).WithHint("give the image that the overlay was made for")
	}
	return op.assemble(f, base, true)
}

// createOverlay makes the overlay's file unless it exists. It appears under its name
// when it is complete.
func createOverlay(o Options) error {
	if _, err := os.Lstat(o.Overlay); err == nil || !errors.Is(err, os.ErrNotExist) {
		return vm.Wrap("disk", err)
	}
	base, err := openChain(o, false)
	if err != nil {
		return err
	}
	size := base.Size()
	_, isQcow2 := base.(*qcow2Disk)
	if err := base.Close(); err != nil {
		return failure(o.Path, err)
	}
	abs, err := filepath.Abs(o.Path)
	if err != nil {
		return vm.Wrap("disk", err)
	}
	c := qcow2.CreateOptions{Size: size, BackingFile: abs, BackingFormat: string(Raw)}
	if isQcow2 {
		c.BackingFormat = string(Qcow2)
	}
	if err := writeNew(o.Overlay, c); err != nil && !errors.Is(err, os.ErrExist) {
		return failure(o.Overlay, err)
	}
	return nil
}

// writeNew creates an image at path, all at once: os.ErrExist when somebody else was
// first.
func writeNew(path string, c qcow2.CreateOptions) error {
	tmp, err := os.CreateTemp(filepath.Dir(path), ".capsa-overlay-*")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	defer tmp.Close()
	f, err := newFile(tmp.Name(), tmp)
	if err != nil {
		return err
	}
	if err := qcow2.Create(f, c); err != nil {
		return err
	}
	if err := os.Link(tmp.Name(), path); err != nil {
		return err
	}
	// The name has to outlast a power cut as what the guest flushes does.
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer dir.Close()
	if err := dir.Sync(); !errors.Is(err, unix.EINVAL) { // some file systems cannot
		return err
	}
	return nil
}
