package capsa

import (
	"context"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/libcapsa/libcapsa/internal/agent/host"
	"github.com/libcapsa/libcapsa/internal/agent/wire"
	"github.com/libcapsa/libcapsa/internal/safe"
	"github.com/libcapsa/libcapsa/internal/vm"
)

// sigkill is SIGKILL on every architecture of Linux (signal(7)).
const sigkill = 9

// Process is a program that runs, or has run, in the guest. All methods may be called at
// any time from any goroutine. Close it when it is no longer needed.
type Process struct {
	v                     *VM
	id                    uint64
	pid                   int
	stdin, stdout, stderr *Pipe

	left   atomic.Int32  // copies of output that go on
	copied chan struct{} // closed when there is none
	done   chan struct{} // closed when status and err are valid

	status ExitStatus // written before done is closed
	err    error      // why there is no status; written before done is closed

	mu      sync.Mutex
	copyErr error // the first of a copy; guarded by mu
}

// Exec starts a program in the guest. ctx is for the start only: it does not end the
// program. Errors: those of WaitReady; KindNotFound and KindPermission (the program, the
// directory or the user, in the guest); KindInvalidArg; KindLimit.
func (v *VM) Exec(ctx context.Context, c Command) (*Process, error) {
	const op = "exec"
	if err := c.check(op); err != nil {
		return nil, err
	}
	h, err := v.hostOf(op)
	if err != nil {
		return nil, err
	}
	s := c.streams(h)
	started, err := host.CallLate(ctx, h, op, wire.AgentService.Start, c.request(s), func(r *wire.StartReply) {
		v.discard(h, r.Id)
	})
	if err != nil {
		s.cancel()
		return nil, v.guestError(op, err)
	}
	p := &Process{v: v, id: started.Id, pid: int(started.Pid), done: make(chan struct{}), copied: make(chan struct{})}
	if err := p.connect(ctx, s); err != nil {
		s.cancel()
		v.background("exec", func() { v.discard(h, p.id) })
		p.closePipes()
		return nil, v.guestError(op, err)
	}
	if !v.background("exec wait", p.await) {
		p.closePipes()
		return nil, vm.Errorf(vm.KindClosed, op, "the machine is closed")
	}
	p.copyStreams(c)
	return p, nil
}

// discard ends a program that nobody has use for, and has the guest forget it.
func (v *VM) discard(h *host.Host, id uint64) {
	_, _ = host.Call(v.life, h, "exec", wire.AgentService.Signal, &wire.SignalRequest{Id: id, Signal: sigkill, All: true})
	_, _ = host.Call(v.life, h, "exec", wire.AgentService.Wait, &wire.WaitRequest{Id: id})
}

// check finds what is wrong with a command by itself.
func (c Command) check(op string) error {
	bad := func(format string, a ...any) error { return vm.Errorf(vm.KindInvalidArg, op, format, a...) }
	switch {
	case len(c.Args) == 0 || c.Args[0] == "":
		return bad("no program is given")
	case c.Stdin != nil && c.StdinPipe, c.Stdout != nil && c.StdoutPipe, c.Stderr != nil && c.StderrPipe:
		return bad("a stream is a pipe and is copied as well")
	case c.TTY && (c.Stderr != nil || c.StderrPipe):
		return bad("on a terminal all output is Stdout's")
	case c.Timeout < 0:
		return bad("the timeout is negative")
	case len(c.Args) > wire.MaxArgs || len(c.Env) > wire.MaxArgs:
		return bad("more than %d arguments or variables", wire.MaxArgs)
	}
	for _, list := range [][]string{c.Args, c.Env, {c.Dir, c.User}} {
		size := 0
		for _, s := range list {
			if strings.IndexByte(s, 0) >= 0 {
				return bad("%q contains a NUL byte", s)
			}
			size += len(s) + 1
		}
		if size > wire.MaxStrings {
			return vm.Errorf(vm.KindLimit, op, "arguments or environment take %d bytes; at most %d are passed on", size, wire.MaxStrings)
		}
	}
	for _, e := range c.Env {
		if i := strings.IndexByte(e, '='); i <= 0 {
			return bad("the variable %q is not NAME=value", e)
		}
	}
	return nil
}

// execStreams are the streams of a program; nil: none.
type execStreams struct{ in, out, err *host.Stream }

func (c Command) streams(h *host.Host) (s execStreams) {
	in, out := c.Stdin != nil || c.StdinPipe, c.Stdout != nil || c.StdoutPipe
	if in || c.TTY { // a terminal has one for both directions
		s.in = h.Expect()
	}
	if out && !c.TTY {
		s.out = h.Expect()
	}
	if c.Stderr != nil || c.StderrPipe {
		s.err = h.Expect()
	}
	return s
}

