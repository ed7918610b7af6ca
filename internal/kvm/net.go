//go:build linux

package kvm

import (
	"crypto/rand"
	"encoding/json"
	"net"

	"github.com/libcapsa/libcapsa/internal/kvm/layout"
	"github.com/libcapsa/libcapsa/internal/net/cable"
	"github.com/libcapsa/libcapsa/internal/net/gateway"
	"github.com/libcapsa/libcapsa/internal/net/lan"
	"github.com/libcapsa/libcapsa/internal/net/link"
	"github.com/libcapsa/libcapsa/internal/net/pcap"
	"github.com/libcapsa/libcapsa/internal/virtio"
	netdev "github.com/libcapsa/libcapsa/internal/virtio/net"
	"github.com/libcapsa/libcapsa/internal/vm"
)

var _ vm.Networked = (*machine)(nil)

// netSpecs is the network device, if the machine has one.
func netSpecs(cfg vm.Config) []deviceSpec {
	if !cfg.Network.Enabled() || cfg.Network.Mode == vm.NetworkNAT {
		return nil
	}
	return []deviceSpec{{place: layout.Net, build: (*machine).buildNet, fill: (*machine).fillNet}}
}

// buildNet makes the network with its forwarded ports, and the device. At the
// machine's end the device goes first: the network is not called any more then.
func (m *machine) buildNet() (virtio.Device, error) {
	cfg := m.cfg.Network
	mac := m.macOf(cfg)
	behind, err := m.networkOf(cfg, mac)
	if err != nil {
		return nil, err
	}
	m.tap = pcap.NewTap(behind)
	m.undo.add(m.closeCapture)
	if cfg.Capture.Enabled() {
		capture, file, err := cfg.Capture.Open("capture")
		if err != nil {
			return nil, err
		}
		err = m.capture(capture)
		if file != nil {
			_ = file.Close() // m has a copy
		}
		if err != nil {
			return nil, err
		}
	}
	device, err := netdev.New(netdev.Config{Host: m.tap, MAC: mac, MTU: cfg.MTU, Down: cfg.LinkDown, Limits: deviceLimits(cfg.Limits)})
	if err != nil {
		return nil, err
	}
	m.cableMu.Lock()
	defer m.cableMu.Unlock()
	m.net = device
	if m.unplugged {
		device.SetLink(false)
	}
	return device, nil
}

// networkOf is what is behind the device.
func (m *machine) networkOf(cfg vm.NetworkConfig, mac netdev.MAC) (link.Host, error) {
	if cfg.Mode == vm.NetworkUser {
		g, err := gateway.New(gateway.Config{Network: cfg, MAC: mac, Event: m.host.Event})
		if err != nil {
			return nil, err
		}
		m.undo.add(g.Close)
		m.gateway = g
		return g, nil
	}
	if port, ok := m.host.Port.(link.Host); ok && cfg.Mode == vm.NetworkShared {
		return port, nil
	}
	conn, err := m.plug("network", cfg)
	if err != nil {
		return nil, err
	}
	m.cable, err = cable.New(conn, m.cableChanged)
	if err != nil {
		return nil, lan.CableError("network", err)
	}
	m.undo.add(m.cable.Close)
	return m.cable, nil
}

// macOf is the address of the guest's interface: what is given, or one that the
// machine's name stands for, so that the guest finds the same interface again.
func (m *machine) macOf(cfg vm.NetworkConfig) netdev.MAC {
	if given, err := net.ParseMAC(cfg.MAC); err == nil {
		return netdev.MAC(given)
	}
	seed := []byte(m.cfg.Name)
	if len(seed) == 0 {
		seed = []byte(rand.Text())
	}
	return netdev.DeriveMAC(seed, 0)
}

// fillNet adds to the counters of every device those of the network.
func (m *machine) fillNet(s *vm.DeviceStats) {
	d := m.net.Stats()
	n := vm.NetStats{MAC: m.net.MAC().String()}
	switch {
	case m.gateway != nil:
		n = m.gateway.Stats()
	case m.cable != nil:
		c := m.cable.Stats()
		n.DroppedIn, n.DroppedOut = c.DroppedOut, c.DroppedIn+c.Malformed
	}
	n.Link = m.net.Link()
	n.FramesIn, n.FramesOut = d.Sent.Frames, d.Received.Frames
	n.DroppedIn += d.Sent.Dropped()
	n.DroppedOut += d.Received.Dropped()
	s.BytesIn, s.BytesOut = d.Sent.Bytes, d.Received.Bytes
	s.Net = &n
}

// network is the error of a call for the network that is not possible now, or nil.
func (m *machine) network(op string) error {
	if err := m.networkDevice(op); err != nil {
		return err
	}
	return m.cfg.CheckNetwork(op)
}

// networkDevice is that of a call for the device.
func (m *machine) networkDevice(op string) error {
	m.mu.Lock()
	closed, ended := m.closed, m.ending != nil
	m.mu.Unlock()
	switch {
	case closed:
		return closedError(op)
	case ended:
		return vm.Errorf(vm.KindState, op, "the machine has ended").WithComponent(component)
	}
	return m.cfg.CheckCable(op)
}

// AddForward implements vm.Networked.
func (m *machine) AddForward(f vm.Forward) (vm.Forward, error) {
	if err := m.network("add forward"); err != nil {
		return vm.Forward{}, err
	}
	return m.gateway.AddForward(f)
}

// RemoveForward implements vm.Networked.
func (m *machine) RemoveForward(id uint32) error {
	if err := m.network("remove forward"); err != nil {
		return err
	}
	return m.gateway.RemoveForward(id)
}

// Forwards implements vm.Networked.
func (m *machine) Forwards() ([]vm.Forward, error) {
	if err := m.network("forwards"); err != nil {
		return nil, err
	}
	return m.gateway.Forwards(), nil
}

// SetPolicy implements vm.Networked.
func (m *machine) SetPolicy(policy json.RawMessage) error {
	if err := m.network("set policy"); err != nil {
		return err
	}
	return m.gateway.SetPolicy(policy)
}

// SetLink implements vm.Networked.
func (m *machine) SetLink(up bool) error {
	if err := m.networkDevice("set link"); err != nil {
		return err
	}
	m.net.SetLink(up)
	return nil
}
