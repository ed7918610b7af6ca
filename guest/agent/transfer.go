//go:build linux

package agent

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/libcapsa/libcapsa/internal/agent/tree"
	"github.com/libcapsa/libcapsa/internal/agent/wire"
	"github.com/libcapsa/libcapsa/internal/safe"
)

// counter counts what passes.
type counter struct {
	r io.Reader
	w io.Writer
	n int64
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}

// incoming has fn read a stream of the host's. When it fails the stream is closed, and the
// host, whose writing then fails too, finds out why from the answer.
func (a *Agent) incoming(stream uint64, fn func(io.Reader) (int64, error)) (*wire.StreamReply, error) {
	conn, err := a.stream(stream)
	if err != nil {
		return &wire.StreamReply{Fault: fault(err)}, nil
	}
	defer conn.Close()
	n, err := fn(conn)
	return &wire.StreamReply{Size: n, Fault: fault(err)}, nil
}

// outgoing has fn write a stream to the host.
func (a *Agent) outgoing(stream uint64, fn func(io.Writer) error) (*wire.StreamReply, error) {
	conn, err := a.stream(stream)
	if err != nil {
		return &wire.StreamReply{Fault: fault(err)}, nil
	}
	defer conn.Close()
	c := &counter{w: conn}
	err = fn(c)
	_ = conn.CloseWrite()
	return &wire.StreamReply{Size: c.n, Fault: fault(err)}, nil
}

