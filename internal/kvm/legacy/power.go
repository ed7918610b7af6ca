package legacy

import (
	"encoding/binary"
	"sync"

	"github.com/libcapsa/libcapsa/internal/kvm/acpi"
	"github.com/libcapsa/libcapsa/internal/kvm/layout"
)

// Offsets from layout.PowerPort.
const (
	powerSleepControl = layout.SleepControlPort - layout.PowerPort
	powerSleepStatus  = layout.SleepStatusPort - layout.PowerPort
	powerReset        = layout.ResetPort - layout.PowerPort
	powerEvent        = layout.EventPort - layout.PowerPort
	eventSize         = 4
)

// Fields of the sleep control register (ACPI 6.5, 4.8.3.7).
const (
	sleepEnable    = 1 << 5
	sleepTypeShift = 2
	sleepTypeMask  = 7
)

// PowerConfig is what the power registers act on. No function may be nil.
type PowerConfig struct {
	PowerOff  func() // the guest entered S5
	Reset     func() // the guest wrote the reset register
	Interrupt func() // raise layout.IRQPower, an edge
}

// Power is the block of ACPI power registers at layout.PowerPort: sleep control and status, reset, and the events of the
// generic event device, of which the power button is the only one.
type Power struct {
	cfg     PowerConfig
	mu      sync.Mutex
	pending uint32 // guarded by mu; the event register
}

// NewPower makes the registers.
func NewPower(cfg PowerConfig) *Power { return &Power{cfg: cfg} }

// PressButton presses the power button: the guest's handler finds it in the event register. A second press that comes before the
// guest has seen the first adds nothing but another interrupt, for a guest that had not been ready for the first.
func (d *Power) PressButton() {
	d.mu.Lock()
	d.pending |= acpi.EventPowerButton
	d.mu.Unlock()
	d.cfg.Interrupt()
}

// Read implements Device. Reading the event register clears it; a part of it reads as 0 and clears nothing.
func (d *Power) Read(offset uint16, p []byte) {
	fill(p, 0)
	if offset == powerEvent && len(p) == eventSize {
		d.mu.Lock()
		defer d.mu.Unlock()
		binary.LittleEndian.PutUint32(p, d.pending)
		d.pending = 0
	}
}

// Write implements Device. Only S5 is a sleep state of this machine; the others, the status and the event register ignore
// what is written.
func (d *Power) Write(offset uint16, p []byte) {
	for i, v := range p {
		switch int(offset) + i {
		case powerSleepControl:
			if v&sleepEnable != 0 && v>>sleepTypeShift&sleepTypeMask == acpi.SleepTypeS5 {
				d.cfg.PowerOff()
			}
		case powerReset:
			if v == layout.ResetValue {
				d.cfg.Reset()
			}
		}
	}
}
