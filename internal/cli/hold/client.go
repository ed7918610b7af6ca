package hold

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/libcapsa/libcapsa/capsa"
	"github.com/libcapsa/libcapsa/internal/vm"
)

// Client talks to the holder of one machine. Its methods may be called from any goroutine; each has a connection.
type Client struct {
	name string
	path string
}

// Client is the one for a machine by its name.
func (r Registry) Client(name string) (*Client, error) {
	if err := CheckName(name); err != nil {
		return nil, err
	}
	c := &Client{name, filepath.Join(r.dir, name, "socket")}
	if _, err := os.Lstat(c.path); err != nil {
		return nil, c.gone()
	}
	return c, nil
}

func (c *Client) gone() error {
	return vm.Errorf(vm.KindNotFound, op, "there is no machine called %s", c.name).WithHint("capsa ps lists those that run")
}

func (c *Client) dial(ctx context.Context) (*conn, error) {
	var d net.Dialer
	raw, err := d.DialContext(ctx, "unix", c.path)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ECONNREFUSED) {
		return nil, c.gone()
	}
	if err != nil {
		return nil, vm.Wrap(op, err)
	}
	return &conn{c: raw.(*net.UnixConn)}, nil
}

// ask sends a request and waits for its answer.
func (c *Client) ask(ctx context.Context, conn *conn, q request, send ...*os.File) (reply, []*os.File, error) {
	stop := context.AfterFunc(ctx, func() { _ = conn.c.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	var r reply
	if err := conn.send(q, send...); err != nil {
		return r, nil, err
	}
	files, err := conn.receive(&r)
	if err == nil {
		err = r.Error.err()
	}
	if err == nil {
		return r, files, nil
	}
	for _, f := range files {
		f.Close()
	}
	switch {
	case ctx.Err() != nil:
		return r, nil, vm.ContextError(ctx, op)
	case err == io.EOF:
		return r, nil, vm.Errorf(vm.KindState, op, "the machine %s has ended", c.name)
	}
	return r, nil, err
}

// call is one request and its answer.
func (c *Client) call(ctx context.Context, q request, send ...*os.File) (reply, []*os.File, error) {
	conn, err := c.dial(ctx)
	if err != nil {
		return reply{}, nil, err
	}
	defer conn.hangUp()
	return c.ask(ctx, conn, q, send...)
}

// Info says what the machine is.
func (c *Client) Info(ctx context.Context) (Info, error) {
	r, _, err := c.call(ctx, request{Op: "info"})
	if err != nil || r.Info == nil {
		return Info{Name: c.name}, err
	}
	return *r.Info, nil
}

// Stats are its counters.
func (c *Client) Stats(ctx context.Context) (Stats, error) {
	r, _, err := c.call(ctx, request{Op: "stats"})
	if err != nil || r.Stats == nil {
		return Stats{}, err
	}
	return *r.Stats, nil
}

// Stop asks the guest to shut down, waits for grace, and then kills it. It returns when the machine is gone.
func (c *Client) Stop(ctx context.Context, grace time.Duration) (capsa.Stage, error) {
	r, _, err := c.ending(ctx, request{Op: "stop", Grace: grace})
	return r.Stage, err
}

// Kill ends the machine now.
func (c *Client) Kill(ctx context.Context) error {
	_, _, err := c.ending(ctx, request{Op: "kill"})
	return err
}

// ending is a call after which the holder goes; it returns when that has.
func (c *Client) ending(ctx context.Context, q request) (reply, []*os.File, error) {
	conn, err := c.dial(ctx)
	if err != nil {
		return reply{}, nil, err
	}
	defer conn.hangUp()
	r, _, err := c.ask(ctx, conn, q)
	if err != nil {
		return r, nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.c.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	var none reply
	if _, err := conn.receive(&none); err != io.EOF && ctx.Err() != nil {
		return r, nil, vm.ContextError(ctx, op)
	}
	return r, nil, nil
}

// Console is the machine's console, as a connected socket: all that is kept of its output and what comes, and its input.
func (c *Client) Console(ctx context.Context) (*os.File, error) {
	return c.file(ctx, request{Op: "console"})
}

// Logs are the output of the machine's command, or of its console if it has none: what is kept and, to follow, what
// comes.
func (c *Client) Logs(ctx context.Context, follow bool) (*os.File, error) {
	return c.file(ctx, request{Op: "logs", Follow: follow})
}

// file is a call whose answer comes with a descriptor.
func (c *Client) file(ctx context.Context, q request) (*os.File, error) {
	_, files, err := c.call(ctx, q)
	if err != nil {
		return nil, err
	}
	if len(files) != 1 {
		return nil, vm.Errorf(vm.KindProtocol, op, "%d descriptors came", len(files))
	}
	return files[0], nil
}

// Resize tells the size of the terminal at the console.
func (c *Client) Resize(ctx context.Context, cols, rows uint16) error {
	_, _, err := c.call(ctx, request{Op: "resize", Cols: cols, Rows: rows})
	return err
}

// Copy copies between host and guest; stream is the host's side of one that is an archive.
func (c *Client) Copy(ctx context.Context, what Copy, stream *os.File) error {
	var send []*os.File
	if stream != nil {
		send = append(send, stream)
	}
	_, _, err := c.call(ctx, request{Op: "copy", Copy: &what}, send...)
	return err
}

// IsDir says whether a directory is at a path in the guest.
func (c *Client) IsDir(ctx context.Context, path string) (bool, error) {
	r, _, err := c.call(ctx, request{Op: "stat", Path: path})
	return r.Dir, err
}

// Forward opens a port of the guest to the host, and says how it was opened.
func (c *Client) Forward(ctx context.Context, f capsa.Forward) (capsa.Forward, error) {
	r, _, err := c.call(ctx, request{Op: "forward", Forward: &f})
	if err != nil || len(r.Forwards) != 1 {
		return capsa.Forward{}, err
	}
	return r.Forwards[0], nil
}

// Unforward closes it.
func (c *Client) Unforward(ctx context.Context, id uint32) error {
	_, _, err := c.call(ctx, request{Op: "unforward", ID: id})
	return err
}

// Forwards are the ports that are open.
func (c *Client) Forwards(ctx context.Context) ([]capsa.Forward, error) {
	r, _, err := c.call(ctx, request{Op: "forwards"})
	return r.Forwards, err
}
