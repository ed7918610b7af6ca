package image

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/gofrs/flock"

	"github.com/libcapsa/libcapsa/internal/vm"
)

// Store keeps images below one directory:
//
//	blobs/HEX        a compressed layer, by its sha256
//	blobs/HEX.part   the beginning of one that is being fetched
//	roots/HEX.ext4   a root file system, by the sha256 of what it was made from
//	refs/HEX.json    what a reference named when it was last resolved, by the reference's sha256
//	locks/HEX        held while one of these is made
//
// Any number of processes may use one store at the same time.
type Store struct{ dir string }

// The folders of a store.
const (
	blobs = "blobs"
	roots = "roots"
	refs  = "refs"
	locks = "locks"
)

// DefaultDir is where images are kept unless told otherwise: $XDG_CACHE_HOME/capsa/images, or ~/.cache/capsa/images.
func DefaultDir() (string, error) {
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", vm.Errorf(vm.KindUnavailable, op, "%w", err).WithHint("set XDG_CACHE_HOME or HOME")
	}
	return filepath.Join(dir, "capsa", "images"), nil
}

// Open returns the store in a directory, which is made if need be.
func Open(dir string) (*Store, error) {
	for _, name := range []string{blobs, roots, refs, locks} {
		if err := os.MkdirAll(filepath.Join(dir, name), 0o700); err != nil {
			return nil, vm.Wrap(op, err)
		}
	}
	return &Store{dir}, nil
}

// Image is an image that a machine can have as its root.
type Image struct {
	Reference string        `json:"reference"`        // as its maker is named in full: "index.docker.io/library/debian:12"
	Digest    string        `json:"digest,omitempty"` // of the manifest, "sha256:…"; "" for what has none
	Path      string        `json:"path"`             // of the file
	Format    vm.DiskFormat `json:"format"`
	Size      int64         `json:"size"` // of the file, in bytes
	Made      time.Time     `json:"made"` // when the reference was resolved
	Config    Config        `json:"config"`
}

func (s *Store) path(folder, name string) string { return filepath.Join(s.dir, folder, name) }

// key is the name of the file that is made from what the parts say.
func key(parts ...string) string {
	sum := sha256.New()
	for _, part := range parts {
		_, _ = sum.Write([]byte(part))
		_, _ = sum.Write([]byte{0})
	}
	return hex.EncodeToString(sum.Sum(nil))
}

// lockRetry is how often a lock that another process holds is tried again.
const lockRetry = 50 * time.Millisecond

// make makes the file at path unless it is there: fn writes it under another name, and it gets its own when it is
// complete and on the disk. Of several processes one makes it, and the others wait.
func (s *Store) make(ctx context.Context, path string, fn func(f *os.File) error) error {
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	unlock, err := s.lock(ctx, filepath.Base(path))
	if err != nil {
		return err
	}
	defer unlock()
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return vm.Wrap(op, err)
	}
	defer os.Remove(f.Name())
	defer f.Close()
	if err := fn(f); err != nil {
		return vm.Wrap(op, err)
	}
	return vm.Wrap(op, finish(f, path))
}

