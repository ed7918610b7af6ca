package boot

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/libcapsa/libcapsa/internal/guestmem"
	"github.com/libcapsa/libcapsa/internal/kvm/layout"
	"github.com/libcapsa/libcapsa/internal/vm"
)

// fuzzer is what all runs of a fuzz target share, as a fresh 32 MiB for each would take most of the time.
type fuzzer struct {
	path string
	mem  *guestmem.Memory
	zero []byte // all of fuzzRAM
}

const fuzzRAM = 32 * mib

func newFuzzer(f *testing.F) *fuzzer {
	return &fuzzer{
		path: filepath.Join(f.TempDir(), "image"),
		mem:  memoryOf(f, fuzzRAM),
		zero: make([]byte, fuzzRAM),
	}
}

// check opens an image and, if that works, loads it: whatever the file says, the outcome is an error with a kind, or a kernel
// that keeps within its plan and the plan within memory, and an entry point inside of the kernel.
func (f *fuzzer) check(t *testing.T, image []byte) {
	require.NoError(t, os.WriteFile(f.path, image, 0o600))
	k, err := Open(f.path)
	if err != nil {
		require.NotEqual(t, vm.KindInternal, vm.KindOf(err), "%v", err)
		return
	}
	defer func() { require.NoError(t, k.Close()) }()
	p := Params{Kernel: k, Cmdline: "quiet", RAM: fuzzRAM}
	pl, err := newPlan(p)
	if err != nil {
		require.ErrorIs(t, err, vm.KindConfig)
		return
	}
	require.True(t, pl.kernel.Contains(pl.entry, 1))
	require.GreaterOrEqual(t, pl.kernel.Base, uint64(layout.ExtMemBase))
	require.LessOrEqual(t, pl.kernel.End(), uint64(fuzzRAM))
	e, err := Load(f.mem, p)
	require.NoError(t, err)
	require.Equal(t, pl.entry, e.RIP)

	ram := f.mem.Regions()[0].Bytes
	clear(ram[:layout.ExtMemBase])
	clear(ram[pl.kernel.Base:pl.kernel.End()])
	// What is left above 1 MiB was written by mistake.
	require.True(t, bytes.Equal(f.zero[:pl.kernel.Base], ram[:pl.kernel.Base]), "below the kernel")
	require.True(t, bytes.Equal(f.zero[pl.kernel.End():], ram[pl.kernel.End():]), "above the kernel")
}

// FuzzBzImage changes the setup header; the code behind it is the same, so that the fuzzer's bytes go where they matter.
func FuzzBzImage(f *testing.F) {
	fz := newFuzzer(f)
	good := bzSpec{}.bytes()
	f.Add(good[hdrSetupSects:hdrMaxEnd], uint32(len(good)))
	f.Add(good[hdrSetupSects:hdrMaxEnd], uint32(hdrMinEnd-1))
	f.Add(good[hdrSetupSects:hdrMinEnd], uint32(2048))
	f.Add(put8(0, 255)(bytes.Clone(good[hdrSetupSects:hdrMaxEnd])), uint32(1<<17))
	f.Add(put32(hdrInitSize-hdrSetupSects, 0xFFFF_FFFF)(bytes.Clone(good[hdrSetupSects:hdrMaxEnd])), uint32(len(good)))
	f.Add(put32(hdrAlignment-hdrSetupSects, 1<<31)(bytes.Clone(good[hdrSetupSects:hdrMaxEnd])), uint32(len(good)))
	f.Fuzz(func(t *testing.T, header []byte, size uint32) {
		image := bytes.Clone(good)
		copy(image[hdrSetupSects:hdrMaxEnd], header)
		if n := int(size % (256 << 10)); n <= len(image) {
			image = image[:n]
		} else {
			image = append(image, make([]byte, n-len(image))...)
		}
		if len(image) > 0 {
			fz.check(t, image)
		}
	})
}

