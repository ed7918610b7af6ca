// Package layout is the address map of the KVM machine: every guest-physical address, I/O port and interrupt line is a named
// constant here, with a line that says what it is, and the tables derived from them (RAM, e820, devices). It holds no state
// and does no I/O. The machine, the loader, and the ACPI and MP tables all read the same values, so that what the guest is
// told is what the machine does.
//
// Addresses are guest-physical and sizes are bytes.
package layout

// RAM.
const (
	// PageSize is the small page of x86-64.
	PageSize = 0x1000

	// LowMemEnd is where RAM below 4 GiB stops at the latest: the MMIO window begins here.
	LowMemEnd = 0xD000_0000
	// HighMemBase is where the RAM that did not fit below LowMemEnd goes on: 4 GiB.
	HighMemBase = 0x1_0000_0000

	// BaseMemEnd is the end of usable memory below 1 MiB: the last KiB of the 640 KiB of base memory is the firmware's
	// (extended BIOS data area), where kernels look for the MP table.
	BaseMemEnd = 0x9_FC00
	// ExtMemBase is where usable memory goes on: everything from BaseMemEnd to 1 MiB is the firmware's.
	ExtMemBase = 0x10_0000
)

// What the loader places in low memory, all of it in usable RAM: the kernel takes what it needs and reuses the rest.
const (
	// GDTAddr is the global descriptor table of the boot processor, GDTSize bytes at most.
	GDTAddr = 0x500
	// GDTSize is the room for it: Linux's boot protocol needs four entries of 8 bytes.
	GDTSize = 0x40
	// ZeroPageAddr is struct boot_params, one page (Documentation/arch/x86/zero-page.rst).
	ZeroPageAddr = 0x7000
	// StackAddr is the page of the boot processor's initial stack.
	StackAddr = 0x8000
	// StackTop is the initial stack pointer, 16-byte aligned and inside the page.
	StackTop = 0x8FF0
	// PageTablesAddr is the PML4 of the boot processor; the tables it points to follow it.
	PageTablesAddr = 0x9000
	// PageTablesSize is the room for them: PML4, page directory pointers, four page directories.
	PageTablesSize = 6 * PageSize
	// CmdlineAddr is the kernel command line, NUL-terminated.
	CmdlineAddr = 0x2_0000
	// CmdlineSize is the room for it, NUL included. The kernel's own limit (cmdline_size in its header) is lower.
	CmdlineSize = 0x1_0000
	// SetupDataAddr is the list of struct setup_data that the zero page points to, one page.
	SetupDataAddr = 0x3_0000
	// KernelAddr is where a relocatable kernel is loaded: 16 MiB.
	KernelAddr = 0x100_0000
	// InitrdAddr is where the initrd goes when it fits there: 64 MiB. See package boot for when it moves.
	InitrdAddr = 0x400_0000
)

// What the firmware would have placed, in the reserved part below 1 MiB.
const (
	// MPTableAddr is the MP floating pointer structure, at the start of the last KiB of base memory (MP specification 1.4,
	// section 4, place b), followed by the configuration table when it fits.
	MPTableAddr = BaseMemEnd
	// MPTableSize is the room for both: up to 640 KiB.
	MPTableSize = 0xA_0000 - MPTableAddr
	// MPConfigAddr is where the configuration table goes when it does not fit behind the floating pointer.
	MPConfigAddr = 0xD_E000
	// MPConfigSize is the room for it: 254 processors need 5,348 bytes.
	MPConfigSize = 0x2000
	// ACPIAddr is the root system description pointer, followed by all ACPI tables. Kernels that do not know the zero page's
	// field scan 0xE0000 to 0xFFFFF in steps of 16 for it (ACPI 6.5, 5.2.5.1).
	ACPIAddr = 0xE_0000
	// ACPISize is the room for them.
	ACPISize = 0x1_F000
	// ResetVectorAddr is F000:FFF0, where a kernel jumps in real mode to reboot through the BIOS.
	ResetVectorAddr = 0xF_FFF0
	// ResetVectorSize is the room for the code there: up to 1 MiB.
	ResetVectorSize = 0x10
)

// The window of memory-mapped devices and what lies between it and 4 GiB.
const (
	// MMIOBase is the start of the window of the virtio devices.
	MMIOBase = LowMemEnd
	// MMIOEnd is its end: the IOAPIC comes next.
	MMIOEnd = IOAPICAddr
	// MMIODeviceSize is the size of one device's registers.
	MMIODeviceSize = 0x1000
	// IOAPICAddr is the IOAPIC of KVM's in-kernel irqchip.
	IOAPICAddr = 0xFEC0_0000
	// LocalAPICAddr is the local APIC of every processor.
	LocalAPICAddr = 0xFEE0_0000
	// IdentityMapAddr is KVM's identity-map page (KVM_SET_IDENTITY_MAP_ADDR), which Intel hosts without unrestricted guest
	// support use in real mode; one page.
	IdentityMapAddr = 0xFFFB_C000
	// TSSAddr is KVM's task state segment for the same purpose (KVM_SET_TSS_ADDR), three pages.
	TSSAddr = IdentityMapAddr + PageSize
)

// I/O ports. Every one is an exit to user space, so there are few.
const (
	// SerialPort is COM1, 8 ports. It transmits by polling and never raises an interrupt: line 4 is the network's.
	SerialPort = 0x3F8
	// SerialPorts is their number.
	SerialPorts = 8
	// RTCPort is the CMOS index register, and RTCPort+1 its data register.
	RTCPort = 0x70
	// RTCPorts is their number.
	RTCPorts = 2
	// I8042Port is the keyboard controller's data register. Its status and command register is at I8042Port+4.
	I8042Port = 0x60
	// I8042StatusPort is that one.
	I8042StatusPort = 0x64
	// PowerPort is the block of power registers that the ACPI tables name, PowerPorts ports; the four offsets follow.
	PowerPort = 0x600
	// PowerPorts is its size.
	PowerPorts = 8
	// SleepControlPort is the sleep control register of hardware-reduced ACPI, 1 byte (ACPI 6.5, 4.8.3.7).
	SleepControlPort = PowerPort + 0
	// SleepStatusPort is the sleep status register, 1 byte.
	SleepStatusPort = PowerPort + 1
	// ResetPort is the reset register, 1 byte; ResetValue is what the guest writes to it.
	ResetPort = PowerPort + 2
	// ResetValue is the value that resets.
	ResetValue = 0x01
	// EventPort is the register from which the guest's handler learns which events are pending, 4 bytes.
	EventPort = PowerPort + 4
	// PanicPort is the port of the paravirtual panic device, 1 byte; where QEMU has it (docs/specs/pvpanic.rst).
	PanicPort = 0x505
)

// Interrupt lines: pins of the IOAPIC, which are also the GSIs and, for a guest without ACPI, the IRQ numbers.
const (
	// IOAPICPins is the number of pins of KVM's in-kernel IOAPIC.
	IOAPICPins = 24
	// IOAPICID is its APIC identifier: KVM's register says 0 after reset.
	IOAPICID = 0
	// IRQPower is the line of the generic event device (power button): the one ACPI uses on PCs for its events.
	IRQPower = 9
)
