package boot

import (
	"bytes"
	"encoding/binary"
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/libcapsa/libcapsa/internal/guestmem"
	"github.com/libcapsa/libcapsa/internal/kvm/layout"
	"github.com/libcapsa/libcapsa/internal/vm"
)

// zero is what the kernel reads from the zero page.
type zero []byte

func (z zero) u8(off int) uint64  { return uint64(z[off]) }
func (z zero) u16(off int) uint64 { return uint64(binary.LittleEndian.Uint16(z[off:])) }
func (z zero) u32(off int) uint64 { return uint64(binary.LittleEndian.Uint32(z[off:])) }
func (z zero) u64(off int) uint64 { return binary.LittleEndian.Uint64(z[off:]) }

// initrd is the initrd's place, upper halves included.
func (z zero) initrd() guestmem.Span {
	return guestmem.Span{
		Base: z.u32(hdrRamdiskImage) | z.u32(bpExtRamdiskImage)<<32,
		Size: z.u32(hdrRamdiskSize) | z.u32(bpExtRamdiskSize)<<32,
	}
}

func TestLoadBzImage(t *testing.T) {
	image := bzSpec{}.bytes()
	initrd := bytes.Repeat([]byte("070701"), 3000)
	mem := memoryOf(t, 128*mib)
	seed := bytes.Repeat([]byte{0x5E}, 32)
	e, err := Load(mem, Params{
		Kernel: openKernel(t, image), Initrd: openInitrd(t, file(t, initrd)), Cmdline: "console=hvc0 quiet",
		RSDP: layout.ACPIAddr, RAM: 128 * mib, Seed: seed,
	})
	require.NoError(t, err)
	require.EqualValues(t, layout.KernelAddr+0x200, e.RIP)
	payload := image[(1+testSetupSects)*sectorSize:]
	require.Equal(t, payload, peek(t, mem, layout.KernelAddr, len(payload)))
	require.Equal(t, initrd, peek(t, mem, layout.InitrdAddr, len(initrd)))
	require.Equal(t, []byte("console=hvc0 quiet\x00"), peek(t, mem, layout.CmdlineAddr, 19))

	z := zero(peek(t, mem, layout.ZeroPageAddr, layout.PageSize))
	require.Equal(t, image[hdrPrefAddress:hdrMinEnd], []byte(z[hdrPrefAddress:hdrMinEnd]), "the file's header")
	require.Zero(t, z.u32(hdrMinEnd+8), "nothing from behind the header")
	require.EqualValues(t, loaderUnknown, z.u8(hdrTypeOfLoader))
	require.EqualValues(t, layout.KernelAddr, z.u32(hdrCode32Start))
	require.EqualValues(t, layout.CmdlineAddr, z.u32(hdrCmdLinePtr))
	require.EqualValues(t, layout.ACPIAddr, z.u64(bpRSDP))
	require.Equal(t, guestmem.Span{Base: layout.InitrdAddr, Size: uint64(len(initrd))}, z.initrd())
	require.EqualValues(t, 3, z.u8(bpE820Entries))
	require.EqualValues(t, layout.BaseMemEnd, z.u64(bpE820Table+8))
	require.EqualValues(t, layout.E820Reserved, z.u32(bpE820Table+e820EntrySize+16))
	require.EqualValues(t, 127*mib, z.u64(bpE820Table+2*e820EntrySize+8))

	data := zero(peek(t, mem, z.u64(hdrSetupData), 48))
	require.Zero(t, data.u64(0))
	require.EqualValues(t, setupRNGSeed, data.u32(8))
	require.EqualValues(t, 32, data.u32(12))
	require.Equal(t, seed, []byte(data[16:]))
}

