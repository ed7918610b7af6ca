package boot

import (
	"bytes"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/libcapsa/libcapsa/internal/kvm/layout"
	"github.com/libcapsa/libcapsa/internal/vm"
)

func TestOpenBad(t *testing.T) {
	bz := func(change func([]byte) []byte) []byte { return bzSpec{change: change}.bytes() }
	elf := func(change func([]byte) []byte) []byte { return goodELF(change).bytes() }
	random := bytes.Repeat([]byte{0x9E, 0x37, 0x79, 0xB9}, 5000)
	for _, tt := range []struct {
		name  string
		image []byte
		kind  vm.Kind
		text  string
	}{
		{"one byte", []byte{'M'}, vm.KindBoot, "begins with 4d"},
		{"random", random, vm.KindBoot, "begins with 9e 37 79 b9"},
		{"gzip", append([]byte("\x1F\x8B\x08"), random...), vm.KindUnsupported, "gzip"},
		{"xz", []byte("\xFD7zXZ\x00...."), vm.KindUnsupported, "xz"},
		{"zstd", []byte("\x28\xB5\x2F\xFD...."), vm.KindUnsupported, "zstd"},
		{"cpio", []byte("070701....."), vm.KindUnsupported, "initrd"},
		{"script", []byte("#!/bin/sh\n"), vm.KindUnsupported, "script"},
		{"unified image", append([]byte("MZ"), make([]byte, 5000)...), vm.KindUnsupported, ".linux"},
		{"arm64", append(make([]byte, 0x38), "ARM\x64...."...), vm.KindUnsupported, "arm64"},

		{"bz: bad magic", bz(put32(hdrMagic, 0)), vm.KindBoot, "neither"},
		{"bz: bad boot flag", bz(put16(hdrBootFlag, 0)), vm.KindBoot, "neither"},
		{"bz: ends in the header", bz(cut(hdrMagic + 4)), vm.KindBoot, "inside its setup header"},
		{"bz: ends before init_size", bz(cut(hdrMinEnd - 1)), vm.KindBoot, "inside its setup header"},
		{"bz: ends in set-up", bz(cut(1024)), vm.KindBoot, "setup_sects"},
		{"bz: ends in the code", bz(cut(2048 + 5000)), vm.KindBoot, "syssize"},
		{"bz: one paragraph short", bz(func(b []byte) []byte { return b[:len(b)-paragraph] }), vm.KindBoot, "syssize"},
		{"bz: setup_sects 255", bz(put8(hdrSetupSects, 255)), vm.KindBoot, "255 sectors"},
		{"bz: syssize beyond the file", bz(put32(hdrSysSize, math.MaxUint32)), vm.KindBoot, "syssize"},
		{"bz: syssize 0", bz(put32(hdrSysSize, 0)), vm.KindBoot, "0 bytes of code"},
		{"bz: code ends at the entry", bz(put32(hdrSysSize, entryOffset64/paragraph)), vm.KindBoot, "512 bytes of code"},
		{"bz: protocol 2.05", bz(put16(hdrVersion, 0x205)), vm.KindUnsupported, "2.05"},
		{"bz: protocol 2.11", bz(put16(hdrVersion, 0x20B)), vm.KindUnsupported, "2.11"},
		{"bz: 32-bit", bz(put16(hdrXLoadFlags, 0)), vm.KindUnsupported, "64-bit"},
		{"bz: short header", bz(put8(hdrJump, 0x20)), vm.KindBoot, "ends at 0x222"},
		{"bz: init_size 0", bz(put32(hdrInitSize, 0)), vm.KindBoot, "init_size"},
		{"bz: alignment 0", bz(put32(hdrAlignment, 0)), vm.KindBoot, "kernel_alignment"},
		{"bz: alignment no power of two", bz(put32(hdrAlignment, 3*mib)), vm.KindBoot, "kernel_alignment"},
		{"bz: fixed in low memory", bz(all(put8(hdrRelocatable, 0), put64(hdrPrefAddress, 0x9000))), vm.KindBoot, "0x9000"},
		{"bz: fixed in the window", bz(all(put8(hdrRelocatable, 0), put64(hdrPrefAddress, layout.MMIOBase))), vm.KindBoot, "0xd0000000"},
		{"bz: wants the end of the address space", bz(put64(hdrPrefAddress, math.MaxUint64)), vm.KindBoot, "pref_address"},
		{"bz: aligned into the window", bz(all(put64(hdrPrefAddress, 0xC000_0001), put32(hdrAlignment, 1<<31))), vm.KindBoot, "pref_address"},

		{"elf: magic only", []byte("\x7FELF"), vm.KindBoot, "inside its header"},
		{"elf: half a header", elf(cut(33)), vm.KindBoot, "inside its header"},
		{"elf: 32-bit", elf(put8(4, 1)), vm.KindUnsupported, "ELFCLASS32"},
		{"elf: big-endian", elf(put8(5, 2)), vm.KindUnsupported, "ELFDATA2MSB"},
		{"elf: arm64", elf(put16(elfMachine, 183)), vm.KindUnsupported, "EM_AARCH64"},
		{"elf: shared object", elf(put16(elfType, 3)), vm.KindUnsupported, "ET_DYN"},
		{"elf: program", elf(put32(progField(2, progType), 3)), vm.KindUnsupported, "dynamic loader"},
		{"elf: no program headers", elf(put16(elfProgNum, 0)), vm.KindBoot, "no program headers"},
		{"elf: 65535 program headers", elf(put16(elfProgNum, 0xFFFF)), vm.KindBoot, "65535 program headers"},
		{"elf: entry size", elf(put16(elfProgEntSize, 57)), vm.KindBoot, "57 bytes"},
		{"elf: entry size 65535", elf(put16(elfProgEntSize, 0xFFFF)), vm.KindBoot, "65535 bytes"},
		{"elf: phoff beyond the file", elf(put64(elfProgOffset, 1<<40)), vm.KindBoot, "offset 1099511627776"},
		{"elf: phoff wraps", elf(put64(elfProgOffset, math.MaxUint64)), vm.KindBoot, "program headers at offset"},
		{"elf: headers end after the file", elf(func(b []byte) []byte { return put64(elfProgOffset, uint64(len(b)-elfProgSize))(b) }), vm.KindBoot, "3 program headers"},
		{"elf: nothing to load", elf(all(put32(progField(0, progType), 4), put32(progField(1, progType), 4))), vm.KindBoot, "no segment to load"},
		{"elf: more file than memory", elf(put64(progField(0, progMemSize), 5)), vm.KindBoot, "4096 bytes in the file but 5 in memory"},
		{"elf: offset beyond the file", elf(put64(progField(0, progOffset), 1<<62)), vm.KindBoot, "segment 0"},
		{"elf: offset and size wrap", elf(all(put64(progField(0, progOffset), 4096), put64(progField(0, progFileSize), math.MaxUint64-100), put64(progField(0, progMemSize), math.MaxUint64))), vm.KindBoot, "segment 0"},
		{"elf: truncated", elf(func(b []byte) []byte { return b[:len(b)-5] }), vm.KindBoot, "2048 bytes at offset 8192, the file ends after 10239"},
		{"elf: address wraps", elf(all(put64(progField(1, progPhysAddr), math.MaxUint64-100))), vm.KindBoot, "wraps"},
		{"elf: over the command line", elf(put64(progField(1, progPhysAddr), layout.CmdlineAddr)), vm.KindBoot, "0x20000"},
		{"elf: in the window", elf(put64(progField(1, progPhysAddr), layout.MMIOBase)), vm.KindBoot, "0xd0000000"},
		{"elf: into the window", elf(put64(progField(1, progMemSize), 4<<30)), vm.KindBoot, "4 GiB"},
		{"elf: above 4 GiB", elf(put64(progField(1, progPhysAddr), 5<<30)), vm.KindBoot, "0x140000000"},
		{"elf: segments overlap", elf(put64(progField(1, progPhysAddr), layout.KernelAddr+4095)), vm.KindBoot, "overlap"},
		{"elf: entry outside", elf(put64(elfEntry, layout.KernelAddr-1)), vm.KindBoot, "0xffffff"},
		{"elf: entry in memory that is not loaded", elf(put64(elfEntry, layout.KernelAddr+2*mib+2048)), vm.KindBoot, "none of its segments"},
		{"elf: virtual entry", elf(put64(elfEntry, 0xFFFF_FFFF_8100_0000)), vm.KindBoot, "none of its segments"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := file(t, tt.image)
			_, err := Open(path)
			require.ErrorContains(t, err, tt.text)
			require.Equal(t, tt.kind, vm.KindOf(err), "%v", err)
			require.ErrorContains(t, err, path)
			require.NotEmpty(t, err.(*vm.Error).Hint)
		})
	}
}

