package gateway

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/libcapsa/libcapsa/internal/net/nat"
	"github.com/libcapsa/libcapsa/internal/vm"
)

// forward is a port that is open, or about to be.
type forward struct {
	as   vm.Forward
	port *nat.Forward // nil: about to be
}

// bindAll binds the ports of the configuration. The error tells of all that cannot
// be bound.
func (g *Gateway) bindAll() error {
	var bad []error
	var problems vm.Problems
	for i, f := range g.cfg.Forwards {
		_, err := g.AddForward(f)
		if err == nil {
			continue
		}
		bad = append(bad, fmt.Errorf("forward %d: %w", i, err))
		problem := vm.Problem{Field: fmt.Sprintf("network.forwards[%d]", i), Message: err.Error()}
		if e, ok := errors.AsType[*vm.Error](err); ok {
			problem.Message, problem.Hint = e.Message(), e.Hint
		}
		problems = append(problems, problem)
	}
	switch len(bad) {
	case 0:
		return nil
	case 1:
		return bad[0]
	}
	return problems.Err(vm.KindOf(bad[0]), "forward ports")
}

// AddForward opens a port, and returns it with its ID and the port that was chosen.
// Until the guest answers, connections wait. Errors: as of vm.Networked.
func (g *Gateway) AddForward(f vm.Forward) (vm.Forward, error) {
	const op = "add forward"
	var p vm.Problems
	p.Forward("", f)
	if err := p.Err(vm.KindInvalidArg, op); err != nil {
		return vm.Forward{}, err
	}
	open := &forward{as: f.WithDefaults()}
	if err := g.reserve(op, open); err != nil {
		return vm.Forward{}, err
	}
	cfg := nat.ForwardConfig{Network: string(f.Protocol), Host: open.as.Host, Path: f.Path, Guest: f.Guest}
	if f.Path != "" {
		cfg.Network = "unix"
	}
	port, err := g.engine.Forward(cfg)
	if err == nil && f.Path != "" {
		if err = os.Chmod(f.Path, 0o600); err != nil { // only this user connects
			_ = port.Close()
		}
	}
	g.mu.Lock()
	if err != nil {
		delete(g.forwards, open.as.ID)
	} else {
		open.port = port
		switch a := port.Addr().(type) {
		case *net.TCPAddr:
			open.as.Host = a.AddrPort()
		case *net.UDPAddr:
			open.as.Host = a.AddrPort()
		}
	}
	g.mu.Unlock()
	if err != nil {
		return vm.Forward{}, forwardError(op, open.as, err)
	}
	g.bound(open.as)
	return open.as, nil
}

// reserve gives a forward its ID and its place among the others.
func (g *Gateway) reserve(op string, f *forward) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case g.closed:
		return vm.Errorf(vm.KindState, op, "the machine has ended")
	case len(g.forwards) >= vm.MaxForwards:
		return vm.Errorf(vm.KindLimit, op, "%d ports are open already", len(g.forwards)).WithComponent(component)
	}
	g.lastID++
	f.as.ID = g.lastID
	g.forwards[f.as.ID] = f
	return nil
}

// forwardError is the error of a port that cannot be opened.
func forwardError(op string, f vm.Forward, err error) error {
	kind, hint := vm.KindIO, ""
	switch {
	case errors.Is(err, nat.ErrClosed):
		kind = vm.KindState
	case errors.Is(err, unix.EADDRINUSE):
		kind, hint = vm.KindExists, "port 0 takes any that is free"
		if f.Path != "" {
			hint = "remove what is there"
		}
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM):
		kind, hint = vm.KindPermission, "ports below 1024 are root's (net.ipv4.ip_unprivileged_port_start)"
		if f.Path != "" {
			hint = "this user needs to be allowed to write the directory"
		}
	case errors.Is(err, unix.EADDRNOTAVAIL):
		kind, hint = vm.KindInvalidArg, "it has to be one of this host's"
	case errors.Is(err, unix.ENOENT):
		kind, hint = vm.KindNotFound, "make the directory first"
	case errors.Is(err, unix.EMFILE), errors.Is(err, unix.ENFILE):
		kind, hint = vm.KindLimit, hintFiles
	}
	return vm.Errorf(kind, op, "%w", err).WithComponent(component).WithPath(f.Path).WithHint(hint)
}

// RemoveForward closes a port. Errors: vm.KindNotFound.
func (g *Gateway) RemoveForward(id uint32) error {
	g.mu.Lock()
	f := g.forwards[id]
	if f != nil && f.port != nil {
		delete(g.forwards, id)
	}
	g.mu.Unlock()
	if f == nil || f.port == nil {
		return vm.Errorf(vm.KindNotFound, "remove forward", "there is no forward %d", id).WithComponent(component)
	}
	return vm.Wrap("remove forward", f.port.Close())
}

// Forwards are the ports that are open, by ID.
func (g *Gateway) Forwards() []vm.Forward {
	g.mu.Lock()
	defer g.mu.Unlock()
	var list []vm.Forward
	for _, f := range g.forwards {
		if f.port != nil {
			list = append(list, f.as)
		}
	}
	slices.SortFunc(list, func(a, b vm.Forward) int { return cmp.Compare(a.ID, b.ID) })
	return list
}
