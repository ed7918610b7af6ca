package vzd

import (
	"context"
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/libcapsa/libcapsa/internal/sockpair"
	"github.com/libcapsa/libcapsa/internal/vm"
	"github.com/libcapsa/libcapsa/internal/vmtest"
	"github.com/libcapsa/libcapsa/internal/vzd/wire"
)

// client speaks the protocol by hand.
type client struct {
	*testing.T
	conn   *wire.Conn
	fake   *vmtest.Fake
	end    chan error // of Serve
	cancel context.CancelFunc
	next   uint64
	told   []wire.Notice // so far
}

// serve starts a session over the fake backend.
func serve(t *testing.T, opts Options, prepare ...func(*vmtest.Fake)) *client {
	t.Helper()
	vmtest.CheckLeaks(t)
	ours, theirs, err := sockpair.New()
	require.NoError(t, err)
	c := &client{T: t, fake: vmtest.NewFake(), end: make(chan error, 1)}
	for _, p := range prepare {
		p(c.fake)
	}
	c.conn, err = wire.NewConn(ours)
	require.NoError(t, err)
	conn, err := wire.NewConn(theirs)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	c.cancel = cancel
	go func() { c.end <- Serve(ctx, conn, c.fake, opts) }()
	t.Cleanup(func() {
		cancel()
		_ = c.conn.Close()
	})
	return c
}

// send sends a request and returns its id.
func (c *client) send(method, params string, files ...int) uint64 {
	c.Helper()
	c.next++
	body, err := json.Marshal(wire.Request{Method: method, Params: json.RawMessage(params)})
	require.NoError(c, err)
	require.NoError(c, c.conn.Send(wire.Frame{Kind: wire.KindRequest, ID: c.next, Body: body, Files: files}))
	wire.Files(files).Close()
	return c.next
}

// answer waits for the response.
func (c *client) answer(id uint64) wire.Response {
	c.Helper()
	for {
		f, err := c.conn.Receive()
		require.NoError(c, err)
		switch f.Kind {
		case wire.KindResponse:
			require.Equal(c, id, f.ID)
			var r wire.Response
			require.NoError(c, wire.DecodeBody(f.Body, &r))
			return r
		case wire.KindEvent:
			var n wire.Notice
			require.NoError(c, wire.DecodeBody(f.Body, &n))
			c.told = append(c.told, n)
		}
	}
}

// call makes a call that succeeds.
func (c *client) call(method, params string, files ...int) wire.Response {
	c.Helper()
	r := c.answer(c.send(method, params, files...))
	require.NoError(c, r.Error.Decode())
	return r
}

// fails makes a call that fails.
func (c *client) fails(kind vm.Kind, method, params string, files ...int) {
	c.Helper()
	r := c.answer(c.send(method, params, files...))
	require.ErrorIs(c, r.Error.Decode(), kind)
}

// over waits for the session's end, which leaves no machine.
func (c *client) over() error {
	c.Helper()
	err := <-c.end
	require.Zero(c, c.fake.Live())
	return err
}

// streams are our ends and the daemon's.
func (c *client) streams() (ours, theirs []int) {
	c.Helper()
	for range wire.Streams {
		a, b, err := sockpair.New()
		require.NoError(c, err)
		ours, theirs = append(ours, a), append(theirs, b)
	}
	c.Cleanup(wire.Files(ours).Close)
	return ours, theirs
}

const hello = `{"proto":2,"client":"test"}`

// create makes a machine.
func (c *client) create(kernel string) {
	c.Helper()
	c.call(wire.MethodHello, hello)
	_, theirs := c.streams()
	c.call(wire.MethodCreate, config(c, kernel), theirs...)
}

func config(t testing.TB, kernel string) string {
	t.Helper()
	form, err := wire.EncodeConfig(vmtest.Config(kernel))
	require.NoError(t, err)
	b, err := json.Marshal(form)
	require.NoError(t, err)
	return string(b)
}

// TestOrder: the end is told before the response of a call that came after it.
func TestOrder(t *testing.T) {
	c := serve(t, Options{})
	c.create(vmtest.KernelSpin)
	c.call(wire.MethodStart, "")
	require.Empty(t, c.told)
	c.call(wire.MethodKill, `{"cause":6}`)
	require.Len(t, c.told, 1)
	require.Equal(t, vm.CauseStopped, c.told[0].Exited.Decode().Cause)
	c.call(wire.MethodClose, "")
	c.fails(vm.KindClosed, wire.MethodPause, "")
	require.NoError(t, c.conn.Close())
	require.NoError(t, c.over())
}

