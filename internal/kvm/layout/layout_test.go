package layout

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/libcapsa/libcapsa/internal/guestmem"
	"github.com/libcapsa/libcapsa/internal/vm"
)

const mib = 1 << 20

func TestRAM(t *testing.T) {
	for _, tt := range []struct {
		name string
		mib  uint64
		want []guestmem.Span
	}{
		{"none", 0, nil},
		{"smallest", 1, []guestmem.Span{{Base: 0, Size: mib}}},
		{"usual", 512, []guestmem.Span{{Base: 0, Size: 512 * mib}}},
		{"3072", 3072, []guestmem.Span{{Base: 0, Size: 3072 * mib}}},
		{"up to the window", 3328, []guestmem.Span{{Base: 0, Size: LowMemEnd}}},
		{"past the window", 3329, []guestmem.Span{{Base: 0, Size: LowMemEnd}, {Base: HighMemBase, Size: mib}}},
		{"4096", 4096, []guestmem.Span{{Base: 0, Size: LowMemEnd}, {Base: HighMemBase, Size: 768 * mib}}},
		{"6144", 6144, []guestmem.Span{{Base: 0, Size: LowMemEnd}, {Base: HighMemBase, Size: 2816 * mib}}},
	} {
		t.Run(tt.name, func(t *testing.T) { require.Equal(t, tt.want, RAM(tt.mib*mib)) })
	}
}

// TestE820 checks that the map is in order, and that its RAM is the guest's RAM but for what the firmware has.
func TestE820(t *testing.T) {
	for _, size := range []uint64{0, 4096, 0x9_0000, mib, 2 * mib, 128 * mib, 3072 * mib, 3073 * mib, 3328 * mib, 4095 * mib, 4096 * mib, 6144 * mib, 1 << 40} {
		var end, usable uint64
		for _, e := range E820(size) {
			require.NotZero(t, e.Size)
			require.GreaterOrEqual(t, e.Base, end)
			end = e.End()
			inRAM := false
			for _, s := range RAM(size) {
				inRAM = inRAM || s.Contains(e.Base, e.Size)
			}
			require.True(t, inRAM, "%v of %d bytes of memory", e, size)
			if e.Type == E820RAM {
				usable += e.Size
			}
		}
		firmware := min(size, ExtMemBase) - min(size, BaseMemEnd)
		require.Equal(t, size-firmware, usable)
	}
	require.Equal(t, []E820Entry{
		{guestmem.Span{Base: 0, Size: 0x9_FC00}, E820RAM},
		{guestmem.Span{Base: 0x9_FC00, Size: 0x6_0400}, E820Reserved},
		{guestmem.Span{Base: 0x10_0000, Size: 0xCFF0_0000}, E820RAM},
		{guestmem.Span{Base: 0x1_0000_0000, Size: 0x3000_0000}, E820RAM},
	}, E820(4096*mib))
}

// TestPlaces checks that what is placed in low memory does not overlap and is on the right side of the firmware's border.
func TestPlaces(t *testing.T) {
	places := []struct {
		name     string
		span     guestmem.Span
		firmware bool
	}{
		{"GDT", guestmem.Span{Base: GDTAddr, Size: GDTSize}, false},
		{"zero page", guestmem.Span{Base: ZeroPageAddr, Size: PageSize}, false},
		{"stack", guestmem.Span{Base: StackAddr, Size: PageSize}, false},
		{"page tables", guestmem.Span{Base: PageTablesAddr, Size: PageTablesSize}, false},
		{"command line", guestmem.Span{Base: CmdlineAddr, Size: CmdlineSize}, false},
		{"setup data", guestmem.Span{Base: SetupDataAddr, Size: PageSize}, false},
		{"MP table", guestmem.Span{Base: MPTableAddr, Size: MPTableSize}, true},
		{"MP configuration", guestmem.Span{Base: MPConfigAddr, Size: MPConfigSize}, true},
		{"ACPI", guestmem.Span{Base: ACPIAddr, Size: ACPISize}, true},
		{"reset vector", guestmem.Span{Base: ResetVectorAddr, Size: ResetVectorSize}, true},
	}
	for i, p := range places {
		if p.firmware {
			require.True(t, p.span.Base >= BaseMemEnd && p.span.End() <= ExtMemBase, p.name)
		} else {
			require.LessOrEqual(t, p.span.End(), uint64(BaseMemEnd), p.name)
		}
		for _, o := range places[:i] {
			require.False(t, p.span.Overlaps(o.span), "%s and %s", p.name, o.name)
		}
	}
	require.True(t, StackTop > StackAddr && StackTop <= StackAddr+PageSize && StackTop%16 == 0)
}