func (s execStreams) cancel() {
	s.in.Cancel()
	s.out.Cancel()
	s.err.Cancel()
}

// request is the command for the guest.
func (c Command) request(s execStreams) *wire.StartRequest {
	r := &wire.StartRequest{
		Args: byteStrings(c.Args), Env: byteStrings(c.Env), EnvOnly: c.EnvOnly, Dir: []byte(c.Dir), User: c.User,
		Tty: c.TTY, Cols: uint32(c.Cols), Rows: uint32(c.Rows),
		Memory: c.Memory, Pids: c.Pids, TimeoutNs: int64(c.Timeout),
		Stdin: s.in.ID(), Stdout: s.out.ID(), Stderr: s.err.ID(),
	}
	for _, l := range c.Rlimits {
		r.Rlimits = append(r.Rlimits, &wire.Rlimit{Resource: uint32(l.Resource), Soft: l.Soft, Hard: l.Hard})
	}
	return r
}

// connect waits for the streams.
func (p *Process) connect(ctx context.Context, s execStreams) error {
	for _, x := range []struct {
		stream *host.Stream
		pipe   **Pipe
	}{{s.in, &p.stdin}, {s.out, &p.stdout}, {s.err, &p.stderr}} {
		if x.stream == nil {
			continue
		}
		conn, err := x.stream.Wait(ctx, "exec")
		if err != nil {
			return err
		}
		*x.pipe = &Pipe{conn: conn}
	}
	return nil
}

// copyStreams starts the copies that the command asks for. They end with the program's
// streams, and those with the machine; nobody joins them, since a Reader or Writer of the
// caller's may wait for ever.
func (p *Process) copyStreams(c Command) {
	if c.TTY {
		p.stdout = p.stdin
	}
	if c.Stdin != nil {
		safe.Go("exec stdin", p.failed, func() {
			_, _ = io.Copy(p.stdin, c.Stdin) // as a program that does not read its input
			_ = p.stdin.CloseWrite()
		})
	}
	p.left.Store(1)
	defer p.copyEnded()
	output := func(to io.Writer, from *Pipe) {
		if to == nil {
			return
		}
		p.left.Add(1)
		safe.Go("exec output", p.failed, func() {
			defer p.copyEnded()
			defer from.Close()
			_, err := io.Copy(to, from)
			p.failed(err)
		})
	}
	output(c.Stdout, p.stdout)
	output(c.Stderr, p.stderr)
}

func (p *Process) copyEnded() {
	if p.left.Add(-1) == 0 {
		close(p.copied)
	}
}

// failed takes down that a copy failed.
func (p *Process) failed(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.copyErr == nil && err != nil {
		p.copyErr = vm.Wrap("exec", err)
	}
}

// await waits for the end of the program.
func (p *Process) await() {
	defer close(p.done)
	p.status, p.err = p.v.awaitExit(context.Background(), "exec", p.id)
	if p.err == nil {
		p.v.events.push(vm.Event{Type: vm.EventExecExited})
	}
}

// awaitExit waits for the end of a program of the guest's. A connection that is lost
// meanwhile is no end: the agent calls again, and is asked again.
func (v *VM) awaitExit(ctx context.Context, op string, id uint64) (ExitStatus, error) {
	r, err := host.Call(ctx, v.guest, op, wire.AgentService.Wait, &wire.WaitRequest{Id: id})
	for vm.KindOf(err) == vm.KindClosed {
		if _, over := v.Exit(); over {
			break
		}
		r, err = host.Call(ctx, v.guest, op, wire.AgentService.Wait, &wire.WaitRequest{Id: id})
	}
	if err != nil {
		return ExitStatus{}, err
	}
	return ExitStatus{
		Code: int(r.Code), Signal: int(r.Signal), OOM: r.Oom, TimedOut: r.TimedOut,
		UserTime: time.Duration(r.UserNs), SystemTime: time.Duration(r.SystemNs), MaxRSS: r.MaxRss,
		Duration: time.Duration(r.RealNs),
	}, nil
}

// PID is the program's number in the guest.
func (p *Process) PID() int { return p.pid }

// Done is closed when the program has ended. Its output may still be on its way.
func (p *Process) Done() <-chan struct{} { return p.done }

