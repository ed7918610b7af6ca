package legacy

// Registers of the keyboard controller, from layout.I8042Port on, and what they say.
const (
	i8042Data    = 0
	i8042Command = 4 // read: status

	// i8042Absent is the status: output buffer full, input buffer empty. A driver that probes finds a buffer that never
	// empties and gives up after 16 reads (i8042_flush in drivers/input/serio/i8042.c); all bits set would cost the one that
	// wants to reset 2 x 65536 reads before it dares (kb_wait in arch/x86/kernel/reboot.c), and all clear the one that probes
	// half a second for each command.
	i8042Absent = 0x01

	// i8042PulseMask and i8042Pulse recognise the commands 0xF0 to 0xFF, which pulse the lines whose bit is clear; bit 0 is
	// the reset line of the processor.
	i8042PulseMask = 0xF0
	i8042ResetLine = 0x01
)

// I8042 is all that is left of the keyboard controller: its reset line. Probing finds quickly that there is no keyboard. It
// is two Devices in one, at layout.I8042Port and layout.I8042StatusPort, each one port; see Data and Command.
type I8042 struct{ reset func() }

// NewI8042 makes one that calls reset when the guest pulses the reset line.
func NewI8042(reset func()) *I8042 { return &I8042{reset} }

// Data is the data port.
func (k *I8042) Data() Device { return i8042Port{k, i8042Data} }

// Command is the status and command port.
func (k *I8042) Command() Device { return i8042Port{k, i8042Command} }

type i8042Port struct {
	*I8042
	base uint16
}

// Read implements Device.
func (k i8042Port) Read(offset uint16, p []byte) {
	fill(p, floating)
	if k.base+offset == i8042Command && len(p) > 0 {
		p[0] = i8042Absent
	}
}

// Write implements Device.
func (k i8042Port) Write(offset uint16, p []byte) {
	if k.base+offset == i8042Command && len(p) > 0 && p[0]&i8042PulseMask == i8042PulseMask && p[0]&i8042ResetLine == 0 {
		k.reset()
	}
}
