package capsa

import (
	"context"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"time"

	"github.com/libcapsa/libcapsa/internal/agent/host"
	"github.com/libcapsa/libcapsa/internal/agent/wire"
	"github.com/libcapsa/libcapsa/internal/vm"
)

// MaxReadFile is the largest file that ReadFile reads, in bytes.
const MaxReadFile = 256 << 20

// maxListed is the largest number of entries that List returns.
const maxListed = 1 << 20

// Files are the files of a guest, reached through its agent, as root. Paths are absolute
// and bytes. Errors of all methods: those of WaitReady; KindNotFound, KindExists,
// KindPermission, KindInvalidArg and KindLimit by the guest's error number, which
// Error.Errno gives; KindGuest for what has no kind of its own.
type Files struct{ v *VM }

// Files gives access to the guest's files.
func (v *VM) Files() *Files { return &Files{v} }

// FileInfo describes a file of the guest.
type FileInfo struct {
	Name       string      // the last part of its path
	Mode       fs.FileMode // type and permissions
	UID, GID   int
	Size       int64
	ModTime    time.Time
	Inode      uint64
	Links      int
	Device     uint64 // of a device node: st_rdev
	LinkTarget string // of a symbolic link
}

// checkPath finds what is wrong with a path by itself.
func checkPath(op, p string) error {
	switch {
	case !path.IsAbs(p):
		return vm.Errorf(vm.KindInvalidArg, op, "%q is not an absolute path", p)
	case strings.IndexByte(p, 0) >= 0:
		return vm.Errorf(vm.KindInvalidArg, op, "the path %q contains a NUL byte", p)
	case len(p) >= wire.MaxPath:
		return vm.Errorf(vm.KindInvalidArg, op, "the path is %d bytes long; fewer than %d are allowed", len(p), wire.MaxPath)
	}
	return nil
}

// fileCall makes a call about paths.
func fileCall[Q, R any](
	ctx context.Context, f *Files, op string, m func(wire.AgentService, context.Context, *Q) (*R, error), q *Q, paths ...string,
) (*R, error) {
	for _, p := range paths {
		if err := checkPath(op, p); err != nil {
			return nil, err
		}
	}
	return call(ctx, f.v, op, m, q)
}

// Stat describes a file, the one at the end of symbolic links.
func (f *Files) Stat(ctx context.Context, path string) (FileInfo, error) {
	return f.stat(ctx, path, true)
}

// Lstat describes a file, a symbolic link itself.
func (f *Files) Lstat(ctx context.Context, path string) (FileInfo, error) {
	return f.stat(ctx, path, false)
}

func (f *Files) stat(ctx context.Context, path string, follow bool) (FileInfo, error) {
	r, err := fileCall(ctx, f, "stat", wire.AgentService.Stat, &wire.PathRequest{Path: []byte(path), Follow: follow}, path)
	if err != nil {
		return FileInfo{}, err
	}
	return fileInfo(r.Info), nil
}

// List describes the files in a directory, in the order of their names.
func (f *Files) List(ctx context.Context, path string) ([]FileInfo, error) {
	const op = "list"
	q := &wire.ListRequest{Path: []byte(path)}
	var all []FileInfo
	for {
		r, err := fileCall(ctx, f, op, wire.AgentService.List, q, path)
		if err != nil {
			return nil, err
		}
		for _, e := range r.Entries {
			all = append(all, fileInfo(e))
		}
		switch {
		case !r.More:
			return all, nil
		case len(r.Entries) == 0:
			return nil, vm.Errorf(vm.KindProtocol, op, "the agent's list does not end").WithComponent("agent")
		case len(all) > maxListed:
			return nil, vm.Errorf(vm.KindLimit, op, "the directory has more than %d entries", maxListed).WithComponent("agent")
		}
		q.After = []byte(all[len(all)-1].Name)
	}
}

