//go:build linux

package kvm

import (
	"encoding/binary"

	"github.com/libcapsa/libcapsa/internal/kvm/boot"
	"github.com/libcapsa/libcapsa/internal/kvm/kvmsys"
)

// Model specific registers (Intel SDM volume 4).
const (
	msrMiscEnable  = 0x1a0
	msrMTRRDefType = 0x2ff

	miscFastStrings = 1 << 0
	mtrrEnable      = 1 << 11
	mtrrWriteBack   = 6
)

// bootMSRs are the registers that firmware would have set: fast string
// instructions, and memory cached unless page tables say otherwise.
var bootMSRs = []kvmsys.MSREntry{
	kvmsys.MSR(msrMiscEnable, miscFastStrings),
	kvmsys.MSR(msrMTRRDefType, mtrrEnable|mtrrWriteBack),
}

// Local vector table of the local APIC (Intel SDM volume 3A, 11.5.1): offsets
// and delivery modes.
const (
	lapicLVT0   = 0x350
	lapicLVT1   = 0x360
	modeNMI     = 4 << 8
	modeExtINT  = 7 << 8
	modeMask    = 7 << 8
	lvtUnmasked = ^uint32(1 << 16)
)

// initVCPU puts a vCPU into the state in which it starts: the boot processor
// (the first) at the entry, the others waiting for INIT and SIPI. KVM makes them as
// processors are after a reset: those others wait, and the FPU is as after FNINIT.
func (m *machine) initVCPU(c *kvmsys.VCPU, entry boot.Entry) error {
	if err := c.SetCPUID(m.model.entries(uint32(c.ID()))); err != nil {
		return err
	}
	if err := c.SetMSRs(bootMSRs); err != nil {
		return err
	}
	if err := initLAPIC(c); err != nil {
		return err
	}
	if c.ID() != 0 {
		return nil
	}
	return enterAt(c, entry)
}

// initLAPIC wires the local APIC as the MP specification wants it in virtual
// wire mode (1.4, section 3.6.2.2): LINT0 takes the PIC's, LINT1 is the NMI.
func initLAPIC(c *kvmsys.VCPU) error {
	l, err := c.LAPIC()
	if err != nil {
		return err
	}
	for offset, mode := range map[int]uint32{lapicLVT0: modeExtINT, lapicLVT1: modeNMI} {
		v := binary.LittleEndian.Uint32(l.Regs[offset:])
		binary.LittleEndian.PutUint32(l.Regs[offset:], v&^modeMask&lvtUnmasked|mode)
	}
	return c.SetLAPIC(l)
}

// enterAt sets the boot processor's registers.
func enterAt(c *kvmsys.VCPU, e boot.Entry) error {
	s, err := c.Sregs() // keeps what the entry does not name: IDT, LDT, APIC base
	if err != nil {
		return err
	}
	data := segment(e.Data)
	s.CS, s.TR = segment(e.Code), segment(e.TSS)
	s.DS, s.ES, s.FS, s.GS, s.SS = data, data, data, data, data
	s.GDT = kvmsys.DTable{Base: e.GDTBase, Limit: e.GDTLimit}
	s.CR0, s.CR3, s.CR4, s.EFER = e.CR0, e.CR3, e.CR4, e.EFER
	if err := c.SetSregs(s); err != nil {
		return err
	}
	return c.SetRegs(&kvmsys.Regs{RIP: e.RIP, RSP: e.RSP, RBP: e.RBP, RSI: e.RSI, RFLAGS: e.RFLAGS})
}

func segment(s boot.Segment) kvmsys.Segment {
	return kvmsys.Segment{
		Base: s.Base, Limit: s.Limit, Selector: s.Selector,
		Type: s.Type, Present: s.Present, DPL: s.DPL, DB: s.DB, S: s.S, L: s.L, G: s.G,
	}
}
