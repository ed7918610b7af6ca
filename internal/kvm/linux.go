//go:build linux

package kvm

import (
	"crypto/rand"
	"fmt"
	"strings"

	"github.com/libcapsa/libcapsa/internal/kvm/acpi"
	"github.com/libcapsa/libcapsa/internal/kvm/boot"
	"github.com/libcapsa/libcapsa/internal/kvm/layout"
	"github.com/libcapsa/libcapsa/internal/kvm/mptable"
)

// seedSize is how many random bytes the guest's generator is started with;
// Linux's takes 32 for fully seeded (drivers/char/random.c).
const seedSize = 32

// guests is what the guests of this process share. It has nothing while there are none.
var guests boot.Cache

// loadLinux puts kernel, initrd, command line and firmware tables into memory.
func loadLinux(m *machine) (_ boot.Entry, err error) {
	kernel, err := boot.Open(m.cfg.Boot.Kernel)
	if err != nil {
		return boot.Entry{}, err
	}
	defer func() { _ = kernel.Close() }() // it was only read
	p := boot.Params{Kernel: kernel, RAM: m.cfg.Memory, Seed: make([]byte, seedSize), Shared: guests.Hold()}
	m.undo.add(p.Shared.Close)
	if m.cfg.Boot.Initrd != "" {
		if p.Initrd, err = boot.OpenInitrd(m.cfg.Boot.Initrd); err != nil {
			return boot.Entry{}, err
		}
		defer func() { _ = p.Initrd.Close() }()
	}
	_, _ = rand.Read(p.Seed) // documented never to fail

	places := m.places()
	if p.Cmdline, err = m.cmdline(places, kernel.CmdlineMax()); err != nil {
		return boot.Entry{}, err
	}
	if p.RSDP, err = m.writeTables(places); err != nil {
		return boot.Entry{}, err
	}
	return boot.Load(m.mem, p)
}

// places are where the virtio devices sit, in the order in which the guest
// shall find them.
func (m *machine) places() []layout.Device {
	places := make([]layout.Device, len(m.devices))
	for i, d := range m.devices {
		places[i] = d.place
	}
	return places
}

func (m *machine) cmdline(places []layout.Device, limit int) (string, error) {
	b := m.cfg.Boot
	machine := boot.Machine{User: b.Args, Devices: places, ReliableTSC: m.model.invariantTSC()}
	machine.Root, machine.RootReadOnly = m.root()
	return boot.Cmdline{
		Machine:  boot.MachineArgs(machine),
		User:     b.Args,
		Override: b.Cmdline,
	}.Build(limit)
}

// acpiOff says whether the guest is told not to use ACPI.
func (m *machine) acpiOff() bool {
	if line := m.cfg.Boot.Cmdline; line != nil {
		return boot.ACPIOff(strings.Fields(*line))
	}
	return boot.ACPIOff(m.cfg.Boot.Args)
}

// writeTables writes the ACPI and the MP tables, which tell the guest of the
// same hardware, and returns the address of the ACPI root pointer.
func (m *machine) writeTables(places []layout.Device) (rsdp uint64, err error) {
	if m.cfg.CPUs <= mptable.MaxCPUs || m.acpiOff() {
		blocks, err := mptable.Build(m.cfg.CPUs)
		if err != nil {
			return 0, err
		}
		for _, b := range blocks {
			if err := m.mem.WriteAt(b.Bytes, b.Addr); err != nil {
				return 0, fmt.Errorf("MP tables: %w", err)
			}
		}
	}
	tables, err := acpi.Build(acpi.Config{CPUs: m.cfg.CPUs, Devices: acpi.Devices(places)})
	if err != nil {
		return 0, err
	}
	if err := m.mem.WriteAt(tables.Bytes, tables.Addr); err != nil {
		return 0, fmt.Errorf("ACPI tables: %w", err)
	}
	return tables.RSDP, nil
}
