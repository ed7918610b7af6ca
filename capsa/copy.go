package capsa

import (
	"archive/tar"
	"context"
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"path"
	"path/filepath"

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
	_, err := f.tarIn(ctx, path.Dir(to), o, func(w io.Writer) error { return writeTree(w, from, path.Base(to)) })
	return err
}

// writeTree writes the archive of a tree under another name.
func writeTree(w io.Writer, from, name string) error {
	t := tar.NewWriter(w)
	err := filepath.WalkDir(from, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, p)
		if err != nil {
			return err
		}
		return writeEntry(t, p, path.Join(name, filepath.ToSlash(rel)))
	})
	return errors.Join(err, t.Close())
}

// writeEntry writes one file. Sockets are left out: they have no meaning elsewhere.
func writeEntry(t *tar.Writer, file, name string) error {
	info, err := os.Lstat(file)
	if err != nil || info.Mode()&fs.ModeSocket != 0 {
		return err
	}
	target := ""
	if info.Mode()&fs.ModeSymlink != 0 {
		if target, err = os.Readlink(file); err != nil {
			return err
		}
	}
	h, err := tar.FileInfoHeader(info, target)
	if err != nil {
		return err
	}
	h.Name, h.Uname, h.Gname, h.Format = name, "", "", tar.FormatPAX
	if info.IsDir() {
		h.Name += "/"
	}
	if err := t.WriteHeader(h); err != nil || !info.Mode().IsRegular() {
		return err
	}
	src, err := os.Open(file)
	if err != nil {
		return err
	}
	defer src.Close()
	n, err := io.Copy(t, io.LimitReader(src, h.Size))
	if err == nil && n < h.Size {
		err = &fs.PathError{Op: "read", Path: file, Err: io.ErrUnexpectedEOF} // it became shorter meanwhile
	}
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
	u := newUnpacker(root, filepath.Base(to), o)
	call := func(stream uint64) streamCall {
		return streaming(wire.AgentService.TarOut, &wire.TarOutRequest{Path: []byte(path.Clean(from)), Stream: stream})
	}
	_, err = transfer(ctx, f.v, op, call, func(conn net.Conn) (int64, error) {
		r := &reader{r: conn}
		err := u.run(r)
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
