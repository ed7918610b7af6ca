// Package acpi writes the ACPI tables of the machine, which is hardware-reduced (ACPI 6.5, 4.1): RSDP, XSDT, FADT, MADT and a
// DSDT that names the virtio-mmio devices, the power button, the panic device and the power-off state. It is a pure function of the
// configuration; numbers of sections are those of ACPI 6.5. The bytes of AML come from a small encoder in aml.go and
// resource.go, which knows just what the DSDT uses.
package acpi