func TestOpenGood(t *testing.T) {
	for _, tt := range []struct {
		name   string
		image  []byte
		format Format
		load   uint64 // bzImage only
		max    int
	}{
		{"bzImage", bzSpec{}.bytes(), BzImage, layout.KernelAddr, 2047},
		{"wants 32 MiB", bzSpec{change: put64(hdrPrefAddress, 32*mib)}.bytes(), BzImage, 32 * mib, 2047},
		{"prefers 1 MiB", bzSpec{change: put64(hdrPrefAddress, mib)}.bytes(), BzImage, layout.KernelAddr, 2047},
		{"fixed at 1 MiB", bzSpec{change: all(put64(hdrPrefAddress, mib), put8(hdrRelocatable, 0))}.bytes(), BzImage, mib, 2047},
		{"alignment of 64 MiB", bzSpec{change: put32(hdrAlignment, 64*mib)}.bytes(), BzImage, 64 * mib, 2047},
		{"setup_sects 0 is 4", bzSpec{change: all(put8(hdrSetupSects, 0), put32(hdrSysSize, 64))}.bytes(), BzImage, layout.KernelAddr, 2047},
		{"long header", bzSpec{change: put8(hdrJump, 0xFF)}.bytes(), BzImage, layout.KernelAddr, 2047},
		{"signature behind the code", append(bzSpec{}.bytes(), make([]byte, 1000)...), BzImage, layout.KernelAddr, 2047},
		{"15 bytes of the last paragraph missing", bzSpec{change: func(b []byte) []byte { return b[:len(b)-15] }}.bytes(), BzImage, layout.KernelAddr, 2047},
		{"command line of 4095", bzSpec{change: put32(hdrCmdlineSize, 4095)}.bytes(), BzImage, layout.KernelAddr, 4095},
		{"command line of 0", bzSpec{change: put32(hdrCmdlineSize, 0)}.bytes(), BzImage, layout.KernelAddr, 2047},
		{"command line of 4 GiB", bzSpec{change: put32(hdrCmdlineSize, math.MaxUint32)}.bytes(), BzImage, layout.KernelAddr, layout.CmdlineSize - 1},
		{"ELF", goodELF(nil).bytes(), ELF, 0, 2047},
		{"ELF with a huge PVH note", goodELF(func(b []byte) []byte { copy(b[len(b)-4:], "\xFF\xFF\xFF\xFF"); return b }).bytes(), ELF, 0, 2047},
		{"ELF with an empty segment anywhere", goodELF(all(put32(progField(2, progType), 1), put64(progField(2, progFileSize), 0), put64(progField(2, progMemSize), 0))).bytes(), ELF, 0, 2047},
	} {
		t.Run(tt.name, func(t *testing.T) {
			k := openKernel(t, tt.image)
			require.Equal(t, tt.format, k.Format())
			require.EqualValues(t, len(tt.image), k.Size())
			require.Equal(t, tt.max, k.CmdlineMax())
			if tt.format == BzImage {
				require.Equal(t, tt.load, k.bz.loadAddr)
			}
		})
	}
}

// TestInstalledKernels loads the distribution's kernels, whatever they are.
func TestInstalledKernels(t *testing.T) {
	paths, err := filepath.Glob("/boot/vmlinuz-*")
	require.NoError(t, err)
	tested := 0
	for _, path := range paths {
		f, err := os.Open(path)
		if err != nil {
			continue // not readable for everyone on every distribution
		}
		require.NoError(t, f.Close())
		k, err := Open(path)
		require.NoError(t, err)
		require.Equal(t, BzImage, k.Format())
		e, err := Load(memoryOf(t, 256*mib), Params{Kernel: k, RAM: 256 * mib, Cmdline: "quiet"})
		require.NoError(t, err)
		require.Equal(t, k.bz.loadAddr+entryOffset64, e.RIP)
		require.NoError(t, k.Close())
		tested++
	}
	if tested == 0 {
		t.Skip("no readable kernel in /boot")
	}
}
