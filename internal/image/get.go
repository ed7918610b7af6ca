package image

import (
	"cmp"
	"context"
	"os"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"

	"github.com/libcapsa/libcapsa/internal/vm"
)

// Pull says when a registry is asked.
type Pull int

// The answers.
const (
	PullMissing Pull = iota // when the store has no image for the reference
	PullAlways              // each time, for what the reference names now
	PullNever               // not at all
)

// Options say how to get an image. The zero value is good.
type Options struct {
	Pull     Pull
	Platform string         // "linux/arm64"; "": of this host's processor
	Insecure bool           // speak to the registry without TLS
	Keychain authn.Keychain // where credentials are; nil: where docker and podman have theirs
	Limits   Limits

	// Progress is told of long work, by one goroutine at a time; nil: nobody is.
	Progress func(Progress)
}

// Progress is how far the work is.
type Progress struct {
	Step  string // "download", "unpack"
	Done  int64  // bytes
	Total int64  // 0: not known
}

func (o Options) tell(step string) func(done, total int64) {
	return func(done, total int64) {
		if o.Progress != nil {
			o.Progress(Progress{step, done, total})
		}
	}
}

// Get returns the image that a reference names, and makes it if the store does not have it. A disk image is taken as it
// is. References:
//
//	debian:12, ghcr.io/owner/name@sha256:…   an image of a registry; docker:// in front is allowed
//	./path, /path, dir: tar: disk: oci: docker-archive:   something on this host, by its content or as told
func (s *Store) Get(ctx context.Context, reference string, o Options) (Image, error) {
	src, err := parse(reference)
	if err != nil {
		return Image{}, err
	}
	switch src.kind {
	case kindDisk:
		return disk(src.path)
	case kindDir:
		return s.fromDir(ctx, src.path, o)
	case kindTar:
		return s.fromTar(ctx, src.path, o)
	case kindLayout, kindDocker:
		return s.fromLocal(ctx, src, o)
	default:
		return s.fromRegistry(ctx, src, o)
	}
}

// disk is a disk image as it is.
func disk(path string) (Image, error) {
	info, err := os.Stat(path)
	if err != nil {
		return Image{}, vm.Wrap(op, err)
	}
	f, err := os.Open(path)
	if err != nil {
		return Image{}, vm.Wrap(op, err)
	}
	defer f.Close()
	format, head := vm.DiskRaw, make([]byte, 4)
	if n, _ := f.ReadAt(head, 0); n == len(head) && string(head) == "QFI\xfb" {
		format = vm.DiskQcow2
	}
	return Image{Reference: string(kindDisk) + ":" + path, Path: path, Format: format, Size: info.Size()}, nil
}

// build makes the root file system of layers, under the name that says what it is made from, and notes what it is.
func (s *Store) build(ctx context.Context, img Image, from []string, layers []layer, o Options) (Image, error) {
	root := key(append([]string{formatVersion}, from...)...) + ".ext4"
	err := s.make(ctx, s.path(roots, root), func(f *os.File) error {
		return pack(ctx, f, layers, o.Limits, o.tell("unpack"))
	})
	if err != nil {
		return Image{}, err
	}
	return s.remember(record{Image: img, Root: root})
}

// formatVersion changes when the same layers would become another file system.
const formatVersion = "1"

func sortImages(list []Image) {
	slices.SortFunc(list, func(a, b Image) int { return cmp.Compare(a.Reference, b.Reference) })
}

// isNew says whether a file is one that is not complete.
func isNew(name string) bool { return strings.HasPrefix(name, ".new-") }

// trimPart is the name of the blob that a file is the beginning of.
func trimPart(name string) string { return strings.TrimSuffix(name, partSuffix) }

// partSuffix marks the beginning of a blob.
const partSuffix = ".part"
