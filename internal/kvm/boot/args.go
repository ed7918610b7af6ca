package boot

import (
	"fmt"
	"strings"

	"github.com/libcapsa/libcapsa/internal/kvm/layout"
)

// keyVirtioDevice is the argument that announces a virtio-mmio device to a kernel without ACPI.
const keyVirtioDevice = "virtio_mmio.device"

// Machine is what decides the machine's own arguments.
type Machine struct {
	User        []string        // the user's arguments: some of them change the machine's
	Devices     []layout.Device // the virtio devices, in the order in which the guest shall find them
	ReliableTSC bool            // the host's time stamp counters are in step and never stop (invariant TSC)

	Root         string // the block device with the root file system, "/dev/vda1"; "": the machine does not know
	RootReadOnly bool   // it cannot be written
}

// MachineArgs are the arguments that the machine gives to every kernel, before the user's. They make the console work, turn
// panics and reboots into something the machine sees, and leave out waits that are of no use in it. All of them are known
// to every x86-64 kernel or contain a dot, so that none is passed on to init; but pci, which a kernel without PCI takes for a
// variable of init's environment.
func MachineArgs(m Machine) []string {
	var args []string
	if !wantsLog(m.User) {
		// Every character before hvc0 costs two exits. It comes before earlycon, which prints at once what has been logged.
		args = append(args, "quiet")
	}
	args = append(args,
		"console=hvc0", // virtio console
		// Early messages and panics go to COM1, which needs no driver; the kernel turns this one off when hvc0 is there, so
		// nothing appears twice and nothing is lost.
		fmt.Sprintf("earlycon=uart8250,io,%#x", layout.SerialPort),
		"panic=-1",            // reboot at once: the machine ends and the text says why
		"reboot=k",            // by the keyboard controller: one port write, with and without ACPI
		"pci=off",             // there is no bus: do not search for one through ports 0xCF8 and 0xCFC
		"no_timer_check",      // the timer interrupt works; do not wait to see it
		"random.trust_cpu=on", // whoever runs the machine makes its random numbers anyway: do not wait for others
		"random.trust_bootloader=on",
	)
	if !usesSerial(m.User) {
		args = append(args, "8250.nr_uarts=0") // do not probe for serial ports; earlycon works without
	}
	if m.ReliableTSC {
		args = append(args, "tsc=reliable") // do not measure it against other clocks, nor between processors
	}
	args = append(args, rootArgs(m)...)
	if ACPIOff(m.User) {
		for _, d := range m.Devices {
			args = append(args, fmt.Sprintf("%s=%dK@%#x:%d", keyVirtioDevice, layout.MMIODeviceSize>>10, d.Addr(), d.IRQ))
		}
	}
	return args
}

// rootArgs name the root file system and say whether it is mounted for writing, unless the user does.
func rootArgs(m Machine) []string {
	if m.Root == "" {
		return nil
	}
	mode := "rw"
	if m.RootReadOnly {
		mode = "ro"
	}
	for _, arg := range kernelArgs(m.User) {
		switch key(arg) {
		case "root":
			return nil
		case "ro", "rw":
			mode = ""
		}
	}
	args := []string{"root=" + m.Root}
	if mode != "" {
		args = append(args, mode)
	}
	return args
}

// ACPIOff tells whether arguments turn ACPI off in the guest. Then the devices are announced on the command line, and never
// in both ways. The last of acpi=off and acpi=force decides (parse_acpi in arch/x86/kernel/acpi/boot.c).
func ACPIOff(args []string) bool {
	off := false
	for _, arg := range kernelArgs(args) {
		switch arg {
		case "acpi=off":
			off = true
		case "acpi=force":
			off = false
		}
	}
	return off
}

// wantsLog tells whether the user says how much of the kernel's log to show.
func wantsLog(args []string) bool {
	for _, arg := range kernelArgs(args) {
		switch key(arg) {
		case "loglevel", "ignore_loglevel", "debug":
			return true
		}
	}
	return false
}

// usesSerial tells whether the user wants a serial port as a console of the kernel.
func usesSerial(args []string) bool {
	for _, arg := range kernelArgs(args) {
		if v, ok := strings.CutPrefix(arg, "console="); ok && strings.HasPrefix(v, "ttyS") {
			return true
		}
	}
	return false
}
