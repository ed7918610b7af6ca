package boot

import (
	"fmt"
	"math"

	"github.com/libcapsa/libcapsa/internal/guestmem"
	"github.com/libcapsa/libcapsa/internal/kvm/layout"
	"github.com/libcapsa/libcapsa/internal/vm"
)

const mib = 1 << 20

// plan is where everything goes.
type plan struct {
	kernel guestmem.Span // all the memory that the kernel uses before it manages memory itself
	entry  uint64
	initrd guestmem.Span // Size 0: none
}

// newPlan finds places for kernel and initrd. Errors are of kind CONFIG and name the sizes.
func newPlan(p Params) (*plan, error) {
	k := p.Kernel
	pl := &plan{}
	initrdMax := uint64(math.MaxUint64) // a 64-bit vmlinux takes an initrd anywhere
	if bz := k.bz; bz != nil {
		pl.kernel = guestmem.Span{Base: bz.loadAddr, Size: max(bz.initSize, bz.payloadSize)}
		pl.entry = bz.loadAddr + entryOffset64
		initrdMax = bz.initrdMax
	} else {
		pl.kernel, pl.entry = k.elf.span(), k.elf.entry
	}
	if low := min(p.RAM, layout.LowMemEnd); pl.kernel.End() > low {
		e := vm.Errorf(vm.KindConfig, opKernel, "needs %s of memory from %s upward, the guest has %s",
			human(pl.kernel.Size), human(pl.kernel.Base), human(p.RAM)).WithPath(k.path)
		if pl.kernel.End() > layout.LowMemEnd {
			return nil, e.WithHint(fmt.Sprintf("it cannot run on this machine, whose low memory ends at %s", human(layout.LowMemEnd)))
		}
		return nil, e.WithHint(fmt.Sprintf("give the guest at least %s", humanMiB(pl.kernel.End())))
	}
	if p.Initrd == nil {
		return pl, nil
	}
	size := p.Initrd.size
	addr, ok := placeInitrd(size, pl.kernel, p.RAM, initrdMax)
	if !ok {
		return nil, initrdError(p, pl.kernel, initrdMax)
	}
	pl.initrd = guestmem.Span{Base: addr, Size: size}
	return pl, nil
}

// placeInitrd finds a place for size bytes that is free of the kernel and whose last byte is not above max: layout.InitrdAddr
// when it fits there, else the highest page of low memory that works, else the highest one above 4 GiB. Memory above 4 GiB is
// the last choice because the kernel's decompressor then cannot keep clear of it with the tables it starts with.
func placeInitrd(size uint64, kernel guestmem.Span, ram, max uint64) (uint64, bool) {
	low := min(ram, layout.LowMemEnd)
	if kernel.End() <= layout.InitrdAddr {
		if addr, ok := highest(size, layout.InitrdAddr, low, max); ok && addr >= layout.InitrdAddr {
			return layout.InitrdAddr, true
		}
	}
	if addr, ok := highest(size, kernel.End(), low, max); ok {
		return addr, true
	}
	if addr, ok := highest(size, layout.ExtMemBase, kernel.Base, max); ok {
		return addr, true
	}
	if ram > layout.LowMemEnd {
		return highest(size, layout.HighMemBase, layout.HighMemBase+(ram-layout.LowMemEnd), max)
	}
	return 0, false
}

// highest is the highest page-aligned address from which size bytes fit into [base, end) and none is above max.
func highest(size, base, end, max uint64) (uint64, bool) {
	if max < math.MaxUint64 {
		end = min(end, max+1)
	}
	if end < size {
		return 0, false
	}
	addr := (end - size) &^ uint64(layout.PageSize-1)
	return addr, addr >= base
}

func initrdError(p Params, kernel guestmem.Span, max uint64) error {
	e := vm.Errorf(vm.KindConfig, opInitrd, "of %s does not fit into the guest's %s of memory beside the kernel (%s from %s upward)",
		human(p.Initrd.size), human(p.RAM), human(kernel.Size), human(kernel.Base)).WithPath(p.Initrd.path)
	need := alignUp(kernel.End(), layout.PageSize) + min(p.Initrd.size, math.MaxUint64/4)
	switch {
	case need <= layout.LowMemEnd && need-1 <= max:
		return e.WithHint(fmt.Sprintf("give the guest at least %s", humanMiB(alignUp(need, layout.PageSize))))
	case max < layout.LowMemEnd:
		return e.WithHint(fmt.Sprintf("this kernel takes no initrd above %s; make the initrd smaller", human(max+1)))
	}
	return e.WithHint("make the initrd smaller, or give the guest that much memory above " + human(layout.LowMemEnd))
}

// human is a size for messages: whole GiB, else MiB or KiB, with a decimal unless it is whole.
func human(n uint64) string {
	switch {
	case n >= 1<<30 && n%(1<<30) == 0:
		return fmt.Sprintf("%d GiB", n>>30)
	case n >= mib:
		return inUnits(n, mib, "MiB")
	case n >= 1<<10:
		return inUnits(n, 1<<10, "KiB")
	}
	return fmt.Sprintf("%d bytes", n)
}

func inUnits(n, unit uint64, name string) string {
	if n%unit == 0 {
		return fmt.Sprintf("%d %s", n/unit, name)
	}
	return fmt.Sprintf("%.1f %s", float64(n)/float64(unit), name)
}

// humanMiB is a size in whole MiB, rounded up: guest memory is given in MiB.
func humanMiB(n uint64) string { return fmt.Sprintf("%d MiB", (n+mib-1)/mib) }
