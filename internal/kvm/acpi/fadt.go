package acpi

import (
	"encoding/binary"

	"github.com/libcapsa/libcapsa/internal/kvm/layout"
)

const (
	fadtRevision = 6
	fadtMinor    = 5

	// Offsets in the FADT (5.2.9, table 5.9).
	fadtDSDT          = 40  // 4 bytes
	fadtProfile       = 45  // 1
	fadtBootArch      = 109 // 2
	fadtFlags         = 112 // 4
	fadtResetReg      = 116 // 12
	fadtResetValue    = 128 // 1
	fadtMinorVersion  = 131 // 1
	fadtXDSDT         = 140 // 8
	fadtSleepControl  = 244 // 12
	fadtSleepStatus   = 256 // 12
	fadtHypervisorVID = 268 // 8

	profileServer = 4 // enterprise server: no battery, no lid

	// Flags of table 5.10.
	fadtWBINVD         = 1 << 0
	fadtPowerButton    = 1 << 4 // a control-method button, or none
	fadtSleepButton    = 1 << 5 // the same
	fadtResetSupported = 1 << 10
	fadtHWReduced      = 1 << 20

	// Flags of table 5.11. That neither "legacy devices" nor "8042" is set keeps guests from probing for a keyboard.
	bootNoVGA     = 1 << 2
	bootNoMSI     = 1 << 3
	bootNoASPM    = 1 << 4
	bootNoCMOSRTC = 1 << 5 // guests have KVM's clock
)

// fadt is the body of the fixed ACPI description table. Its fields for hardware that is not there are 0.
func fadt(dsdt uint64) []byte {
	t := make([]byte, fadtSize) // header included, so that offsets are those of the specification
	le := binary.LittleEndian
	le.PutUint32(t[fadtDSDT:], uint32(dsdt))
	t[fadtProfile] = profileServer
	le.PutUint16(t[fadtBootArch:], bootNoVGA|bootNoMSI|bootNoASPM|bootNoCMOSRTC)
	le.PutUint32(t[fadtFlags:], fadtWBINVD|fadtPowerButton|fadtSleepButton|fadtResetSupported|fadtHWReduced)
	copy(t[fadtResetReg:], ioRegister(layout.ResetPort))
	t[fadtResetValue] = layout.ResetValue
	t[fadtMinorVersion] = fadtMinor
	le.PutUint64(t[fadtXDSDT:], dsdt)
	copy(t[fadtSleepControl:], ioRegister(layout.SleepControlPort))
	copy(t[fadtSleepStatus:], ioRegister(layout.SleepStatusPort))
	copy(t[fadtHypervisorVID:], "KVM")
	return t[headerSize:]
}

// ioRegister is a generic address structure (5.2.3.2) for a port of one byte.
func ioRegister(port uint64) []byte {
	const accessByte = 1
	return binary.LittleEndian.AppendUint64([]byte{spaceSystemIO, 8, 0, accessByte}, port)
}
