package client

import (
	"context"
	"encoding/json"
	"os"

	"golang.org/x/sys/unix"

	"github.com/libcapsa/libcapsa/internal/vm"
	"github.com/libcapsa/libcapsa/internal/vzd/wire"
)

// AddForward implements vm.Networked.
func (m *machine) AddForward(f vm.Forward) (vm.Forward, error) {
	var open wire.Forward
	_, err := m.send(context.Background(), wire.MethodAddForward, wire.EncodeForward(f), &open)
	if err != nil {
		return vm.Forward{}, err
	}
	return open.Decode(), nil
}

// RemoveForward implements vm.Networked.
func (m *machine) RemoveForward(id uint32) error {
	return m.ask(wire.MethodRemoveForward, wire.RemoveForward{ID: id})
}

// Forwards implements vm.Networked.
func (m *machine) Forwards() ([]vm.Forward, error) {
	var list []wire.Forward
	if _, err := m.send(context.Background(), wire.MethodForwards, nil, &list); err != nil {
		return nil, err
	}
	var out []vm.Forward
	for _, f := range list {
		out = append(out, f.Decode())
	}
	return out, nil
}

// SetPolicy implements vm.Networked.
func (m *machine) SetPolicy(policy json.RawMessage) error {
	return m.ask(wire.MethodSetPolicy, wire.EncodePolicy(policy))
}

// SetLink implements vm.Networked.
func (m *machine) SetLink(up bool) error {
	return m.ask(wire.MethodSetLink, wire.SetLink{Up: up})
}

// SetLimits implements vm.Networked.
func (m *machine) SetLimits(l vm.NetworkLimits) error { return m.ask(wire.MethodSetLimits, l) }

// SetCapture implements vm.Networked.
func (m *machine) SetCapture(c vm.Capture) error {
	const op = "set capture"
	if err := m.refuse(op); err != nil {
		return err
	}
	var p vm.Problems
	p.Capture("", c)
	if err := p.Err(vm.KindInvalidArg, op); err != nil {
		return err
	}
	return m.askWith(wire.MethodSetCapture, wire.SetCapture{SnapLen: c.SnapLen, MaxSize: c.MaxSize}, c.File)
}

// SetCable implements vm.Networked.
func (m *machine) SetCable(file int) error {
	if file <= 0 {
		return vm.Errorf(vm.KindInvalidArg, "set cable", "%d is no descriptor", file).WithComponent(component)
	}
	return m.askWith(wire.MethodSetCable, nil, file)
}

// askWith is ask with a copy of a descriptor, unless that is 0.
func (m *machine) askWith(method string, params any, file int) error {
	if err := m.refuse(method); err != nil {
		return err
	}
	files, err := copies([]int{file})
	if err != nil {
		return err
	}
	_, err = m.call(context.Background(), method, params, files, nil)
	if vm.KindOf(err) == vm.KindVMMDied && m.isClosed() { // Close was faster
		err = m.refuse(method)
	}
	return err
}

// copies makes copies of descriptors, but for those that are 0.
func copies(fds []int) (out wire.Files, err error) {
	for _, fd := range fds {
		if fd == 0 {
			continue
		}
		copied, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 3)
		if err != nil {
			out.Close()
			return nil, vm.Errorf(vm.KindInvalidArg, "pass on", "descriptor %d: %w", fd, os.NewSyscallError("fcntl", err)).WithComponent(component)
		}
		out = append(out, copied)
	}
	return out, nil
}
