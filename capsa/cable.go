package capsa

import "github.com/libcapsa/libcapsa/internal/vm"

// SetNetworkLimits bounds what passes the guest's network device. What is over a bound
// waits. The zero NetworkLimits bounds nothing.
func (b *Builder) SetNetworkLimits(l NetworkLimits) error {
	return b.set("set network limits", func(p *vm.Problems) { p.Limits(l) }, func(c *vm.Config) { c.Network.Limits = l })
}

// SetCapture writes what passes the guest's network device to a file, as pcapng, from
// Build on; the zero Capture does not. A descriptor has to be open at Build, which makes
// a copy of it.
func (b *Builder) SetCapture(capture Capture) error {
	return b.set("set capture",
		func(p *vm.Problems) { p.Capture("network.capture.", capture) },
		func(c *vm.Config) { c.Network.Capture = capture })
}

// AttachFD makes whoever holds the other end of a descriptor the guest's network: a
// socket of passt, gvproxy or QEMU, or a TAP that is open. MAC, MTU and LinkDown of c
// count, and of its Cable the Framing. The descriptor has to be open at Build, which
// makes a copy of it; that, and so the caller's, is non-blocking then.
//
// When the other end goes, the guest sees its cable pulled, and an EventLink says so;
// VM.SetCable plugs another one in.
func (b *Builder) AttachFD(fd int, c NetworkConfig) error {
	return b.attach("attach", c, NetworkFD, Cable{File: fd, Framing: c.Cable.Framing})
}

// AttachTAP makes a TAP interface of the host, which there is and which this user may
// open, the guest's network. MAC, MTU and LinkDown of c count.
func (b *Builder) AttachTAP(name string, c NetworkConfig) error {
	return b.attach("attach", c, NetworkTAP, Cable{TAP: name})
}

// attach sets a cable.
func (b *Builder) attach(op string, c NetworkConfig, mode NetworkMode, cable Cable) error {
	next := NetworkConfig{Mode: mode, MAC: c.MAC, MTU: c.MTU, LinkDown: c.LinkDown, Cable: cable}
	return b.set(op, func(p *vm.Problems) { p.Network(next) }, func(cfg *vm.Config) {
		next.Limits, next.Capture = cfg.Network.Limits, cfg.Network.Capture
		cfg.Network = next
		b.network = nil
	})
}

// SetNetworkLimits changes what bounds the guest's network device, at once. Errors:
// KindInvalidArg, KindUnsupported (there is no device), KindState.
func (v *VM) SetNetworkLimits(l NetworkLimits) error {
	const op = "set network limits"
	return v.onCable(op, func(m vm.Networked) error {
		var p vm.Problems
		p.Limits(l)
		if err := p.Err(vm.KindInvalidArg, op); err != nil {
			return err
		}
		if v.port != nil {
			v.port.SetLimits(l)
		}
		return m.SetLimits(l)
	})
}

// SetCapture writes what passes the guest's network device to a file from now on, in
// place of the file before; the zero Capture ends that. Errors: KindInvalidArg,
// KindNotFound (no such directory), KindPermission, KindUnsupported (there is no device),
// KindState, and what the file before had to say.
func (v *VM) SetCapture(c Capture) error {
	const op = "set capture"
	return v.onCable(op, func(m vm.Networked) error {
		var p vm.Problems
		p.Capture("", c)
		if err := p.Err(vm.KindInvalidArg, op); err != nil {
			return err
		}
		c, file, err := c.Open(op)
		if err != nil {
			return err
		}
		if file != nil {
			defer file.Close()
		}
		return m.SetCapture(c)
	})
}

// SetCable plugs the guest's cable into another descriptor, of which it makes a copy: for
// a machine whose network is one (AttachFD). Errors: KindInvalidArg, KindUnsupported,
// KindState.
func (v *VM) SetCable(fd int) error {
	return v.onCable("set cable", func(m vm.Networked) error { return m.SetCable(fd) })
}

// onCable makes a call for the network device, if the machine has one.
func (v *VM) onCable(op string, call func(vm.Networked) error) error {
	if err := v.cfg.CheckCable(op); err != nil {
		return err
	}
	return v.onDevice(op, call)
}