// Mkdir makes a directory; with parents also those above it, and one that is there is
// right.
func (f *Files) Mkdir(ctx context.Context, path string, mode fs.FileMode, parents bool) error {
	_, err := fileCall(ctx, f, "mkdir", wire.AgentService.Mkdir,
		&wire.MkdirRequest{Path: []byte(path), Mode: unixMode(mode), Parents: parents}, path)
	return err
}

// Remove removes a file or an empty directory; recursive: also what is in it, and what
// is not there is right.
func (f *Files) Remove(ctx context.Context, path string, recursive bool) error {
	_, err := fileCall(ctx, f, "remove", wire.AgentService.Remove,
		&wire.RemoveRequest{Path: []byte(path), Recursive: recursive}, path)
	return err
}

// Rename moves a file or directory within a file system, in place of what is there.
func (f *Files) Rename(ctx context.Context, from, to string) error {
	_, err := fileCall(ctx, f, "rename", wire.AgentService.Rename, &wire.RenameRequest{From: []byte(from), To: []byte(to)}, from, to)
	return err
}

// Chmod sets a file's permissions.
func (f *Files) Chmod(ctx context.Context, path string, mode fs.FileMode) error {
	_, err := fileCall(ctx, f, "chmod", wire.AgentService.Chmod, &wire.ChmodRequest{Path: []byte(path), Mode: unixMode(mode)}, path)
	return err
}

// Chown sets a file's owner and group, of a symbolic link itself; -1: as it is.
func (f *Files) Chown(ctx context.Context, path string, uid, gid int) error {
	_, err := fileCall(ctx, f, "chown", wire.AgentService.Chown,
		&wire.ChownRequest{Path: []byte(path), Uid: int64(uid), Gid: int64(gid)}, path)
	return err
}

// Symlink makes a symbolic link at path that leads to target.
func (f *Files) Symlink(ctx context.Context, target, path string) error {
	_, err := fileCall(ctx, f, "symlink", wire.AgentService.Symlink,
		&wire.SymlinkRequest{Target: []byte(target), Path: []byte(path)}, path)
	return err
}

// ReadFile reads a whole file of MaxReadFile bytes at most.
func (f *Files) ReadFile(ctx context.Context, path string) ([]byte, error) {
	var b limitedBuffer
	b.left = MaxReadFile
	if _, err := f.ReadTo(ctx, path, &b, 0, -1); err != nil {
		return nil, err
	}
	return b.data, nil
}

// limitedBuffer takes so many bytes and no more.
type limitedBuffer struct {
	data []byte
	left int
}

func (b *limitedBuffer) Write(p []byte) (int, error) {
	if len(p) > b.left {
		return 0, vm.Errorf(vm.KindLimit, "read file", "the file has more than %d bytes", MaxReadFile)
	}
	b.left -= len(p)
	b.data = append(b.data, p...)
	return len(p), nil
}

// ReadTo copies size bytes of a file from offset on, -1: all, to w, and returns how many
// there were.
func (f *Files) ReadTo(ctx context.Context, path string, w io.Writer, offset, size int64) (int64, error) {
	const op = "read file"
	if err := checkPath(op, path); err != nil {
		return 0, err
	}
	if offset < 0 || size < -1 {
		return 0, vm.Errorf(vm.KindInvalidArg, op, "offset %d and size %d", offset, size)
	}
	return receive(ctx, f.v, op, w, size, func(stream uint64) streamCall {
		return streaming(wire.AgentService.ReadStream,
			&wire.ReadStreamRequest{Path: []byte(path), Offset: offset, Size: size, Stream: stream})
	})
}

// WriteOptions say how a file is written. The zero value replaces it atomically: who
// opens it sees the old or the new content whole.
type WriteOptions struct {
	Mode     fs.FileMode // permissions of a new file; 0: 0644, or as the one that is replaced
	InPlace  bool        // write the file that is there, or make one
	Offset   int64       // with InPlace: where to begin
	Truncate bool        // with InPlace: nothing else remains
	UID, GID *int        // owner; nil: as the one that is replaced, or root
}

