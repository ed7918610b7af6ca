//go:build linux

package agent

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/libcapsa/libcapsa/internal/agent/wire"
)

// openFile is a file that the host has open.
type openFile struct {
	mu   sync.Mutex // held by appends, whose place is the file's end
	file *os.File
}

// Open implements wire.AgentService.
func (s *service) Open(_ context.Context, q *wire.OpenRequest) (*wire.OpenReply, error) {
	p, err := clean(q.Path)
	if err != nil {
		return &wire.OpenReply{Fault: fault(err)}, nil
	}
	if s.a.files.full() {
		return &wire.OpenReply{Fault: fault(unix.EMFILE)}, nil
	}
	fd, err := unix.Open(p, int(q.Flags)|unix.O_CLOEXEC|unix.O_NOCTTY, q.Mode&0o7777)
	if err != nil {
		return &wire.OpenReply{Fault: fault(&fs.PathError{Op: "open", Path: p, Err: err})}, nil
	}
	f := &openFile{file: os.NewFile(uintptr(fd), p)}
	handle, err := s.a.files.put(f)
	if err != nil {
		f.file.Close()
	}
	return &wire.OpenReply{Handle: handle, Fault: fault(err)}, nil
}

// Read implements wire.AgentService.
func (s *service) Read(_ context.Context, q *wire.ReadRequest) (*wire.ReadReply, error) {
	f, err := s.a.files.get(q.Handle)
	if err != nil {
		return &wire.ReadReply{Fault: fault(err)}, nil
	}
	buf := make([]byte, min(q.Size, wire.MaxIO))
	n, err := f.file.ReadAt(buf, q.Offset)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return &wire.ReadReply{Data: buf[:n], Fault: fault(err)}, nil
}

// Write implements wire.AgentService.
func (s *service) Write(_ context.Context, q *wire.WriteRequest) (*wire.WriteReply, error) {
	f, err := s.a.files.get(q.Handle)
	if err != nil {
		return &wire.WriteReply{Fault: fault(err)}, nil
	}
	n := 0
	if q.Offset < 0 {
		f.mu.Lock()
		n, err = f.file.Write(q.Data)
		f.mu.Unlock()
	} else {
		n, err = f.file.WriteAt(q.Data, q.Offset)
	}
	if n > 0 {
		err = nil // what is missing fails the next time
	}
	return &wire.WriteReply{Size: uint32(n), Fault: fault(err)}, nil
}

// Fstat implements wire.AgentService.
func (s *service) Fstat(_ context.Context, q *wire.HandleRequest) (*wire.StatReply, error) {
	f, err := s.a.files.get(q.Handle)
	if err != nil {
		return &wire.StatReply{Fault: fault(err)}, nil
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(f.file.Fd()), &st); err != nil {
		return &wire.StatReply{Fault: fault(err)}, nil
	}
	return &wire.StatReply{Info: describe(&st, filepath.Base(f.file.Name()))}, nil
}

// Truncate implements wire.AgentService.
func (s *service) Truncate(_ context.Context, q *wire.TruncateRequest) (*wire.Empty, error) {
	f, err := s.a.files.get(q.Handle)
	if err == nil {
		err = f.file.Truncate(q.Size)
	}
	return empty(err)
}

// Sync implements wire.AgentService.
func (s *service) Sync(_ context.Context, q *wire.HandleRequest) (*wire.Empty, error) {
	f, err := s.a.files.get(q.Handle)
	if err == nil {
		err = f.file.Sync()
	}
	return empty(err)
}

// Close implements wire.AgentService.
func (s *service) Close(_ context.Context, q *wire.HandleRequest) (*wire.Empty, error) {
	f, err := s.a.files.take(q.Handle)
	if err == nil {
		err = f.file.Close()
	}
	return empty(err)
}
