package boot

import (
	"github.com/libcapsa/libcapsa/internal/guestmem"
	"github.com/libcapsa/libcapsa/internal/kvm/layout"
	"github.com/libcapsa/libcapsa/internal/vm"
)

// Params is what Load needs.
type Params struct {
	Kernel  *Kernel
	Initrd  *Initrd // nil: none
	Cmdline string  // whole command line, without NUL; see Cmdline and Kernel.CmdlineMax
	RSDP    uint64  // address of the ACPI root pointer; 0: not told (the guest has no ACPI tables)
	RAM     uint64  // guest memory, bytes; mem has exactly layout.RAM(RAM)
	Seed    []byte  // random bytes for the guest's generator, 32 are right; nil: none
	Shared  *Hold   // contents shared with other machines, held until the machine ends; nil: everything is copied
}

// Load places everything in mem, which must be zeroed, as fresh memory is. Nothing is written when the sizes do not fit.
// Errors are of kind CONFIG (does not fit), BOOT (the kernel file is wrong) and IO (a file could not be read, or changed).
func Load(mem *guestmem.Memory, p Params) (Entry, error) {
	if p.Kernel == nil {
		return Entry{}, vm.Errorf(vm.KindInvalidArg, opLoad, "no kernel")
	}
	if err := checkCmdline(p.Cmdline, p.Kernel.CmdlineMax()); err != nil {
		return Entry{}, err
	}
	plan, err := newPlan(p)
	if err != nil {
		return Entry{}, err
	}
	if err := p.Kernel.load(mem, p.Shared, plan); err != nil {
		return Entry{}, err
	}
	if p.Initrd != nil {
		if err := p.Initrd.load(mem, p.Shared, plan.initrd.Base); err != nil {
			return Entry{}, err
		}
	}
	for _, b := range []struct {
		addr  uint64
		bytes []byte
	}{
		{layout.GDTAddr, gdtBytes()},
		{layout.PageTablesAddr, pageTables()},
		{layout.CmdlineAddr, append([]byte(p.Cmdline), 0)},
		{layout.SetupDataAddr, setupData(p.Seed)},
		{layout.ZeroPageAddr, zeroPage(p, plan)},
		{layout.ResetVectorAddr, resetCode},
	} {
		if err := mem.WriteAt(b.bytes, b.addr); err != nil {
			return Entry{}, vm.Errorf(vm.KindInternal, opLoad, "writing %d bytes at %#x: %w", len(b.bytes), b.addr, err)
		}
	}
	return entryState(plan.entry), nil
}
