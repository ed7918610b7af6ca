package vzd

import (
	"context"
	"os"

	"github.com/libcapsa/libcapsa/internal/vm"
	"github.com/libcapsa/libcapsa/internal/vzd/wire"
)

// call is one request.
type call struct {
	wire.Request
	s     *session
	id    uint64
	ctx   context.Context // ends when the client no longer waits
	files wire.Files
}

// method answers a call: with a result, which may be nil, and descriptors, which
// it gives away, or with an error.
type method func(c *call) (any, wire.Files, error)

// methods are all but hello.
var methods = map[string]method{
	wire.MethodCapabilities: func(c *call) (any, wire.Files, error) {
		caps, err := c.s.backend.Capabilities()
		return caps, nil, err
	},
	wire.MethodCreate: func(c *call) (any, wire.Files, error) {
		created, err := c.create()
		return created, nil, err
	},
	wire.MethodStart:       simple(func(_ *call, m vm.Machine) error { return m.Start() }),
	wire.MethodPause:       simple(func(_ *call, m vm.Machine) error { return m.Pause() }),
	wire.MethodResume:      simple(func(_ *call, m vm.Machine) error { return m.Resume() }),
	wire.MethodPowerButton: simple(func(_ *call, m vm.Machine) error { return m.PowerButton() }),
	wire.MethodKill: simple(func(c *call, m vm.Machine) error {
		var p wire.Kill
		if err := wire.DecodeBody(c.Params, &p); err != nil {
			return err
		}
		return m.Kill(p.Cause)
	}),
	wire.MethodResize: simple(func(c *call, m vm.Machine) error {
		var p wire.Resize
		if err := wire.DecodeBody(c.Params, &p); err != nil {
			return err
		}
		return m.ResizeConsole(p.Cols, p.Rows)
	}),
	wire.MethodMemoryTarget: simple(func(c *call, m vm.Machine) error {
		var p wire.MemoryTarget
		if err := wire.DecodeBody(c.Params, &p); err != nil {
			return err
		}
		return m.SetMemoryTarget(p.Bytes)
	}),
	wire.MethodSave: simple(func(c *call, m vm.Machine) error {
		var p wire.Save
		if err := wire.DecodeBody(c.Params, &p); err != nil {
			return err
		}
		saver, ok := m.(vm.Saver)
		if !ok {
			return vm.Errorf(vm.KindUnsupported, c.Method, "this backend saves no machines").WithComponent(component)
		}
		return saver.Save(p.Decode())
	}),
	wire.MethodStats: func(c *call) (any, wire.Files, error) {
		h, err := c.s.machine(c.Method)
		if err != nil {
			return nil, nil, err
		}
		return h.machine.Stats(), nil, nil
	},
	wire.MethodVsockConnect: sockets(func(c *call, m vm.Sockets, p wire.Vsock) (wire.Files, error) {
		fd, err := m.VsockConnect(c.ctx, p.Type, p.Port)
		return one(fd, err)
	}),
	wire.MethodVsockListen: sockets(func(_ *call, m vm.Sockets, p wire.Vsock) (wire.Files, error) {
		fd, err := m.VsockListen(p.Type, p.Port, p.Backlog)
		return one(fd, err)
	}),
	wire.MethodVsockUnlisten: sockets(func(_ *call, m vm.Sockets, p wire.Vsock) (wire.Files, error) {
		return nil, m.VsockUnlisten(p.Port)
	}),
	wire.MethodAddForward: network(func(m vm.Networked, p wire.Forward) (any, error) {
		open, err := m.AddForward(p.Decode())
		return wire.EncodeForward(open), err
	}),
	wire.MethodRemoveForward: network(func(m vm.Networked, p wire.RemoveForward) (any, error) {
		return nil, m.RemoveForward(p.ID)
	}),
	wire.MethodForwards: network(func(m vm.Networked, _ struct{}) (any, error) {
		list, err := m.Forwards()
		out := make([]wire.Forward, len(list))
		for i, f := range list {
			out[i] = wire.EncodeForward(f)
		}
		return out, err
	}),
	wire.MethodSetPolicy: network(func(m vm.Networked, p wire.SetPolicy) (any, error) {
		return nil, m.SetPolicy(p.Decode())
	}),
	wire.MethodSetLink: network(func(m vm.Networked, p wire.SetLink) (any, error) {
		return nil, m.SetLink(p.Up)
	}),
	wire.MethodSetLimits: network(func(m vm.Networked, p vm.NetworkLimits) (any, error) {
		return nil, m.SetLimits(p)
	}),
	wire.MethodSetCapture: withFile(func(m vm.Networked, p wire.SetCapture, file int) error {
		return m.SetCapture(vm.Capture{File: file, SnapLen: p.SnapLen, MaxSize: p.MaxSize})
	}),
	wire.MethodSetCable: withFile(func(m vm.Networked, _ struct{}, file int) error { return m.SetCable(file) }),
	wire.MethodClose: func(c *call) (any, wire.Files, error) {
		h, err := c.s.machine(c.Method)
		if err != nil {
			return nil, nil, err
		}
		err = h.close()
		return wire.Closed{Stats: h.machine.Stats()}, nil, err
	},
}

