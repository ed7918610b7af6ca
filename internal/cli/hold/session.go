package hold

import (
	"context"
	"net"
	"os"
	"time"

	"github.com/libcapsa/libcapsa/capsa"
	"github.com/libcapsa/libcapsa/internal/safe"
	"github.com/libcapsa/libcapsa/internal/sockpair"
	"github.com/libcapsa/libcapsa/internal/vm"
)

// session is one connection to the holder.
type session struct {
	h    *Holder
	conn *conn
	ctx  context.Context // ends when the client hangs up, and with the holder
}

// run answers the request. Its connection is closed last: Client.Stop waits for that.
func (s *session) run() {
	var q request
	closing := context.AfterFunc(s.h.ctx, func() { _ = s.conn.c.SetReadDeadline(time.Unix(1, 0)) })
	files, err := s.conn.receive(&q)
	closing()
	defer func() {
		for _, f := range files {
			f.Close()
		}
	}()
	if err != nil {
		s.conn.hangUp()
		return
	}
	if q.Op == "stop" || q.Op == "kill" {
		s.end(q)
		return
	}
	defer s.conn.hangUp()
	ctx, cancel := context.WithCancel(s.h.ctx)
	defer cancel()
	s.ctx = ctx
	if q.Op == "exec" && q.Exec != nil {
		s.exec(q)
		return
	}
	hungUp := make(chan struct{})
	safe.Go("session: hang up", nil, func() {
		defer close(hungUp)
		defer cancel()
		_, _ = s.conn.receive(&request{}) // nothing more comes but the end
	})
	r, out := s.answer(q, files)
	_ = s.conn.send(r, out...) // a client that has gone has no use for it
	for _, f := range out {
		f.Close()
	}
	_ = s.conn.c.CloseRead()
	<-hungUp
}

// end ends the machine. The connection stays open until the process or the holder has gone.
func (s *session) end(q request) {
	var r reply
	var err error
	if q.Op == "kill" {
		err = s.h.VM.Kill()
	} else {
		r.Stage, err = s.h.VM.Stop(context.Background(), q.Grace)
	}
	r.Error = faultOf(err)
	_ = s.conn.send(r)
	if err != nil {
		s.conn.hangUp()
		return
	}
	s.h.linger(s.conn.c)
}

// answer answers everything that is one request and one reply.
func (s *session) answer(q request, files []*os.File) (r reply, out []*os.File) {
	m := s.h.VM
	var err error
	switch q.Op {
	case "info":
		i := s.h.info()
		r.Info = &i
	case "stats":
		r.Stats = s.stats()
	case "console":
		out, err = file(m.Console().FD())
	case "resize":
		err = m.Console().Resize(q.Cols, q.Rows)
	case "logs":
		out, err = s.logs(q.Follow)
	case "stat":
		var info capsa.FileInfo
		info, err = m.Files().Stat(s.ctx, q.Path)
		r.Dir = info.Mode.IsDir()
	case "copy":
		err = s.copy(q.Copy, files)
	case "forward":
		var f capsa.Forward
		if q.Forward != nil {
			f = *q.Forward
		}
		f, err = m.AddForward(f)
		r.Forwards = []capsa.Forward{f}
	case "unforward":
		err = m.RemoveForward(q.ID)
	case "forwards":
		r.Forwards, err = m.Forwards()
	default:
		err = vm.Errorf(vm.KindUnsupported, "talk to a machine", "%q is not known here", q.Op).
			WithHint("the machine was started by another version of capsa")
	}
	r.Error = faultOf(err)
	return r, out
}

func file(fd int, err error) ([]*os.File, error) {
	if err != nil {
		return nil, err
	}
	return []*os.File{os.NewFile(uintptr(fd), "stream")}, nil
}

// guestPatience is how long a guest may take to say how it is doing before the machine's own counters have to do.
const guestPatience = 2 * time.Second