// FuzzELF changes ELF and program headers of a vmlinux.
func FuzzELF(f *testing.F) {
	fz := newFuzzer(f)
	for _, change := range []func([]byte) []byte{
		nil, put16(elfProgNum, 0xFFFF), put64(elfProgOffset, 1<<63), put64(progField(0, progPhysAddr), 1<<63),
		put64(progField(1, progMemSize), 1<<40), put64(progField(1, progOffset), 1<<40), put16(elfProgEntSize, 0), put16(elfType, 3),
		put64(progField(1, progPhysAddr), layout.CmdlineAddr), put32(progField(2, progType), 1),
	} {
		b := goodELF(change).bytes()
		f.Add(b[:progField(3, 0)], uint16(len(b)))
	}
	good := goodELF(nil).bytes()
	f.Fuzz(func(t *testing.T, headers []byte, size uint16) {
		image := bytes.Clone(good)
		copy(image[:elfDataOffset], headers)
		if n := int(size); n > 0 && n <= len(image) {
			image = image[:n]
		}
		fz.check(t, image)
	})
}

// FuzzKernel gives any file at all.
func FuzzKernel(f *testing.F) {
	fz := newFuzzer(f)
	f.Add([]byte("MZ"))
	f.Add([]byte("\x1F\x8B\x08\x00"))
	f.Add([]byte("\x7FELF"))
	f.Add(bzSpec{payload: 600}.bytes())
	f.Add(goodELF(nil).bytes())
	f.Fuzz(func(t *testing.T, image []byte) {
		if len(image) > 0 {
			fz.check(t, image)
		}
	})
}

// FuzzCmdline splits its input at newlines into arguments: the line that comes out is legal, keeps the user's arguments as they
// are and in order, and has no key of the machine's that the user gave.
func FuzzCmdline(f *testing.F) {
	f.Add("panic=5\ninit=/bin/sh", uint16(2047), false)
	f.Add("acpi=off", uint16(2047), false)
	f.Add("a=\"b c\"\n-- x", uint16(300), false)
	f.Add("a\x00b", uint16(2047), true)
	f.Add("\xFF", uint16(2047), true)
	f.Add(strings.Repeat("x", 3000), uint16(2047), false)
	f.Add("virtio-mmio.device=4K@0xd0000000:5\nacpi=off", uint16(2047), false)
	f.Fuzz(func(t *testing.T, text string, max uint16, override bool) {
		user := strings.Split(text, "\n")
		m := Machine{User: user, Devices: []layout.Device{layout.Console, layout.Entropy}}
		c := Cmdline{Machine: MachineArgs(m), User: user}
		if override {
			c.Override = &text
		}
		line, err := c.Build(int(max))
		if err != nil {
			require.Contains(t, []vm.Kind{vm.KindConfig, vm.KindLimit}, vm.KindOf(err))
			return
		}
		require.LessOrEqual(t, len(line), int(max))
		require.True(t, utf8.ValidString(line))
		require.NotContains(t, line, "\x00")
		require.NotContains(t, line, "\n")
		if override {
			require.Equal(t, text, line)
			return
		}
		require.True(t, strings.HasSuffix(line, strings.Join(user, " ")))
		own := strings.TrimSuffix(line, strings.Join(user, " "))
		for _, arg := range kernelArgs(user) {
			if k := key(arg); k != keyVirtioDevice {
				for _, mine := range strings.Fields(own) {
					require.NotEqual(t, k, key(mine))
				}
			}
		}
		require.Equal(t, ACPIOff(user), strings.Contains(own, keyVirtioDevice))
	})
}

// TestSetupData keeps the list within its page.
func TestSetupData(t *testing.T) {
	require.Empty(t, setupData(nil))
	b := setupData(make([]byte, 10000))
	require.Len(t, b, layout.PageSize)
	require.EqualValues(t, maxSeed, binary.LittleEndian.Uint32(b[12:]))
}
