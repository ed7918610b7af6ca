package hold

import (
	"context"
	"io"
	"os"
	"sync"

	"github.com/libcapsa/libcapsa/capsa"
	"github.com/libcapsa/libcapsa/internal/safe"
	"github.com/libcapsa/libcapsa/internal/vm"
)

// Process is a program in a guest, whoever holds that. Its streams are connected sockets and the caller's to close;
// Stdin is nil when it has none, and of a terminal Stdout is both directions.
type Process struct {
	PID                   int
	Stdin, Stdout, Stderr *os.File

	// Signal sends one, Kill kills all that came from the program, Resize tells the size of its terminal.
	Signal func(ctx context.Context, signal int) error
	Kill   func(ctx context.Context) error
	Resize func(ctx context.Context, cols, rows uint16) error
	// Wait waits for the program's end, not for that of its streams. Close kills it, if it has not ended.
	Wait  func(ctx context.Context) (capsa.ExitStatus, error)
	Close func() error
}

// Start runs a program in a machine of this process.
func Start(ctx context.Context, m *capsa.VM, c Command) (*Process, error) {
	p, err := m.Exec(ctx, capsa.Command{
		Args: c.Args, Env: c.Env, Dir: c.Dir, User: c.User, TTY: c.TTY, Cols: c.Cols, Rows: c.Rows,
		StdinPipe: c.Stdin && !c.TTY, StdoutPipe: true, StderrPipe: !c.TTY,
		Memory: c.Memory, Pids: c.Pids, Timeout: c.Timeout,
	})
	if err != nil {
		return nil, err
	}
	out := &Process{PID: p.PID(), Signal: p.Signal, Kill: p.Kill, Resize: p.Resize, Wait: p.Wait, Close: p.Close}
	for _, x := range []struct {
		from *capsa.Pipe
		to   **os.File
	}{{p.Stdin(), &out.Stdin}, {p.Stdout(), &out.Stdout}, {p.Stderr(), &out.Stderr}} {
		if x.from == nil || (c.TTY && x.to == &out.Stdin) {
			continue
		}
		fd, err := x.from.Detach()
		if err != nil {
			out.closeStreams()
			_ = p.Close()
			return nil, err
		}
		*x.to = os.NewFile(uintptr(fd), "stream")
	}
	return out, nil
}

func (p *Process) closeStreams() {
	for _, f := range []*os.File{p.Stdin, p.Stdout, p.Stderr} {
		if f != nil {
			f.Close()
		}
	}
}

// Exec runs a program in another process's machine. It ends with the connection.
func (c *Client) Exec(ctx context.Context, command Command) (*Process, error) {
	conn, err := c.dial(ctx)
	if err != nil {
		return nil, err
	}
	r, files, err := c.ask(ctx, conn, request{Op: "exec", Exec: &command})
	if err != nil {
		conn.hangUp()
		return nil, err
	}
	p := &remote{conn: conn, done: make(chan struct{})}
	out := &Process{PID: r.PID, Signal: p.signal, Kill: p.kill, Resize: p.resize, Wait: p.wait, Close: p.close}
	for _, to := range []struct {
		file **os.File
		has  bool
	}{{&out.Stdin, command.Stdin && !command.TTY}, {&out.Stdout, true}, {&out.Stderr, !command.TTY}} {
		if to.has && len(files) > 0 {
			*to.file, files = files[0], files[1:]
		}
	}
	safe.Go("exec: end", func(err error) { p.err = err; close(p.done) }, p.await)
	if out.Stdout == nil {
		_ = p.close()
		return nil, vm.Errorf(vm.KindProtocol, "exec", "the program's streams did not come")
	}
	return out, nil
}

// remote is a program in a machine that another process holds.
type remote struct {
	conn   *conn
	once   sync.Once
	done   chan struct{} // closed when status and err are valid
	status capsa.ExitStatus
	err    error
}

func (p *remote) await() {
	var r reply
	_, err := p.conn.receive(&r)
	switch {
	case err == io.EOF:
		p.err = vm.Errorf(vm.KindState, "exec", "the machine has ended")
	case err != nil:
		p.err = err
	case r.Error != nil:
		p.err = r.Error.err()
	case r.Exit != nil:
		p.status = *r.Exit
	}
	close(p.done)
}

func (p *remote) signal(_ context.Context, signal int) error {
	return p.conn.send(request{Op: "signal", Signal: signal})
}

func (p *remote) kill(context.Context) error { return p.conn.send(request{Op: "kill"}) }

func (p *remote) resize(_ context.Context, cols, rows uint16) error {
	return p.conn.send(request{Op: "resize", Cols: cols, Rows: rows})
}

func (p *remote) wait(ctx context.Context) (capsa.ExitStatus, error) {
	select {
	case <-p.done:
		return p.status, p.err
	case <-ctx.Done():
		return capsa.ExitStatus{}, vm.ContextError(ctx, "exec")
	}
}

// close hangs up, which ends the program, and waits for what was said last.
func (p *remote) close() error {
	p.once.Do(p.conn.hangUp)
	<-p.done
	return nil
}
