package acpi

import (
	"fmt"

	"github.com/libcapsa/libcapsa/internal/kvm/layout"
)

// EventPowerButton is the bit of the event register (layout.EventPort) that says that the power button was pressed.
const EventPowerButton = 1 << 0

// SleepTypeS5 is the value of the sleep type field that turns the machine off.
const SleepTypeS5 = 5

// notifyStateChanged is the notification of a control-method power button that was pressed (5.6.6, table 5.166).
const notifyStateChanged = 0x80

// staWorking is what _STA says of a device that is there, enabled, shown and works (6.3.7).
const staWorking = 0xF

// maxDevices keeps the names of devices within four characters.
const maxDevices = 1000

// dsdt is the differentiated definition block: devices, power button, panic device and \_S5.
func dsdt(devices []VirtioDevice) []byte {
	var sb []term
	for i, d := range devices {
		sb = append(sb, virtioDevice(i, d))
	}
	sb = append(sb, powerButton(), eventDevice(), panicDevice())
	return concat(
		scope(nameString(true, "_SB_"), sb...),
		// The values are those that the FADT's sleep control register takes (4.8.3.7).
		name("_S5_", pack(integer(SleepTypeS5), integer(0), integer(0), integer(0))),
	)
}

// virtioDevice is what Linux's virtio_mmio driver binds to (drivers/virtio/virtio_mmio.c, LNRO0005).
func virtioDevice(i int, d VirtioDevice) term {
	return device(fmt.Sprintf("V%03d", i),
		name("_HID", str("LNRO0005")),
		name("_UID", integer(uint64(i))),
		name("_CCA", integer(1)), // what the device writes is coherent with the caches
		name("_CRS", resources(memory32Fixed(uint32(d.Base), uint32(d.Size)), interrupt(d.GSI))),
	)
}

// powerButton is a control-method power button (4.8.2.2.1.2).
func powerButton() term {
	return device("PWRB", name("_HID", str("PNP0C0C")), name("_UID", integer(0)))
}

// eventDevice is the generic event device (5.6.9): its interrupt means that bits of the event register are set, which reading
// clears.
func eventDevice() term {
	return device("GED_",
		name("_HID", str("ACPI0013")),
		name("_UID", integer(0)),
		name("_CRS", resources(interrupt(layout.IRQPower))),
		ioRegion("EREG", layout.EventPort, 4),
		dwordField("EREG", "ESEL", 32),
		method("_EVT",
			store(nameString(false, "ESEL"), term{opLocal0}),
			ifTrue(and(term{opLocal0}, integer(EventPowerButton)),
				notify(nameString(true, "_SB_", "PWRB"), notifyStateChanged)),
		),
	)
}

// panicDevice is what Linux's pvpanic driver binds to (drivers/misc/pvpanic/pvpanic-mmio.c, QEMU0001).
func panicDevice() term {
	return device("PEVT",
		name("_HID", str("QEMU0001")),
		name("_STA", integer(staWorking)),
		name("_CRS", resources(ioPorts(layout.PanicPort, 1))),
	)
}