func TestLoadELF(t *testing.T) {
	mem := memoryOf(t, 64*mib)
	s := goodELF(nil)
	e, err := Load(mem, Params{Kernel: openKernel(t, s.bytes()), Cmdline: "x", RAM: 64 * mib})
	require.NoError(t, err)
	require.Equal(t, s.entry, e.RIP)
	for _, p := range s.progs[:2] {
		require.Equal(t, p.data, peek(t, mem, p.addr, len(p.data)))
	}
	z := zero(peek(t, mem, layout.ZeroPageAddr, layout.PageSize))
	require.EqualValues(t, bootFlag, z.u16(hdrBootFlag))
	require.Equal(t, setupMagic, string(z[hdrMagic:hdrMagic+4]))
	require.EqualValues(t, loaderUnknown, z.u8(hdrTypeOfLoader))
	require.Equal(t, guestmem.Span{}, z.initrd())
	require.Zero(t, z.u64(hdrSetupData))
	require.Zero(t, z.u64(bpRSDP))
}

// TestEntry walks the page tables and decodes the GDT that the boot processor starts with.
func TestEntry(t *testing.T) {
	mem := memoryOf(t, 64*mib)
	e, err := Load(mem, Params{Kernel: openKernel(t, bzSpec{}.bytes()), RAM: 64 * mib})
	require.NoError(t, err)
	require.EqualValues(t, layout.ZeroPageAddr, e.RSI)
	require.EqualValues(t, layout.StackTop, e.RSP)
	require.EqualValues(t, 2, e.RFLAGS, "interrupts off")
	for _, addr := range []uint64{0, 0x1234, layout.KernelAddr + 5, 0x3FFF_FFFF, 0x4000_0000, 0xFFFF_FFFF} {
		table := e.CR3
		for _, shift := range []int{39, 30} {
			entry := zero(peek(t, mem, table+addr>>shift&511*8, 8)).u64(0)
			require.EqualValues(t, ptePresent|pteWrite, entry&0xFFF)
			table = entry &^ 0xFFF
		}
		entry := zero(peek(t, mem, table+addr>>21&511*8, 8)).u64(0)
		require.EqualValues(t, ptePresent|pteWrite|pteLarge, entry&0xFFF)
		require.Equal(t, addr, entry&^(largePage-1)|addr&(largePage-1))
	}
	pml4 := peek(t, mem, e.CR3, layout.PageSize)
	require.Equal(t, make([]byte, layout.PageSize-8), pml4[8:])

	gdt := zero(peek(t, mem, e.GDTBase, int(e.GDTLimit)+1))
	require.LessOrEqual(t, len(gdt), layout.GDTSize)
	require.EqualValues(t, 0x00AF_9B00_0000_FFFF, gdt.u64(int(e.Code.Selector)))
	require.EqualValues(t, 0x00CF_9300_0000_FFFF, gdt.u64(int(e.Data.Selector)))
	require.EqualValues(t, 0x0000_8B00_0000_0067, gdt.u64(int(e.TSS.Selector)))
	require.EqualValues(t, 0x10, e.Code.Selector)
	require.EqualValues(t, 0x18, e.Data.Selector)

	require.Equal(t, []byte{0xB0, 0xFE, 0xE6, 0x64, 0xF4, 0xEB, 0xFD}, peek(t, mem, 0xF_FFF0, 7))
	require.LessOrEqual(t, len(resetCode), layout.ResetVectorSize)
	require.LessOrEqual(t, len(pageTables()), layout.PageTablesSize)
}

