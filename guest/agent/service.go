//go:build linux

package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"syscall"

	"github.com/libcapsa/libcapsa/internal/agent/wire"
)

// service is what the host calls: one method for each of agent.proto's. What cannot be
// done is a Fault in the answer; the error is always nil.
type service struct{ a *Agent }

var _ wire.AgentService = (*service)(nil)

// fault is why something was not done, nil for nil.
func fault(err error) *wire.Fault {
	if err == nil {
		return nil
	}
	f := &wire.Fault{Message: err.Error()}
	var errno syscall.Errno
	var path *fs.PathError
	switch {
	case errors.As(err, &errno):
		f.Errno = int32(errno)
	case errors.As(err, &path) && path.Err.Error() == "path escapes from parent": // os.Root; it has no value of its own
		f.Errno = int32(syscall.EACCES)
	}
	if len(f.Message) > wire.MaxMessage {
		f.Message = f.Message[:wire.MaxMessage]
	}
	return f
}

func empty(err error) (*wire.Empty, error) { return &wire.Empty{Fault: fault(err)}, nil }

// Configure implements wire.AgentService.
func (s *service) Configure(_ context.Context, q *wire.ConfigureRequest) (*wire.ConfigureReply, error) {
	a := s.a
	a.mu.Lock()
	again := a.configured
	a.configured = true
	a.mu.Unlock()
	if again { // by a host that has not had the answer
		return &wire.ConfigureReply{Info: a.info()}, nil
	}
	if a.cfg.Configure != nil {
		if err := a.cfg.Configure(q); err != nil {
			return &wire.ConfigureReply{Fault: fault(err)}, nil
		}
	}
	a.cgroups = openCgroups(cgroupRoot)
	if a.cgroups != nil {
		a.reaper.onOrphans(a.cgroups.sweep)
	}
	a.mu.Lock()
	a.ready = monotonic()
	a.mu.Unlock()
	return &wire.ConfigureReply{Info: a.info()}, nil
}

// Start implements wire.AgentService.
func (s *service) Start(_ context.Context, q *wire.StartRequest) (*wire.StartReply, error) {
	id, pid, err := s.a.exec(q)
	return &wire.StartReply{Id: id, Pid: uint32(pid), Fault: fault(err)}, nil
}

// Wait implements wire.AgentService.
func (s *service) Wait(ctx context.Context, q *wire.WaitRequest) (*wire.WaitReply, error) {
	p, err := s.a.procs.get(q.Id)
	if err != nil {
		return &wire.WaitReply{Fault: fault(err)}, nil
	}
	select {
	case <-p.done:
	case <-ctx.Done(): // the connection is gone; the host asks again
		return &wire.WaitReply{Fault: fault(ctx.Err())}, nil
	}
	if _, err := s.a.procs.take(q.Id); err != nil {
		return &wire.WaitReply{Fault: fault(err)}, nil
	}
	return p.reply, nil
}

// Signal implements wire.AgentService.
func (s *service) Signal(_ context.Context, q *wire.SignalRequest) (*wire.Empty, error) {
	p, err := s.a.procs.get(q.Id)
	if err != nil {
		return empty(fmt.Errorf("no such program: %w", syscall.ESRCH))
	}
	return empty(p.signal(syscall.Signal(q.Signal), q.All))
}

// Resize implements wire.AgentService.
func (s *service) Resize(_ context.Context, q *wire.ResizeRequest) (*wire.Empty, error) {
	p, err := s.a.procs.get(q.Id)
	if err != nil {
		return empty(fmt.Errorf("no such program: %w", syscall.ESRCH))
	}
	return empty(p.resize(q.Cols, q.Rows))
}

// Info implements wire.AgentService.
func (s *service) Info(context.Context, *wire.Empty) (*wire.InfoReply, error) { return s.a.info(), nil }

// Stats implements wire.AgentService.
func (s *service) Stats(context.Context, *wire.Empty) (*wire.StatsReply, error) {
	return s.a.stats(), nil
}

// SetTime implements wire.AgentService.
func (s *service) SetTime(_ context.Context, q *wire.SetTimeRequest) (*wire.Empty, error) {
	return empty(SetTime(q.TimeNs))
}

// Shutdown implements wire.AgentService.
func (s *service) Shutdown(context.Context, *wire.Empty) (*wire.Empty, error) {
	if s.a.cfg.Shutdown == nil {
		return empty(fmt.Errorf("this agent ends no guest: %w", syscall.ENOSYS))
	}
	return empty(s.a.cfg.Shutdown())
}

// Dial implements wire.AgentService.
func (s *service) Dial(ctx context.Context, q *wire.DialRequest) (*wire.Empty, error) {
	return empty(s.a.join(ctx, q))
}