// Wait waits for the end of the program and of the copies of its output, which ends when
// all who have inherited it have closed it. It may be called any number of times. Errors:
// KindTimeout, KindCancelled (try again at will); KindState, KindBoot and the like (the
// machine has ended); what a Writer or Reader of the command said, with a valid status.
func (p *Process) Wait(ctx context.Context) (ExitStatus, error) {
	const op = "exec"
	select {
	case <-p.done:
	default:
		select {
		case <-p.done:
		case <-ctx.Done():
			return ExitStatus{}, vm.ContextError(ctx, op)
		}
	}
	if p.err != nil {
		return ExitStatus{}, p.v.guestError(op, p.err)
	}
	select {
	case <-p.copied:
	case <-ctx.Done():
		return ExitStatus{}, vm.ContextError(ctx, op)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.status, p.copyErr
}

// Exit is the status of a program that has ended.
func (p *Process) Exit() (ExitStatus, bool) {
	select {
	case <-p.done:
		return p.status, p.err == nil
	default:
		return ExitStatus{}, false
	}
}

// Signal sends a signal, by its number on Linux, to the program's process group. A
// program that has ended gets none, which is no error.
func (p *Process) Signal(ctx context.Context, signal int) error { return p.signal(ctx, signal, false) }

// Kill kills the program and all that came from it, wherever they went.
func (p *Process) Kill(ctx context.Context) error { return p.signal(ctx, sigkill, true) }

func (p *Process) signal(ctx context.Context, signal int, all bool) error {
	select {
	case <-p.done:
		if !all {
			return nil
		}
	default:
	}
	_, err := call(ctx, p.v, "signal", wire.AgentService.Signal, &wire.SignalRequest{Id: p.id, Signal: int32(signal), All: all})
	if vm.KindOf(err) == vm.KindState { // it has ended: ESRCH
		return nil
	}
	return err
}

// Resize tells the program the size of its terminal, in characters.
func (p *Process) Resize(ctx context.Context, cols, rows uint16) error {
	_, err := call(ctx, p.v, "resize", wire.AgentService.Resize, &wire.ResizeRequest{Id: p.id, Cols: uint32(cols), Rows: uint32(rows)})
	return err
}

// Close kills the program and all that came from it if it has not ended, and closes its
// pipes. It does not wait for the guest.
func (p *Process) Close() error {
	select {
	case <-p.done:
	default:
		p.v.background("exec kill", func() { _ = p.signal(p.v.life, sigkill, true) })
	}
	p.closePipes()
	return nil
}

func (p *Process) closePipes() {
	for _, x := range []*Pipe{p.stdin, p.stdout, p.stderr} {
		if x != nil {
			_ = x.Close()
		}
	}
}

// Stdin is the pipe of Command.StdinPipe, else nil; of a terminal, both directions.
func (p *Process) Stdin() *Pipe { return p.stdin }

// Stdout is the pipe of Command.StdoutPipe, else nil; of a terminal, the same as Stdin.
func (p *Process) Stdout() *Pipe { return p.stdout }

// Stderr is the pipe of Command.StderrPipe, else nil.
func (p *Process) Stderr() *Pipe { return p.stderr }

// Pipe is the host's end of a program's stream. Its methods may be called from any
// goroutine.
type Pipe struct{ conn net.Conn }

var _ io.ReadWriteCloser = (*Pipe)(nil)

// Read reads what the program writes.
func (p *Pipe) Read(b []byte) (int, error) { return p.conn.Read(b) }

// Write writes what the program reads, and waits while it does not.
func (p *Pipe) Write(b []byte) (int, error) { return p.conn.Write(b) }

// CloseWrite shows the program the end of its input.
func (p *Pipe) CloseWrite() error {
	if c, ok := p.conn.(interface{ CloseWrite() error }); ok {
		return c.CloseWrite()
	}
	return p.Close()
}

// Close closes the pipe. Reading and writing that is under way fails.
func (p *Pipe) Close() error { return p.conn.Close() }

// Detach gives the stream away as a descriptor, a connected unix stream socket, blocking
// and close-on-exec, and closes the Pipe.
func (p *Pipe) Detach() (fd int, err error) {
	c, ok := p.conn.(syscall.Conn)
	if !ok {
		return -1, vm.Errorf(vm.KindUnsupported, "detach", "the stream is no socket")
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return -1, vm.Wrap("detach", err)
	}
	if ctlErr := raw.Control(func(own uintptr) { fd, err = unix.FcntlInt(own, unix.F_DUPFD_CLOEXEC, 0) }); ctlErr != nil {
		return -1, vm.Wrap("detach", ctlErr)
	}
	if err != nil {
		return -1, vm.Wrap("detach", os.NewSyscallError("fcntl", err))
	}
	_ = p.conn.Close()
	if err := unix.SetNonblock(fd, false); err != nil {
		_ = unix.Close(fd)
		return -1, vm.Wrap("detach", os.NewSyscallError("fcntl", err))
	}
	return fd, nil
}