// TestInitrdPlace checks where the initrd goes, without the memory for it.
func TestInitrdPlace(t *testing.T) {
	kernel := func(base, end uint64) guestmem.Span { return guestmem.Span{Base: base * mib, Size: (end - base) * mib} }
	usual := kernel(16, 50)
	const anywhere = math.MaxUint64
	for _, tt := range []struct {
		name   string
		size   uint64
		kernel guestmem.Span
		ram    uint64 // MiB
		max    uint64
		want   uint64 // 0: does not fit
	}{
		{"usual", 10 * mib, usual, 128, anywhere, 64 * mib},
		{"exactly up to the end of memory", 64 * mib, usual, 128, anywhere, 64 * mib},
		{"one byte more", 64*mib + 1, usual, 128, anywhere, 64*mib - 4096},
		{"80 MiB in 128 MiB", 80 * mib, kernel(16, 40), 128, anywhere, 48 * mib},
		{"kernel ends at 64 MiB", mib, kernel(16, 64), 128, anywhere, 64 * mib},
		{"kernel ends past 64 MiB", mib, kernel(16, 65), 128, anywhere, 127 * mib},
		{"kernel far up", mib, kernel(32, 126), 128, anywhere, 127 * mib},
		{"only below the kernel", 12 * mib, kernel(16, 60), 64, anywhere, 4 * mib},
		{"exactly below the kernel", 15 * mib, kernel(16, 60), 64, anywhere, mib},
		{"nowhere", 15*mib + 1, kernel(16, 60), 64, anywhere, 0},
		{"memory ends in the kernel's last page", 4096, kernel(16, 64), 64, anywhere, 16*mib - 4096},
		{"limit of 2 GiB", 1500 * mib, usual, 3328, 0x7FFF_FFFF, 64 * mib},
		{"not under the limit of 2 GiB", 1999 * mib, usual, 3328, 0x7FFF_FFFF, 0},
		{"limit in low memory", 60 * mib, usual, 128, 120*mib - 1, 60 * mib},
		{"limit below the kernel", 60 * mib, usual, 128, 4*mib - 1, 0},
		{"all of low memory", layout.LowMemEnd - 64*mib, usual, 3328, anywhere, 64 * mib},
		{"above 4 GiB", 3300 * mib, usual, 7168, anywhere, 7168*mib + (4096-3328)*mib - 3300*mib},
		{"above 4 GiB but for the limit", 3300 * mib, usual, 7168, 0xFFFF_FFFF, 0},
		{"too big for either part", 3300 * mib, usual, 4096, anywhere, 0},
		{"bigger than the address space", math.MaxUint64, usual, 4096, anywhere, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			addr, ok := placeInitrd(tt.size, tt.kernel, tt.ram*mib, tt.max)
			require.Equal(t, tt.want != 0, ok)
			if !ok {
				return
			}
			require.Equal(t, tt.want, addr)
			span := guestmem.Span{Base: addr, Size: tt.size}
			require.False(t, span.Overlaps(tt.kernel))
			inRAM := false
			for _, s := range layout.RAM(tt.ram * mib) {
				inRAM = inRAM || s.Contains(span.Base, span.Size)
			}
			require.True(t, inRAM)
		})
	}
}

// TestInitrdAbove4G checks that the zero page carries the upper halves of address and size.
func TestInitrdAbove4G(t *testing.T) {
	k := openKernel(t, bzSpec{}.bytes())
	i := openInitrd(t, sparse(t, []byte("070701"), 5<<30))
	p := Params{Kernel: k, Initrd: i, RAM: 10 << 30}
	pl, err := newPlan(p)
	require.NoError(t, err)
	require.EqualValues(t, 4<<30+(10<<30-layout.LowMemEnd)-5<<30, pl.initrd.Base)
	require.Equal(t, pl.initrd, zero(zeroPage(p, pl)).initrd())

	k = openKernel(t, bzSpec{change: put16(hdrXLoadFlags, xlfKernel64)}.bytes())
	_, err = newPlan(Params{Kernel: k, Initrd: i, RAM: 10 << 30})
	require.ErrorIs(t, err, vm.KindConfig)
	require.ErrorContains(t, err, "takes no initrd above 2 GiB")
}