// TestSpecification holds the addresses that users were promised.
func TestSpecification(t *testing.T) {
	for _, tt := range []struct {
		device Device
		addr   uint64
		irq    uint32
	}{
		{Console, 0xD010_0000, 5}, {Net, 0xD140_0000, 4}, {Vsock, 0xD150_0000, 6}, {Entropy, 0xD1A0_0000, 7},
		{Balloon, 0xD1B0_0000, 3}, {Share(0), 0xD160_0000, 10}, {Share(3), 0xD160_3000, 13},
		{Disk(0), 0xD180_0000, 23}, {Disk(2), 0xD180_2000, 21},
	} {
		require.Equal(t, tt.addr, tt.device.Addr(), tt.device.Name)
		require.Equal(t, tt.irq, tt.device.IRQ, tt.device.Name)
	}
	require.EqualValues(t, 0x100_0000, KernelAddr)
	require.EqualValues(t, 0x400_0000, InitrdAddr)
}

// TestDevices checks, for every mix of shares and disks that is allowed, that all devices have lines and registers of their own.
func TestDevices(t *testing.T) {
	for shares := range MaxShares + 2 {
		for disks := range MaxDisks + 2 {
			err := CheckShares(shares, disks)
			if shares+disks > MaxSharesAndDisks {
				require.ErrorIs(t, err, vm.KindLimit)
				continue
			}
			require.NoError(t, err)
			all := []Device{Console, Net, Vsock, Entropy, Balloon}
			for i := range shares {
				all = append(all, Share(i))
			}
			for i := range disks {
				all = append(all, Disk(i))
			}
			lines := map[uint32]string{0: "timer", 2: "cascade", 8: "clock", IRQPower: "power"}
			addrs := map[uint64]bool{}
			for _, d := range all {
				require.Empty(t, lines[d.IRQ], "line %d of %s", d.IRQ, d.Name)
				require.Less(t, d.IRQ, uint32(IOAPICPins))
				require.False(t, addrs[d.Addr()])
				require.Zero(t, d.Addr()%PageSize)
				require.LessOrEqual(t, d.Addr()+MMIODeviceSize, uint64(MMIOEnd))
				lines[d.IRQ], addrs[d.Addr()] = d.Name, true
			}
		}
	}
}

func TestCheckSharesText(t *testing.T) {
	for _, tt := range []struct {
		shares, disks int
		text          string
	}{
		{1, 14, "share 0 and disk 13 would both need interrupt line 10"},
		{13, 2, "share 12 and disk 1 would both need interrupt line 22"},
		{14, 1, "share 13 and disk 0 would both need interrupt line 23"},
		{7, 9, "share 6 and disk 7 would both need interrupt line 16"},
		{15, 0, "share 14 has no interrupt line left"},
		{0, 15, "disk 14 has no interrupt line left"},
	} {
		err := CheckShares(tt.shares, tt.disks)
		require.ErrorIs(t, err, vm.KindLimit)
		require.ErrorContains(t, err, tt.text)
	}
	require.ErrorIs(t, CheckShares(-1, 0), vm.KindInvalidArg)
}