// ReadStream implements wire.AgentService.
func (s *service) ReadStream(_ context.Context, q *wire.ReadStreamRequest) (*wire.StreamReply, error) {
	p, err := clean(q.Path)
	if err != nil {
		return &wire.StreamReply{Fault: fault(err)}, nil
	}
	f, err := os.Open(p)
	if err != nil {
		return &wire.StreamReply{Fault: fault(err)}, nil
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && info.IsDir() {
		return &wire.StreamReply{Fault: fault(&fs.PathError{Op: "read", Path: p, Err: syscall.EISDIR})}, nil
	}
	return s.a.outgoing(q.Stream, func(w io.Writer) error {
		if q.Offset > 0 {
			if _, err := f.Seek(q.Offset, io.SeekStart); err != nil {
				return err
			}
		}
		r := io.Reader(f)
		if q.Size >= 0 {
			r = io.LimitReader(f, q.Size)
		}
		_, err := io.CopyBuffer(w, struct{ io.Reader }{r}, make([]byte, wire.MaxChunk))
		return err
	})
}

// WriteStream implements wire.AgentService.
func (s *service) WriteStream(_ context.Context, q *wire.WriteStreamRequest) (*wire.StreamReply, error) {
	p, err := clean(q.Path)
	if err != nil {
		return &wire.StreamReply{Fault: fault(err)}, nil
	}
	w, err := openWriter(p, q)
	if err != nil {
		return &wire.StreamReply{Fault: fault(err)}, nil
	}
	return s.a.incoming(q.Stream, func(r io.Reader) (int64, error) {
		n, err := io.CopyBuffer(struct{ io.Writer }{w.file}, &wire.Chunks{R: r}, make([]byte, wire.MaxChunk))
		return n, w.finish(err)
	})
}

// fileWriter is a file that is being written, or that will take another's place.
type fileWriter struct {
	q    *wire.WriteStreamRequest
	path string // where it is to be
	temp string // where it is until then; "": there
	file *os.File
}

func openWriter(path string, q *wire.WriteStreamRequest) (*fileWriter, error) {
	w := &fileWriter{q: q, path: path}
	mode := fs.FileMode(0o644)
	if q.Mode != 0 {
		mode = fs.FileMode(q.Mode & 0o777)
	}
	if q.Atomic {
		return w, w.beside(mode)
	}
	flags := os.O_WRONLY
	if q.Create {
		flags |= os.O_CREATE
	}
	if q.Truncate {
		flags |= os.O_TRUNC
	}
	var err error
	if w.file, err = os.OpenFile(path, flags, mode); err != nil {
		return nil, err
	}
	if q.Offset > 0 {
		if _, err := w.file.Seek(q.Offset, io.SeekStart); err != nil {
			w.file.Close()
			return nil, err
		}
	}
	return w, nil
}

// beside opens a new file beside the one whose place it will take, with its owner and
// permissions unless others are asked for. A symbolic link is followed: what it leads to
// is replaced.
func (w *fileWriter) beside(mode fs.FileMode) error {
	if real, err := filepath.EvalSymlinks(w.path); err == nil {
		w.path = real
	}
	perm, uid, gid := uint32(mode), int(w.q.Uid), int(w.q.Gid)
	if w.q.Mode != 0 {
		perm = w.q.Mode & 0o7777
	}
	var st unix.Stat_t
	if err := unix.Lstat(w.path, &st); err == nil {
		switch {
		case st.Mode&unix.S_IFMT == unix.S_IFDIR:
			return &fs.PathError{Op: "write", Path: w.path, Err: syscall.EISDIR}
		case st.Mode&unix.S_IFMT != unix.S_IFREG:
			return &fs.PathError{Op: "replace", Path: w.path, Err: syscall.EINVAL}
		}
		if w.q.Mode == 0 {
			perm = st.Mode & 0o7777
		}
		if uid < 0 {
			uid = int(st.Uid)
		}
		if gid < 0 {
			gid = int(st.Gid)
		}
	}
	f, err := os.CreateTemp(filepath.Dir(w.path), ".capsa-*")
	if err != nil {
		return err
	}
	w.file, w.temp = f, f.Name()
	if uid >= 0 || gid >= 0 {
		err = f.Chown(uid, gid)
	}
	if err == nil {
		err = unix.Fchmod(int(f.Fd()), perm)
	}
	if err != nil {
		f.Close()
		os.Remove(w.temp)
	}
	return err
}

// finish puts the file in its place, or takes a new one away.
func (w *fileWriter) finish(err error) error {
	if err == nil && w.temp == "" && (w.q.Uid >= 0 || w.q.Gid >= 0) {
		err = w.file.Chown(int(w.q.Uid), int(w.q.Gid))
	}
	if closeErr := w.file.Close(); err == nil {
		err = closeErr
	}
	if w.temp == "" {
		return err
	}
	if err == nil {
		err = os.Rename(w.temp, w.path)
	}
	if err != nil {
		os.Remove(w.temp)
	}
	return err
}

// TarIn implements wire.AgentService.
func (s *service) TarIn(_ context.Context, q *wire.TarInRequest) (*wire.StreamReply, error) {
	p, err := clean(q.Path)
	if err == nil {
		err = os.MkdirAll(p, 0o755)
	}
	if err != nil {
		return &wire.StreamReply{Fault: fault(err)}, nil
	}
	root, err := os.OpenRoot(p)
	if err != nil {
		return &wire.StreamReply{Fault: fault(err)}, nil
	}
	defer root.Close()
	return s.a.incoming(q.Stream, func(r io.Reader) (int64, error) {
		c := &counter{r: r}
		err := tree.Unpack(root, bufio.NewReaderSize(c, wire.MaxChunk), tree.Options{KeepOwner: q.KeepOwner, KeepBits: true})
		if err == nil {
			discardAll(c)
		}
		return c.n, err
	})
}

// TarOut implements wire.AgentService.
func (s *service) TarOut(_ context.Context, q *wire.TarOutRequest) (*wire.StreamReply, error) {
	p, err := clean(q.Path)
	if err == nil {
		_, err = os.Lstat(p)
	}
	if err != nil {
		return &wire.StreamReply{Fault: fault(err)}, nil
	}
	name := filepath.Base(p)
	if name == "/" {
		name = "root"
	}
	return s.a.outgoing(q.Stream, func(w io.Writer) error {
		b := bufio.NewWriterSize(w, wire.MaxChunk)
		return errors.Join(tree.Write(b, p, name), b.Flush())
	})
}

// join connects a stream to a socket of the guest.
func (a *Agent) join(ctx context.Context, q *wire.DialRequest) error {
	if q.Network != "tcp" && q.Network != "unix" {
		return fmt.Errorf("no kind of address %q: %w", q.Network, syscall.EINVAL)
	}
	var d net.Dialer
	local, err := d.DialContext(ctx, q.Network, q.Address)
	if err != nil {
		return err
	}
	conn, err := a.stream(q.Stream)
	if err != nil {
		local.Close()
		return err
	}
	safe.Go("joined sockets", nil, func() {
		defer local.Close()
		defer conn.Close()
		var wg sync.WaitGroup
		for _, way := range [][2]net.Conn{{local, conn}, {conn, local}} {
			wg.Add(1)
			safe.Go("joined sockets", nil, func() {
				defer wg.Done()
				copyStream(way[0], way[1])
				if c, ok := way[0].(interface{ CloseWrite() error }); ok {
					_ = c.CloseWrite()
				}
			})
		}
		wg.Wait()
	})
	return nil
}
