package image

import (
	"io"

	"github.com/libcapsa/libcapsa/internal/vm"
)

// Bounds of single names, whatever the Limits.
const (
	maxNameSize  = 255  // bytes of one component: EXT4_NAME_LEN (Linux, fs/ext4/ext4.h)
	maxPathSize  = 4095 // bytes of a path or of a link's target: PATH_MAX without the NUL
	maxFollow    = 40   // symbolic links in one path: MAXSYMLINKS (Linux, include/linux/namei.h)
	maxXattrSize = 2048 // bytes of names and values of one file: they have to fit one inode and one block of ext4

	maxLayers       = 512
	maxManifestSize = 4 << 20 // bytes of a manifest, an index, or an image's configuration
)

// Limits bound what an image may unpack to. Zero fields mean the default.
type Limits struct {
	Bytes int64 // of decompressed layers, together; default 64 GiB
	Files int   // entries of all layers, and nodes of the result; default 1 Mi
	Ratio int64 // decompressed bytes for each compressed one, once ratioFrom bytes are out; default 300
}

// ratioFrom is how much of a layer may be decompressed before its ratio counts, in bytes: small files of zeroes are usual.
const ratioFrom = 256 << 20

func (l Limits) withDefaults() Limits {
	if l.Bytes <= 0 {
		l.Bytes = 64 << 30
	}
	if l.Files <= 0 {
		l.Files = 1 << 20
	}
	if l.Ratio <= 0 {
		l.Ratio = 300
	}
	return l
}

// op is the operation that errors of this package name, unless they name a smaller one.
const op = "image"

// hostile is the error for content that breaks a rule; it says so without a hint, since nothing but another image helps.
func hostile(format string, a ...any) *vm.Error {
	return vm.Errorf(vm.KindProtocol, op, format, a...).WithComponent("image")
}

// over is the error for content that exceeds a limit.
func over(format string, a ...any) *vm.Error {
	return vm.Errorf(vm.KindLimit, op, format, a...).WithComponent("image").
		WithHint("if you trust the image, unpack it yourself and use the directory or a disk image made of it")
}

// counter counts the bytes that were read through it.
type counter struct {
	r io.Reader
	n int64
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

// guard passes on a decompressed stream within the limits.
type guard struct {
	r      io.Reader
	in     *counter // the compressed stream; nil: there is none
	out    int64    // bytes of this stream so far
	budget *int64   // bytes that all streams together may still have
	ratio  int64
}

func (g *guard) Read(p []byte) (int, error) {
	n, err := g.r.Read(p)
	g.out += int64(n)
	*g.budget -= int64(n)
	if *g.budget < 0 {
		return 0, over("the image's layers are too large when decompressed")
	}
	if g.in != nil && g.out > ratioFrom && g.out/g.ratio > g.in.n {
		return 0, over("a layer decompresses to more than %d times its size", g.ratio)
	}
	return n, err
}