// WriteFile writes a whole file, in place of the one that is there.
func (f *Files) WriteFile(ctx context.Context, path string, data []byte, mode fs.FileMode) error {
	_, err := f.WriteFrom(ctx, path, strings.NewReader(string(data)), WriteOptions{Mode: mode})
	return err
}

// WriteFrom writes what r has to a file, and returns how much it was.
func (f *Files) WriteFrom(ctx context.Context, path string, r io.Reader, o WriteOptions) (int64, error) {
	const op = "write file"
	if err := checkPath(op, path); err != nil {
		return 0, err
	}
	if o.Offset < 0 || !o.InPlace && (o.Offset != 0 || o.Truncate) {
		return 0, vm.Errorf(vm.KindInvalidArg, op, "an offset, or what remains, is for a file that is written in place")
	}
	id := func(p *int) int64 {
		if p == nil {
			return -1
		}
		return int64(*p)
	}
	return send(ctx, f.v, op, r, func(stream uint64) streamCall {
		return streaming(wire.AgentService.WriteStream, &wire.WriteStreamRequest{
			Path: []byte(path), Offset: o.Offset, Mode: unixMode(o.Mode), Atomic: !o.InPlace, Truncate: o.Truncate,
			Uid: id(o.UID), Gid: id(o.GID), Stream: stream, Create: true, Size: -1,
		})
	})
}

// unixMode is st_mode's permissions (inode(7)).
func unixMode(m fs.FileMode) uint32 {
	out := uint32(m.Perm())
	for _, b := range []struct {
		mode fs.FileMode
		bit  uint32
	}{{fs.ModeSetuid, 0o4000}, {fs.ModeSetgid, 0o2000}, {fs.ModeSticky, 0o1000}} {
		if m&b.mode != 0 {
			out |= b.bit
		}
	}
	return out
}

// fileMode is the reverse, with the type.
func fileMode(m uint32) fs.FileMode {
	out := fs.FileMode(m & 0o777)
	for _, b := range []struct {
		mode fs.FileMode
		bit  uint32
	}{{fs.ModeSetuid, 0o4000}, {fs.ModeSetgid, 0o2000}, {fs.ModeSticky, 0o1000}} {
		if m&b.bit != 0 {
			out |= b.mode
		}
	}
	return out | fileTypes[m&0o170000]
}

// fileTypes are the values of S_IFMT (inode(7)).
var fileTypes = map[uint32]fs.FileMode{
	0o100000: 0, 0o040000: fs.ModeDir, 0o120000: fs.ModeSymlink, 0o010000: fs.ModeNamedPipe, 0o140000: fs.ModeSocket,
	0o020000: fs.ModeDevice | fs.ModeCharDevice, 0o060000: fs.ModeDevice, 0: fs.ModeIrregular,
}

// fileInfo translates what the guest says. Its text stays bytes: it may be any.
func fileInfo(i *wire.FileInfo) FileInfo {
	if i == nil {
		i = &wire.FileInfo{}
	}
	return FileInfo{
		Name: string(i.Name), Mode: fileMode(i.Mode), UID: int(i.Uid), GID: int(i.Gid), Size: i.Size,
		ModTime: time.Unix(0, i.MtimeNs), Inode: i.Inode, Links: int(i.Links), Device: i.Device, LinkTarget: string(i.Target),
	}
}

// File is an open file of the guest. Its methods may be called from any goroutine. Each
// moves 128 KiB at a time and waits for the guest each time: ReadTo and WriteFrom are
// quicker for much.
type File struct {
	v      *VM
	handle uint64
	append bool
}

// Open opens a file: flag is of package os (O_RDONLY, O_CREATE and the like). The agent
// has room for 1,024 open files: Close them.
func (f *Files) Open(ctx context.Context, path string, flag int, mode fs.FileMode) (*File, error) {
	const op = "open"
	if err := checkPath(op, path); err != nil {
		return nil, err
	}
	h, err := f.v.hostOf(op)
	if err != nil {
		return nil, err
	}
	r, err := host.CallLate(ctx, h, op, wire.AgentService.Open,
		&wire.OpenRequest{Path: []byte(path), Flags: openFlags(flag), Mode: unixMode(mode)},
		func(r *wire.OpenReply) {
			_, _ = host.Call(f.v.life, h, op, wire.AgentService.Close, &wire.HandleRequest{Handle: r.Handle})
		})
	if err != nil {
		return nil, f.v.guestError(op, err)
	}
	return &File{v: f.v, handle: r.Handle, append: flag&os.O_APPEND != 0}, nil
}

