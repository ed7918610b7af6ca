//go:build linux

package kvm

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/libcapsa/libcapsa/internal/net/cable"
	"github.com/libcapsa/libcapsa/internal/net/lan"
	"github.com/libcapsa/libcapsa/internal/net/pcap"
	"github.com/libcapsa/libcapsa/internal/net/shaper"
	netdev "github.com/libcapsa/libcapsa/internal/virtio/net"
	"github.com/libcapsa/libcapsa/internal/vm"
)

// deviceLimits are the limits of a device.
func deviceLimits(l vm.NetworkLimits) netdev.Limits {
	way := func(r vm.RateLimit) shaper.Limits {
		return shaper.Limits{
			Bytes:   shaper.Rate{PerSecond: r.BytesPerSec, Burst: r.BytesBurst},
			Packets: shaper.Rate{PerSecond: r.PacketsPerSec, Burst: r.PacketsBurst},
		}
	}
	return netdev.Limits{FromGuest: way(l.FromGuest), ToGuest: way(l.ToGuest)}
}

// SetLimits implements vm.Networked.
func (m *machine) SetLimits(l vm.NetworkLimits) error {
	if err := m.networkDevice("set limits"); err != nil {
		return err
	}
	m.net.SetLimits(deviceLimits(l))
	if m.gateway != nil {
		m.gateway.SetLimits(l)
	}
	return nil
}

// plug makes a copy of the descriptor that a cable leads to, or opens its TAP.
func (m *machine) plug(op string, c vm.NetworkConfig) (cable.Config, error) {
	tap, err := lan.Prepare(op, &c)
	if err != nil {
		return cable.Config{}, err
	}
	if tap != nil {
		defer tap.Close()
	}
	if c.Cable.File == 0 {
		return cable.Config{}, vm.Errorf(vm.KindUnsupported, op, "the shared network is not reachable from here").WithComponent(component)
	}
	fd, err := unix.FcntlInt(uintptr(c.Cable.File), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return cable.Config{}, lan.CableError(op, os.NewSyscallError("fcntl", err))
	}
	return cable.Config{File: fd, Stream: c.Cable.Framing == vm.FramingStream && c.Mode == vm.NetworkFD, Header: c.Cable.Header}, nil
}

// cableChanged is told that the other end came or went: the guest sees its cable
// pulled.
func (m *machine) cableChanged(up bool, why error) {
	m.cableMu.Lock()
	if m.unplugged = !up; m.net != nil {
		m.net.SetLink(up)
	}
	m.cableMu.Unlock()
	if m.host.Event == nil {
		return
	}
	text := "the network's other end is there"
	if !up {
		text = fmt.Sprintf("the network is gone: %v", why)
	}
	m.host.Event(vm.Event{Type: vm.EventLink, Component: component, Message: text, Up: up})
}

// SetCable implements vm.Networked.
func (m *machine) SetCable(file int) error {
	const op = "set cable"
	if err := m.networkDevice(op); err != nil {
		return err
	}
	if m.cfg.Network.Mode != vm.NetworkFD {
		return vm.Errorf(vm.KindUnsupported, op, "the machine's network is no descriptor").WithComponent(component)
	}
	c := m.cfg.Network
	if c.Cable.File = file; file <= 0 {
		return vm.Errorf(vm.KindInvalidArg, op, "%d is no descriptor", file).WithComponent(component)
	}
	conn, err := m.plug(op, c)
	if err != nil {
		return err
	}
	if err := m.cable.SetFile(conn); err != nil {
		return lan.CableError(op, err)
	}
	return nil
}

// SetCapture implements vm.Networked.
func (m *machine) SetCapture(c vm.Capture) error {
	const op = "set capture"
	if err := m.networkDevice(op); err != nil {
		return err
	}
	var p vm.Problems
	p.Capture("", c)
	if err := p.Err(vm.KindInvalidArg, op); err != nil {
		return err
	}
	if c.File == 0 {
		return m.endCapture()
	}
	return m.capture(c)
}

// captured is a capture that is under way.
type captured struct {
	writer *pcap.Writer
	file   *os.File
}

// capture begins to capture to a copy of a descriptor, in place of what was captured
// to before.
func (m *machine) capture(c vm.Capture) error {
	const op = "capture"
	fd, err := unix.FcntlInt(uintptr(c.File), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return vm.Errorf(vm.KindInvalidArg, op, "descriptor %d: %w", c.File, os.NewSyscallError("fcntl", err)).WithComponent(component)
	}
	var st unix.Stat_t
	if unix.Fstat(fd, &st) == nil && (st.Mode&unix.S_IFMT == unix.S_IFIFO || st.Mode&unix.S_IFMT == unix.S_IFSOCK) {
		_ = unix.SetNonblock(fd, true) // so that the end of the machine does not wait for a reader
	}
	file := os.NewFile(uintptr(fd), "capture")
	w, err := pcap.New(pcap.Config{Out: file, Interface: "eth0", SnapLen: c.SnapLen, Limit: c.MaxSize})
	if err != nil {
		_ = file.Close()
		return vm.Errorf(vm.KindInvalidArg, op, "%w", err).WithComponent(component)
	}
	m.captureMu.Lock()
	defer m.captureMu.Unlock()
	if m.captureOver {
		return errors.Join(w.Close(), file.Close(), closedError(op))
	}
	m.tap.Capture(w)
	_ = m.captured.end() // what was wrong with the old one is not the new one's concern
	m.captured = captured{w, file}
	return nil
}

// end writes what is left.
func (c captured) end() error {
	if c.writer == nil {
		return nil
	}
	return errors.Join(c.writer.Close(), c.file.Close())
}

// closeCapture ends the capture for good.
func (m *machine) closeCapture() error {
	m.captureMu.Lock()
	m.captureOver = true
	m.captureMu.Unlock()
	return m.endCapture()
}

// endCapture ends the capture.
func (m *machine) endCapture() error {
	m.captureMu.Lock()
	defer m.captureMu.Unlock()
	m.tap.Capture(nil)
	err := m.captured.end()
	m.captured = captured{}
	if err != nil {
		return vm.Errorf(vm.KindIO, "capture", "%w", err).WithComponent(component)
	}
	return nil
}