func one(fd int, err error) (wire.Files, error) {
	if err != nil {
		return nil, err
	}
	return wire.Files{fd}, nil
}

// simple is a method of the machine that gives nothing but an error.
func simple(do func(c *call, m vm.Machine) error) method {
	return func(c *call) (any, wire.Files, error) {
		h, err := c.s.machine(c.Method)
		if err != nil {
			return nil, nil, err
		}
		return nil, nil, do(c, h.machine)
	}
}

// sockets is a method of a machine whose guest can have sockets.
func sockets(do func(c *call, m vm.Sockets, p wire.Vsock) (wire.Files, error)) method {
	return func(c *call) (any, wire.Files, error) {
		h, err := c.s.machine(c.Method)
		if err != nil {
			return nil, nil, err
		}
		m, ok := h.machine.(vm.Sockets)
		if !ok {
			return nil, nil, vm.Errorf(vm.KindUnsupported, c.Method, "this backend has no sockets").WithComponent(component)
		}
		var p wire.Vsock
		if err := wire.DecodeBody(c.Params, &p); err != nil {
			return nil, nil, err
		}
		files, err := do(c, m, p)
		return nil, files, err
	}
}

// network is a method of a machine whose guest can have a network.
func network[P any](do func(m vm.Networked, p P) (any, error)) method {
	return func(c *call) (any, wire.Files, error) {
		h, err := c.s.machine(c.Method)
		if err != nil {
			return nil, nil, err
		}
		m, ok := h.machine.(vm.Networked)
		if !ok {
			return nil, nil, vm.Errorf(vm.KindUnsupported, c.Method, "this backend has no network").WithComponent(component)
		}
		var p P
		if err := wire.DecodeBody(c.Params, &p); err != nil {
			return nil, nil, err
		}
		result, err := do(m, p)
		return result, nil, err
	}
}

// withFile is a method of a machine whose guest can have a network, with a descriptor
// or, if none has come, 0. The machine makes a copy of it.
func withFile[P any](do func(m vm.Networked, p P, file int) error) method {
	return func(c *call) (any, wire.Files, error) {
		defer c.files.Close()
		file := 0
		switch len(c.files) {
		case 0:
		case 1:
			file = c.files[0]
		default:
			return nil, nil, vm.Errorf(vm.KindProtocol, c.Method, "%d descriptors; at most one makes sense", len(c.files)).WithComponent(component)
		}
		return network(func(m vm.Networked, p P) (any, error) { return nil, do(m, p, file) })(c)
	}
}

// respond sends the response, after all that the machine had to tell before.
func (c *call) respond(result any, files wire.Files, err error) {
	r := wire.Response{Error: wire.EncodeError(c.Method, err)}
	if h, missing := c.s.machine(""); missing == nil {
		h.settle()
		r.Output = h.output()
	}
	if err == nil && result != nil {
		if r.Result, err = wire.EncodeBody(result); err != nil {
			r.Error = wire.EncodeError(c.Method, err)
		}
	}
	body, err := wire.EncodeBody(r)
	if err != nil {
		files.Close()
		files = nil
		body, _ = wire.EncodeBody(wire.Response{Error: wire.EncodeError(c.Method, err)}) // which is short
	}
	c.s.out.Send(wire.Frame{Kind: wire.KindResponse, ID: c.id, Body: body, Files: files})
}

// panicked answers a call that met a bug.
func (c *call) panicked(err error) {
	c.s.forget(c.id)
	c.s.log("%s: %v", c.Method, err)
	c.respond(nil, nil, vm.Errorf(vm.KindInternal, c.Method, "%w", err).WithComponent(component))
}

func pid() int { return os.Getpid() }
