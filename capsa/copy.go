package capsa

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path"
	"path/filepath"

	"github.com/libcapsa/libcapsa/internal/agent/tree"
	"github.com/libcapsa/libcapsa/internal/agent/wire"
	"github.com/libcapsa/libcapsa/internal/vm"
)

// CopyOptions say how trees are copied.
type CopyOptions struct {
	KeepOwner bool // user and group numbers are kept; into the host only for root
	// Of CopyOut: what the guest may make the host store. 0: 16 GiB, and 1,000,000 files.
	MaxBytes int64
	MaxFiles int
}

// TarIn unpacks a tar archive (ustar, GNU or PAX, not compressed) below a directory of the
// guest, which is made if need be. Names that lead out of it are refused. It returns the
// size of the archive.
func (f *Files) TarIn(ctx context.Context, dir string, r io.Reader, o CopyOptions) (int64, error) {
	return f.tarIn(ctx, dir, o, func(w io.Writer) error {
		_, err := io.Copy(w, r)
		return err
	})
}

// tarIn has fill write an archive for the guest.
func (f *Files) tarIn(ctx context.Context, dir string, o CopyOptions, fill func(io.Writer) error) (int64, error) {
	const op = "copy in"
	if err := checkPath(op, dir); err != nil {
		return 0, err
	}
	call := func(stream uint64) streamCall {
		return streaming(wire.AgentService.TarIn, &wire.TarInRequest{Path: []byte(dir), Stream: stream, KeepOwner: o.KeepOwner})
	}
	return transfer(ctx, f.v, op, call, func(conn net.Conn) (int64, error) {
		w := &writer{w: conn, left: -1}
		err := fill(w)
		if w.err != nil { // the guest says why
			return w.n, nil
		}
		if err == nil {
			err = (&Pipe{conn}).CloseWrite()
		}
		return w.n, err
	})
}

// TarOut writes a file or directory of the guest, with all that is in it, to w as a tar
// archive (PAX). The names in it begin with the last part of the path. It returns the
// size of the archive. The guest wrote it: unpack it with care.
func (f *Files) TarOut(ctx context.Context, path string, w io.Writer) (int64, error) {
	const op = "copy out"
	if err := checkPath(op, path); err != nil {
		return 0, err
	}
	return receive(ctx, f.v, op, w, -1, func(stream uint64) streamCall {
		return streaming(wire.AgentService.TarOut, &wire.TarOutRequest{Path: []byte(path), Stream: stream})
	})
}

// CopyIn copies a file or directory of the host into the guest, where it is called to: a
// directory of that name is added to, a file replaced. Symbolic links are copied as such.
func (f *Files) CopyIn(ctx context.Context, from, to string, o CopyOptions) error {
	const op = "copy in"
	if err := checkPath(op, to); err != nil {
		return err
	}
	to = path.Clean(to)
	if _, err := os.Lstat(from); err != nil {
		return vm.Wrap(op, err)
	}
	_, err := f.tarIn(ctx, path.Dir(to), o, func(w io.Writer) error { return tree.Write(w, from, path.Base(to)) })
	return err
}

// CopyOut copies a file or directory of the guest to the host, where it is called to: a
// directory of that name is added to, a file replaced. Nothing outside of the directory
// in which to is can be touched, whatever the guest sends; device nodes, sockets and
// set-user-ID bits are left out. Errors of its own: KindLimit (o's), KindProtocol.
func (f *Files) CopyOut(ctx context.Context, from, to string, o CopyOptions) error {
	const op = "copy out"
	if err := checkPath(op, from); err != nil {
		return err
	}
	to = filepath.Clean(to)
	root, err := os.OpenRoot(filepath.Dir(to))
	if err != nil {
		return vm.Wrap(op, err)
	}
	defer root.Close()
	options := tree.Options{Top: filepath.Base(to), KeepOwner: o.KeepOwner, MaxBytes: o.MaxBytes, MaxFiles: o.MaxFiles}
	if options.MaxBytes <= 0 {
		options.MaxBytes = defaultMaxBytes
	}
	if options.MaxFiles <= 0 {
		options.MaxFiles = defaultMaxFiles
	}
	call := func(stream uint64) streamCall {
		return streaming(wire.AgentService.TarOut, &wire.TarOutRequest{Path: []byte(path.Clean(from)), Stream: stream})
	}
	_, err = transfer(ctx, f.v, op, call, func(conn net.Conn) (int64, error) {
		r := &reader{r: conn}
		err := unpackError(tree.Unpack(root, r, options))
		if err == nil {
			_, err = io.Copy(io.Discard, io.LimitReader(r, maxTarPadding))
		}
		if r.err != nil && r.err != io.EOF { // of the connection: the guest says why
			err = nil
		}
		return r.n, err
	})
	return err
}

// Limits of what a guest may make the host store.
const (
	defaultMaxBytes = 16 << 30
	defaultMaxFiles = 1_000_000
)

// unpackError gives what the guest sent its kind.
func unpackError(err error) error {
	switch {
	case errors.Is(err, tree.ErrLimit):
		return vm.Errorf(vm.KindLimit, "copy out", "%w", err).WithComponent("agent")
	case errors.Is(err, tree.ErrBroken):
		return vm.Errorf(vm.KindProtocol, "copy out", "%w", err).WithComponent("agent")
	}
	return err
}

// maxTarPadding is the largest number of zeroes after an archive that is read, in bytes.
const maxTarPadding = 1 << 20

// reader counts, and keeps the connection's error apart.
type reader struct {
	r   io.Reader
	n   int64
	err error
}

func (r *reader) Read(p []byte) (int, error) {
	n, err := r.r.Read(p)
	r.n += int64(n)
	r.err = err
	return n, err
}