// TestLoadMoved loads an initrd that does not fit at its usual place.
func TestLoadMoved(t *testing.T) {
	initrd := bytes.Repeat([]byte("0123456789abcdef"), 80*mib/16)
	mem := memoryOf(t, 128*mib)
	_, err := Load(mem, Params{Kernel: openKernel(t, bzSpec{}.bytes()), Initrd: openInitrd(t, file(t, initrd)), RAM: 128 * mib})
	require.NoError(t, err)
	at := zero(peek(t, mem, layout.ZeroPageAddr, layout.PageSize)).initrd()
	require.Equal(t, guestmem.Span{Base: 48 * mib, Size: 80 * mib}, at)
	require.True(t, bytes.Equal(initrd, peek(t, mem, at.Base, len(initrd))))
}

// TestDoesNotFit checks that the errors of too little memory name the sizes, and that nothing has been written.
func TestDoesNotFit(t *testing.T) {
	bz := bzSpec{initSize: 40 * mib}.bytes()
	for _, tt := range []struct {
		name   string
		kernel []byte
		initrd int
		ram    uint64 // MiB
		texts  []string
	}{
		{"kernel", bz, 0, 32, []string{"kernel", "needs 40 MiB", "from 16 MiB", "has 32 MiB", "at least 56 MiB"}},
		{"1 MiB", bz, 0, 1, []string{"has 1 MiB"}},
		{"init_size beyond all", bzSpec{initSize: math.MaxUint32 &^ 0xFFF}.bytes(), 0, 4096, []string{"4096.0 MiB", "low memory ends at 3328 MiB"}},
		{"ELF", goodELF(nil).bytes(), 0, 18, []string{"needs 3 MiB", "from 16 MiB"}},
		{"initrd", bz, 20 * mib, 64, []string{"initrd", "of 20 MiB", "64 MiB of memory", "40 MiB from 16 MiB", "at least 76 MiB"}},
		{"initrd as big as memory", bz, 64 * mib, 64, []string{"at least 120 MiB"}},
		{"initrd bigger than memory", bz, 65 * mib, 64, []string{"of 65 MiB"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := Params{Kernel: openKernel(t, tt.kernel), RAM: tt.ram * mib}
			if tt.initrd > 0 {
				p.Initrd = openInitrd(t, sparse(t, nil, int64(tt.initrd)))
			}
			mem := memoryOf(t, min(tt.ram, 64)*mib)
			_, err := Load(mem, p)
			require.ErrorIs(t, err, vm.KindConfig)
			for _, text := range tt.texts {
				require.ErrorContains(t, err, text)
			}
			for _, r := range mem.Regions() {
				require.Zero(t, bytes.Count(r.Bytes, []byte{0})-len(r.Bytes), "memory was written")
			}
		})
	}
}

func TestLoadArguments(t *testing.T) {
	k := openKernel(t, bzSpec{}.bytes())
	mem := memoryOf(t, 64*mib)
	_, err := Load(mem, Params{RAM: 64 * mib})
	require.ErrorIs(t, err, vm.KindInvalidArg)
	_, err = Load(mem, Params{Kernel: k, RAM: 64 * mib, Cmdline: strings.Repeat("x", 2048)})
	require.ErrorIs(t, err, vm.KindLimit)
	require.ErrorContains(t, err, "2048 bytes")
	_, err = Load(mem, Params{Kernel: k, RAM: 64 * mib, Cmdline: "a\x00b"})
	require.ErrorIs(t, err, vm.KindConfig)
	_, err = Load(mem, Params{Kernel: k, RAM: 128 * mib, Initrd: openInitrd(t, file(t, []byte("x")))})
	require.ErrorIs(t, err, vm.KindInternal, "memory that is not what RAM says is our mistake")
}

func TestHuman(t *testing.T) {
	for n, want := range map[uint64]string{
		0: "0 bytes", 1023: "1023 bytes", 1024: "1 KiB", 1536: "1.5 KiB", mib: "1 MiB", 3328 * mib: "3328 MiB", 1 << 40: "1024 GiB",
	} {
		require.Equal(t, want, human(n))
	}
}