// openFlags are those of Linux (include/uapi/asm-generic/fcntl.h), whatever the host is.
func openFlags(flag int) uint32 {
	out := uint32(0)
	switch {
	case flag&os.O_RDWR != 0:
		out = 2
	case flag&os.O_WRONLY != 0:
		out = 1
	}
	for _, b := range []struct {
		flag int
		bit  uint32
	}{{os.O_CREATE, 0o100}, {os.O_EXCL, 0o200}, {os.O_TRUNC, 0o1000}, {os.O_APPEND, 0o2000}, {os.O_SYNC, 0o4010000}} {
		if flag&b.flag == b.flag {
			out |= b.bit
		}
	}
	return out
}

// ReadAt reads from offset on, less than len(p) only at the end of the file, with io.EOF.
func (f *File) ReadAt(ctx context.Context, p []byte, offset int64) (int, error) {
	const op = "read file"
	done := 0
	for done < len(p) {
		want := min(len(p)-done, wire.MaxIO)
		r, err := call(ctx, f.v, op, wire.AgentService.Read,
			&wire.ReadRequest{Handle: f.handle, Offset: offset + int64(done), Size: uint32(want)})
		switch {
		case err != nil:
			return done, err
		case len(r.Data) == 0:
			return done, io.EOF
		case len(r.Data) > want:
			return done, vm.Errorf(vm.KindProtocol, op, "the agent answered with more than was asked for").WithComponent("agent")
		}
		done += copy(p[done:], r.Data)
	}
	return done, nil
}

// WriteAt writes at offset; of a file that was opened with O_APPEND, at its end.
func (f *File) WriteAt(ctx context.Context, p []byte, offset int64) (int, error) {
	const op = "write file"
	done := 0
	for done < len(p) {
		part := p[done:min(len(p), done+wire.MaxIO)]
		q := &wire.WriteRequest{Handle: f.handle, Offset: offset + int64(done), Data: part}
		if f.append {
			q.Offset = -1
		}
		r, err := call(ctx, f.v, op, wire.AgentService.Write, q)
		switch {
		case err != nil:
			return done, err
		case r.Size == 0 || int64(r.Size) > int64(len(part)):
			return done, vm.Errorf(vm.KindProtocol, op, "the agent says that it wrote %d of %d bytes", r.Size, len(part)).WithComponent("agent")
		}
		done += int(r.Size)
	}
	return done, nil
}

// Stat describes the file.
func (f *File) Stat(ctx context.Context) (FileInfo, error) {
	r, err := call(ctx, f.v, "stat", wire.AgentService.Fstat, &wire.HandleRequest{Handle: f.handle})
	if err != nil {
		return FileInfo{}, err
	}
	return fileInfo(r.Info), nil
}

// Truncate makes the file that many bytes long.
func (f *File) Truncate(ctx context.Context, size int64) error {
	_, err := call(ctx, f.v, "truncate", wire.AgentService.Truncate, &wire.TruncateRequest{Handle: f.handle, Size: size})
	return err
}

// Sync has the guest write the file to its disk.
func (f *File) Sync(ctx context.Context) error {
	_, err := call(ctx, f.v, "sync", wire.AgentService.Sync, &wire.HandleRequest{Handle: f.handle})
	return err
}

// Close closes the file. The guest's error, if any, is that of delayed writes.
func (f *File) Close(ctx context.Context) error {
	_, err := call(ctx, f.v, "close", wire.AgentService.Close, &wire.HandleRequest{Handle: f.handle})
	return err
}
