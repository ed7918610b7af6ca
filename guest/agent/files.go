//go:build linux

package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/libcapsa/libcapsa/internal/agent/wire"
)

// clean is a path as the host gave it, checked.
func clean(path []byte) (string, error) {
	p := string(path)
	if !filepath.IsAbs(p) || strings.IndexByte(p, 0) >= 0 {
		return "", fmt.Errorf("%q is not an absolute path: %w", p, syscall.EINVAL)
	}
	return p, nil
}

// onPath does something to a checked path.
func onPath(path []byte, fn func(string) error) (*wire.Empty, error) {
	p, err := clean(path)
	if err == nil {
		err = fn(p)
	}
	return empty(err)
}

// describe is what stat(2) says.
func describe(st *unix.Stat_t, name string) *wire.FileInfo {
	return &wire.FileInfo{
		Name: []byte(name), Mode: st.Mode, Uid: st.Uid, Gid: st.Gid, Size: st.Size, MtimeNs: st.Mtim.Nano(),
		Inode: st.Ino, Links: uint32(st.Nlink), Device: st.Rdev,
	}
}

// statPath describes a file, and where a symbolic link leads.
func statPath(path string, follow bool) (*wire.FileInfo, error) {
	var st unix.Stat_t
	flags := unix.AT_SYMLINK_NOFOLLOW
	if follow {
		flags = 0
	}
	if err := unix.Fstatat(unix.AT_FDCWD, path, &st, flags); err != nil {
		return nil, &fs.PathError{Op: "stat", Path: path, Err: err}
	}
	i := describe(&st, filepath.Base(path))
	if st.Mode&unix.S_IFMT == unix.S_IFLNK {
		target, err := os.Readlink(path)
		if err != nil {
			return nil, err
		}
		i.Target = []byte(target)
	}
	return i, nil
}

// Stat implements wire.AgentService.
func (s *service) Stat(_ context.Context, q *wire.PathRequest) (*wire.StatReply, error) {
	p, err := clean(q.Path)
	if err != nil {
		return &wire.StatReply{Fault: fault(err)}, nil
	}
	info, err := statPath(p, q.Follow)
	return &wire.StatReply{Info: info, Fault: fault(err)}, nil
}

// List implements wire.AgentService.
func (s *service) List(_ context.Context, q *wire.ListRequest) (*wire.ListReply, error) {
	p, err := clean(q.Path)
	if err != nil {
		return &wire.ListReply{Fault: fault(err)}, nil
	}
	r, err := list(p, string(q.After))
	if err != nil {
		return &wire.ListReply{Fault: fault(err)}, nil
	}
	return r, nil
}

// list is one page, of the names after the last one of the page before.
func list(dir, after string) (*wire.ListReply, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	names, err := f.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	sort.Strings(names)
	names = names[sort.Search(len(names), func(i int) bool { return names[i] > after }):]
	r := &wire.ListReply{}
	size := 0
	for _, name := range names {
		if len(r.Entries) >= wire.MaxListPage || size >= wire.MaxListBytes {
			r.More = true
			break
		}
		info, err := statPath(filepath.Join(dir, name), false)
		if errors.Is(err, fs.ErrNotExist) {
			continue // it went meanwhile
		}
		if err != nil {
			return nil, err
		}
		size += len(info.Name) + len(info.Target) + 64 // and its numbers
		r.Entries = append(r.Entries, info)
	}
	return r, nil
}

// Mkdir implements wire.AgentService.
func (s *service) Mkdir(_ context.Context, q *wire.MkdirRequest) (*wire.Empty, error) {
	return onPath(q.Path, func(p string) error {
		if q.Parents {
			if info, err := os.Stat(p); err == nil && info.IsDir() {
				return nil
			}
			if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
				return err
			}
		}
		if err := unix.Mkdir(p, q.Mode&0o7777); err != nil {
			return &fs.PathError{Op: "mkdir", Path: p, Err: err}
		}
		return unix.Chmod(p, q.Mode&0o7777) // whatever the umask is
	})
}

// Remove implements wire.AgentService.
func (s *service) Remove(_ context.Context, q *wire.RemoveRequest) (*wire.Empty, error) {
	return onPath(q.Path, func(p string) error {
		if filepath.Clean(p) == "/" {
			return fmt.Errorf("the root directory stays: %w", syscall.EBUSY)
		}
		if q.Recursive {
			return os.RemoveAll(p)
		}
		return os.Remove(p)
	})
}

// Rename implements wire.AgentService.
func (s *service) Rename(_ context.Context, q *wire.RenameRequest) (*wire.Empty, error) {
	return onPath(q.From, func(from string) error {
		to, err := clean(q.To)
		if err != nil {
			return err
		}
		flags := uint(0)
		if q.NoReplace {
			flags = unix.RENAME_NOREPLACE
		}
		if err := unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, flags); err != nil {
			return &os.LinkError{Op: "rename", Old: from, New: to, Err: err}
		}
		return nil
	})
}

// Chmod implements wire.AgentService.
func (s *service) Chmod(_ context.Context, q *wire.ChmodRequest) (*wire.Empty, error) {
	return onPath(q.Path, func(p string) error {
		if err := unix.Chmod(p, q.Mode&0o7777); err != nil {
			return &fs.PathError{Op: "chmod", Path: p, Err: err}
		}
		return nil
	})
}

// Chown implements wire.AgentService.
func (s *service) Chown(_ context.Context, q *wire.ChownRequest) (*wire.Empty, error) {
	return onPath(q.Path, func(p string) error {
		if q.Follow {
			return os.Chown(p, int(q.Uid), int(q.Gid))
		}
		return os.Lchown(p, int(q.Uid), int(q.Gid))
	})
}

// Symlink implements wire.AgentService.
func (s *service) Symlink(_ context.Context, q *wire.SymlinkRequest) (*wire.Empty, error) {
	return onPath(q.Path, func(p string) error { return os.Symlink(string(q.Target), p) })
}
