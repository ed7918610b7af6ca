//go:build linux

package kvm

import (
	"context"
	"errors"
	"fmt"

	"github.com/libcapsa/libcapsa/internal/kvm/layout"
	"github.com/libcapsa/libcapsa/internal/virtio"
	vsockdev "github.com/libcapsa/libcapsa/internal/virtio/vsock"
	"github.com/libcapsa/libcapsa/internal/vm"
	"github.com/libcapsa/libcapsa/internal/vsock"
	"github.com/libcapsa/libcapsa/internal/vsock/packet"
)

var _ vm.Sockets = (*machine)(nil)

// vsockSpecs is the socket device, if the machine has one.
func vsockSpecs(cfg vm.Config) []deviceSpec {
	if !cfg.Vsock.Enabled() {
		return nil
	}
	return []deviceSpec{{place: layout.Vsock, build: (*machine).buildVsock, fill: (*machine).fillVsock}}
}

// buildVsock makes the host's side with its address and bound ports, and the
// device. At the machine's end the device goes first, so that what the guest has
// sent is still delivered, and the address last.
func (m *machine) buildVsock() (virtio.Device, error) {
	cid, err := vsock.TakeCID()
	if err != nil {
		return nil, err
	}
	m.undo.add(func() error { vsock.ReturnCID(cid); return nil })
	host, err := vsock.New(vsock.Config{CID: cid})
	if err != nil {
		return nil, err
	}
	m.undo.add(host.Close)
	m.vsock = host
	if err := bindPorts(host, m.cfg.Vsock.Ports); err != nil {
		return nil, err
	}
	return vsockdev.New(host), nil
}

// bindPorts binds all ports. The error tells of all that cannot be bound.
func bindPorts(host *vsock.Host, ports []vm.VsockPort) error {
	var bad []error
	var problems vm.Problems
	for i, p := range ports {
		mode := vsock.ModeListen
		if p.Mode == vm.VsockConnect {
			mode = vsock.ModeConnect
		}
		_, err := host.Bind(packetType(p.Type), p.Port, p.Path, mode)
		if err == nil {
			continue
		}
		bad = append(bad, fmt.Errorf("port %d: %w", p.Port, err))
		problem := vm.Problem{Field: fmt.Sprintf("vsock.ports[%d]", i), Message: err.Error()}
		if e, ok := errors.AsType[*vm.Error](err); ok {
			problem.Hint = e.Hint
		}
		problems = append(problems, problem)
	}
	if len(bad) == 1 {
		return bad[0]
	}
	if len(bad) == 0 {
		return nil
	}
	return problems.Err(vm.KindOf(bad[0]), opNew)
}

func packetType(t vm.VsockType) packet.Type {
	if t == vm.VsockSeqPacket {
		return packet.SeqPacket
	}
	return packet.Stream
}

// fillVsock adds to the counters of every device those of the sockets.
func (m *machine) fillVsock(s *vm.DeviceStats) {
	v := m.vsock.Stats()
	s.BytesIn, s.BytesOut = v.FromGuest, v.ToGuest
	s.Vsock = &vm.VsockStats{
		Connections: uint64(v.Connections), Opened: v.Opened, Refused: v.Refused, Reset: v.Resets,
		Packets: v.Packets, Rejected: v.Rejected, Dropped: v.Dropped, CreditUpdates: v.CreditUpdates,
	}
}

// socketsOf is the host's side of the sockets, if a call may use it now.
func (m *machine) socketsOf(op string, t vm.VsockType, port uint32) (*vsock.Host, error) {
	m.mu.Lock()
	closed, ended := m.closed, m.ending != nil
	m.mu.Unlock()
	switch {
	case closed:
		return nil, closedError(op)
	case ended:
		return nil, vm.Errorf(vm.KindState, op, "the machine has ended").WithComponent(component)
	}
	if err := m.cfg.CheckVsock(op, t, port); err != nil {
		return nil, err
	}
	return m.vsock, nil
}

// VsockConnect implements vm.Sockets.
func (m *machine) VsockConnect(ctx context.Context, t vm.VsockType, port uint32) (int, error) {
	host, err := m.socketsOf("vsock connect", t, port)
	if err != nil {
		return -1, err
	}
	return host.Connect(ctx, packetType(t), port)
}

// VsockListen implements vm.Sockets.
func (m *machine) VsockListen(t vm.VsockType, port uint32, backlog int) (int, error) {
	host, err := m.socketsOf("vsock listen", t, port)
	if err != nil {
		return -1, err
	}
	return host.Listen(packetType(t), port, backlog)
}

// VsockUnlisten implements vm.Sockets.
func (m *machine) VsockUnlisten(port uint32) error {
	host, err := m.socketsOf("vsock unlisten", vm.VsockStream, port)
	if err != nil {
		return err
	}
	return host.Unbind(port, vsock.ModeConnect)
}
