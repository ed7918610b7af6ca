// Package legacy has the few PC devices that kernels expect at fixed I/O ports: COM1, the CMOS clock, the keyboard
// controller's reset, and the power registers and the panic port that the ACPI tables name. They are pure register devices: the machine injects
// what they act on (a writer, a clock, functions) and calls Read and Write on the thread of the processor that accessed the
// port. None has a thread, a timer or a file of its own.
//
// Every device is a Device and safe for concurrent use. Functions that are injected are called without a lock held, so they may
// call back; they must not block.
package legacy

// Device is a block of I/O ports. An access has 1, 2 or 4 bytes from the block's port number offset on; the guest chooses
// both, so any value must do.
type Device interface {
	Read(offset uint16, p []byte)
	Write(offset uint16, p []byte)
}

// floating is what a port gives that nobody drives.
const floating = 0xFF

// fill sets all of p to v.
func fill(p []byte, v byte) {
	for i := range p {
		p[i] = v
	}
}
