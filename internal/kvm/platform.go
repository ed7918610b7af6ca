//go:build linux

package kvm

import (
	"io"
	"time"

	"github.com/libcapsa/libcapsa/internal/kvm/layout"
	"github.com/libcapsa/libcapsa/internal/kvm/legacy"
	"github.com/libcapsa/libcapsa/internal/vm"
)

// portDevice puts a legacy device on the port bus.
type portDevice struct{ legacy.Device }

// Read implements registers.
func (d portDevice) Read(offset uint64, p []byte) { d.Device.Read(uint16(offset), p) }

// Write implements registers.
func (d portDevice) Write(offset uint64, p []byte) { d.Device.Write(uint16(offset), p) }

// addPlatform puts the few devices of a PC on the port bus: COM1, the clock,
// the keyboard controller's reset, the panic port and the ACPI power registers.
func (m *machine) addPlatform() error {
	line := &irqLine{vm: m.vm, gsi: layout.IRQPower}
	m.undo.add(line.close)

	serial := m.host.Serial
	if serial == nil {
		serial = io.Discard
	}
	m.serialScan = m.scanner(serial)
	reboot := func() { m.end(ending{cause: vm.CauseReboot}) }
	m.power = legacy.NewPower(legacy.PowerConfig{
		PowerOff:  func() { m.end(ending{cause: vm.CauseGuestShutdown}) },
		Reset:     reboot,
		Interrupt: line.pulse,
	})
	keyboard := legacy.NewI8042(reboot)
	for _, d := range []struct {
		name        string
		port, count uint64
		dev         legacy.Device
	}{
		{"serial", layout.SerialPort, layout.SerialPorts, legacy.NewSerial(m.serialScan)},
		{"clock", layout.RTCPort, layout.RTCPorts, legacy.NewRTC(time.Now)},
		{"keyboard data", layout.I8042Port, 1, keyboard.Data()},
		{"keyboard", layout.I8042StatusPort, 1, keyboard.Command()},
		{"panic", layout.PanicPort, 1, m.panicPort()},
		{"power", layout.PowerPort, layout.PowerPorts, m.power},
	} {
		if err := m.ports.add(d.name, d.port, d.count, portDevice{d.dev}); err != nil {
			return err
		}
	}
	return nil
}
