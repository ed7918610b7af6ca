package image

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"

	"github.com/libcapsa/libcapsa/internal/vm"
)

// kind says what a reference names.
type kind string

// The kinds, each also the prefix that says so: "oci:./layout:tag".
const (
	kindDir      kind = "dir"
	kindTar      kind = "tar"
	kindDisk     kind = "disk"
	kindLayout   kind = "oci"
	kindDocker   kind = "docker-archive" // what "docker save" writes
	kindRegistry kind = "docker"         // with "//": "docker://debian:12"
)

// source is a reference, understood.
type source struct {
	kind kind
	path string // of everything but a registry's, absolute
	tag  string // in a layout or a docker archive; "" if it has one image only
	ref  name.Reference
}

// parse says what a reference names. Without a prefix, what begins with "/", "./" or "../" is a path, whose content says
// the rest; everything else is an image in a registry.
func parse(text string) (source, error) {
	prefix, rest, ok := strings.Cut(text, ":")
	if ok {
		switch kind(prefix) {
		case kindDir, kindTar, kindDisk:
			return local(kind(prefix), rest, "")
		case kindLayout, kindDocker:
			path, tag := splitTag(rest)
			return local(kind(prefix), path, tag)
		case kindRegistry:
			text = strings.TrimPrefix(rest, "//")
		}
	}
	if filepath.IsAbs(text) || text == "." || text == ".." || strings.HasPrefix(text, "./") || strings.HasPrefix(text, "../") {
		return recognise(text)
	}
	ref, err := name.ParseReference(text)
	if err != nil {
		return source{}, vm.Errorf(vm.KindInvalidArg, op, "%q names no image: %w", text, err).
			WithHint("a path begins with / or ./; an image of a registry is like debian:12 or ghcr.io/owner/name@sha256:…")
	}
	return source{kind: kindRegistry, ref: ref}, nil
}

// splitTag takes the tag off a path; a colon before the last slash belongs to the path.
func splitTag(text string) (path, tag string) {
	if i := strings.LastIndexByte(text, '@'); i > strings.LastIndexByte(text, '/') {
		return text[:i], text[i+1:]
	}
	if i := strings.LastIndexByte(text, ':'); i > strings.LastIndexByte(text, '/') {
		return text[:i], text[i+1:]
	}
	return text, ""
}

func local(k kind, path, tag string) (source, error) {
	if path == "" {
		return source{}, vm.Errorf(vm.KindInvalidArg, op, "no path after %q", string(k)+":")
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return source{}, vm.Wrap(op, err)
	}
	return source{kind: k, path: abs, tag: tag}, nil
}

// recognise says what is at a path.
func recognise(path string) (source, error) {
	if _, err := os.Stat(path); err != nil {
		if p, tag := splitTag(path); tag != "" && isLayout(p) {
			return local(kindLayout, p, tag)
		}
		return source{}, vm.Wrap(op, err)
	}
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return source{}, vm.Wrap(op, err)
	case info.IsDir() && isLayout(path):
		return local(kindLayout, path, "")
	case info.IsDir():
		return local(kindDir, path, "")
	case info.Mode()&os.ModeDevice != 0:
		return local(kindDisk, path, "")
	}
	k, err := recogniseFile(path)
	if err != nil {
		return source{}, err
	}
	return local(k, path, "")
}

func isLayout(path string) bool {
	_, err := os.Stat(filepath.Join(path, "oci-layout"))
	return err == nil
}

// Where file systems and partition tables have their magic numbers.
var diskMagics = []struct {
	at    int
	magic []byte
}{
	{0, []byte("QFI\xfb")},                 // qcow2
	{0, []byte("hsqs")},                    // squashfs
	{0, []byte("XFSB")},                    // xfs
	{510, []byte{0x55, 0xaa}},              // a partition table
	{1024, []byte{0xe2, 0xe1, 0xf5, 0xe0}}, // erofs, EROFS_SUPER_MAGIC_V1
	{1080, []byte{0x53, 0xef}},             // ext2 to ext4, EXT2_SUPER_MAGIC
	{65536 + 64, []byte("_BHRfS_M")},       // btrfs
}

// recogniseFile says what a file is by its content.
func recogniseFile(path string) (kind, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", vm.Wrap(op, err)
	}
	defer f.Close()
	head := make([]byte, 66<<10)
	n, err := io.ReadFull(f, head)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		return "", vm.Wrap(op, err)
	}
	head = head[:n]
	at := func(offset int, magic []byte) bool {
		return len(head) >= offset+len(magic) && bytes.Equal(head[offset:offset+len(magic)], magic)
	}
	for _, magic := range [][]byte{magicGzip, magicZstd, magicXZ, magicBzip2} {
		if at(0, magic) {
			return kindTar, nil
		}
	}
	if at(257, []byte("ustar")) { // POSIX.1-2017, pax, "ustar Header Block"
		return kindTar, nil
	}
	for _, disk := range diskMagics {
		if at(disk.at, disk.magic) {
			return kindDisk, nil
		}
	}
	return "", vm.Errorf(vm.KindInvalidArg, op, "%s is neither an archive nor a disk image that is known here", path).
		WithHint("say what it is: tar:PATH, disk:PATH, oci:PATH or docker-archive:PATH")
}