// finish gives a complete file its name, once its content is on the disk.
func finish(f *os.File, path string) error {
	if err := f.Sync(); err != nil {
		return err
	}
	if err := f.Chmod(0o444); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// lock takes the lock of a name.
func (s *Store) lock(ctx context.Context, name string) (unlock func(), err error) {
	l := flock.New(s.path(locks, name))
	if ok, err := l.TryLockContext(ctx, lockRetry); err != nil || !ok {
		return nil, vm.Wrap(op, err)
	}
	return func() { _ = l.Unlock() }, nil // the file stays: another may be waiting on it
}

// record is the file of a reference.
type record struct {
	Image
	Root string `json:"root"` // file name in roots
}

// recall returns what a reference named when it was last resolved; ok is false when that is not known or gone.
func (s *Store) recall(reference string) (img Image, ok bool) {
	r, err := readRecord(s.path(refs, key(reference)+".json"))
	if err != nil {
		return Image{}, false
	}
	return s.complete(r)
}

// complete finds the file of a record.
func (s *Store) complete(r record) (Image, bool) {
	r.Path = s.path(roots, filepath.Base(r.Root))
	info, err := os.Stat(r.Path)
	if err != nil {
		return Image{}, false
	}
	r.Format, r.Size = vm.DiskRaw, info.Size()
	return r.Image, true
}

func readRecord(path string) (record, error) {
	var r record
	data, err := os.ReadFile(path)
	if err != nil {
		return r, err
	}
	return r, json.Unmarshal(data, &r)
}

// remember writes down what a reference names, and returns the image.
func (s *Store) remember(r record) (Image, error) {
	r.Made = time.Now().UTC().Truncate(time.Second)
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return Image{}, vm.Wrap(op, err)
	}
	f, err := os.CreateTemp(s.path(refs, ""), ".new-*")
	if err != nil {
		return Image{}, vm.Wrap(op, err)
	}
	defer os.Remove(f.Name())
	defer f.Close()
	if _, err := f.Write(data); err != nil {
		return Image{}, vm.Wrap(op, err)
	}
	if err := finish(f, s.path(refs, key(r.Reference)+".json")); err != nil {
		return Image{}, vm.Wrap(op, err)
	}
	img, ok := s.complete(r)
	if !ok {
		return Image{}, vm.Errorf(vm.KindNotFound, op, "the image went away while it was being made").
			WithHint("somebody has pruned the cache; try again")
	}
	return img, nil
}

// List returns the images of the store, by reference.
func (s *Store) List() ([]Image, error) {
	entries, err := os.ReadDir(s.path(refs, "")) // sorted by hash
	if err != nil {
		return nil, vm.Wrap(op, err)
	}
	var out []Image
	for _, e := range entries {
		if filepath.Ext(e.Name()) != ".json" {
			continue
		}
		r, err := readRecord(s.path(refs, e.Name()))
		if err != nil {
			continue // removed meanwhile, or damaged: prune takes it away
		}
		if img, ok := s.complete(r); ok {
			out = append(out, img)
		}
	}
	sortImages(out)
	return out, nil
}

// Freed is what Prune has taken away.
type Freed struct {
	Files int   `json:"files"`
	Bytes int64 `json:"bytes"`
}

// Prune takes away what is not needed to run the images of List: layers, unfinished downloads, root file systems that no
// reference names. With all, everything goes. Machines that run keep what they have; what another process is just making
// stays.
func (s *Store) Prune(all bool) (Freed, error) {
	var freed Freed
	keep := map[string]bool{}
	if !all {
		images, err := s.List()
		if err != nil {
			return freed, err
		}
		for _, img := range images {
			keep[filepath.Base(img.Path)] = true
			keep[key(img.Reference)+".json"] = true
		}
	}
	for _, folder := range []string{refs, roots, blobs} {
		entries, err := os.ReadDir(s.path(folder, ""))
		if err != nil {
			return freed, vm.Wrap(op, err)
		}
		for _, e := range entries {
			if keep[e.Name()] {
				continue
			}
			if err := s.discard(folder, e.Name(), &freed); err != nil {
				return freed, err
			}
		}
	}
	return freed, nil
}

// discard removes one file, unless somebody is at it.
func (s *Store) discard(folder, name string, freed *Freed) error {
	lock := name
	if folder == blobs {
		lock = trimPart(name)
	}
	l := flock.New(s.path(locks, lock))
	if ok, err := l.TryLock(); err != nil || !ok {
		return vm.Wrap(op, err)
	}
	defer func() { _ = l.Unlock() }()
	path := s.path(folder, name)
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return vm.Wrap(op, err)
	}
	if isNew(name) && time.Since(info.ModTime()) < time.Hour {
		return nil // being written by somebody, under another name's lock
	}
	if err := os.Remove(path); err != nil {
		return vm.Wrap(op, err)
	}
	freed.Files++
	freed.Bytes += info.Size()
	return nil
}
