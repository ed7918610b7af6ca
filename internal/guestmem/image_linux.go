package guestmem

import (
	"io"
	"math"
	"os"

	"golang.org/x/sys/unix"
)

// NewImage makes an image of size bytes, which fill writes; what it leaves out is zero and takes no memory. Nothing is left
// when it fails. Errors: *os.SyscallError, or fill's own.
func NewImage(name string, size uint64, fill func(io.WriterAt) error) (*Image, error) {
	if size == 0 || size > math.MaxInt64 {
		return nil, ErrLayout
	}
	fd, err := memfd(name, int64(size))
	if err != nil {
		return nil, err
	}
	img := &Image{file: os.NewFile(uintptr(fd), name), size: size}
	if err = fill(img.file); err == nil {
		err = seal(fd, unix.F_SEAL_WRITE|unix.F_SEAL_SHRINK|unix.F_SEAL_GROW|unix.F_SEAL_SEAL)
	}
	if err != nil {
		_ = img.Close() // the error above says more
		return nil, err
	}
	return img, nil
}
