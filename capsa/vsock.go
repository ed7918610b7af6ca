package capsa

import (
	"context"

	"github.com/libcapsa/libcapsa/internal/vm"
)

// SetVsock says whether the guest has sockets (AF_VSOCK) to the host: VsockConnect
// and VsockListen. A new builder has none; a machine with bound ports has them
// anyway.
func (b *Builder) SetVsock(on bool) error {
	return b.set("set vsock", func(*vm.Problems) {}, func(c *vm.Config) { c.Vsock.On = on })
}

// BindVsock joins a port to a unix socket of the host for the machine's life, from
// Build on. A port of one side is bound once; Build checks that.
func (b *Builder) BindVsock(port VsockPort) error {
	return b.set("bind vsock",
		func(p *vm.Problems) {
			ports := b.cfg.Clone().Vsock.Ports
			p.VsockPort(len(ports), port)
			if len(ports) >= vm.MaxVsockPorts {
				p.Vsock(vm.VsockConfig{Ports: append(ports, port)})
			}
		},
		func(c *vm.Config) { c.Vsock.Ports = append(c.Vsock.Ports, port) })
}

// ClearVsockPorts undoes all BindVsock.
func (b *Builder) ClearVsockPorts() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.cfg.Vsock.Ports = nil
}

// VsockConnect connects to a port of the guest and returns the host's end: a
// connected unix socket of type t, blocking, close-on-exec, and the caller's.
// Shutting it down for writing shows the guest the end of the data; reading gives
// the end when the guest has shut its side down, and when the machine ends.
//
// It waits until the guest answers, also for its driver to come up, or until ctx
// ends. Errors: KindIO (the guest has nobody listening: ECONNREFUSED; its driver
// went away: ECONNRESET), KindTimeout, KindCancelled, KindUnsupported (the machine
// has no sockets, or the guest's driver none of type t), KindInvalidArg, KindState
// (the machine has ended), KindLimit.
func (v *VM) VsockConnect(ctx context.Context, t VsockType, port uint32) (fd int, err error) {
	const op = "vsock connect"
	m, err := v.sockets(op, t, port)
	if err != nil {
		return -1, err
	}
	fd, err = m.VsockConnect(ctx, t, port)
	return fd, socketError(op, err)
}

// VsockListen returns a listening unix socket of type t that accept(2) takes the
// guest's connections to a port of the host from: blocking, close-on-exec, and the
// caller's. At most backlog connections wait there, or as many as the host's
// net.core.somaxconn allows; more are refused, as are all when the descriptor is
// closed. VsockUnlisten frees the port.
//
// Errors: KindExists (the port is in use), KindInvalidArg, KindUnsupported (the
// machine has no sockets), KindState (it has ended), KindLimit.
func (v *VM) VsockListen(t VsockType, port uint32, backlog int) (fd int, err error) {
	const op = "vsock listen"
	m, err := v.sockets(op, t, port)
	if err != nil {
		return -1, err
	}
	fd, err = m.VsockListen(t, port, backlog)
	return fd, socketError(op, err)
}

// VsockUnlisten undoes VsockListen, or a bound port of mode VsockModeConnect: the
// guest's connections to the port are refused from now on, and the port is free.
// Connections that exist go on. Errors: KindNotFound, KindUnsupported, KindState.
func (v *VM) VsockUnlisten(port uint32) error {
	const op = "vsock unlisten"
	m, err := v.sockets(op, VsockStream, port)
	if err != nil {
		return err
	}
	return socketError(op, m.VsockUnlisten(port))
}

// sockets is the machine, if it has sockets.
func (v *VM) sockets(op string, t VsockType, port uint32) (vm.Sockets, error) {
	if err := v.cfg.CheckVsock(op, t, port); err != nil {
		return nil, err
	}
	if s := v.State(); s.Final() {
		return nil, vm.Errorf(vm.KindState, op, "the machine is %s", s)
	}
	m, ok := v.machine.(vm.Sockets)
	if !ok {
		return nil, vm.Errorf(vm.KindUnsupported, op, "this backend has no sockets")
	}
	return m, nil
}

// socketError makes the error of a call of one of the machine's.
func socketError(op string, err error) error {
	if ending(err) { // after sockets has looked
		err = vm.Errorf(vm.KindState, op, "the machine has ended")
	}
	return vm.Wrap(op, err)
}
