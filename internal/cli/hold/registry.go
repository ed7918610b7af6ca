package hold

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/gofrs/flock"

	"github.com/libcapsa/libcapsa/internal/vm"
)

const op = "find machines"

// MaxName is the longest name, in bytes: with it, the socket's path fits sun_path (unix(7), 108 bytes) below any usual
// run-time directory.
const MaxName = 40

// Registry is the directory of the holders.
type Registry struct{ dir string }

// DefaultDir is where holders are found: $XDG_RUNTIME_DIR/capsa, or a directory of the user's own in the directory for
// temporary files.
func DefaultDir() string {
	if dir := os.Getenv("XDG_RUNTIME_DIR"); dir != "" {
		return filepath.Join(dir, "capsa")
	}
	return filepath.Join(os.TempDir(), "capsa-"+strconv.Itoa(os.Getuid()))
}

// Open returns the registry in a directory, which is made if need be. It has to be the user's own.
func Open(dir string) (Registry, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return Registry{}, vm.Wrap(op, err)
	}
	info, err := os.Lstat(dir)
	if err != nil {
		return Registry{}, vm.Wrap(op, err)
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok || !info.IsDir() || int(stat.Uid) != os.Getuid() || info.Mode().Perm()&0o077 != 0 {
		return Registry{}, vm.Errorf(vm.KindPermission, op, "%s is not a directory of yours alone", dir).
			WithHint("remove it, or set XDG_RUNTIME_DIR")
	}
	return Registry{dir}, nil
}

// CheckName says what is wrong with a name.
func CheckName(name string) error {
	good := len(name) > 0 && len(name) <= MaxName && name[0] != '.' && name[0] != '-'
	for i := range len(name) {
		c := name[i]
		good = good && (c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_' || c == '.')
	}
	if !good {
		return vm.Errorf(vm.KindInvalidArg, op, "%q is no name for a machine", name).
			WithHint("letters, digits and - _ . within, " + strconv.Itoa(MaxName) + " at most")
	}
	return nil
}

// place is a name that this process holds.
type place struct {
	registry Registry
	path     string
	lock     *flock.Flock
}

func (p *place) socket() string { return filepath.Join(p.path, "socket") }

// claim takes a name.
func (r Registry) claim(ctx context.Context, name string) (*place, error) {
	if err := CheckName(name); err != nil {
		return nil, err
	}
	var p *place
	err := r.alone(ctx, func() error {
		if err := r.sweep(name); err != nil {
			return err
		}
		path := filepath.Join(r.dir, name)
		if err := os.Mkdir(path, 0o700); err != nil {
			if errors.Is(err, fs.ErrExist) {
				return vm.Errorf(vm.KindExists, "run", "there is a machine called %s", name).
					WithHint("give this one another name, or end that one: capsa stop " + name)
			}
			return vm.Wrap(op, err)
		}
		lock := flock.New(filepath.Join(path, "lock"))
		if ok, err := lock.TryLock(); err != nil || !ok {
			return errors.Join(vm.Wrap(op, err), os.RemoveAll(path))
		}
		p = &place{registry: r, path: path, lock: lock}
		return nil
	})
	return p, err
}

// release gives the name back. Nothing is left of it.
func (p *place) release() error {
	return errors.Join(os.RemoveAll(p.path), p.lock.Unlock())
}

// alone runs fn while no other process takes or removes names.
func (r Registry) alone(ctx context.Context, fn func() error) error {
	lock := flock.New(filepath.Join(r.dir, ".lock"))
	if ok, err := lock.TryLockContext(ctx, 10*time.Millisecond); err != nil || !ok {
		return vm.Wrap(op, err)
	}
	defer func() { _ = lock.Unlock() }()
	return fn()
}

// sweep removes what a holder left that is no more. The registry's lock is held.
func (r Registry) sweep(name string) error {
	path := filepath.Join(r.dir, name)
	if _, err := os.Lstat(path); err != nil {
		return nil
	}
	lock := flock.New(filepath.Join(path, "lock"))
	ok, err := lock.TryLock()
	if errors.Is(err, fs.ErrNotExist) { // it is going just now
		return nil
	}
	if err != nil {
		return vm.Wrap(op, err)
	}
	if !ok {
		return nil // it lives
	}
	return vm.Wrap(op, errors.Join(os.RemoveAll(path), lock.Unlock()))
}

// Names are those of the holders that live, sorted. What others left is removed.
func (r Registry) Names(ctx context.Context) ([]string, error) {
	var out []string
	err := r.alone(ctx, func() error {
		entries, err := os.ReadDir(r.dir)
		if err != nil {
			return vm.Wrap(op, err)
		}
		for _, e := range entries {
			if CheckName(e.Name()) != nil || !e.IsDir() {
				continue
			}
			if err := r.sweep(e.Name()); err != nil {
				return err
			}
			if _, err := os.Lstat(filepath.Join(r.dir, e.Name())); err == nil {
				out = append(out, e.Name())
			}
		}
		return nil
	})
	return out, err
}