func (s *session) stats() *Stats {
	out := &Stats{Machine: s.h.VM.Stats()}
	if !s.h.VM.Config().Guest.Enabled() {
		return out
	}
	ctx, cancel := context.WithTimeout(s.ctx, guestPatience)
	defer cancel()
	if g, err := s.h.VM.GuestStats(ctx); err == nil {
		out.Guest = &g
	}
	return out
}

// logs is the output of the command, or of the console. A snapshot is written to its reader meanwhile.
func (s *session) logs(follow bool) ([]*os.File, error) {
	output := s.h.output
	switch {
	case follow && output != nil:
		return file(output.FD())
	case follow:
		return file(s.h.VM.Console().FD())
	}
	tail := s.h.VM.Console().Tail(outputSize)
	if output != nil {
		tail = output.Tail(outputSize)
	}
	fd, theirs, err := sockpair.New()
	if err != nil {
		return nil, vm.Wrap("logs", err)
	}
	ours := os.NewFile(uintptr(fd), "logs")
	s.h.sessions.Add(1)
	safe.Go("logs", nil, func() {
		defer s.h.sessions.Done()
		stop := context.AfterFunc(s.h.ctx, func() { ours.Close() })
		defer stop()
		defer ours.Close()
		_, _ = ours.Write(tail) // a reader that goes away has seen enough
	})
	return file(theirs, nil)
}

func (s *session) copy(c *Copy, files []*os.File) error {
	files = files[:min(1, len(files))]
	switch {
	case c == nil || c.Archive != (len(files) == 1):
		return vm.Errorf(vm.KindProtocol, "copy", "the request is not complete")
	case c.Archive && c.In:
		_, err := s.h.VM.Files().TarIn(s.ctx, c.To, files[0], capsa.CopyOptions{KeepOwner: c.KeepOwner})
		return err
	case c.Archive:
		_, err := s.h.VM.Files().TarOut(s.ctx, c.From, files[0])
		return err
	case c.In:
		return s.h.VM.Files().CopyIn(s.ctx, c.From, c.To, capsa.CopyOptions{KeepOwner: c.KeepOwner})
	}
	return s.h.VM.Files().CopyOut(s.ctx, c.From, c.To, capsa.CopyOptions{KeepOwner: c.KeepOwner})
}

// exec runs a program, hands its streams to the client, and passes on what that says until the program's end. A client
// that hangs up ends the program.
func (s *session) exec(q request) {
	p, err := Start(s.ctx, s.h.VM, *q.Exec)
	if err != nil {
		_ = s.conn.send(reply{Error: faultOf(err)})
		return
	}
	var files []*os.File
	for _, f := range []*os.File{p.Stdin, p.Stdout, p.Stderr} {
		if f != nil {
			files = append(files, f)
		}
	}
	err = s.conn.send(reply{PID: p.PID}, files...)
	p.closeStreams()
	ctx, cancel := context.WithCancel(s.ctx)
	defer cancel()
	heard := make(chan struct{})
	safe.Go("session: program", func(error) { cancel() }, func() {
		defer close(heard)
		defer cancel()
		for err == nil {
			var q request
			if _, err := s.conn.receive(&q); err != nil {
				return
			}
			s.pass(p, q)
		}
	})
	status, err := p.Wait(ctx)
	if ctx.Err() == nil {
		_ = s.conn.send(reply{Exit: &status, Error: faultOf(err)})
	}
	_ = s.conn.c.CloseRead()
	<-heard
	_ = p.Close()
}

// pass passes on what the client says of a program. What fails is not told: the program has ended.
func (s *session) pass(p *Process, q request) {
	switch q.Op {
	case "signal":
		_ = p.Signal(s.ctx, q.Signal)
	case "kill":
		_ = p.Kill(s.ctx)
	case "resize":
		_ = p.Resize(s.ctx, q.Cols, q.Rows)
	}
}

// linger keeps a connection until the holder is closed and its name is free.
func (h *Holder) linger(c *net.UnixConn) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.lingering = append(h.lingering, c)
}
