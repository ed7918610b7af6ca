package legacy

// Bits of the panic port (QEMU, docs/specs/pvpanic.rst; Linux, include/uapi/misc/pvpanic.h).
const (
	panicPanicked    = 1 << 0 // the kernel panicked and does nothing more
	panicCrashLoaded = 1 << 1 // the kernel panicked and starts its crash kernel
)

// PanicConfig is what the panic port acts on. No function may be nil; both may be called more than once.
type PanicConfig struct {
	Panicked    func()
	CrashLoaded func()
}

// Panic is the paravirtual panic device: one port, which tells what can be reported and takes the report.
type Panic struct{ cfg PanicConfig }

// NewPanic makes the device.
func NewPanic(cfg PanicConfig) *Panic { return &Panic{cfg} }

// Read implements Device.
func (d *Panic) Read(offset uint16, p []byte) {
	fill(p, floating)
	if offset == 0 && len(p) > 0 {
		p[0] = panicPanicked | panicCrashLoaded
	}
}

// Write implements Device. Bits that were not offered mean nothing.
func (d *Panic) Write(offset uint16, p []byte) {
	if offset != 0 || len(p) == 0 {
		return
	}
	if p[0]&panicPanicked != 0 {
		d.cfg.Panicked()
	}
	if p[0]&panicCrashLoaded != 0 {
		d.cfg.CrashLoaded()
	}
}
