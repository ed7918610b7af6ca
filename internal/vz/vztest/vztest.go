// Package vztest holds what tests of the Virtualization.framework backend share: Macs
// and kernels that do not exist, and a framework whose guests are Go functions.
//
// No production code imports it.
package vztest

import (
	"encoding/binary"

	"github.com/libcapsa/libcapsa/internal/vm"
	"github.com/libcapsa/libcapsa/internal/vz/plan"
)

// Mac is a Mac with everything that its version and processor allow: 10 processors, 16
// GiB.
func Mac(v plan.Version, arch string) plan.Mac {
	m := plan.Mac{
		Version: v, Arch: arch, Virtualization: true, Entitled: true, Program: "/opt/capsa-vzd",
		MinCPUs: 1, MaxCPUs: 10, MinMemory: 4 * vm.MiB, MaxMemory: 16 << 30,
	}
	if arch == "arm64" && v.AtLeast(13, 0) {
		m.Rosetta = plan.RosettaInstalled
	}
	return m
}

// Kernel is the beginning of a kernel for an architecture, as far as plans look at it,
// with the header of an EFI program as distributions build them.
func Kernel(arch string) []byte {
	b := make([]byte, 4096)
	copy(b, "MZ")
	if arch == "arm64" { // Documentation/arch/arm64/booting.rst
		copy(b[0x38:], "ARM\x64")
		binary.LittleEndian.PutUint64(b[0x18:], 1<<1) // pages of 4 KiB
		return b
	}
	b[0x1fe], b[0x1ff] = 0x55, 0xaa // Documentation/arch/x86/boot.rst
	copy(b[0x202:], "HdrS")
	binary.LittleEndian.PutUint16(b[0x206:], 0x20f)
	b[0x211], b[0x236] = 1, 1 // LOADED_HIGH, XLF_KERNEL_64
	return b
}