// TestRules: what a daemon refuses, and what ends the session.
func TestRules(t *testing.T) {
	c := serve(t, Options{})
	c.call(wire.MethodHello, hello)
	c.fails(vm.KindUnsupported, "dance", "")
	c.fails(vm.KindState, wire.MethodStart, "")
	c.fails(vm.KindProtocol, wire.MethodCreate, config(t, vmtest.KernelSpin)) // without streams
	_, theirs := c.streams()
	c.fails(vm.KindConfig, wire.MethodCreate, `{"config":{"nonsense":1}}`, theirs...)
	_, theirs = c.streams()
	c.fails(vm.KindNotFound, wire.MethodCreate, config(t, "/no/such/guest"), theirs...)
	_, theirs = c.streams()
	c.fails(vm.KindState, wire.MethodCreate, config(t, vmtest.KernelSpin), theirs...)
	c.cancel()
	require.NoError(t, c.over())

	for _, test := range []struct {
		name string
		do   func(c *client)
	}{
		{"no hello", func(c *client) { c.send(wire.MethodCapabilities, "") }},
		{"another version", func(c *client) { c.fails(vm.KindProtocol, wire.MethodHello, `{"proto":99}`) }},
		{"surplus descriptors", func(c *client) {
			c.call(wire.MethodHello, hello)
			_, theirs := c.streams()
			c.send(wire.MethodStart, "", theirs...)
		}},
		{"a response", func(c *client) {
			require.NoError(t, c.conn.Send(wire.Frame{Kind: wire.KindResponse, Body: []byte("{}")}))
		}},
		{"no JSON", func(c *client) {
			require.NoError(t, c.conn.Send(wire.Frame{Kind: wire.KindRequest, Body: []byte("hi")}))
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := serve(t, Options{})
			test.do(c)
			require.ErrorIs(t, c.over(), vm.KindProtocol)
		})
	}
}

// TestClientGoes: the machine ends with the connection, in whatever state it is.
func TestClientGoes(t *testing.T) {
	for name, prepare := range map[string]func(c *client){
		"at once": func(*client) {},
		"greeted": func(c *client) { c.call(wire.MethodHello, hello) },
		"created": func(c *client) { c.create(vmtest.KernelSpin) },
		"running": func(c *client) { c.create(vmtest.KernelEcho); c.call(wire.MethodStart, "") },
		"paused": func(c *client) {
			c.create(vmtest.KernelSpin)
			c.call(wire.MethodStart, "")
			c.call(wire.MethodPause, "")
		},
		"creating": func(c *client) {
			c.call(wire.MethodHello, hello)
			_, s := c.streams()
			c.send(wire.MethodCreate, config(c, vmtest.KernelSpin), s...)
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := serve(t, Options{})
			prepare(c)
			require.NoError(t, c.conn.Close())
			require.NoError(t, c.over())
		})
	}
}

// TestUnreadOutput: a guest that prints to a client that does not read waits, and
// ends all the same when the client goes.
func TestUnreadOutput(t *testing.T) {
	printed := make(chan struct{})
	c := serve(t, Options{}, func(f *vmtest.Fake) {
		f.Programs["/loud"] = func(g *vmtest.Guest) {
			g.Print("x")
			close(printed)
			for {
				g.Print(string(make([]byte, 1<<20)))
			}
		}
	})
	c.create("/loud")
	c.call(wire.MethodStart, "")
	<-printed
	c.conn.Shutdown()
	require.NoError(t, c.over())
}

// TestPanics: a bug of a backend is an error of the call.
func TestPanics(t *testing.T) {
	c := serve(t, Options{Confine: func(vm.Config) (func() (string, error), error) { panic("bug") }})
	c.call(wire.MethodHello, hello)
	_, theirs := c.streams()
	r := c.answer(c.send(wire.MethodCreate, config(t, vmtest.KernelSpin), theirs...))
	require.ErrorIs(t, r.Error.Decode(), vm.KindInternal)
	require.ErrorContains(t, r.Error.Decode(), "bug")
	require.NoError(t, c.conn.Close())
	require.NoError(t, c.over())
}

// TestConfine: what it says arrives, and its refusal.
func TestConfine(t *testing.T) {
	c := serve(t, Options{Confine: func(cfg vm.Config) (func() (string, error), error) {
		return func() (string, error) { return "for " + cfg.Boot.Kernel, nil }, nil
	}})
	c.call(wire.MethodHello, hello)
	_, theirs := c.streams()
	var created wire.Created
	require.NoError(t, wire.DecodeBody(c.call(wire.MethodCreate, config(t, vmtest.KernelSpin), theirs...).Result, &created))
	require.Equal(t, "for "+vmtest.KernelSpin, created.Jail)
	require.NoError(t, c.conn.Close())
	require.NoError(t, c.over())

	for _, confine := range []func(vm.Config) (func() (string, error), error){
		func(vm.Config) (func() (string, error), error) { return nil, unix.ENOSYS },
		func(vm.Config) (func() (string, error), error) {
			return func() (string, error) { return "", unix.ENOSYS }, nil
		},
	} {
		c = serve(t, Options{Confine: confine})
		c.call(wire.MethodHello, hello)
		_, theirs = c.streams()
		c.fails(vm.KindUnsupported, wire.MethodCreate, config(t, vmtest.KernelSpin), theirs...)
		require.NoError(t, c.conn.Close())
		require.NoError(t, c.over())
	}
}
