package boot

import (
	"encoding/binary"

	"github.com/libcapsa/libcapsa/internal/kvm/layout"
)

// Offsets in struct boot_params that are not in the setup header (Documentation/arch/x86/zero-page.rst).
const (
	bpRSDP            = 0x070 // 8 bytes
	bpExtRamdiskImage = 0x0C0 // 4; upper halves of the header's fields
	bpExtRamdiskSize  = 0x0C4 // 4
	bpE820Entries     = 0x1E8 // 1
	bpE820Table       = 0x2D0 // 20 bytes each
	e820EntrySize     = 20
)

// protocolELF is the version in the header that is made for a vmlinux, which brings none: 2.15, the newest.
const protocolELF = 0x20F

// zeroPage is struct boot_params.
func zeroPage(p Params, pl *plan) []byte {
	le := binary.LittleEndian
	b := make([]byte, layout.PageSize)
	if bz := p.Kernel.bz; bz != nil {
		copy(b[hdrSetupSects:hdrMaxEnd], bz.header)
		le.PutUint32(b[hdrCode32Start:], uint32(pl.kernel.Base))
	} else {
		le.PutUint16(b[hdrBootFlag:], bootFlag)
		copy(b[hdrMagic:], setupMagic)
		le.PutUint16(b[hdrVersion:], protocolELF)
		le.PutUint32(b[hdrCmdlineSize:], defaultCmdlineMax)
		b[hdrLoadFlags] = loadedHigh
	}
	b[hdrTypeOfLoader] = loaderUnknown
	le.PutUint32(b[hdrCmdLinePtr:], layout.CmdlineAddr)
	le.PutUint32(b[hdrRamdiskImage:], uint32(pl.initrd.Base))
	le.PutUint32(b[hdrRamdiskSize:], uint32(pl.initrd.Size))
	le.PutUint32(b[bpExtRamdiskImage:], uint32(pl.initrd.Base>>32))
	le.PutUint32(b[bpExtRamdiskSize:], uint32(pl.initrd.Size>>32))
	le.PutUint64(b[hdrSetupData:], 0)
	if len(p.Seed) > 0 {
		le.PutUint64(b[hdrSetupData:], layout.SetupDataAddr)
	}
	le.PutUint64(b[bpRSDP:], p.RSDP)

	entries := layout.E820(p.RAM)
	b[bpE820Entries] = byte(len(entries))
	for i, e := range entries {
		at := b[bpE820Table+i*e820EntrySize:]
		le.PutUint64(at, e.Base)
		le.PutUint64(at[8:], e.Size)
		le.PutUint32(at[16:], uint32(e.Type))
	}
	return b
}

const (
	setupRNGSeed    = 9  // SETUP_RNG_SEED (arch/x86/include/uapi/asm/bootparam.h), Linux 6.0; older kernels pass over it
	setupDataHeader = 16 // bytes of struct setup_data before its data
	maxSeed         = layout.PageSize - setupDataHeader
)

// setupData is the list of struct setup_data: one entry with the seed, so that the guest's random numbers are ready at once
// and different in every machine. It is empty without a seed.
func setupData(seed []byte) []byte {
	if len(seed) == 0 {
		return nil
	}
	seed = seed[:min(len(seed), maxSeed)]
	b := binary.LittleEndian.AppendUint64(nil, 0) // the last one
	b = binary.LittleEndian.AppendUint32(b, setupRNGSeed)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(seed)))
	return append(b, seed...)
}
